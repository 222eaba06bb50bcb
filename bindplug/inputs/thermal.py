"""Thermal pictures and temperature maps to one grey channel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bindplug.errors import InputError, OptionError
from bindplug.inputs.arrayfiles import read_map
from bindplug.inputs.base import Preprocess, to_device
from bindplug.inputs.pictures import is_sixteen_bit, load_pixels, open_picture
from bindplug.inputs.source import check_choice, describe_source, is_file_like, to_numpy
from bindplug.inputs.spatial import (
    IMAGE_SIZE,
    center_crop,
    check_plane,
    resize_and_crop,
    resize_short_side,
)
from bindplug.modality import Modality

PRESETS = ("llvip",)
"""``llvip``: /255 and no normalization. Source: a user's reproduction on LLVIP (62.4 against the paper's
63.4; 55.2 with CLIP's normalization). The official one is unpublished."""
UNITS = ("celsius", "kelvin", "centikelvin", "counts")
POLARITIES = ("white-hot", "black-hot")
KELVIN_AT_ZERO_CELSIUS = 273.15
PERCENTILES = (1.0, 99.0)
EXPECTED = "a grey picture of 8 or 16 bits, a float TIFF, an .npy file, or a temperature array (H, W)"


@dataclass(frozen=True)
class ThermalMap:
    """Heat as read: finished 8-bit grey, or a map of temperatures scaled to 0..1.

    Attributes:
        values: (H, W): uint8 grey levels, or float32 in [0, 1].
        window: what became 0 and 1, in degrees Celsius (raw counts for ``unit="counts"``); ``None`` for
            8-bit grey, whose window the camera chose.
        inverted: whether dark is hot in ``values``.
        source: what was read.
    """

    values: np.ndarray
    window: tuple[float, float] | None
    inverted: bool
    source: str


class ThermalPreprocess(Preprocess):
    """Thermal pictures to (1, 224, 224) in [0, 1], hot is bright.

    A source is a picture (8-bit, color made grey; 16-bit radiometric; float TIFF in degrees Celsius), an
    ``.npy`` file, or an array or tensor (H, W): uint8 grey, floats in degrees Celsius, or integers of more
    bits. 8-bit grey is used as it is; everything else is mapped to 0..1 by a window, ``range`` if given,
    else the picture's own 1st to 99th percentile. For video and series give ``range``: a window that moves
    with each frame would hide that the scene warms up. Then: bicubic, short side 224, center crop.

    Args:
        preset: ``"llvip"``, no further normalization.
        range: lowest and highest temperature in degrees Celsius (in counts for ``unit="counts"``).
        percentiles: the window where no range is given.
        polarity: ``"white-hot"``, or ``"black-hot"`` to invert.
        image_size: side of the output in pixels.
    """

    modality: ClassVar[Modality] = Modality.THERMAL

    def __init__(
        self,
        *,
        preset: str = "llvip",
        range: tuple[float, float] | None = None,
        percentiles: tuple[float, float] = PERCENTILES,
        polarity: str = "white-hot",
        image_size: int = IMAGE_SIZE,
    ) -> None:
        check_choice("preset", preset, PRESETS)
        check_choice("polarity", polarity, POLARITIES)
        _check_window("range", range)
        _check_window("percentiles", percentiles)
        self.range, self.percentiles, self.polarity = range, percentiles, polarity
        self.preset, self.image_size = preset, image_size

    def read(
        self,
        source: object,
        *,
        preset: str | None = None,
        unit: str | None = None,
        range: tuple[float, float] | None = None,
        percentiles: tuple[float, float] | None = None,
        polarity: str | None = None,
    ) -> ThermalMap:
        """Heat from one source, scaled but not yet resized.

        Args:
            source: see the class.
            preset: overrides the constructor's.
            unit: of what is stored, ``"celsius"`` (default for floats), ``"kelvin"``, ``"centikelvin"``
                (Kelvin times 100, as FLIR TIFFs; default for integers of more than 8 bits) or
                ``"counts"`` (of no known temperature).
            range: overrides the constructor's.
            percentiles: overrides the constructor's.
            polarity: overrides the constructor's.

        Raises:
            InputError: the source is missing, damaged, no plane of numbers, holds NaN or infinities, or is
                8-bit grey where a temperature range was asked for.
        """
        window = self.range if range is None else range
        percentiles = self.percentiles if percentiles is None else percentiles
        polarity = self.polarity if polarity is None else polarity
        check_choice("preset", self.preset if preset is None else preset, PRESETS)
        check_choice("polarity", polarity, POLARITIES)
        _check_window("range", window)
        _check_window("percentiles", percentiles)
        if unit is not None:
            check_choice("unit", unit, UNITS)
        name = describe_source(source)
        plane, inverted = _read_plane(source, name), polarity == "black-hot"
        if plane.dtype == np.uint8 and unit is None:
            if window is not None:
                found, remedy = (
                    "8-bit grey levels, which carry no temperature",
                    "Leave range out, or say the unit.",
                )
                raise InputError(
                    name, found=found, expected="temperatures, for range to apply", remedy=remedy
                )
            return ThermalMap(plane, None, inverted, name)
        values = _temperatures(plane, unit, name)
        low, high = window if window is not None else np.percentile(values, percentiles)
        low, high = float(low), float(high)
        scaled = (values - low) / (high - low) if high > low else np.full_like(values, 0.5)
        return ThermalMap(scaled.clip(0, 1).astype(np.float32), (low, high), inverted, name)

    def finish(
        self, readings: Sequence[ThermalMap], device: torch.device | str | None = None
    ) -> list[Tensor]:
        """One grey channel in [0, 1], (1, 224, 224) float32 for each reading."""
        return [to_device(torch.from_numpy(self._finish_one(heat))[None], device) for heat in readings]

    def _finish_one(self, heat: ThermalMap) -> np.ndarray:
        bicubic = Image.Resampling.BICUBIC
        if heat.values.dtype == np.uint8:
            picture = resize_short_side(Image.fromarray(heat.values), self.image_size, bicubic)
            plane = np.asarray(center_crop(picture, self.image_size), dtype=np.float32) / 255
        else:
            plane = resize_and_crop(heat.values, self.image_size, bicubic).clip(0, 1)
        return 1 - plane if heat.inverted else plane


def _check_window(name: str, window: tuple[float, float] | None) -> None:
    if window is not None and not (len(window) == 2 and window[0] < window[1]):
        raise OptionError(f"{name}={window!r}; expected (lower, higher)")


def _read_plane(source: object, name: str) -> np.ndarray:
    """What is stored, (H, W); color pictures as 8-bit grey."""
    if isinstance(source, (np.ndarray, torch.Tensor)):
        return check_plane(to_numpy(source), name, "a thermal map")
    if isinstance(source, Image.Image):
        load_pixels(source, name, EXPECTED)
        picture = source
    elif not is_file_like(source):
        raise InputError(name, found=f"an object of type {type(source).__name__}", expected=EXPECTED)
    else:
        read = read_map(source, EXPECTED, names=("temperature", "thermal"))
        if read is not None:
            return check_plane(read[0], name, "a thermal map")
        picture = open_picture(source, EXPECTED)
    return np.asarray(picture if is_sixteen_bit(picture) or picture.mode == "F" else picture.convert("L"))


def _temperatures(plane: np.ndarray, unit: str | None, name: str) -> np.ndarray:
    """Degrees Celsius (counts as they are), float64."""
    with np.errstate(invalid="ignore"):
        values = plane.astype(np.float64)
    bad = int(values.size - np.isfinite(values).sum())
    if bad:
        found = f"{bad} of {values.size} pixels NaN or infinite"
        raise InputError(name, found=found, expected="a temperature everywhere")
    unit = unit or ("celsius" if plane.dtype.kind == "f" else "centikelvin")
    if unit in ("kelvin", "centikelvin"):
        return values / (100 if unit == "centikelvin" else 1) - KELVIN_AT_ZERO_CELSIUS
    return values
