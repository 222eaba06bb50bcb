"""Motion recordings (accelerometer and gyroscope) to windows of 2000 samples.

Experimental for the official weights: rate and normalization were never published, hence the presets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bindplug.errors import OptionError
from bindplug.inputs.base import Preprocess, decoding, to_device
from bindplug.inputs.clips import check_span, clip_starts, span_within
from bindplug.inputs.imu.files import describe_recording, read_tables
from bindplug.inputs.imu.grid import Track, cut_track
from bindplug.inputs.imu.options import SignalOptions, UnitOption
from bindplug.inputs.imu.sensor_logs import EXPECTED
from bindplug.inputs.imu.signals import read_tracks
from bindplug.inputs.imu.tables import LAYOUTS, ColumnChoice
from bindplug.inputs.limits import check_limit
from bindplug.inputs.notes import note, without_notes
from bindplug.inputs.resample import sample_at
from bindplug.inputs.shared import Recent
from bindplug.inputs.source import check_choice
from bindplug.modality import Modality

STEPS = 2000
PRESETS = {"ego4d_5s_400hz": 400.0, "imu2clip_10s_200hz": 200.0}
"""Rates in Hz; 2000 samples are 5 s and 10 s. Sources: "5 s" and the shape (6, 2000) in the ImageBind
paper; 10 s at 200 Hz in IMU2CLIP. Ego4D itself records at about 200 Hz."""
NORMALIZATIONS = ("none", "groupnorm2")
GROUP_EPSILON = 1e-5
ZERO_CROSSINGS = 16
ROLLOFF = 0.95
MOST_WINDOWS = 20_000


@dataclass(frozen=True)
class ImuRecording:
    """A motion recording, resampled and cut.

    Attributes:
        windows: (windows, 6, 2000) float32: accelerometer xyz in m/s^2, then gyroscope xyz in rad/s.
        normalize: what is still to be done to them.
        recorded_hz: the recording's own rate, that of the accelerometer.
        duration_s: its length in seconds.
        padded_s: seconds of the first window beyond the recording's end, which repeat its last sample.
        duplicates: rows left out because they repeat the one before, stamp and values.
        gaps: (start, length), in seconds, of stretches without samples, bridged linearly.
        notes: what a person should look at: repairs, spread samples, missing gravity.
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

    A source is a text log with named columns (see the table of loggers in the documentation), Parquet, JSON, a zip of
    logs, an ``.npz``, a mapping or data frame of columns - or of (T, 3) arrays such as ``acc`` and ``gyro`` -, a
    mapping of two files, ``{"accelerometer": "a.csv", "gyroscope": "g.csv"}``, or an ``.npy`` file, array or tensor
    (6, T) or (T, 6) with ``sample_rate``, accelerometer first.

    Units are read from column names or a row of units; a unit that is not understood is refused, and so are values
    without a unit that can be other than m/s^2 or rad/s. A clock's unit comes from its name, else it must be the only
    plausible one; written times need pandas (``pip install "bindplug[imu]"``). Samples that share a stamp are spread
    over its interval, gaps bridged, single blank rows interpolated, and each of these is noted. Then linear-phase
    resampling to the preset's rate. A recording shorter than the window repeats its last sample to the end.

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
        acc_unit: UnitOption = None,
        gyro_unit: UnitOption = None,
        time_unit: str | None = None,
        columns: ColumnChoice = None,
        layout: str | None = None,
        sort: bool = False,
        long_gaps: str = "refuse",
        ignore_clock: bool = False,
        clips: str | int = "first",
        stride: float | None = None,
        start: float | None = None,
        end: float | None = None,
    ) -> ImuRecording:
        """One recording in windows of 2000 samples.

        Args:
            source: see the class.
            sample_rate: in Hz; required where there is no clock, and checked against one within 5 %. With it clocks
                slower than 5 Hz are read too.
            preset: overrides the constructor's.
            normalize: overrides the constructor's.
            acc_unit: a unit such as ``"m/s^2"``, ``"g"`` or ``"mg"``, or the number of m/s^2 in one count; otherwise
                as the log says.
            gyro_unit: a unit such as ``"rad/s"``, ``"deg/s"`` or ``"mdps"``, or the number of rad/s in one count;
                otherwise as the log says.
            time_unit: ``"s"``, ``"ms"``, ``"us"``, ``"ns"`` or a multiple such as ``"100us"``; otherwise as the name
                or the step says.
            columns: which columns to read, as ``{"acc_x": "name", ..., "time": "name"}`` (all three axes of a
                sensor, or neither), or the list of all names in order for a log without a header.
            layout: of an array, ``"channels_first"`` or ``"time_first"``; needed for (6, 6) alone.
            sort: put samples in the order of their times instead of refusing.
            long_gaps: where one gap is longer than all that was recorded, ``"refuse"`` or ``"cut"`` to keep the
                longer part.
            ignore_clock: take samples as evenly spaced at ``sample_rate`` whatever their stamps say.
            clips: ``"first"`` window, a number of evenly spaced ones, or ``"all"`` windows that fit.
            stride: seconds from one window to the next, with ``clips="all"``; by default a window's length.
            start: where to begin, in seconds after the first sample; windows are taken between ``start`` and ``end``.
            end: where to end, in seconds.

        Raises:
            InputError: the source is missing, damaged, too large, lacks axes or a rate, has fewer than two samples
                or too many blanks, names a unit that is not understood, leaves a unit or a clock in doubt, or its
                time runs backwards.
            MissingDependency: pyarrow is absent and the file is Parquet, or pandas and times are written out.
            OptionError: an option has a value that it does not take.
        """
        preset = self.preset if preset is None else preset
        normalize = self.normalize if normalize is None else normalize
        check_choice("preset", preset, tuple(PRESETS))
        check_choice("normalize", normalize, NORMALIZATIONS)
        check_choice("long_gaps", long_gaps, ("refuse", "cut"))
        if layout is not None:
            check_choice("layout", layout, LAYOUTS)
        if sample_rate is not None and not (np.isfinite(sample_rate) and sample_rate > 0):
            raise OptionError(f"sample_rate={sample_rate!r}; expected a positive number of Hz")
        if stride is not None and not stride > 0:
            raise OptionError(f"stride={stride}; expected a positive number of seconds")
        check_span(start, end)
        if clips not in ("first", "all") and not (isinstance(clips, int) and clips >= 1):
            raise OptionError(f"clips={clips!r}; expected 'first', 'all' or a number of at least 1")
        name = describe_recording(source)
        options = SignalOptions(
            acc_unit, gyro_unit, time_unit, sample_rate, columns, sort, long_gaps, ignore_clock
        )
        rate_hz, window_s = PRESETS[preset], STEPS / PRESETS[preset]
        tracks, notes = _read_tracks(source, layout, options, name, keep=start is not None or end is not None)
        begin_s, duration_s = _common_span(tracks)
        if start is not None or end is not None:
            first, last = span_within(start, end, duration_s, name)
            tracks = [cut_track(track, begin_s + first, begin_s + last) for track in tracks]
            begin_s, duration_s = begin_s + first, last - first
        starts = _window_starts(duration_s, window_s, clips, stride, name)
        windows = torch.stack(
            [
                torch.cat([_window(track, begin_s - track.start_s + start, rate_hz) for track in tracks])
                for start in starts
            ]
        )  # (windows, 6, 2000)
        padded_s = max(0.0, window_s - duration_s)
        if padded_s > 0.5 / tracks[0].rate_hz + 1e-9:
            notes.append(f"{padded_s:.2f} s after the recording's end repeat its last sample")
        for text in notes:
            note(text)
        gaps = tuple(dict.fromkeys(gap for track in tracks for gap in track.gaps))
        return ImuRecording(
            windows, normalize, tracks[0].rate_hz, duration_s, padded_s, max(t.duplicates for t in tracks), gaps,
            tuple(notes), clips == "first",
        )  # fmt: skip

    def duration(self, source: object, **options: Any) -> float:
        """Length of a recording in seconds, from its first sample to one step after its last.

        Args:
            source: see the class.
            options: those of :meth:`read`.
        """
        name = describe_recording(source)
        names = {field.name for field in fields(SignalOptions)}
        signal = SignalOptions(**{key: value for key, value in options.items() if key in names})
        with decoding(source, EXPECTED), without_notes(source):
            tracks, _ = _read_tracks(source, options.get("layout"), signal, name, keep=True)
            return _common_span(tracks)[1]

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


_recent: Recent[tuple[list[Track], list[str]]] = Recent()
"""Logs that were read for a window, for the next window."""


def _read_tracks(
    source: object, layout: str | None, options: SignalOptions, name: str, *, keep: bool
) -> tuple[list[Track], list[str]]:
    """The tracks and the notes on them; with ``keep``, those of a few files are remembered."""

    def read() -> tuple[list[Track], list[str]]:
        return read_tracks(read_tables(source, layout, options.columns), options, name)

    tracks, notes = _recent.get(source, (layout, repr(options)), read) if keep else read()
    return tracks, list(notes)


def _common_span(tracks: list[Track]) -> tuple[float, float]:
    """Where all tracks have begun, on the recording's clock, and for how long none has ended, in seconds."""
    begin_s = max(track.start_s for track in tracks)
    return begin_s, min(track.start_s - begin_s + track.duration_s for track in tracks)


def _window_starts(
    duration_s: float, window_s: float, clips: str | int, stride_s: float | None, name: str
) -> list[float]:
    """Where each window starts, in seconds."""
    if clips == "first":
        return [0.0]
    spare_s = max(0.0, duration_s - window_s)
    if clips == "all":
        stride_s = window_s if stride_s is None else stride_s
        check_limit(name, spare_s / stride_s, MOST_WINDOWS, "windows", "Pass a longer stride=.")
        return [index * stride_s for index in range(int(spare_s / stride_s + 1e-9) + 1)]
    count = int(clips)
    check_limit(name, count, MOST_WINDOWS, "windows", "Pass fewer clips=.")
    return [float(start) for start in clip_starts(Fraction(spare_s), count)]


def _window(track: Track, start_s: float, rate_hz: float) -> Tensor:
    """2000 samples at ``rate_hz`` from the track's time ``start_s`` on, (C, 2000) float32; ends are held outside."""
    cutoff = min(1.0, rate_hz / track.rate_hz) * ROLLOFF
    margin = int(ZERO_CROSSINGS / cutoff) + 2
    positions = (start_s + torch.arange(STEPS, dtype=torch.float64) / rate_hz) * track.rate_hz
    count = track.values.shape[1]
    first = max(0, int(positions[0]) - margin)
    last = min(count, int(positions[-1]) + margin + 1)
    held = np.pad(track.values[:, first:last], ((0, 0), (margin, margin)), mode="edge")
    positions = positions.clamp(max=count - 1.0) - first + margin
    base = torch.from_numpy(held[:, :1].copy())  # the filter is exact for what is near 0, so take gravity out
    moved = sample_at(torch.from_numpy(held) - base, positions, cutoff=cutoff, zero_crossings=ZERO_CROSSINGS)
    return (moved + base).float()
