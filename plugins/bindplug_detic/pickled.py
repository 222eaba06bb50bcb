"""Read the pickled numpy arrays of a detectron2 checkpoint, and nothing else that a pickle can hold."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bindplug.errors import CheckpointError

LEGACY_TORCH = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"
"""First bytes of PyTorch's format before 1.6: a pickled magic number, 0x1950A86A20F9469CFC6C."""


def read_pickle(path: Path) -> object:
    """The content of a pickle of numpy arrays and plain containers.

    Args:
        path: of the file. Strings of Python 2 are read as Latin-1, as its arrays' bytes require.

    Raises:
        CheckpointError: the file is empty or damaged, or asks for anything besides arrays and containers;
            what it asks for is named, and not run.
    """
    with path.open("rb") as file:
        start = file.read(len(LEGACY_TORCH))
        if not start:
            raise CheckpointError(f"{path} is empty; download it again")
        if start == LEGACY_TORCH:
            raise CheckpointError(
                f"{path} is in PyTorch's format from before 1.6; save it again with "
                f"torch.save(torch.load({path.name!r}, weights_only=True), ...) of a newer PyTorch"
            )
        file.seek(0)
        try:
            return _ArrayUnpickler(file, encoding="latin1").load()
        except CheckpointError as error:
            raise CheckpointError(f"{path} {error}") from None
        # an arbitrary byte stream can make an unpickler raise almost anything
        except Exception as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise CheckpointError(
                f"{path} is damaged, truncated or no checkpoint ({reason}); download it again"
            ) from error


class _ArrayUnpickler(pickle.Unpickler):
    """Resolves no global name but those by which numpy arrays and ordered dicts are pickled."""

    def find_class(self, module: str, name: str) -> Any:
        module = module.replace("numpy._core", "numpy.core")  # numpy 2 moved it
        if (module, name) not in _ALLOWED:
            raise CheckpointError(
                f"asks for {module}.{name}, which a pickle could run when read; refused. Expected numpy arrays "
                f"in plain containers"
            )
        return _ALLOWED[module, name]

    def persistent_load(self, pid: Any) -> Any:
        raise CheckpointError("refers to objects outside the file; refused. Expected numpy arrays")


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """How protocol 2 carries bytes."""
    if encoding not in ("latin1", "latin-1"):
        raise CheckpointError(f"carries bytes as {encoding!r}; expected Latin-1")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    """How protocol 2 carries an empty array's bytes."""
    return b""


def _dtype(description: str, *flags: object) -> np.dtype:
    """A type of its own, since the byte order is set on it next; old calls give the flags as numbers."""
    return np.dtype(description, False, True)


def _from_buffer(buffer: bytes | bytearray, dtype: Any, shape: Any, order: str) -> np.ndarray:
    """How protocol 5 carries arrays."""
    return np.frombuffer(buffer, dtype=dtype).reshape(shape, order="F" if order == "F" else "C")


_reconstruct = np.zeros(0).__reduce__()[0]
_scalar: Callable[..., Any] = np.float32(0).__reduce__()[0]

_ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): _dtype,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy.core.numeric", "_frombuffer"): _from_buffer,
    ("_codecs", "encode"): _encode,
    ("__builtin__", "bytes"): _no_bytes,
}
