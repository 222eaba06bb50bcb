"""Where clips and windows of a long recording start."""

from __future__ import annotations

import math
from fractions import Fraction

from bindplug.errors import InputError, OptionError

SLACK = 1e-6
"""Part of a hop by which a window may pass the end: lengths in seconds are rounded."""


def clip_starts(spare: int | Fraction, clips: int) -> list[Fraction]:
    """Evenly spaced starts of ``clips`` clips, 0 to ``spare * (clips - 1) / clips``.

    Args:
        spare: how much longer the recording is than one clip, in any unit; 0 or less gives starts of 0.
        clips: how many.

    Source: measured on the original ImageBind loaders' outputs: of a 5 s sound, the three clips of 2 s
    start at 0, 1 and 2 s, so the last third of the room for starting is not used.
    """
    return [max(Fraction(spare), Fraction(0)) * index / clips for index in range(clips)]


def window_count(duration_s: float, seconds: float, hop: float) -> int:
    """How many windows :func:`window_span` gives for a recording."""
    if duration_s <= seconds:
        return 1
    regular = math.floor((duration_s - seconds) / hop + SLACK)
    reached = regular * hop + seconds
    return regular + 1 + (duration_s - reached > SLACK * hop)


def window_span(index: int, duration_s: float, seconds: float, hop: float) -> tuple[float, float]:
    """Start and end of a window in seconds.

    Windows start every ``hop`` seconds; the last one is moved back to end where the recording does, so that all
    are of one length and none reaches past the end. A shorter recording is one window.
    """
    start = min(index * hop, max(0.0, duration_s - seconds))
    return start, min(start + seconds, duration_s)


def check_span(start: float | None, end: float | None) -> None:
    """Refuse a stretch of time that is none.

    Raises:
        OptionError: ``start`` is negative, ``end`` is not after it, or either is not finite.
    """
    first, last = 0.0 if start is None else start, math.inf if end is None else end
    if not (math.isfinite(first) and 0 <= first < last):
        raise OptionError(f"start={start}, end={end}; expected seconds with 0 <= start < end")


def span_within(start: float | None, end: float | None, duration_s: float, name: str) -> tuple[float, float]:
    """``start`` and ``end`` in seconds, cut to the recording.

    Raises:
        InputError: the recording ends before ``start``.
    """
    first, last = start or 0.0, duration_s if end is None else min(end, duration_s)
    if first > 0 and first >= duration_s:
        problem = f"a recording of {duration_s:.3f} s"
        raise InputError(name, found=problem, expected=f"one that lasts beyond start={first:.3f} s")
    return first, last
