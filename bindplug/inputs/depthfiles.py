"""Reading depth from pictures, arrays and array files, in the preset's unit."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from bindplug.errors import InputError
from bindplug.inputs.arrayfiles import is_array_file, read_array
from bindplug.inputs.exr import is_exr, read_exr
from bindplug.inputs.pictures import is_sixteen_bit, load_pixels, open_picture
from bindplug.inputs.source import check_choice, is_file_like, to_numpy
from bindplug.inputs.spatial import check_plane

METRES_PER = {"m": 1.0, "cm": 0.01, "mm": 0.001}
EXPECTED = "a depth map: a 16-bit PNG or TIFF, a float TIFF, PFM or EXR, an .npy file, or an array (H, W)"


def read_depth(source: object, *, name: str, preset: str, unit: str | None) -> np.ndarray:
    """One plane of depth (H, W): metres for ``metric``, else as stored.

    Raises:
        InputError: see :meth:`bindplug.inputs.depth.DepthPreprocess.read`.
    """
    if unit is not None:
        check_choice("unit", unit, tuple(METRES_PER))
    if isinstance(source, (np.ndarray, torch.Tensor)):
        plane, is_picture = check_plane(to_numpy(source), name, "a depth map"), False
    elif isinstance(source, Image.Image):
        load_pixels(source, name, EXPECTED)
        plane, is_picture = _from_picture(source, name, preset), True
    elif is_file_like(source):
        plane, is_picture = _from_file(source, name, preset)
    else:
        raise InputError(name, found=f"an object of type {type(source).__name__}", expected=EXPECTED)
    if preset != "metric":
        return plane
    if unit is None and plane.dtype.kind != "f":
        if not is_picture:
            found = f"integers ({plane.dtype}) without a unit"
            remedy = "Say unit='mm', 'cm' or 'm'."
            raise InputError(name, found=found, expected="metres as floats, or a unit", remedy=remedy)
        unit = "mm"
    return plane * np.float32(METRES_PER[unit or "m"])


def _from_file(source: object, name: str, preset: str) -> tuple[np.ndarray, bool]:
    if is_array_file(source):
        return check_plane(read_array(source, EXPECTED), name, "a depth map"), False
    if is_exr(source):
        return read_exr(source, EXPECTED), True
    return _from_picture(open_picture(source, EXPECTED), name, preset), True


def _from_picture(picture: Image.Image, name: str, preset: str) -> np.ndarray:
    if is_sixteen_bit(picture) or picture.mode == "F":
        return np.asarray(picture)
    if picture.mode == "L" and preset in ("relative", "disparity"):
        return np.asarray(picture)
    if picture.mode in ("L", "1", "LA"):
        found = "an 8-bit grey picture, too coarse for lengths"
        remedy = "Export 16-bit millimetres; or, if it is a monocular network's inverse depth, use preset='relative'."
    else:
        found = f"a color picture (mode {picture.mode}); false colors cannot be undone"
        remedy = "Export the depth itself, as 16-bit millimetres."
    raise InputError(name, found=found, expected=EXPECTED, remedy=remedy)
