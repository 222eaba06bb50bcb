"""Images to normalized RGB."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from bindplug.errors import InputError
from bindplug.inputs.base import Preprocess, to_device
from bindplug.inputs.bit_depth import FULL_15_BITS, FULL_16_BITS, is_white_zero, note_darkness, white_level
from bindplug.inputs.pictures import is_sixteen_bit, load_pixels, open_picture, refuse_programs
from bindplug.inputs.source import check_choice, describe_source, is_file_like, to_numpy
from bindplug.inputs.spatial import IMAGE_SIZE, center_crop, check_scaled_size, resize_short_side
from bindplug.modality import Modality

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
"""Source: OpenAI's CLIP; the same in OpenCLIP and ImageBind."""
EXPECTED = "an image file, a PIL image, an array (H, W, 3) or a tensor (3, H, W)"
RANGES = "8-bit integers, or floats from 0 to 1"
ALPHAS = ("white", "drop")


class ImagePreprocess(Preprocess):
    """Images to (3, 224, 224).

    A source is a path, bytes or file object of any picture Pillow reads (HEIC with the extra ``heif``; EPS and
    WMF are refused, since other programs would draw them), a PIL image, a numpy array (H, W),
    (H, W, 1), (H, W, 3) or (H, W, 4), or a tensor (3, H, W), (1, H, W) or (4, H, W); arrays and tensors hold
    8-bit integers or floats from 0 to 1 (rounded to 8 bits). Made RGB (CMYK, palettes, 16-bit grey
    included), short side to 224 bicubic, center crop, /255, less CLIP's mean, divided by its deviation.

    Args:
        image_size: side of the output in pixels.
        exif: whether to turn the picture as its EXIF orientation says. The original loader did not; a
            person's photograph then lies on its side.
        alpha: what is behind transparent pixels, ``"white"``, or ``"drop"`` to show the color stored
            under them, as the original loader did.
    """

    modality: ClassVar[Modality] = Modality.IMAGE

    def __init__(self, *, image_size: int = IMAGE_SIZE, exif: bool = True, alpha: str = "white") -> None:
        check_choice("alpha", alpha, ALPHAS)
        self.image_size, self.exif, self.alpha = image_size, exif, alpha

    def read(self, source: object, *, exif: bool | None = None, alpha: str | None = None) -> Image.Image:
        """The picture of one source, RGB and upright, in its own size.

        Args:
            source: see the class.
            exif: overrides the constructor's.
            alpha: overrides the constructor's.

        Raises:
            InputError: the source is missing, damaged, incomplete, no picture, of another shape or range, or
                so long and narrow that scaling its short side would take more than 2**26 pixels.
            MissingDependency: it is HEIC, and pillow-heif is absent.
        """
        exif = self.exif if exif is None else exif
        alpha = self.alpha if alpha is None else alpha
        check_choice("alpha", alpha, ALPHAS)
        name = describe_source(source)
        if isinstance(source, (np.ndarray, torch.Tensor)):
            picture = picture_from_array(source, name)
        elif isinstance(source, Image.Image):
            refuse_programs(source, name, EXPECTED)
            load_pixels(source, name, EXPECTED)
            picture = source
        elif is_file_like(source):
            picture = open_picture(source, EXPECTED)
        else:
            raise InputError(name, found=f"an object of type {type(source).__name__}", expected=EXPECTED)
        check_scaled_size(*picture.size, self.image_size, name)
        white = white_level(picture)  # a turned copy has no tags
        if is_sixteen_bit(picture) and white in (FULL_16_BITS, FULL_15_BITS):
            note_darkness(int(np.asarray(picture).max()), white)
        rgb = to_rgb(ImageOps.exif_transpose(picture) if exif else picture, alpha, name, white=white)
        return ImageOps.invert(rgb) if is_white_zero(picture) else rgb

    def finish(
        self, readings: Sequence[Image.Image], device: torch.device | str | None = None
    ) -> list[Tensor]:
        """Normalized pixels, (3, 224, 224) float32 for each reading."""
        planes = []
        for picture in readings:
            resized = resize_short_side(picture, self.image_size, Image.Resampling.BICUBIC)
            pixels = torch.from_numpy(np.array(center_crop(resized, self.image_size)))
            planes.append(normalize_rgb(to_device(pixels, device).permute(2, 0, 1)))
        return planes


def normalize_rgb(pixels: Tensor) -> Tensor:
    """8-bit ``pixels`` (..., 3, H, W), values 0 to 255 of any dtype, to float32 as the vision tower takes them."""
    mean, std = (torch.tensor(three, device=pixels.device)[:, None, None] for three in (MEAN, STD))
    return ((pixels.float() / 255 - mean) / std).contiguous()


def to_rgb(
    picture: Image.Image, alpha: str = "white", name: str = "<picture>", *, white: int = FULL_16_BITS
) -> Image.Image:
    """``picture`` as 8-bit RGB; ``white`` is the largest value of one channel of 16 bits.

    Raises:
        InputError: it holds floats outside 0..1, or integers of more than 16 bits.
    """
    if picture.mode == "RGB" and "transparency" not in picture.info:
        return picture
    if picture.mode == "F":
        return picture_from_array(np.asarray(picture), name).convert("RGB")
    if is_sixteen_bit(picture):
        grey = np.asarray(picture)
        if grey.min() < 0 or grey.max() > 65535:
            detail = f"integers from {grey.min()} to {grey.max()}"
            raise InputError(name, found=detail, expected="a picture of 8 or 16 bits")
        levels = np.minimum(grey.astype(np.int64) * 255 // white, 255)
        return Image.fromarray(levels.astype(np.uint8)).convert("RGB")
    if alpha == "white" and (
        picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info
    ):
        layer = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return picture.convert("RGB")


def picture_from_array(source: np.ndarray | Tensor, name: str) -> Image.Image:
    """An array (H, W[, channels]) or tensor (channels, H, W) as a PIL image.

    Raises:
        InputError: another shape, type or range, or values that are not finite.
    """
    array = to_numpy(source)
    if isinstance(source, Tensor) and array.ndim == 3:
        array = array.transpose(1, 2, 0)
    if array.ndim not in (2, 3) or array.size == 0 or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        remedy = "One picture at a time; numpy arrays have their channels last, tensors first."
        raise InputError(name, found=f"shape {tuple(source.shape)}", expected=EXPECTED, remedy=remedy)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    return Image.fromarray(to_eight_bit(array, name))


def to_eight_bit(array: np.ndarray, name: str) -> np.ndarray:
    """uint8 unchanged; floats from 0 to 1 rounded to 8 bits.

    Raises:
        InputError: another type or range, or values that are not finite.
    """
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    if array.dtype == bool:
        return array.astype(np.uint8) * np.uint8(255)
    if array.dtype.kind != "f":
        raise InputError(name, found=f"values of type {array.dtype}", expected=RANGES)
    if not np.isfinite(array).all():
        raise InputError(name, found="values that are NaN or infinite", expected=RANGES)
    low, high = float(array.min()), float(array.max())
    if low < -1e-3 or high > 1 + 1e-3:
        remedy = "Divide by 255, or convert to uint8, if it holds 0 to 255."
        raise InputError(name, found=f"floats from {low:.3g} to {high:.3g}", expected=RANGES, remedy=remedy)
    return (array.clip(0, 1) * 255).round().astype(np.uint8)
