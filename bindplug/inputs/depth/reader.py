"""Depth maps to normalized disparity, under named presets.

The original normalization is published in parts, so each reading of it is a preset with its evidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bindplug.errors import InputError, OptionError
from bindplug.inputs.base import Preprocess, to_device
from bindplug.inputs.depth.files import StoredDepth, read_mask, read_stored
from bindplug.inputs.depth.plausibility import (
    CAMERA_RANGE_M,
    SUN_REMEDY,
    check_floats,
    check_integers,
    looks_rotated,
    median_of,
    note_unlike_sun,
)
from bindplug.inputs.depth.units import DepthUnit, is_positive, parse_unit
from bindplug.inputs.holes import fill_nearest
from bindplug.inputs.notes import note
from bindplug.inputs.source import check_choice, describe_source
from bindplug.inputs.spatial import IMAGE_SIZE, check_scaled_size, resize_and_crop
from bindplug.modality import Modality

PRESETS = ("metric", "sun_png", "sun_restored", "disparity", "relative")
METRIC_PRESETS = ("metric", "sun_restored")
KINECT_FOCAL_PX, KINECT_WIDTH_PX, KINECT_BASELINE_M = 518.86, 640, 0.075
"""Source: Kinect v1's calibration as SUN RGB-D gives it; baselines as stated by Omnivore's authors, who
also give 0.095 m for RealSense and Xtion."""
NEAREST, FARTHEST = 0.01, 50.0
LARGEST_DISPARITY = 75.0
MEAN, STD = 0.0418, 0.0295
"""Clipping and normalization. Source: Omnivore's authors and code, the chain for SUN RGB-D. On restored metres it
is (D - 25.08) / 17.7 of the disparity D in pixels."""
SUN_PNG_FACTOR = 8.0
"""SUN RGB-D's PNGs hold millimetres rotated left by three bits, and the chain's constants were taken
without undoing that: they fit values eight times the metres."""
RESTORED_CAP_M, RESTORED_MEAN_PX, RESTORED_STD_PX = 8.0, 24.82, 14.40
"""The chain of ``sun_restored``. Source: a user's reproduction of the paper's 35 % on SUN RGB-D's depth (ImageBind's
issue 134): bits restored, metres capped at 8, disparity in pixels, standardized by the data set's own figures."""
RELATIVE_RANGE = (0.0065, 0.1297)
"""Where ``relative`` puts the least and greatest inverse depth, before MEAN and STD: what ``metric`` makes
of 10 m and of 0.5 m with the Kinect's constants. A choice of ours; nobody published one."""
NO_DATA_FROM = 1e9
"""Floats from here on are backgrounds (Blender writes 1e10), in any unit."""
NO_DATA_FROM_M = 1e4
"""Metres from here on are no measurement."""
NO_DATA_FLOATS = (-9999.0, 65535.0)
LARGEST_HALF = 65504.0
NOTABLE_HOLES = 0.1
"""Part of a map that has to be without measurement to be noted."""


@dataclass(frozen=True)
class DepthMap:
    """A depth map as read, its holes filled.

    Attributes:
        values: (H, W) float32: metres, or the preset's own unit (see :class:`DepthPreprocess`).
        holes: pixels without a measurement, which were filled.
        preset: how the values are to be normalized.
        source: what was read.
        focal_px, baseline_m: of the camera that the disparity is computed for.
        cap_m: depth beyond it counts as this far, in metres.
    """

    values: np.ndarray
    holes: int
    preset: str
    source: str
    focal_px: float
    baseline_m: float
    cap_m: float

    @property
    def hole_fraction(self) -> float:
        """Filled pixels as a part of all, 0 to 1."""
        return self.holes / self.values.size


class DepthPreprocess(Preprocess):
    """Depth maps to (1, 224, 224).

    A source is a 16-bit picture (PNG, TIFF, PGM; also with three equal channels or alpha), a float picture (TIFF,
    PFM, EXR, Sintel's DPT), an ``.npy``, ``.npz`` or ``.mat`` file, a text file of numbers (``.csv``, ``.txt``), or an
    array or tensor (H, W). Without ``unit``, floats are metres and the integers of pictures millimetres, as long as
    the values allow that: what cannot be is refused with the option that reads it, and what is doubtful is noted.
    Integer arrays need a ``unit``.

    Holes are 0, negatives, NaN, infinities, transparent pixels, a TIFF's GDAL no-data value, the largest value of
    an integer type, 65535, and floats from 1e9 (from 65504 in half floats) or 10 km. They are filled with the nearest
    measured value (needs the extra ``depth``) and counted. For ``relative``, 0 and 65535 are values like others.

    Presets, from what is read to disparity d, which is then clamped to 75, divided by 75, resized
    (bilinear, short side 224), center-cropped, less 0.0418 and divided by 0.0295:

    - ``metric``: Z in metres, d = baseline * focal / clip(8 Z, 0.01, 50). The 8 makes metres what the
      constants were taken from, see ``SUN_PNG_FACTOR``. The upper bound is 6.25 m; ``cap`` sets another.
    - ``sun_png``: SUN RGB-D's PNGs as they are, raw, d = baseline * focal / clip(raw / 1000, 0.01, 50).
    - ``disparity``: d is read as it is, in the pixels of these constants (a stereo rig's are eight times that).
    - ``relative``: inverse depth in any unit, as monocular networks give it (near is large), its least and
      greatest value mapped to those of a room from 10 m to 0.5 m.

    One preset has a chain of its own:

    - ``sun_restored``: SUN RGB-D's PNGs with their bits restored, or metres. Capped at 8 m, d = baseline * focal / Z
      in pixels, less 24.82 and divided by 14.40.

    Args:
        preset: one of the above; ``metric`` by default.
        image_size: side of the output in pixels.
    """

    modality: ClassVar[Modality] = Modality.DEPTH

    def __init__(self, *, preset: str = "metric", image_size: int = IMAGE_SIZE) -> None:
        check_choice("preset", preset, PRESETS)
        self.preset, self.image_size = preset, image_size

    def read(
        self,
        source: object,
        *,
        preset: str | None = None,
        unit: str | float | None = None,
        focal: float | None = None,
        baseline: float = KINECT_BASELINE_M,
        cap: float | None = None,
        channel: str | None = None,
        mask: object = None,
        exif: bool = True,
    ) -> DepthMap:
        """The depth map of one source, with its holes filled and counted.

        Args:
            source: see the class.
            preset: overrides the constructor's.
            unit: of what is stored: ``"m"``, ``"cm"``, ``"mm"``, metres a count as a number (0.0001), or the name
                of a convention (``"kitti"``, ``"tum"``, ``"sun"``, ``"realsense(0.00025)"``, ...; see
                :data:`bindplug.inputs.depth.CONVENTIONS`). For ``metric`` and ``sun_restored``.
            focal: focal length in pixels *of this picture*; by default the Kinect's 518.86 at a width of
                640, scaled to the picture's width.
            baseline: in metres.
            cap: depth beyond it counts as this far, in metres; by default 6.25, and 8 for ``sun_restored``.
            channel: the EXR channel, or the array of a file with several, that holds the depth.
            mask: pixels to use, where it is not 0: an array (H, W), or an array file or picture.
            exif: whether to turn pictures as their EXIF orientation says.

        Raises:
            InputError: the source is missing, damaged, of 8 bits or in color, all holes, an array of integers
                without a unit, or its values show that they are not in the unit they would be taken for.
            OptionError: an option has a value that it does not take.
            MissingDependency: the file, or filling its holes, needs a package of the extra ``depth``.
        """
        preset = self.preset if preset is None else preset
        check_choice("preset", preset, PRESETS)
        for option, number in (("focal", focal), ("baseline", baseline), ("cap", cap)):
            if number is not None and not is_positive(number):
                raise OptionError(f"{option}={number!r}; expected a positive number")
        if unit is not None and preset not in METRIC_PRESETS:
            raise OptionError(
                f"unit={unit!r} has no meaning for preset {preset!r}; only 'metric' measures lengths"
            )
        if cap is not None and preset in ("disparity", "relative"):
            raise OptionError(f"cap={cap!r} has no meaning for preset {preset!r}, which holds no lengths")
        depth_unit = None if unit is None else parse_unit(unit)
        name = describe_source(source)
        raw = read_stored(source, name=name, preset=preset, channel=channel, exif=exif)
        valid = _is_measured(raw, preset)
        if mask is not None:
            valid &= read_mask(mask, raw.values.shape, name)
        is_stated = depth_unit is not None
        if preset in METRIC_PRESETS:
            depth_unit = depth_unit or _default_unit(raw, valid, preset, name, source)
            values = depth_unit.to_metres(raw.values, focal)
            with np.errstate(invalid="ignore"):
                valid &= values < NO_DATA_FROM_M
        else:
            values = raw.values.astype(np.float32)
        if preset == "sun_png":
            note_unlike_sun(raw.values, valid)
        values, holes = _fill(values, valid, raw.values, name)
        check_scaled_size(values.shape[1], values.shape[0], self.image_size, name)
        cap_m = float(cap or (RESTORED_CAP_M if preset == "sun_restored" else FARTHEST / SUN_PNG_FACTOR))
        if preset in METRIC_PRESETS and median_of(values) > max(cap_m, CAMERA_RANGE_M[1]):
            doubt = "" if is_stated else ", unit= says if it is in no metres"
            note(
                f"more than half of the map is beyond {cap_m:g} m, where preset {preset!r} ends; cap= moves that{doubt}"
            )
        focal_px = KINECT_FOCAL_PX * values.shape[1] / KINECT_WIDTH_PX if focal is None else float(focal)
        return DepthMap(values, holes, preset, name, focal_px, float(baseline), cap_m)

    def finish(self, readings: Sequence[DepthMap], device: torch.device | str | None = None) -> list[Tensor]:
        """Normalized disparity, (1, 224, 224) float32 for each reading."""
        planes = []
        for depth in readings:
            plane = resize_and_crop(_disparity(depth), self.image_size, Image.Resampling.BILINEAR)
            restored = depth.preset == "sun_restored"
            mean, std = (RESTORED_MEAN_PX, RESTORED_STD_PX) if restored else (MEAN, STD)
            planes.append(to_device(torch.from_numpy((plane - mean) / std)[None], device))
        return planes


def _is_measured(raw: StoredDepth, preset: str) -> np.ndarray:
    """Where there is a measurement, (H, W) bool."""
    values = raw.values
    if values.dtype.kind == "f":
        limit = LARGEST_HALF if values.dtype == np.float16 else NO_DATA_FROM
        values = values.astype(np.float32) if values.dtype == np.float16 else values
        with np.errstate(invalid="ignore"):
            valid = np.isfinite(values) & (np.abs(values) < limit) & (values != NO_DATA_FLOATS[0])
            if preset != "relative":
                valid &= (values > 0) & (values != NO_DATA_FLOATS[1])
    elif preset == "relative":
        valid = values != NO_DATA_FLOATS[0]
    else:
        valid = (values > 0) & (values != np.iinfo(values.dtype).max) & (values != NO_DATA_FLOATS[1])
    return valid if raw.valid is None else valid & raw.valid


def _default_unit(raw: StoredDepth, valid: np.ndarray, preset: str, name: str, source: object) -> DepthUnit:
    """The unit where none was stated: metres for floats, millimetres for the integers of pictures.

    Raises:
        InputError: the values cannot be in it, or they are integers of an array.
    """
    if preset == "sun_restored" and raw.values.dtype.kind in "iu":
        if looks_rotated(raw.values, valid) is False:
            detail = "16-bit values that are not SUN RGB-D's rotated bits"
            remedy = "Say unit='mm' if they were restored."
            raise InputError(name, found=detail, expected="a PNG as SUN RGB-D stores it", remedy=remedy)
        return parse_unit("sun")
    if raw.unit is not None:
        return parse_unit(raw.unit)
    if raw.values.dtype.kind == "f":
        check_floats(raw.values, valid, name, source, raw.form, raw.array)
        return parse_unit("m")
    if not raw.is_picture:
        if looks_rotated(raw.values, valid):
            detail = f"integers ({raw.values.dtype}) whose bits are rotated left by three"
            raise InputError(name, found=detail, expected="metres as floats, or a unit", remedy=SUN_REMEDY)
        detail = f"integers ({raw.values.dtype}) without a unit"
        remedy = "Say unit='mm', 'cm', 'm', or metres a count as a number."
        raise InputError(name, found=detail, expected="metres as floats, or a unit", remedy=remedy)
    check_integers(raw.values, valid, name, source)
    return parse_unit("mm")


def _fill(values: np.ndarray, valid: np.ndarray, raw: np.ndarray, name: str) -> tuple[np.ndarray, int]:
    """``values`` (H, W) float32 with its holes filled, and their number."""
    holes = int(valid.size - np.count_nonzero(valid))
    if holes == valid.size:
        detail = f"no measured pixel (all {holes} are 0, negative, NaN, infinite or no data)"
        negative = raw.dtype.kind == "f" and bool((raw[np.isfinite(raw)] < 0).any())
        remedy = "Negate z-coordinates of a camera that looks along -z." if negative else ""
        raise InputError(
            name, found=detail, expected="a depth map with at least one measured pixel", remedy=remedy
        )
    if holes > NOTABLE_HOLES * valid.size:
        note(
            f"{holes / valid.size:.0%} of the pixels hold no measurement and were filled with the nearest one"
        )
    return fill_nearest(values, valid), holes


def _disparity(depth: DepthMap) -> np.ndarray:
    """Disparity over 75, (H, W), before mean and standard deviation; for ``sun_restored`` in pixels."""
    values = depth.values
    if depth.preset == "relative":
        low, high = float(values.min()), float(values.max())
        spread = (values.astype(np.float64) - low) / (high - low) if high > low else np.full_like(values, 0.5)
        return RELATIVE_RANGE[0] + spread * (RELATIVE_RANGE[1] - RELATIVE_RANGE[0])
    if depth.preset == "disparity":
        return np.minimum(values, LARGEST_DISPARITY) / LARGEST_DISPARITY
    # Scale from what was read to the metres that the constants were taken from.
    factor = 1.0 if depth.preset == "sun_restored" else SUN_PNG_FACTOR
    scale = 1 / 1000 if depth.preset == "sun_png" else factor
    nearest, farthest = NEAREST * factor / SUN_PNG_FACTOR, depth.cap_m * factor
    disparity = (
        depth.baseline_m * depth.focal_px / (np.clip(values, nearest / scale, farthest / scale) * scale)
    )
    if depth.preset == "sun_restored":
        return np.minimum(disparity, LARGEST_DISPARITY * SUN_PNG_FACTOR)
    return np.minimum(disparity, LARGEST_DISPARITY) / LARGEST_DISPARITY
