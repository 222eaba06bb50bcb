"""Reading OpenEXR through PyAV, since Pillow does not."""

from __future__ import annotations

import numpy as np

from bindplug.errors import InputError
from bindplug.inputs.optional import import_optional
from bindplug.inputs.source import describe_source, open_source, peek

EXR_MAGIC = b"\x76\x2f\x31\x01"


def is_exr(source: object) -> bool:
    """Whether ``source`` begins as OpenEXR files do."""
    return peek(source, len(EXR_MAGIC)) == EXR_MAGIC


def read_exr(source: object, expected: str) -> np.ndarray:
    """The grey, or else the red, plane of an EXR picture, (H, W) float32.

    Raises:
        InputError: it is missing, empty, damaged, or has neither a grey (Y) nor a red (R) channel.
        MissingDependency: PyAV is absent.
    """
    av = import_optional("av", "bindplug.inputs.exr", "video")
    name = describe_source(source)
    with open_source(source, expected) as file:
        try:
            with av.open(file, mode="r", format="exr_pipe") as container:
                frame = next(container.decode(video=0))
        except (av.error.FFmpegError, StopIteration, IndexError) as error:
            found = f"an EXR that cannot be read ({error})"
            raise InputError(name, found=found, expected="an EXR with a channel Y or R") from None
    kind = frame.format.name
    if kind.startswith(("gbrap", "gbrp")):
        planes = frame.to_ndarray(format="gbrpf32le")  # PyAV orders these as R, G, B
        return np.ascontiguousarray(planes[..., 0], dtype=np.float32)
    return np.asarray(frame.to_ndarray(format="grayf32le"), dtype=np.float32)
