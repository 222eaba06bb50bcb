"""Recognizes stored depth that is not in the unit it would be taken for.

Every check applies only where the caller stated no unit. What is certain is refused with the option that reads
it; what is only doubtful is noted.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np

from bindplug.errors import InputError
from bindplug.inputs.depth.units import CONVENTIONS
from bindplug.inputs.notes import note
from bindplug.inputs.source import is_file_like

MOST_FOR_MEDIAN = 1 << 20
FEWEST_LEVELS = 16
"""Distinct values from which a pattern in all of them is no accident: a flat map has few and shows none."""
SIXTEEN_BIT = 65536
CAMERA_RANGE_M = (0.1, 12.0)
"""Medians that depth cameras give: structured light and time of flight measure from about 0.1 to 10 m, and stereo
cameras have a scene's median there too."""
WITHIN_M = 1.0
"""Maps that lie within it are normalized, inverse or in centimetres as often as pictures of what is near."""
NEAREST_COUNTS, FEW_TINY = 40, 1e-3
"""Millimetres that no depth camera measures (the nearest, RealSense's D405, begins at 70), and the part that may be."""
FULL_SCALES = (*(2**bits - 1 for bits in range(10, 16)), 1000, 10_000, 50_000)
CUT_OFF_FROM, CUT_OFF_PERCENTILE = 20_000, 80
"""Where depth is cut off at 65535, what lies beside is beyond the reach of cameras, and among a map's largest."""
IMPLAUSIBLE_M = 100.0
PFM_IMPLAUSIBLE_M = 10.0
"""PFM holds disparities of stereo data sets and inverse depth of networks as often as metres."""
SPARSE = 0.3
"""Part of a map that depth cameras measure at least; a laser scanner's points cover less."""
KITTI_SIZES = frozenset(((1242, 375), (1241, 376), (1238, 374), (1226, 370), (1224, 370), (1216, 352)))
DISPARITY_WORDS = frozenset(
    ("disp", "disp0", "disp1", "disps", "disparity", "disparities", "inverse", "inv", "invdepth", "idepth")
)
RELATIVE_REMEDY = "If it is a monocular network's output, say preset='relative'; if it is lengths, say unit="
SUN_REMEDY = (
    "Say preset='sun_png' for SUN RGB-D, or unit='sun' to restore the bits; "
    "unit='mm' if they are plain millimetres."
)


def check_integers(raw: np.ndarray, valid: np.ndarray, name: str, source: object) -> None:
    """Check integers that are about to be taken as millimetres.

    Args:
        raw: (H, W), integers as stored.
        valid: (H, W) bool, where there is a measurement.
        name: of the source.
        source: the source itself, whose path may name a convention.

    Raises:
        InputError: the values show that they are no millimetres.
    """
    expected = "millimetres, or a stated unit"
    _check_path(source, name, expected)
    measurements = raw[valid]
    if not measurements.size:
        return
    _check_saturation(raw, valid, name, expected)
    if measurements.max() < SIXTEEN_BIT:
        histogram = np.bincount(measurements.astype(np.int64), minlength=SIXTEEN_BIT)
        found, remedy = _pattern(histogram)
        if found:
            raise InputError(name, found=found, expected=expected, remedy=remedy)
    if measurements.size < SPARSE * raw.size:
        part = measurements.size / raw.size
        note(
            f"{part:.0%} of the pixels are measured, as few as in a laser scanner's map (KITTI), and taken as "
            "millimetres; say unit='kitti' or 'mm'"
        )
    if tuple(raw.shape[::-1]) in KITTI_SIZES:
        note("a picture of KITTI's size taken as millimetres; say unit='kitti', 'vkitti' or 'mm'")
    median = median_of(measurements) / 1000
    if median > IMPLAUSIBLE_M:
        found, remedy = f"a median depth of {median:.0f} m if these integers are millimetres", "Say unit=."
        raise InputError(name, found=found, expected=expected, remedy=remedy)
    low, high = CAMERA_RANGE_M
    if np.percentile(measurements[:: max(1, measurements.size // MOST_FOR_MEDIAN)], 99) <= WITHIN_M * 1000:
        note(
            f"a median depth of {median:.3g} m and all within {WITHIN_M:g} m if these integers are millimetres; say "
            "unit='cm' or another if they are not, preset='relative' if they are inverse depth, or unit='mm'"
        )
    elif not low <= median <= high:
        text = f"a median depth of {median:.3g} m, which depth cameras do not give; integers are taken as millimetres"
        note(f"{text}, say unit= (metres a count, 'cm', 'tum', 'kitti', ...) or unit='mm'")


def check_floats(
    values: np.ndarray, valid: np.ndarray, name: str, source: object, form: str, array: str = ""
) -> None:
    """Check floats that are about to be taken as metres.

    Args:
        values, valid, name, source: as in :func:`check_integers`.
        form: Pillow's name of the file format, ``""`` for arrays.
        array: name of the array in a file of several, in lower case.

    Raises:
        InputError: the values show that they are no metres.
    """
    expected = f"metres, under {IMPLAUSIBLE_M:.0f}"
    measurements = values[valid]
    finite = values[np.isfinite(values)]
    if not measurements.size:
        return
    low, high, median = float(finite.min()), float(measurements.max()), median_of(measurements)
    if (
        low == 0
        and high in (1.0, 255.0)
        and np.unique(measurements[:: max(1, measurements.size // 4096)]).size > FEWEST_LEVELS
    ):
        detail = f"floats from exactly 0 to exactly {high:.0f}, a normalized map"
        raise InputError(name, found=detail, expected=expected, remedy=f"{RELATIVE_REMEDY}'m' or another.")
    pfm = form == "PPM"
    if median > (PFM_IMPLAUSIBLE_M if pfm else IMPLAUSIBLE_M):
        detail = f"a median depth of {median:.0f} m"
        remedy = "Say unit='mm' or 'cm' if they are; preset='relative' if it is a network's inverse depth."
        if pfm:
            expected = f"metres, in a PFM under {PFM_IMPLAUSIBLE_M:.0f}"
            remedy = (
                "Say preset='relative' if it is a network's inverse depth (MiDaS), unit='m' or 'mm' if it is lengths; "
                "a stereo pair's disparity d (Middlebury) is baseline * focal / (d + doffs) in metres."
            )
        raise InputError(name, found=detail, expected=expected, remedy=remedy)
    if DISPARITY_WORDS.intersection([*_words(Path(_path(source)).stem), *_words(array)]):
        note("its name says disparity and its values are taken as metres; say preset='relative', or unit='m'")
    elif high <= WITHIN_M and (
        is_file_like(source) or high - float(measurements.min()) > 0.9 or median < 0.05
    ):
        # an array's near objects are its caller's word
        note(
            f"a median depth of {median:.3g} m and all within {WITHIN_M:g} m; say preset='relative' if it is "
            "normalized or inverse depth, or unit='m'"
        )


def _check_saturation(raw: np.ndarray, valid: np.ndarray, name: str, expected: str) -> None:
    """Refuse a map whose 65535 is no hole but its largest values, cut off: those beside it are the next largest.

    Raises:
        InputError: it is such a map.
    """
    full = raw == SIXTEEN_BIT - 1
    beside = np.zeros_like(full)
    beside[1:] |= full[:-1]
    beside[:-1] |= full[1:]
    beside[:, 1:] |= full[:, :-1]
    beside[:, :-1] |= full[:, 1:]
    beside &= valid & ~full
    if np.count_nonzero(beside) < FEWEST_LEVELS:
        return
    measurements = raw[valid]
    top = int(measurements.max())
    if top > CUT_OFF_FROM and np.median(raw[beside]) >= np.percentile(measurements, CUT_OFF_PERCENTILE):
        detail = f"16-bit values up to {top} beside areas of 65535, as where normalized or inverse depth is cut off"
        remedy = f"{RELATIVE_REMEDY}'mm', 'vkitti' or another; 65535 is then no data."
        raise InputError(name, found=detail, expected=expected, remedy=remedy)


def median_of(values: np.ndarray) -> float:
    """The median, of every n-th value where there are more than a million."""
    values = values.ravel()
    return float(np.median(values[:: max(1, values.size // MOST_FOR_MEDIAN)]))


def looks_rotated(raw: np.ndarray, valid: np.ndarray) -> bool | None:
    """Whether 16-bit values are bits rotated left by three, as SUN RGB-D's; None where too few values tell."""
    measurements = raw[valid]
    if measurements.dtype.kind not in "iu" or not measurements.size or measurements.max() >= SIXTEEN_BIT:
        return None
    histogram = np.bincount(measurements.astype(np.int64), minlength=SIXTEEN_BIT)
    return None if np.count_nonzero(histogram) < FEWEST_LEVELS else _is_rotated(histogram)


def note_unlike_sun(raw: np.ndarray, valid: np.ndarray) -> None:
    """Note values that are not SUN RGB-D's files, where these are said to be read: floats, and unrotated bits."""
    measurements = raw[valid]
    if not measurements.size:
        return
    remedy = "preset='sun_png' makes a wrong disparity of them; preset='metric' reads lengths"
    if measurements.dtype.kind == "f":
        note(f"floats, which no file of SUN RGB-D holds: {remedy}")
    elif measurements.max() >= SIXTEEN_BIT:
        note(f"values of more than 16 bits, which no file of SUN RGB-D holds: {remedy}")
    elif not _is_rotated(np.bincount(measurements.astype(np.int64), minlength=SIXTEEN_BIT)):
        note(f"16-bit values that are not SUN RGB-D's rotated bits: {remedy}")


def _is_rotated(histogram: np.ndarray) -> bool:
    """From how often each 16-bit value occurs: the lowest three bits hold only multiples of 8192 mm."""
    low_bits = histogram.reshape(-1, 8).sum(0)
    total = low_bits.sum()
    return bool(
        low_bits[0] > 0.98 * total or (low_bits[:2].sum() > 0.98 * total and low_bits[0] > 0.3 * total)
    )


def _pattern(histogram: np.ndarray) -> tuple[str, str]:
    """What the values of a 16-bit map betray, and the remedy; empty texts if nothing."""
    levels = np.flatnonzero(histogram)
    if levels.size < FEWEST_LEVELS:
        return "", ""
    for step in (257, 256):
        if not (levels % step).any():
            return "8-bit levels widened to 16 bits", f"{RELATIVE_REMEDY}'mm' or another."
    if _is_rotated(histogram):
        return (
            "16-bit values of which nearly all are multiples of 8, their bits rotated left by three",
            SUN_REMEDY,
        )
    other_order = (levels >> 8) | ((levels & 255) << 8)
    if other_order.max() < SIXTEEN_BIT // 4 and levels.max() >= SIXTEEN_BIT // 2:
        return (
            "16-bit values whose bytes are in the wrong order",
            "Swap them: array.byteswap(), with unit='mm'.",
        )
    if levels[-1] == 2047 and histogram[2047] > 0.01 * histogram.sum():
        detail = "11-bit values of which many are 2047, a Kinect's raw disparity"
        return detail, "Convert it to millimetres first; unit='mm' if they are."
    total, top = histogram.sum(), levels[-1]
    far = histogram[10_000:].sum() / total
    if top >= 60_000 and (levels[0] < 100 or far > 0.1):
        detail = f"16-bit values from {levels[0]} to {top}, nearly all of their range, as normalized or inverse depth"
        return detail, f"{RELATIVE_REMEDY}'mm' or another."
    tiny = histogram[:NEAREST_COUNTS].sum() / total
    beyond = histogram[int(WITHIN_M * 1000) + 1 :].sum() / total
    if tiny > FEW_TINY and top in FULL_SCALES:
        detail = f"integers from {levels[0]} to exactly {top}, as normalized depth"
        return detail, f"{RELATIVE_REMEDY}'mm' or another."
    if tiny > FEW_TINY and beyond > 0.01:  # else a note on the whole map follows
        note(
            f"{tiny:.1%} of the depth is under {NEAREST_COUNTS} mm, nearer than any camera measures: normalized or "
            "inverse depth (preset='relative'), another unit (unit=), or holes that were blurred by resizing"
        )
    if np.gcd.reduce(levels) == 5:
        note(
            "every value is a multiple of 5, as in TUM's files; taken as millimetres, say unit='tum' or 'mm'"
        )
    return "", ""


def _check_path(source: object, name: str, expected: str) -> None:
    """A file that is named after a convention of another unit is refused; in such a folder it is noted."""
    path = Path(_path(source))
    others = {key for key, convention in CONVENTIONS.items() if convention.metres_per_count != 0.001}
    in_name = sorted(others.intersection(_words(path.stem)))
    if in_name:
        detail = f"integers in a file named after {in_name[0]!r}, which stores no millimetres"
        remedy = f"Say unit={in_name[0]!r}, or unit='mm' if they are millimetres."
        raise InputError(name, found=detail, expected=expected, remedy=remedy)
    in_folder = sorted(others.intersection(word for part in path.parts[-5:-1] for word in _words(part)))
    if in_folder:
        note(
            f"in a folder named {in_folder[0]!r}, but taken as millimetres; say unit={in_folder[0]!r} or 'mm'"
        )


def _path(source: object) -> str:
    if not isinstance(source, (str, os.PathLike)):
        source = getattr(source, "name", None) or getattr(source, "filename", None) or ""
    return (
        os.fspath(source) if isinstance(source, (str, os.PathLike)) and not isinstance(source, bytes) else ""
    )


def _words(text: str) -> list[str]:
    return re.split(r"[^a-z0-9]+", text.lower())
