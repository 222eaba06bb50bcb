"""Depth maps to normalized disparity, under named presets.

What the original normalization was is only partly published, so each reading of it is a preset whose
evidence stands beside it.
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
from bindplug.inputs.depthfiles import read_depth
from bindplug.inputs.holes import fill_nearest
from bindplug.inputs.source import check_choice, describe_source
from bindplug.inputs.spatial import IMAGE_SIZE, resize_and_crop
from bindplug.modality import Modality

PRESETS = ("metric", "sun_png", "disparity", "relative")
KINECT_FOCAL_PX, KINECT_WIDTH_PX, KINECT_BASELINE_M = 518.86, 640, 0.075
"""Source: Kinect v1's calibration as SUN RGB-D gives it; baselines as stated by Omnivore's authors, who
also give 0.095 m for RealSense and Xtion."""
NEAREST, FARTHEST = 0.01, 50.0
LARGEST_DISPARITY = 75.0
MEAN, STD = 0.0418, 0.0295
"""Clipping and normalization. Source: Omnivore's authors and code, the chain for SUN RGB-D."""
SUN_PNG_FACTOR = 8.0
"""SUN RGB-D's PNGs hold millimetres rotated left by three bits, and the chain's constants were taken
without undoing that: they fit values eight times the metres."""
RELATIVE_RANGE = (0.0065, 0.1297)
"""Where ``relative`` puts the least and greatest inverse depth, before MEAN and STD: what ``metric`` makes
of 10 m and of 0.5 m with the Kinect's constants. A choice of ours; nobody published one."""
IMPLAUSIBLE_M = 100.0


@dataclass(frozen=True)
class DepthMap:
    """A depth map as read, its holes filled.

    Attributes:
        values: (H, W) float32: metres, or the preset's own unit (see :class:`DepthPreprocess`).
        holes: pixels that were 0, negative, NaN or infinite, and were filled.
        preset: how the values are to be normalized.
        source: what was read.
    """

    values: np.ndarray
    holes: int
    preset: str
    source: str
    focal_px: float
    baseline_m: float

    @property
    def hole_fraction(self) -> float:
        """Filled pixels as a part of all, 0 to 1."""
        return self.holes / self.values.size


class DepthPreprocess(Preprocess):
    """Depth maps to (1, 224, 224).

    A source is a 16-bit picture (PNG or TIFF; millimetres unless ``unit`` says otherwise), a float picture
    (TIFF, PFM, EXR; metres), an ``.npy`` or single-array ``.npz`` file, or an array or tensor (H, W):
    floats in metres, integers with a stated ``unit``. Zeros, negatives, NaN and infinities are holes,
    filled with the nearest measured value.

    Presets, from what is read to disparity d, which is then clamped to 75, divided by 75, resized
    (bilinear, short side 224), center-cropped, less 0.0418 and divided by 0.0295:

    - ``metric``: Z in metres, d = baseline * focal / clip(8 Z, 0.01, 50). The 8 makes metres what the
      constants were taken from, see ``SUN_PNG_FACTOR``.
    - ``sun_png``: SUN RGB-D's PNGs as they are, raw, d = baseline * focal / clip(raw / 1000, 0.01, 50).
    - ``disparity``: d is read as it is, in the pixels of these constants (a stereo rig's are eight times that).
    - ``relative``: inverse depth in any unit, as monocular networks give it (near is large), its least and
      greatest value mapped to those of a room from 10 m to 0.5 m.

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
        unit: str | None = None,
        focal: float | None = None,
        baseline: float = KINECT_BASELINE_M,
    ) -> DepthMap:
        """The depth map of one source, with its holes filled and counted.

        Args:
            source: see the class.
            preset: overrides the constructor's.
            unit: ``"m"``, ``"cm"`` or ``"mm"``; for ``metric`` alone.
            focal: focal length in pixels *of this picture*; by default the Kinect's 518.86 at a width of
                640, scaled to the picture's width.
            baseline: in metres.

        Raises:
            InputError: the source is missing, damaged, of 8 bits or in color, all holes, or an array of
                integers without a unit, or so far that it cannot be in metres.
        """
        preset = self.preset if preset is None else preset
        check_choice("preset", preset, PRESETS)
        if focal is not None and not focal > 0:
            raise OptionError(f"focal={focal}; expected a positive number of pixels")
        if not baseline > 0:
            raise OptionError(f"baseline={baseline}; expected a positive number of metres")
        if unit is not None and preset != "metric":
            raise OptionError(
                f"unit={unit!r} has no meaning for preset {preset!r}; only 'metric' measures lengths"
            )
        name = describe_source(source)
        raw = read_depth(source, name=name, preset=preset, unit=unit)
        values, holes = _fill(raw, name)
        median = float(np.median(values))
        if preset == "metric" and unit is None and median > IMPLAUSIBLE_M:
            found, remedy = f"a median depth of {median:.0f} m", "Say unit='mm' if these are millimetres."
            raise InputError(name, found=found, expected=f"metres, under {IMPLAUSIBLE_M:.0f}", remedy=remedy)
        focal_px = KINECT_FOCAL_PX * values.shape[1] / KINECT_WIDTH_PX if focal is None else float(focal)
        return DepthMap(values, holes, preset, name, focal_px, float(baseline))

    def finish(self, readings: Sequence[DepthMap], device: torch.device | str | None = None) -> list[Tensor]:
        """Normalized disparity, (1, 224, 224) float32 for each reading."""
        size = self.image_size
        planes = [resize_and_crop(_disparity(depth), size, Image.Resampling.BILINEAR) for depth in readings]
        return [to_device(torch.from_numpy((plane - MEAN) / STD)[None], device) for plane in planes]


def _fill(raw: np.ndarray, name: str) -> tuple[np.ndarray, int]:
    """``raw`` (H, W) as float32 with its holes filled, and their number."""
    with np.errstate(invalid="ignore", over="ignore"):
        values = raw.astype(np.float32)
    valid = np.isfinite(values) & (values > 0)
    holes = int(values.size - np.count_nonzero(valid))
    if holes == values.size:
        found = f"no measured pixel (all {holes} are 0, negative, NaN or infinite)"
        raise InputError(name, found=found, expected="a depth map with at least one measured pixel")
    return fill_nearest(values, valid), holes


def _disparity(depth: DepthMap) -> np.ndarray:
    """Disparity over 75, (H, W), before mean and standard deviation."""
    values = depth.values
    if depth.preset == "relative":
        low, high = float(values.min()), float(values.max())
        spread = (values.astype(np.float64) - low) / (high - low) if high > low else np.full_like(values, 0.5)
        return RELATIVE_RANGE[0] + spread * (RELATIVE_RANGE[1] - RELATIVE_RANGE[0])
    if depth.preset != "disparity":
        scale = SUN_PNG_FACTOR if depth.preset == "metric" else 1.0 / 1000.0
        values = (
            depth.baseline_m * depth.focal_px / (np.clip(values, NEAREST / scale, FARTHEST / scale) * scale)
        )
    return np.minimum(values, LARGEST_DISPARITY) / LARGEST_DISPARITY
