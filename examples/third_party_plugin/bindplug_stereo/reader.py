"""The work: from disparity to a depth query. Imported when the reader is first used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

import bindplug
from bindplug.errors import InputError

STEPS_PER_PIXEL = 256
"""Source: the development kit of KITTI's stereo benchmark; 0 marks pixels without a match."""


def read(source: str | Path, *, focal_px: float, baseline_m: float) -> bindplug.Query:
    """A depth query from a disparity map.

    Args:
        source: path of a 16-bit picture.
        focal_px: the camera's focal length in pixels of this picture.
        baseline_m: distance of its two lenses in metres.

    Raises:
        InputError: the picture is not of 16 bits.
    """
    with Image.open(source) as picture:
        if picture.mode not in ("I;16", "I"):
            raise InputError(
                str(source), found=f"a picture of mode {picture.mode}", expected="16 bits a pixel"
            )
        disparity_px = np.asarray(picture, dtype=np.float32) / STEPS_PER_PIXEL
    matched = disparity_px > 0
    depth_m = np.where(matched, focal_px * baseline_m / np.where(matched, disparity_px, 1), 0)
    return bindplug.depth(depth_m.astype(np.float32), unit="m")  # zeros are holes, which bindplug fills
