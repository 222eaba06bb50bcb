"""Units of stored depth: lengths, metres per count, and the conventions of sensors and data sets by name."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from bindplug.errors import OptionError

METRES_PER = {"m": 1.0, "cm": 0.01, "mm": 0.001}


@dataclass(frozen=True)
class Convention:
    """How one sensor or data set stores depth.

    Attributes:
        metres_per_count: length of a stored 1.
        origin: where this is documented.
        rotated: whether the 16 bits were rotated left by three.
        ray_focal_per_width: for distances along the ray instead of along the optical axis, the focal length
            as a part of the picture's width; None for depth along the axis.
    """

    metres_per_count: float
    origin: str
    rotated: bool = False
    ray_focal_per_width: float | None = None


CONVENTIONS = {
    "kitti": Convention(1 / 256, "KITTI depth development kit: uint16 / 256"),
    "vkitti": Convention(0.01, "Virtual KITTI 2: uint16 in centimetres, 65535 is the sky"),
    "tum": Convention(1 / 5000, "TUM RGB-D file formats: 5000 counts a metre"),
    "icl_nuim": Convention(1 / 5000, "ICL-NUIM, in TUM's format"),
    "scannet": Convention(0.001, "ScanNet: uint16 in millimetres"),
    "seven_scenes": Convention(0.001, "Microsoft 7-Scenes: millimetres, 65535 is invalid"),
    "sun": Convention(0.001, "SUNRGBDtoolbox: millimetres, bits rotated left by three", rotated=True),
    "sun3d": Convention(0.001, "SUN3D, as SUN RGB-D", rotated=True),
    "matterport": Convention(1 / 4000, "Matterport3D data organization: 0.25 mm a count"),
    "replica": Convention(1 / 6553.5, "Replica as rendered for NICE-SLAM: 6553.5 counts a metre"),
    "taskonomy": Convention(1 / 512, "Taskonomy and Gibson: 512 counts a metre, 65535 is invalid"),
    "ycb_video": Convention(1 / 10000, "YCB-Video: factor_depth 10000"),
    "hypersim": Convention(
        1.0,
        "Hypersim: metres along the ray; focal length 886.81 px at 1024",
        ray_focal_per_width=886.81 / 1024,
    ),
    "realsense": Convention(0.001, "librealsense: rs2_get_depth_scale, 0.001 unless changed"),
    "realsense_l515": Convention(0.00025, "librealsense: scale of the L515"),
    "realsense_d405": Convention(0.0001, "librealsense: scale of the D405"),
    "azure_kinect": Convention(0.001, "Azure Kinect sensor SDK: K4A_IMAGE_FORMAT_DEPTH16, millimetres"),
    "unreal": Convention(0.01, "Unreal Engine: one unit is a centimetre"),
}
"""Conventions that ``unit=`` takes by name."""


@dataclass(frozen=True)
class DepthUnit:
    """A unit of stored depth, ready to be applied.

    Attributes:
        name: as the caller wrote it.
        metres_per_count: length of a stored 1.
        rotated, ray_focal_per_width: see :class:`Convention`.
    """

    name: str
    metres_per_count: float
    rotated: bool = False
    ray_focal_per_width: float | None = None

    def to_metres(self, raw: np.ndarray, focal: float | None = None) -> np.ndarray:
        """``raw`` (H, W) as metres along the optical axis, float32.

        Args:
            raw: integers or floats as stored.
            focal: focal length in pixels for distances along the ray; by default the convention's.
        """
        if self.rotated and raw.dtype.kind in "iu":
            raw = restore_rotated_bits(raw)
        if self.metres_per_count == 1 and self.ray_focal_per_width is None:
            with np.errstate(over="ignore", invalid="ignore"):
                return raw.astype(np.float32)
        with np.errstate(over="ignore", invalid="ignore"):
            metres = raw.astype(np.float64) * self.metres_per_count
            if self.ray_focal_per_width is not None:
                metres = _along_axis(metres, focal or self.ray_focal_per_width * metres.shape[1])
            return metres.astype(np.float32)


def parse_unit(unit: str | float) -> DepthUnit:
    """The unit that an option names.

    Args:
        unit: ``"m"``, ``"cm"``, ``"mm"``, a number of metres a count (also as text), a name of
            :data:`CONVENTIONS`, or ``"realsense(0.00025)"`` with the device's own depth scale.

    Raises:
        OptionError: it is none of these.
    """
    if isinstance(unit, (int, float)) and not isinstance(unit, bool):
        return _of_scale(str(unit), float(unit))
    if isinstance(unit, str):
        text = unit.strip().lower().replace("-", "_")
        if text in METRES_PER:
            return DepthUnit(text, METRES_PER[text])
        if text in CONVENTIONS:
            convention = CONVENTIONS[text]
            return DepthUnit(
                text, convention.metres_per_count, convention.rotated, convention.ray_focal_per_width
            )
        match = re.fullmatch(r"(?:realsense)?\s*\(?\s*([0-9.]+(?:e[-+]?[0-9]+)?)\s*\)?", text)
        if match:
            try:
                return _of_scale(text, float(match[1]))
            except ValueError:
                pass
    names = ", ".join(map(repr, [*METRES_PER, *CONVENTIONS]))
    raise OptionError(
        f"unit={unit!r}; expected metres a count as a number, 'realsense(SCALE)', or one of {names}"
    )


def restore_rotated_bits(raw: np.ndarray) -> np.ndarray:
    """16-bit values whose bits were rotated left by three, rotated back."""
    counts = raw.astype(np.uint16)
    return (counts >> 3) | (counts << 13)


def is_positive(number: object) -> bool:
    """Whether ``number`` is a finite number above 0 (and no bool)."""
    return isinstance(number, (int, float)) and not isinstance(number, bool) and 0 < number < float("inf")


def _of_scale(name: str, metres: float) -> DepthUnit:
    if not is_positive(metres):
        raise OptionError(f"unit={name}; expected a positive number of metres a count")
    return DepthUnit(name, metres)


def _along_axis(distance: np.ndarray, focal: float) -> np.ndarray:
    """Distances along rays (H, W) to depth along the optical axis, the principal point in the middle."""
    height, width = distance.shape
    across = (np.arange(width) - (width - 1) / 2) / focal
    down = (np.arange(height) - (height - 1) / 2) / focal
    return distance / np.sqrt(1 + across[None, :] ** 2 + down[:, None] ** 2)
