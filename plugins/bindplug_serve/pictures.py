"""A bound on pictures that looks at their headers, before a small file becomes gigabytes of pixels."""

from __future__ import annotations

import io

from bindplug.errors import InputError
from bindplug.modality import Modality
from bindplug.query import Leaf

PICTURES = (Modality.IMAGE, Modality.DEPTH, Modality.THERMAL, Modality.VIDEO)


def check_pixels(leaf: Leaf, most: int) -> None:
    """Refuse a picture of more than ``most`` pixels; what Pillow does not know is left to its reader.

    Raises:
        InputError: its header tells of more.
    """
    from PIL import Image

    source = leaf.source
    data = source.getvalue() if isinstance(source, io.BytesIO) else source
    if leaf.modality not in PICTURES or not isinstance(data, bytes):
        return
    try:
        with Image.open(io.BytesIO(data)) as picture:
            width, height = picture.size
    except Image.DecompressionBombError:
        problem = "a picture of far more pixels than are read"
    except Exception:  # the reader says what is wrong with it
        return
    else:
        if width * height <= most:
            return
        problem = f"a picture of {width} x {height} pixels"
    raise InputError(f"<{len(data)} bytes>", found=problem, expected=f"at most {most:,} pixels")
