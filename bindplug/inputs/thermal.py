"""Thermal pictures and temperature maps to one grey channel."""

from __future__ import annotations

import re
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
from bindplug.inputs.flir import is_dji_radiometric, read_radiometric
from bindplug.inputs.holes import fill_nearest
from bindplug.inputs.notes import note
from bindplug.inputs.pictures import Raster, read_orientation, read_raster, upright
from bindplug.inputs.source import check_choice, describe_source, is_file_like, to_numpy
from bindplug.inputs.spatial import (
    IMAGE_SIZE,
    center_crop,
    check_plane,
    check_scaled_size,
    resize_and_crop,
    resize_short_side,
)
from bindplug.modality import Modality

PRESETS = ("llvip",)
"""``llvip``: /255 and no normalization. Source: a user's reproduction on LLVIP (62.4 against the paper's
63.4; 55.2 with CLIP's normalization). The official one is unpublished."""
UNITS = ("celsius", "fahrenheit", "kelvin", "decikelvin", "centikelvin", "counts")
KELVIN_PER = {"kelvin": 1.0, "decikelvin": 0.1, "centikelvin": 0.01}
POLARITIES = ("white-hot", "black-hot")
KELVIN_AT_ZERO_CELSIUS = 273.15
PERCENTILES = (1.0, 99.0)
EXPECTED = (
    "a radiometric FLIR JPEG, a grey picture of 8 or 16 bits, a float TIFF, an .npy, .npz, .mat or .csv file, "
    "or a temperature array (H, W)"
)
WHAT = "a thermal map"
ARRAY_NAMES = ("temperature", "temperatures", "temp", "thermal", "celsius", "temperature_map")
COLOR_SPREAD, COLORED_PART = 16, 0.05
"""Difference of channels from which a pixel is colored (JPEG blurs grey by less), and the part of a picture that
may be: marks and scales that cameras draw on grey pictures are smaller."""
HOTTEST_C, COLDEST_C = 5000.0, -KELVIN_AT_ZERO_CELSIUS
"""Temperatures beyond these are no measurement."""
PLAUSIBLE_C = (-80.0, 1000.0)
KELVIN_LIKE = (230.0, 400.0)
"""Floats of which hardly one is below and the median not above these look like Kelvin."""
_FAHRENHEIT = re.compile(r"fahrenheit|°\s?f\b|[(\[]\s*f\s*[)\]]|\bunits?\b[^\n]*\bf\b", re.IGNORECASE)
"""How the lines above a table of temperatures say their unit."""
NO_DATA_FROM, NO_DATA_VALUES = 1e9, (-9999.0, -10000.0, -32768.0)
NOTABLE_HOLES = 0.1


@dataclass(frozen=True)
class ThermalMap:
    """Heat as read: finished 8-bit grey, or a map of temperatures scaled to 0..1.

    Attributes:
        values: (H, W): uint8 grey levels, or float32 in [0, 1].
        window: what became 0 and 1, in degrees Celsius (raw counts for ``unit="counts"``); ``None`` for
            8-bit grey, whose window the camera chose.
        inverted: whether dark is hot in ``values``.
        source: what was read.
        holes: pixels without a measurement, which were filled with the nearest one and left out of the window.
    """

    values: np.ndarray
    window: tuple[float, float] | None
    inverted: bool
    source: str
    holes: int = 0


@dataclass(frozen=True)
class _Stored:
    """A plane as stored, (H, W); where the file says there is data; its unit, if the file tells it."""

    plane: np.ndarray
    valid: np.ndarray | None = None
    unit: str | None = None


class ThermalPreprocess(Preprocess):
    """Thermal pictures to (1, 224, 224) in [0, 1], hot is bright.

    A source is a radiometric FLIR JPEG or FFF file (its raw record is converted to degrees Celsius with the camera's
    own calibration), a grey picture (8-bit; 16-bit radiometric; float TIFF in degrees Celsius), an ``.npy``,
    ``.npz``, ``.mat`` or text file (``.csv``), or an array or tensor (H, W): uint8 grey, floats in degrees
    Celsius, or integers of more bits. Pictures in false colors are refused: the palette cannot be undone.

    8-bit grey is used as it is; everything else is mapped to 0..1 by a window, ``range`` if given,
    else the map's own 1st to 99th percentile. For video and series give ``range``: a window that moves
    with each frame would hide that the scene warms up. NaN, infinities, no-data values (-9999, a TIFF's GDAL
    value, what is colder than 0 K) are filled with the nearest measurement and left out of the window.
    Then: bicubic, short side 224, center crop.

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
        unit: str | float | None = None,
        range: tuple[float, float] | None = None,
        percentiles: tuple[float, float] | None = None,
        polarity: str | None = None,
        channel: str | None = None,
        exif: bool = True,
    ) -> ThermalMap:
        """Heat from one source, scaled but not yet resized.

        Args:
            source: see the class.
            preset: overrides the constructor's.
            unit: of what is stored: ``"celsius"`` (default for floats), ``"fahrenheit"``, ``"kelvin"``,
                ``"decikelvin"``, ``"centikelvin"`` (Kelvin times 100, as FLIR TIFFs; default for integers of more
                than 8 bits), kelvin a count as a number (0.04), or ``"counts"`` (of no known temperature).
            range: overrides the constructor's.
            percentiles: overrides the constructor's.
            polarity: overrides the constructor's.
            channel: name of the array in a file of several.
            exif: whether to turn pictures as their EXIF orientation says.

        Raises:
            InputError: the source is missing, damaged, in false colors, no plane of numbers, without a measurement,
                8-bit grey where a temperature range was asked for, or its values show that they are not in the
                unit they would be taken for.
            OptionError: an option has a value that it does not take.
            MissingDependency: the file, or filling its holes, needs a package of the extra ``depth``.
        """
        window = self.range if range is None else range
        percentiles = self.percentiles if percentiles is None else percentiles
        polarity = self.polarity if polarity is None else polarity
        check_choice("preset", self.preset if preset is None else preset, PRESETS)
        check_choice("polarity", polarity, POLARITIES)
        _check_window("range", window)
        _check_window("percentiles", percentiles)
        _check_unit(unit)
        name = describe_source(source)
        raw, inverted = _read_stored(source, name, unit, channel, exif), polarity == "black-hot"
        plane = raw.plane
        check_scaled_size(plane.shape[1], plane.shape[0], self.image_size, name)
        if plane.dtype == np.uint8 and unit is None:
            if window is not None:
                detail, remedy = (
                    "8-bit grey levels, which carry no temperature",
                    "Leave range out, or say the unit.",
                )
                raise InputError(
                    name, found=detail, expected="temperatures, for range to apply", remedy=remedy
                )
            return ThermalMap(plane, None, inverted, name)
        values, holes = _temperatures(raw, unit, window, name)
        low, high = window if window is not None else np.percentile(values[~holes], percentiles)
        low, high = float(low), float(high)
        if window is not None and (values.max() <= low or values.min() >= high):
            note(
                f"all of {values.min():.4g} to {values.max():.4g} is outside range={window}; are they in another unit? "
                "Then say unit="
            )
        if holes.any():
            values = fill_nearest(values, ~holes, "bindplug.inputs.thermal")
        scaled = (values - low) / (high - low) if high > low else np.full_like(values, 0.5)
        return ThermalMap(
            scaled.clip(0, 1).astype(np.float32), (low, high), inverted, name, int(np.count_nonzero(holes))
        )

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
    if window is None:
        return
    numbers = isinstance(window, (tuple, list)) and all(isinstance(end, (int, float)) for end in window)
    if not (numbers and len(window) == 2 and window[0] < window[1]):
        raise OptionError(f"{name}={window!r}; expected (lower, higher)")


def _check_unit(unit: str | float | None) -> None:
    if isinstance(unit, (int, float)) and not isinstance(unit, bool):
        if not 0 < unit < float("inf"):
            raise OptionError(f"unit={unit}; expected a positive number of kelvin a count")
    elif unit is not None:
        check_choice("unit", unit, UNITS)


def _read_stored(
    source: object, name: str, unit: str | float | None, channel: str | None, exif: bool
) -> _Stored:
    """What is stored, (H, W)."""
    if isinstance(source, (np.ndarray, torch.Tensor)):
        return _Stored(check_plane(to_numpy(source), name, WHAT))
    if not isinstance(source, Image.Image):
        if not is_file_like(source):
            raise InputError(name, found=f"an object of type {type(source).__name__}", expected=EXPECTED)
        celsius = read_radiometric(source)
        if celsius is not None:
            if unit not in (None, "celsius"):
                detail, remedy = "a radiometric FLIR file, read in degrees Celsius", "Leave unit out."
                raise InputError(name, found=detail, expected=f"values in {unit!r}", remedy=remedy)
            pixels = upright(celsius, read_orientation(source)) if exif else celsius
            return _Stored(pixels, unit="celsius")
        content = read_map(source, EXPECTED, names=ARRAY_NAMES, array=channel)
        if content is not None:
            values, heading = content
            if unit is None and _FAHRENHEIT.search(heading):
                detail = "a heading that says Fahrenheit"
                raise InputError(
                    name, found=detail, expected="a stated unit", remedy="Say unit='fahrenheit'."
                )
            return _Stored(check_plane(values, name, WHAT))
    raster = read_raster(source, EXPECTED, exif=exif)
    grey = _grey(raster, source, name)
    return _Stored(check_plane(grey, name, WHAT), raster.valid if grey.dtype != np.uint8 else None)


def _grey(raster: Raster, source: object, name: str) -> np.ndarray:
    """The plane of a picture whose channels are equal, but for JPEG's blur and small colored marks.

    Raises:
        InputError: it is in color.
    """
    is_dji = is_file_like(source) and is_dji_radiometric(source)
    sdk = "convert it with DJI's Thermal SDK to a float TIFF in degrees Celsius"
    grey = raster.grey()
    if grey is None:
        values = raster.values.astype(np.int32)
        spread = values.max(axis=2) - values.min(axis=2)
        colored = np.count_nonzero(spread > COLOR_SPREAD * (257 if raster.values.dtype == np.uint16 else 1))
        if colored > COLORED_PART * spread.size:
            share = f"{colored / spread.size:.0%} of its pixels"
            detail = f"a picture in false colors ({share}); a palette cannot be undone"
            remedy = "Export it radiometric (16-bit or float TIFF, CSV) or with the white-hot palette."
            if is_dji:
                remedy = f"It also holds DJI's raw data: {sdk}."
            raise InputError(name, found=detail, expected=EXPECTED, remedy=remedy)
        if raster.values.dtype == np.uint16:
            return raster.values[..., 0]
        grey = np.asarray(Image.fromarray(raster.values.astype(np.uint8)).convert("L"))
    if is_dji:
        note(f"its grey levels were read, not DJI's raw data; for temperatures, {sdk}")
    return grey


def _temperatures(
    raw: _Stored, unit: str | float | None, window: tuple[float, float] | None, name: str
) -> tuple[np.ndarray, np.ndarray]:
    """Degrees Celsius (counts as they are), float64, and which pixels hold no measurement, (H, W) bool."""
    plane = raw.plane
    with np.errstate(invalid="ignore"):
        values = plane.astype(np.float64)
        holes = ~np.isfinite(values) | (np.abs(values) >= NO_DATA_FROM) | np.isin(values, NO_DATA_VALUES)
    if raw.valid is not None:
        holes |= ~raw.valid
    unit_name = unit or raw.unit or ("celsius" if plane.dtype.kind == "f" else "centikelvin")
    if unit_name != "counts":
        if plane.dtype.kind in "iu":
            holes |= (plane == 0) | (plane == np.iinfo(plane.dtype).max)
        if unit is None and raw.unit is None:
            _check_plausible(values[~holes], unit_name, window, name)
        values = _to_celsius(values, unit_name)
        with np.errstate(invalid="ignore"):
            holes |= (values <= COLDEST_C) | (values > HOTTEST_C)
    holes |= _isolated(values, holes)
    count = int(np.count_nonzero(holes))
    if count == values.size:
        detail = f"{count} of {values.size} pixels NaN, infinite or no data"
        raise InputError(name, found=detail, expected="a temperature")
    if count > NOTABLE_HOLES * values.size:
        note(
            f"{count / values.size:.0%} of the pixels hold no measurement and were filled with the nearest one"
        )
    return values, holes


def _to_celsius(values: np.ndarray, unit: str | float) -> np.ndarray:
    if unit == "celsius":
        return values
    if unit == "fahrenheit":
        return (values - 32) / 1.8
    scale = KELVIN_PER[unit] if isinstance(unit, str) else float(unit)
    return values * scale - KELVIN_AT_ZERO_CELSIUS


def _isolated(values: np.ndarray, holes: np.ndarray) -> np.ndarray:
    """Pixels of a lowest value so far below all others that it stands for "no data"."""
    measurements = values[~holes]
    if not measurements.size:
        return np.zeros_like(holes)
    lowest = measurements.min()
    others = measurements[measurements > lowest]
    if others.size < 2 or others.min() - lowest <= 4 * np.ptp(others) or np.ptp(others) == 0:
        return np.zeros_like(holes)
    part = 1 - others.size / measurements.size
    note(f"{part:.1%} of the pixels are {lowest:g}, far below all others, and taken as no data")
    return (values == lowest) & ~holes


def _check_plausible(
    measurements: np.ndarray, unit: str | float, window: tuple[float, float] | None, name: str
) -> None:
    """Doubt a unit that was not stated; the window in degrees depends on it, that of percentiles does not.

    Raises:
        InputError: values that cannot be in it and a range in degrees Celsius, or floats far above all heat.
    """
    if not measurements.size:
        return
    celsius = _to_celsius(measurements, unit)
    lowest, median = float(np.percentile(celsius, 5)), float(np.median(celsius))
    detail = remedy = ""
    if unit == "celsius" and median > PLAUSIBLE_C[1]:
        remedy = "Say unit='centikelvin' if they are, or unit='counts'."
        detail = f"floats with a median of {median:.4g}, taken as degrees Celsius"
        raise InputError(name, found=detail, expected="degrees Celsius, or a stated unit", remedy=remedy)
    within = window is not None and window[0] <= median <= window[1]
    if unit == "celsius" and lowest > KELVIN_LIKE[0] and median < KELVIN_LIKE[1] and not within:
        detail = f"floats from {measurements.min():.4g} to {measurements.max():.4g}, which look like Kelvin"
        remedy = "Say unit='kelvin', or unit='celsius' if that is right."
    elif unit == "celsius" and measurements.min() >= 0 and measurements.max() <= 1 and window is not None:
        detail = "floats from 0 to 1, which look normalized"
        remedy = "Say unit='counts' with a range of counts, or leave range out."
    elif unit == "centikelvin" and (lowest < PLAUSIBLE_C[0] or median > PLAUSIBLE_C[1]):
        least, most = measurements.min(), measurements.max()
        detail = f"integers from {least:.0f} to {most:.0f}, which are no hundredths of a kelvin"
        remedy = "Say unit='counts', or kelvin a count as a number (0.04); or convert them to °C as floats."
    if detail and window is not None:
        raise InputError(name, found=detail, expected="values to which range applies", remedy=remedy)
    if detail:
        note(f"{detail}; only the reported window depends on it. {remedy}")
