"""Lists of paths that lie beside rows: one a line, a JSON list, or an array of text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bindplug.errors import InputError

EXPECTED = (
    "a UTF-8 file with one path a line, a JSON list, or an .npy array of text, in the order of the rows"
)


def read_paths(file: str | Path) -> Sequence[str | None]:
    """Paths from a file; an empty line or a null stands for a row without one.

    Raises:
        InputError: the file cannot be read or holds something else.
    """
    file = Path(file).expanduser()
    try:
        if file.suffix == ".npy":
            values = np.load(file, mmap_mode="r", allow_pickle=False)
            if values.ndim != 1 or values.dtype.kind not in "US":
                raise InputError(str(file), found=f"{values.dtype} {values.shape}", expected=EXPECTED)
            return values.astype(str) if values.dtype.kind == "S" else values
        text = file.read_text(encoding="utf-8")
        values = json.loads(text) if file.suffix == ".json" else text.splitlines()
    except InputError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        problem = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise InputError(str(file), found=problem, expected=EXPECTED) from None
    if not isinstance(values, list) or not all(isinstance(value, (str, type(None))) for value in values):
        raise InputError(str(file), found="JSON of another form", expected=EXPECTED)
    return values


def as_file(paths: str | None) -> Path | None:
    """The file that a person named, if they did."""
    return None if paths is None else Path(paths).expanduser()


def required_paths(owner: Path, paths: str | None) -> Sequence[str | None]:
    """Paths for a file that holds vectors and nothing else.

    Raises:
        InputError: ``paths`` is None, or as :func:`read_paths`.
    """
    if paths is None:
        raise InputError(
            str(owner), found="vectors without paths", expected="to know which file each row was made from",
            remedy="Give a list with one path a line: --paths FILE",
        )  # fmt: skip
    return read_paths(paths)
