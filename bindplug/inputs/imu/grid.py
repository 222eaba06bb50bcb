"""Samples at their stamps to samples on an even grid: order, shared stamps, bursts, gaps and missing values."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from bindplug.errors import InputError
from bindplug.inputs.limits import LONGEST_S, MOST_ROWS, check_limit

GAP_STEPS = 3.0
"""A step of more than so many usual ones is a gap."""
JITTER_STEPS = 0.75
"""Stamps this close to an even grid are taken as rounded readings of it."""
BURST_SHARE, BURST_SPREAD, LONGEST_BURST_S = 0.5, 0.6, 0.25
"""A clock is one of arrivals in bursts if pauses make up that share of it, come regularly, and a burst is short."""
SMALLEST_BATCH = 4
"""Samples of a batch whose loss can be told from jitter."""
FEW_SAMPLES, FEW_SHARE = 3, 0.01
"""Samples beyond an impossible gap that are left out without asking."""
LONGEST_HOLE, MOST_MISSING, MOST_TRIMMED = 3, 0.05, 0.1
"""Rows without values that are interpolated in a run, in all, and cut at the ends."""
UNSTATED_REMEDY = (
    "Pass ignore_clock=True and sample_rate= if the samples are evenly spaced and only stamps are wrong."
)


@dataclass(frozen=True)
class Track:
    """One sensor's samples on an even grid.

    Attributes:
        values: (channels, T) float64.
        rate_hz: of the grid.
        start_s: time of the first sample on the recording's clock.
        duplicates: rows left out because they repeat the one before, stamp and values.
        gaps: (start in seconds, length in seconds) of each stretch without samples, bridged linearly.
        notes: repairs made.
    """

    values: np.ndarray
    rate_hz: float
    start_s: float = 0.0
    duplicates: int = 0
    gaps: tuple[tuple[float, float], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def duration_s(self) -> float:
        """From the first sample to one step after the last."""
        return self.values.shape[1] / self.rate_hz


def cut_track(track: Track, begin_s: float, end_s: float) -> Track:
    """The samples of ``track`` from ``begin_s`` until before ``end_s``, on the recording's clock; one at least."""
    count = track.values.shape[1]
    first = min(max(0, round((begin_s - track.start_s) * track.rate_hz)), count - 1)
    last = max(first + 1, min(count, round((end_s - track.start_s) * track.rate_hz)))
    return replace(track, values=track.values[:, first:last], start_s=track.start_s + first / track.rate_hz)


def even_track(
    values: np.ndarray, seconds: np.ndarray, *, sort: bool, long_gaps: str, start_s: float, name: str
) -> Track:
    """Samples ``values`` (channels, T) at times ``seconds`` (T,) on an even grid of their own mean rate.

    Samples that share a stamp, or that are stamped in bursts, are spread evenly over their interval.

    Args:
        values: NaN where a value is missing.
        seconds: finite.
        sort: put samples in the order of their times.
        long_gaps: ``"refuse"``, or ``"cut"`` to keep the longest part.
        start_s: what is added to times.
        name: of the source, for errors.

    Raises:
        InputError: times run backwards and ``sort`` is not set, never change, or lie apart by more than is recorded.
    """
    notes: list[str] = []
    seconds, values = _ordered(seconds, values, sort, notes, name)
    seconds, values, duplicates = _without_copies(seconds, values, notes)
    seconds, values = _without_outliers(seconds, values, long_gaps, notes, name)
    if not np.diff(seconds).any():
        raise InputError(name, found="time stamps that never change", expected="a clock that runs")
    # Groups first: their pauses would pass for gaps.
    groups = _groups(seconds, notes)
    quantum, rate_hz = 1.0, None
    if groups is not None:
        if groups.size < 3 <= seconds.size / groups.size:
            problem = f"{seconds.size} samples on {groups.size} time stamps, too few to tell the rate"
            raise InputError(name, found=problem, expected="a finer clock", remedy=UNSTATED_REMEDY)
        seconds, quantum, rate_hz = _spread(seconds, groups)
    first = seconds[0]
    seconds = seconds - first
    seconds, values, cut_s = _filled(seconds, values, notes, name)
    steps = np.diff(seconds)
    is_gap = steps > GAP_STEPS * np.median(steps)
    recorded_s, lost_s = float(steps[~is_gap].sum()), float(steps[is_gap].sum())
    if lost_s > recorded_s:
        problem = f"{lost_s:.4g} s without samples between {recorded_s:.4g} s with samples"
        raise InputError(name, found=problem, expected="a recording with fewer gaps", remedy=UNSTATED_REMEDY)
    rate_hz = rate_hz or float(1 / steps[~is_gap].mean())
    check_limit(name, seconds[-1], LONGEST_S, "seconds from the first to the last sample")
    check_limit(name, seconds[-1] * rate_hz, MOST_ROWS, "samples on an even grid")
    gaps = tuple((float(seconds[i]), float(steps[i])) for i in np.nonzero(is_gap)[0])
    # An even clock that was rounded is an even clock: its samples stay as they are.
    residual = seconds * rate_hz - np.arange(seconds.size)
    if gaps or np.ptp(residual) / 2 > max(JITTER_STEPS, quantum):
        grid = np.arange(int(seconds[-1] * rate_hz + 1e-6) + 1) / rate_hz
        values = np.stack([np.interp(grid, seconds, row) for row in values])
    if gaps:
        notes.append(f"{len(gaps)} gaps of {lost_s:.2f} s in all bridged")
    return Track(values, rate_hz, start_s + float(first) + cut_s, duplicates, gaps, tuple(notes))


def even_values(values: np.ndarray, rate_hz: float, name: str) -> Track:
    """Samples without a clock, at a stated rate.

    Raises:
        InputError: too many values are missing.
    """
    notes: list[str] = []
    seconds = np.arange(values.shape[1]) / rate_hz
    seconds, values, cut_s = _filled(seconds, values, notes, name)
    return Track(values, rate_hz, cut_s, notes=tuple(notes))


def _ordered(
    seconds: np.ndarray, values: np.ndarray, sort: bool, notes: list[str], name: str
) -> tuple[np.ndarray, np.ndarray]:
    backward = np.diff(seconds) < 0
    if not backward.any():
        return seconds, values
    if not sort:
        place = int(np.argmax(backward)) + 1
        problem = f"non-monotonic time: {int(backward.sum())} steps backwards, the first at sample {place}"
        remedy = "Pass sort=True to put the samples in order, if only their order was lost."
        if backward.sum() == 1 and abs(seconds[place] - seconds[0]) < 0.1 * np.ptp(seconds):
            remedy = f"The clock starts again there, as where logs were joined: split the file. {remedy}"
        raise InputError(name, found=problem, expected="times that never decrease", remedy=remedy)
    notes.append("samples were out of order and have been sorted by time")
    order = np.argsort(seconds, kind="stable")
    return seconds[order], values[:, order]


def _without_copies(
    seconds: np.ndarray, values: np.ndarray, notes: list[str]
) -> tuple[np.ndarray, np.ndarray, int]:
    """Leave out rows that repeat the one before, stamp and values, where they took no time of their own.

    A sensor at rest repeats its values too; then most stamps are shared, or the clock moves on by more than a
    usual step, and nothing is left out.
    """
    same_stamp = np.diff(seconds) == 0
    if not same_stamp.any() or same_stamp.mean() > 0.25:
        return seconds, values, 0
    same = ((values[:, 1:] == values[:, :-1]) | np.isnan(values[:, 1:])).all(axis=0)
    if not same[same_stamp].all():
        return seconds, values, 0
    keep = np.concatenate([[True], ~same_stamp])
    steps = np.diff(seconds[keep])
    after = np.flatnonzero(same_stamp[:-1] & ~same_stamp[1:]) + 1
    usual = float(np.median(steps))
    if after.size and not np.median(np.diff(seconds)[after]) < 1.4 * usual:
        return seconds, values, 0
    count = int(same_stamp.sum())
    notes.append(f"{count} rows that repeat the one before, stamp and values, left out")
    return seconds[keep], values[:, keep], count


def _without_outliers(
    seconds: np.ndarray, values: np.ndarray, long_gaps: str, notes: list[str], name: str
) -> tuple[np.ndarray, np.ndarray]:
    """Cut or refuse where a single step is longer than all the others together."""
    while seconds.size > 2:
        with np.errstate(over="ignore"):
            steps = np.diff(seconds)
        at = int(np.argmax(steps))
        rest = float(np.delete(steps, at).sum())
        positive = np.sort(steps[steps > 0])
        usual = positive[(positive.size - 1) // 2] if positive.size else 0.0
        if steps[at] <= rest or steps[at] <= GAP_STEPS * usual:
            break
        before, after = at + 1, seconds.size - at - 1
        few = max(FEW_SAMPLES, FEW_SHARE * seconds.size)
        if min(before, after) > few and long_gaps != "cut":
            problem = f"a gap of {steps[at]:.6g} s after sample {at}, longer than all that was recorded"
            remedy = "Split the recording there, or pass long_gaps='cut' to keep its longer part."
            raise InputError(name, found=problem, expected="one recording", remedy=remedy)
        if before <= FEW_SAMPLES and after > before:  # a clock that was not set yet
            usual_after = float(np.median(np.diff(seconds[at + 1 :])))
            seconds = seconds.copy()
            seconds[: at + 1] = seconds[at + 1] - usual_after * np.arange(before, 0, -1)
            notes.append(
                f"the times of the first {before} samples lie {steps[at]:.6g} s before the others; they were put one "
                "usual step apart before these"
            )
            continue
        part = slice(at + 1, None) if after >= before else slice(0, at + 1)
        place = "first" if after >= before else "last"
        notes.append(
            f"the {place} {min(before, after)} samples left out: their times lie {steps[at]:.6g} s apart from the rest"
        )
        seconds, values = seconds[part], values[:, part]
    return seconds, values


def _groups(seconds: np.ndarray, notes: list[str]) -> np.ndarray | None:
    """Where groups of samples begin whose stamps are one: shared ones, or bursts; ``None`` if there are none."""
    steps = np.diff(seconds)
    bursts = _bursts(seconds, steps)
    if bursts is not None:
        size = float(np.median(np.diff(bursts)))
        notes.append(
            f"samples are stamped in bursts of about {size:g}; they were spread evenly over their intervals"
        )
        return bursts
    starts = np.flatnonzero(np.concatenate([[True], steps > 0]))
    shared = seconds.size - starts.size
    if not shared:
        return None
    notes.append(
        f"{shared} samples that share a time stamp with the one before were spread evenly over their intervals"
    )
    return starts


def _bursts(seconds: np.ndarray, steps: np.ndarray) -> np.ndarray | None:
    positive = np.sort(steps[steps > 0])
    if positive.size < 8:
        return None
    # The lower quartile, as in pairs of samples half of all steps are pauses.
    is_pause = steps > GAP_STEPS * positive[positive.size // 4]
    starts = np.concatenate([[0], np.flatnonzero(is_pause) + 1])
    if starts.size < 5 or steps[is_pause].sum() < BURST_SHARE * steps.sum():
        return None
    counts = np.diff(starts)
    if np.median(counts) < 2:
        return None
    lengths = seconds[starts[1:] - 1] - seconds[starts[:-1]]
    shares = np.diff(seconds[starts]) / counts  # a burst's interval to the next, by its samples
    low, middle, high = np.percentile(shares[1:], [10, 50, 90])
    if (high - low) / middle > BURST_SPREAD or np.median(lengths) > LONGEST_BURST_S:
        return None
    return starts


def _spread(seconds: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Times of samples in groups that share a stamp, how far they may be off an even grid, and the rate.

    Where the groups follow each other as an even clock would put them, all samples between two lost groups lie on one
    line; else each group is spread over its own interval.
    """
    counts = np.diff(np.append(starts, seconds.size))  # (groups,)
    stamps = seconds[starts]
    intervals = np.diff(stamps)
    shares = intervals / counts[:-1]
    usual = float(np.median(np.repeat(shares, counts[:-1])))
    losses = _losses(stamps, starts, counts, usual)
    even = _even_times(stamps, starts, counts, losses, seconds.size)
    if even is not None:
        return (even[0], JITTER_STEPS, 1 / even[1])
    is_gap = shares > GAP_STEPS * usual
    is_gap[losses] = True
    inner = np.flatnonzero(~is_gap)
    rate = float(counts[:-1][inner].sum() / intervals[inner].sum())
    steps = np.append(
        np.where(is_gap, usual, shares), usual
    )  # after the last, and before a gap, the usual step
    ranks = np.arange(seconds.size) - np.repeat(starts, counts)
    return np.repeat(stamps, counts) + ranks * np.repeat(steps, counts), float(np.median(counts)), rate


def _losses(stamps: np.ndarray, starts: np.ndarray, counts: np.ndarray, usual: float) -> np.ndarray:
    """Indices of groups after which at least one group is lost.

    A group that arrives late makes one interval long and the next one short; after a loss all later stamps are late.
    """
    size = float(np.median(counts))
    if size < SMALLEST_BATCH:
        return np.zeros(0, np.intp)
    late = stamps - usual * starts  # constant but for jitter, where nothing is lost
    jumps = []
    for at in np.flatnonzero(np.diff(late) > 0.6 * size * usual):
        before, after = late[max(0, at - 4) : at + 1], late[at + 1 : at + 6]
        if np.median(after) - np.median(before) > 0.6 * size * usual:
            jumps.append(at)
    return np.array(jumps, np.intp)


def _even_times(
    stamps: np.ndarray, starts: np.ndarray, counts: np.ndarray, losses: np.ndarray, size: int
) -> tuple[np.ndarray, float] | None:
    """Times (size,) of an even clock behind groups, and its step; ``None`` where groups are not so even.

    Stamps may be those of a group's first or of its last sample, whichever fits. Between losses only the offset
    differs.
    """
    parts = np.split(np.arange(stamps.size), losses + 1)
    longest = max(parts, key=len)
    inner = longest[1:-1]  # the first and the last group may be parts
    if inner.size < 2:
        return None
    fits = []
    for places in (starts, starts + counts - 1):
        x, y = places[inner].astype(np.float64), stamps[inner]
        slope = float(((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum())
        residual = y - y.mean() - slope * (x - x.mean())
        fits.append((float(np.abs(residual).max()), slope, places))
    distance, step, places = min(fits, key=lambda fit: fit[0])
    quantum = max(1.0, float(np.median(counts)))
    if step <= 0 or distance > quantum * step:
        return None
    times = np.empty(size)
    for part in parts:
        offsets = stamps[part] - step * places[part]
        middle = float(np.median(offsets[1:-1])) if part.size > 2 else float(np.median(offsets))
        if part.size > 2 and np.abs(offsets[1:-1] - middle).max() > quantum * step:
            return None
        rows = np.arange(starts[part[0]], starts[part[-1]] + counts[part[-1]])
        times[rows] = middle + step * rows
    return (times, step) if (np.diff(times) > 0).all() else None


def _filled(
    seconds: np.ndarray, values: np.ndarray, notes: list[str], name: str
) -> tuple[np.ndarray, np.ndarray, float]:
    """Values without NaN: ends are cut, short holes interpolated, and the time cut off at the start."""
    missing = ~np.isfinite(values)
    rows = missing.any(axis=0)
    if not rows.any():
        return seconds, values, 0.0
    whole = np.flatnonzero(~rows)
    if whole.size:
        first, last = int(whole[0]), int(whole[-1]) + 1
        edge_rows = rows.size - (last - first)
        inner = np.flatnonzero(np.diff(np.concatenate([[0], rows[first:last], [0]])))
        longest = int((inner[1::2] - inner[::2]).max()) if inner.size else 0
        holes = int(rows[first:last].sum())
        is_short = (
            edge_rows <= max(LONGEST_HOLE, MOST_TRIMMED * rows.size)
            and longest <= LONGEST_HOLE
            and holes <= max(1, MOST_MISSING * rows.size)
        )
        if is_short and last - first >= 2:
            if edge_rows:
                notes.append(f"{edge_rows} rows at the ends, which lack values, left out")
            if holes:
                notes.append(f"{holes} rows that lack values interpolated")
            seconds, values, missing = seconds[first:last], values[:, first:last], missing[:, first:last]
            values = np.stack(
                [
                    np.interp(seconds, seconds[~bad], row[~bad])
                    for row, bad in zip(values, missing, strict=True)
                ]
            )
            return seconds - seconds[0], values, float(seconds[0])
    problem = f"{int(missing.sum())} of {values.size} values NaN, infinite or blank"
    remedy = "Up to 3 rows in a run are interpolated; cut or fill longer holes."
    raise InputError(name, found=problem, expected="a number on every axis of every sample", remedy=remedy)
