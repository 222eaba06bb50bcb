"""About how long runs take."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from bindplug_lab.ablations.results import RunResult
from bindplug_lab.ablations.settings import RunSettings

_SECONDS = {"depth": 4.7e-4, "audio": 3.5e-4}
"""Of one core for one training sample of a tower of width 64 and 2 blocks, measured on a Xeon core."""


def estimated_seconds(runs: Sequence[RunSettings], measured: Sequence[RunResult] = ()) -> float:
    """Seconds of one core for some runs, corrected by runs that were measured on this machine."""
    ratios = [result.seconds / _seconds(result.settings) for result in measured if result.seconds > 0]
    return sum(map(_seconds, runs)) * (median(ratios) if ratios else 1.0)


def _seconds(settings: RunSettings) -> float:
    samples = settings.epochs * settings.scenes * settings.moments + settings.evaluation_scenes / 3
    size = (settings.width / 64) ** 1.3 * settings.blocks / 2
    return samples * _SECONDS[settings.sense] * (0.3 + 0.7 * size)
