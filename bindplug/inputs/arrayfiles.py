"""Reading ``.npy`` and ``.npz`` files, without ever running code from them."""

from __future__ import annotations

import numpy as np

from bindplug.errors import InputError
from bindplug.inputs.source import describe_source, open_source, peek, suffix_of

NPY_MAGIC = b"\x93NUMPY"
ZIP_MAGIC = b"PK\x03\x04"


def is_array_file(source: object) -> bool:
    """Whether ``source`` is numpy's: by the file extension, else by its first bytes."""
    if suffix_of(source) in (".npy", ".npz"):
        return True
    return peek(source, len(NPY_MAGIC)).startswith((NPY_MAGIC, ZIP_MAGIC))


def read_arrays(source: object, expected: str) -> dict[str, np.ndarray]:
    """Every array of an ``.npy`` (under the name ``""``) or ``.npz`` file.

    Raises:
        InputError: it is missing, empty, damaged, or holds pickled objects.
    """
    name = describe_source(source)
    with open_source(source, expected) as file:
        try:
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return {"": loaded}
            with loaded:
                return {key: loaded[key] for key in loaded.files}
        except Exception as error:  # numpy parses headers as Python text: damage raises almost anything
            found = f"no readable numpy file ({error})"
            raise InputError(name, found=found, expected=expected) from None


def read_array(source: object, expected: str) -> np.ndarray:
    """The one array of an ``.npy`` or ``.npz`` file.

    Raises:
        InputError: as :func:`read_arrays`, or the file holds another number of arrays.
    """
    arrays = read_arrays(source, expected)
    if len(arrays) != 1:
        found = f"an .npz of {len(arrays)} arrays ({', '.join(arrays)})"
        raise InputError(describe_source(source), found=found, expected="an .npz of one array")
    return next(iter(arrays.values()))
