"""Motion recordings (accelerometer and gyroscope) to windows of 2000 samples.

Experimental for the official weights: rate and normalization were never published, hence the presets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bindplug.errors import InputError, OptionError
from bindplug.inputs.base import Preprocess, to_device
from bindplug.inputs.clips import clip_starts
from bindplug.inputs.imuclock import EvenSamples, detect_time_unit, even_samples
from bindplug.inputs.imucolumns import ACC_UNITS, CHANNELS, GYRO_UNITS, TIME_UNITS, match_columns
from bindplug.inputs.imufiles import LAYOUTS, read_columns
from bindplug.inputs.resample import sample_at
from bindplug.inputs.source import check_choice, describe_source
from bindplug.modality import Modality

STEPS = 2000
PRESETS = {"ego4d_5s_400hz": 400.0, "imu2clip_10s_200hz": 200.0}
"""Rates in Hz; 2000 samples are 5 s and 10 s. Sources: "5 s" and the shape (6, 2000) in the ImageBind
paper; 10 s at 200 Hz in IMU2CLIP. Ego4D itself records at about 200 Hz."""
NORMALIZATIONS = ("none", "groupnorm2")
GROUP_EPSILON = 1e-5
ZERO_CROSSINGS = 16
ROLLOFF = 0.95
RATE_TOLERANCE = 0.05


@dataclass(frozen=True)
class ImuRecording:
    """A motion recording, resampled and cut.

    Attributes:
        windows: (windows, 6, 2000) float32: accelerometer xyz in m/s^2, then gyroscope xyz in rad/s.
        normalize: what is still to be done to them.
        recorded_hz: the recording's own rate.
        duration_s: its length in seconds.
        padded_s: seconds of the first window beyond the recording's end, which repeat its last sample.
        duplicates: samples dropped because their time was there already.
        gaps: (start, length), in seconds, of stretches without samples, bridged linearly.
        notes: what a person should look at, such as magnitudes that suggest another unit.
        single: whether one window without an axis for windows was asked for.
    """

    windows: Tensor
    normalize: str
    recorded_hz: float
    duration_s: float
    padded_s: float
    duplicates: int
    gaps: tuple[tuple[float, float], ...]
    notes: tuple[str, ...]
    single: bool


class ImuPreprocess(Preprocess):
    """Motion recordings to (6, 2000): accelerometer xyz in m/s^2, then gyroscope xyz in rad/s.

    A source is a CSV or Parquet file, an ``.npz`` or a mapping (or data frame) with named columns - or
    with (T, 3) arrays such as ``acc`` and ``gyro`` -, or an ``.npy`` file, array or tensor (6, T) or (T, 6)
    with ``sample_rate``, accelerometer first. Column names of common loggers are known, and so are
    units in them: ``gyro_x (deg/s)``, ``acc_x [g]``, ``timestamp_ms``.

    Time stamps in s, ms, us or ns are told apart by their step. Repeated times are dropped, gaps bridged
    and reported, times that run backwards refused unless ``sort=True``. Then linear-phase resampling to
    the preset's rate. A recording shorter than the window repeats its last sample to the end.

    Args:
        preset: ``"ego4d_5s_400hz"`` or ``"imu2clip_10s_200hz"``.
        normalize: ``"none"``, or ``"groupnorm2"``: mean 0 and variance 1 over the three axes of each
            sensor, as IMU2CLIP's first layer does.
    """

    modality: ClassVar[Modality] = Modality.IMU

    def __init__(self, *, preset: str = "ego4d_5s_400hz", normalize: str = "none") -> None:
        check_choice("preset", preset, tuple(PRESETS))
        check_choice("normalize", normalize, NORMALIZATIONS)
        self.preset, self.normalize = preset, normalize

    def read(
        self,
        source: object,
        *,
        sample_rate: float | None = None,
        preset: str | None = None,
        normalize: str | None = None,
        acc_unit: str | None = None,
        gyro_unit: str | None = None,
        time_unit: str | None = None,
        layout: str | None = None,
        sort: bool = False,
        clips: str | int = "first",
        stride: float | None = None,
    ) -> ImuRecording:
        """One recording in windows of 2000 samples.

        Args:
            source: see the class.
            sample_rate: in Hz; required where there is no clock, and checked against one within 5 %.
            preset: overrides the constructor's.
            normalize: overrides the constructor's.
            acc_unit: ``"m/s^2"``, ``"g"`` or ``"mg"``; otherwise as the column names say, else m/s^2.
            gyro_unit: ``"rad/s"``, ``"deg/s"`` or ``"mdeg/s"``; otherwise as the names say, else rad/s.
            time_unit: ``"s"``, ``"ms"``, ``"us"`` or ``"ns"``; otherwise as the name or the step says.
            layout: of an array, ``"channels_first"`` or ``"time_first"``; needed for (6, 6) alone.
            sort: put samples in the order of their times instead of refusing.
            clips: ``"first"`` window, a number of evenly spaced ones, or ``"all"`` windows that fit.
            stride: seconds from one window to the next, with ``clips="all"``; by default a window's length.

        Raises:
            InputError: the source is missing, damaged, lacks axes or a rate, has fewer than two samples,
                NaN or infinite values, or time that runs backwards.
            MissingDependency: pyarrow is absent and the file is Parquet.
        """
        preset = self.preset if preset is None else preset
        normalize = self.normalize if normalize is None else normalize
        check_choice("preset", preset, tuple(PRESETS))
        check_choice("normalize", normalize, NORMALIZATIONS)
        for label, value, known in (
            ("acc_unit", acc_unit, tuple(ACC_UNITS)), ("gyro_unit", gyro_unit, tuple(GYRO_UNITS)),
            ("time_unit", time_unit, tuple(TIME_UNITS)), ("layout", layout, LAYOUTS),
        ):  # fmt: skip
            if value is not None:
                check_choice(label, value, known)
        name = describe_source(source)
        values, clock, clock_unit = _channels(read_columns(source, layout), acc_unit, gyro_unit, name)
        even = _on_even_grid(values, clock, time_unit or clock_unit, sample_rate, sort, name)
        rate_hz, duration_s = PRESETS[preset], even.values.shape[1] / even.rate_hz
        starts = _window_starts(duration_s, STEPS / rate_hz, clips, stride)
        windows = torch.stack([_window(even, start, rate_hz) for start in starts])
        padded_s = max(0.0, STEPS / rate_hz - duration_s)
        return ImuRecording(
            windows, normalize, even.rate_hz, duration_s, padded_s, even.duplicates, even.gaps,
            _notes(even), clips == "first",
        )  # fmt: skip

    def finish(
        self, readings: Sequence[ImuRecording], device: torch.device | str | None = None
    ) -> list[Tensor]:
        """(6, 2000) float32 for each reading; (windows, 6, 2000) where several windows were asked for."""
        finished = []
        for reading in readings:
            windows = to_device(reading.windows, device)
            if reading.normalize == "groupnorm2":
                windows = F.group_norm(windows, 2, eps=GROUP_EPSILON)
            finished.append(windows[0] if reading.single else windows)
        return finished


def _channels(
    columns: dict[str, np.ndarray], acc_unit: str | None, gyro_unit: str | None, name: str
) -> tuple[np.ndarray, np.ndarray | None, str | None]:
    """The six channels (6, T) in m/s^2 and rad/s, and the clock (T,) with the unit its name tells."""
    found = match_columns(columns)
    if found.missing:
        text = f"no column for {', '.join(found.missing)} (columns: {', '.join(columns) or 'none'})"
        raise InputError(name, found=text, expected=f"the six axes {', '.join(CHANNELS)}")
    if found.ambiguous:
        text = f"two columns of one meaning ({'; '.join(found.ambiguous)})"
        raise InputError(name, found=text, expected="one column for each axis and one clock")
    rows = []
    for channel in CHANNELS:
        column = found.channels[channel]
        units, stated, default = (
            (ACC_UNITS, acc_unit, "m/s^2") if channel.startswith("acc") else (GYRO_UNITS, gyro_unit, "rad/s")
        )
        unit = stated or (column.unit if column.unit in units else default)
        rows.append(columns[column.name] * units[unit])
    if len({row.shape for row in rows}) > 1:
        lengths = sorted({row.shape[0] for row in rows})
        raise InputError(name, found=f"axes of {lengths} samples", expected="as many samples on each axis")
    values = np.stack(rows)
    with np.errstate(over="ignore", invalid="ignore"):
        bad = int(values.size - np.isfinite(values.astype(np.float32)).sum())
    if bad:
        text = f"{bad} of {values.size} values NaN, infinite or blank"
        raise InputError(name, found=text, expected="a number on every axis of every sample")
    clock = found.clock
    if clock is None:
        return values, None, None
    return values, columns[clock.name], clock.unit if clock.unit in TIME_UNITS else None


def _on_even_grid(
    values: np.ndarray,
    clock: np.ndarray | None,
    time_unit: str | None,
    sample_rate: float | None,
    sort: bool,
    name: str,
) -> EvenSamples:
    if sample_rate is not None and not (np.isfinite(sample_rate) and sample_rate > 0):
        raise InputError(name, found=f"sample_rate={sample_rate!r}", expected="a positive number of Hz")
    if values.shape[1] < 2:
        raise InputError(name, found=f"{values.shape[1]} samples", expected="at least two samples")
    if clock is None:
        if sample_rate is None:
            remedy = "Give it: sample_rate=200, say."
            raise InputError(
                name, found="no clock", expected="a time column, or sample_rate in Hz", remedy=remedy
            )
        return EvenSamples(values, float(sample_rate))
    if clock.shape != values.shape[1:]:
        found = f"{clock.shape[0]} times for {values.shape[1]} samples"
        raise InputError(name, found=found, expected="a time for each sample")
    finite = clock[np.isfinite(clock)]
    unit = detect_time_unit(finite, time_unit, name)
    origin = finite[0]  # subtracted first: nanoseconds since 1970 leave no digits for the step
    even = even_samples(values, (clock - origin) * TIME_UNITS[unit], sort=sort, name=name)
    if sample_rate is not None and abs(even.rate_hz / sample_rate - 1) > RATE_TOLERANCE:
        found = f"a clock of {even.rate_hz:.1f} samples a second"
        raise InputError(name, found=found, expected=f"the stated sample_rate={sample_rate}")
    return even


def _window_starts(
    duration_s: float, window_s: float, clips: str | int, stride_s: float | None
) -> list[float]:
    """Where each window starts, in seconds."""
    if stride_s is not None and not stride_s > 0:
        raise OptionError(f"stride={stride_s}; expected a positive number of seconds")
    if clips == "first":
        return [0.0]
    spare_s = max(0.0, duration_s - window_s)
    if clips == "all":
        stride_s = window_s if stride_s is None else stride_s
        return [index * stride_s for index in range(int(spare_s / stride_s + 1e-9) + 1)]
    if isinstance(clips, int) and clips >= 1:
        return [float(start) for start in clip_starts(Fraction(spare_s), clips)]
    raise OptionError(f"clips={clips!r}; expected 'first', 'all' or a number of at least 1")


def _window(even: EvenSamples, start_s: float, rate_hz: float) -> Tensor:
    """2000 samples at ``rate_hz`` from ``start_s`` on, (6, 2000) float32; the ends are held outside."""
    cutoff = min(1.0, rate_hz / even.rate_hz) * ROLLOFF
    margin = int(ZERO_CROSSINGS / cutoff) + 2
    positions = (start_s + torch.arange(STEPS, dtype=torch.float64) / rate_hz) * even.rate_hz
    count = even.values.shape[1]
    first = max(0, int(positions[0]) - margin)
    last = min(count, int(positions[-1]) + margin + 1)
    held = np.pad(even.values[:, first:last], ((0, 0), (margin, margin)), mode="edge")
    positions = positions.clamp(max=count - 1.0) - first + margin
    base = torch.from_numpy(held[:, :1].copy())  # the filter is exact for what is near 0, so take gravity out
    moved = sample_at(torch.from_numpy(held) - base, positions, cutoff=cutoff, zero_crossings=ZERO_CROSSINGS)
    return (moved + base).float()


def _notes(even: EvenSamples) -> tuple[str, ...]:
    """Magnitudes that suggest a wrong unit, and repairs made."""
    acc, gyro = (
        float(np.median(np.linalg.norm(part, axis=0))) for part in (even.values[:3], even.values[3:])
    )
    notes = []
    if 0.8 < acc < 1.25:
        notes.append(f"median acceleration {acc:.2f} m/s^2 looks like g; say acc_unit='g' if it is")
    if gyro > 35:
        notes.append(f"median turn rate {gyro:.0f} rad/s looks like degrees; say gyro_unit='deg/s' if it is")
    if even.duplicates:
        notes.append(f"{even.duplicates} samples with repeated times dropped")
    if even.gaps:
        notes.append(
            f"{len(even.gaps)} gaps of {sum(length for _, length in even.gaps):.2f} s in all bridged"
        )
    if even.was_sorted:
        notes.append("samples were out of order and have been sorted by time")
    return tuple(notes)
