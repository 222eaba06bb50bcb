"""Reads stored depth from pictures, EXR, arrays and array files, without converting it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import torch
from PIL import Image

from bindplug.errors import InputError
from bindplug.inputs.arrayfiles import read_map
from bindplug.inputs.depth.exr import is_exr, read_exr
from bindplug.inputs.limits import MOST_PIXELS, check_limit
from bindplug.inputs.pictures import Raster, read_raster
from bindplug.inputs.source import is_file_like, open_source, peek, suffix_of, to_numpy
from bindplug.inputs.spatial import check_plane

EXPECTED = (
    "a depth map: a 16-bit PNG or TIFF, a float TIFF, PFM or EXR, an .npy, .npz, .mat or .csv file, "
    "or an array (H, W)"
)
WHAT = "a depth map"
ARRAY_NAMES = (
    "depth", "depths", "depth_map", "depthmap", "depth_m", "depth_mm", "depth_cm", "depth_meters", "depth_metres",
    "depths_m", "depth_image", "z",
)  # fmt: skip
UNITS_IN_NAMES = {"mm": "mm", "cm": "cm", "m": "m", "meters": "m", "metres": "m", "millimeters": "mm"}
HEADERLESS_SUFFIXES = (".raw", ".bin", ".depth")
SINTEL_MAGIC = b"PIEH"
"""First bytes of MPI Sintel's ``.dpt``: the float 202021.25, then width, height and float32 metres."""
COLOR_PFM = b"PF"
CONTAINERS = (
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file",
     "Open it with h5py and pass one map; unit='hypersim' for Hypersim's metres along the ray."),
    (b"\x1aE\xdf\xa3", "a Matroska recording",
     "Extract its depth track as 16-bit PNGs, e.g. with Azure Kinect's tools."),
    (b"#ROSBAG", "a ROS bag", "Export its depth topic as 16-bit PNGs."),
    (b"ply\n", "a point cloud", "Project it to a map first."),
    (b"ply\r\n", "a point cloud", "Project it to a map first."),
    (b"# .PCD", "a point cloud", "Project it to a map first."),
)  # fmt: skip


@dataclass(frozen=True)
class StoredDepth:
    """Depth as it is stored.

    Attributes:
        values: (H, W), integers or floats.
        valid: (H, W) bool, False where the file itself says that there is no data; None where it says nothing.
        is_picture: whether integers in it are millimetres by custom (pictures and EXR), not unknown (arrays).
        form: Pillow's name of the picture format, ``""`` for arrays.
        unit: the unit that the array's name in the file ends with, as ``depth_mm``; None if it names none.
    """

    values: np.ndarray
    valid: np.ndarray | None = None
    is_picture: bool = False
    form: str = ""
    unit: str | None = None
    array: str = ""


def read_stored(source: object, *, name: str, preset: str, channel: str | None, exif: bool) -> StoredDepth:
    """One plane of depth from any source.

    Args:
        source: see :class:`bindplug.inputs.DepthPreprocess`.
        name: what errors call it.
        preset: ``relative`` and ``disparity`` also take 8-bit pictures.
        channel: name of an EXR's channel, or of an array in a file of several.
        exif: whether to turn pictures as their EXIF orientation says.

    Raises:
        InputError, MissingDependency: see :meth:`bindplug.inputs.DepthPreprocess.read`.
    """
    if isinstance(source, (np.ndarray, torch.Tensor)):
        return StoredDepth(_plane(to_numpy(source), name))
    if isinstance(source, Image.Image):
        return _of_raster(read_raster(source, EXPECTED, exif=exif), name, preset)
    if not is_file_like(source):
        raise InputError(name, found=f"an object of type {type(source).__name__}", expected=EXPECTED)
    if is_exr(source):
        values, inside = read_exr(source, channel)
        return StoredDepth(_plane(values, name), inside, is_picture=True, form="EXR")
    head = peek(source, 16)
    for magic, found, remedy in CONTAINERS:
        if head.startswith(magic):
            raise InputError(name, found=found, expected=EXPECTED, remedy=remedy)
    if head.startswith(SINTEL_MAGIC):
        return StoredDepth(_read_sintel(source, name), form="DPT")
    if head.startswith(COLOR_PFM) and head[2:3].isspace():
        return _of_raster(Raster(_read_color_pfm(source, name), None, "RGB", "PPM"), name, preset)
    if suffix_of(source) in HEADERLESS_SUFFIXES:
        with open_source(source, EXPECTED):  # a missing or empty file is refused as such
            pass
        remedy = "Read it yourself and pass the array: numpy.fromfile(path, dtype).reshape(height, width), with unit=."
        raise InputError(name, found="a file without a header", expected=EXPECTED, remedy=remedy)
    content = read_map(source, EXPECTED, names=ARRAY_NAMES, array=channel)
    if content is not None:
        values, array = content
        array = "" if "\n" in array else array.lower()  # of a text file: the lines before the numbers
        unit = re.search(r"_([a-z]+)$", array)
        unit_name = UNITS_IN_NAMES.get(unit[1]) if unit else None
        return StoredDepth(_plane(values, name), unit=unit_name, array=array)
    return _of_raster(read_raster(source, EXPECTED, exif=exif), name, preset)


def read_mask(mask: object, shape: tuple[int, int], name: str) -> np.ndarray:
    """Where a mask is not zero, (H, W) bool.

    Args:
        mask: an array or tensor, or a path, bytes or file object of a picture or array file.
        shape: of the map it belongs to.
        name: of that map.

    Raises:
        InputError: it cannot be read or has another shape.
    """
    expected = "a mask: an array (H, W), an .npy file or a grey picture"
    if isinstance(mask, (np.ndarray, torch.Tensor)):
        plane = to_numpy(mask)
    else:
        content = (
            read_map(mask, expected, names=("mask", "valid", "valid_mask")) if is_file_like(mask) else None
        )
        if content is None:
            raster = read_raster(mask, expected)
            grey = raster.grey()
            plane = raster.values if grey is None else grey
        else:
            plane = content[0]
    plane = plane.squeeze()
    if plane.shape != shape:
        raise InputError(name, found=f"a mask of shape {plane.shape}", expected=f"shape {shape}")
    return plane != 0


def _plane(values: np.ndarray, name: str) -> np.ndarray:
    return check_plane(values, name, WHAT)


def _of_raster(raster: Raster, name: str, preset: str) -> StoredDepth:
    grey, unitless = raster.grey(), preset in ("relative", "disparity")
    if grey is not None and (grey.dtype != np.uint8 or (unitless and raster.mode != "1")):
        return StoredDepth(_plane(grey, name), raster.valid, is_picture=True, form=raster.form)
    if grey is not None:
        detail = "an 8-bit grey picture, too coarse for lengths"
        remedy = "Export 16-bit millimetres; or, if it is a monocular network's inverse depth, use preset='relative'."
    else:
        detail = f"a color picture (mode {raster.mode}); false colors cannot be undone"
        remedy = "Export the depth itself, as 16-bit millimetres."
    raise InputError(name, found=detail, expected=EXPECTED, remedy=remedy)


def _read_sintel(source: object, name: str) -> np.ndarray:
    with open_source(source, EXPECTED) as file:
        file.read(len(SINTEL_MAGIC))
        width, height = (int(number) for number in np.frombuffer(file.read(8), "<i4"))
        return _float_rows(file, width, height, 1, "<f4", name)[..., 0]


def _read_color_pfm(source: object, name: str) -> np.ndarray:
    """A PFM of three channels, (H, W, 3); Pillow reads those of one."""
    with open_source(source, EXPECTED) as file:
        file.read(len(COLOR_PFM))
        fields: list[bytes] = []
        while len(fields) < 3:
            line = file.readline(100)
            if not line:
                raise InputError(name, found="a damaged PFM", expected=EXPECTED)
            fields += line.split()
        width, height, scale = int(fields[0]), int(fields[1]), float(fields[2])
        return _float_rows(file, width, height, 3, "<f4" if scale < 0 else ">f4", name)[::-1]


def _float_rows(file: BinaryIO, width: int, height: int, channels: int, dtype: str, name: str) -> np.ndarray:
    check_limit(name, max(width, 1) * max(height, 1), MOST_PIXELS, "pixels")
    count = width * height * channels
    data = file.read(4 * count) if width > 0 and height > 0 else b""
    if not data or len(data) < 4 * count:
        raise InputError(
            name, found=f"{len(data)} of {4 * count} bytes of pixels", expected="a complete file"
        )
    return np.frombuffer(data, dtype).reshape(height, width, channels).astype(np.float32)
