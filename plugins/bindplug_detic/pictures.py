"""Pictures of any kind to uint8 RGB tensors, the network's input."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bindplug.errors import InputError
from bindplug.inputs import ImagePreprocess, describe_source

_READER = ImagePreprocess(image_size=1)  # pictures keep their size here, so that no scaled size is too large


def read_picture(source: object) -> Image.Image:
    """One picture, 8-bit RGB and upright, in its own size.

    Args:
        source: a path, bytes or file object of any picture Pillow reads, a PIL image, a numpy array (H, W),
            (H, W, 1), (H, W, 3) or (H, W, 4), or a tensor with its channels first. Arrays and tensors hold
            integers of 8 or (unsigned) 16 bits, or floats from 0 to 1. EXIF orientation is applied; what is
            transparent becomes white; CMYK, palettes and 16-bit grey become RGB over their whole range.

    Raises:
        InputError: the source is missing, damaged, empty, no picture, or of another shape or range; the
            message names it.
    """
    if isinstance(source, np.ndarray) and source.dtype == np.uint16:
        source = (source // 257).astype(np.uint8)
    elif isinstance(source, Tensor) and source.dtype == torch.uint16:
        source = (source.cpu().int() // 257).byte()
    return _READER.read(source)


def resized_size(size: tuple[int, int], short_edge: int, long_edge: int) -> tuple[int, int]:
    """Height and width after the resize rule: the short side to ``short_edge``, unless the long side then
    exceeds ``long_edge``, which it gets instead; proportions kept, rounded to the nearest, at least one pixel.

    Args:
        size: height and width before.
        short_edge: pixels.
        long_edge: pixels.

    Source: the predictor of detectron2 (800 and 1333 in Detic's configurations).
    """
    height, width = size
    scale = short_edge / min(height, width)
    new = [short_edge, scale * width] if height < width else [scale * height, short_edge]
    if max(new) > long_edge:
        shrink = long_edge / max(new)
        new = [side * shrink for side in new]
    return max(int(new[0] + 0.5), 1), max(int(new[1] + 0.5), 1)


def to_tensor(picture: Image.Image, edges: tuple[int, int] | None) -> Tensor:
    """(3, h, w) uint8 of an RGB picture, resized (Pillow's bilinear, which averages where it shrinks).

    Args:
        picture: RGB.
        edges: short and long edge of the resize rule; None to keep its size.
    """
    if edges is not None:
        height, width = resized_size((picture.height, picture.width), *edges)
        if (height, width) != (picture.height, picture.width):
            picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)


def as_sources(images: object) -> tuple[list[object], bool]:
    """``images`` as a list, and whether it is a single picture."""
    if isinstance(images, (list, tuple)):
        return list(images), False
    if images is None:
        raise InputError(describe_source(images), found="nothing", expected="a picture or a list of pictures")
    return [images], True
