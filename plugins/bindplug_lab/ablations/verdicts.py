"""Whether the directions that a paper found appear here, by intervals over seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bindplug_lab.ablations.grid import Direction, Experiment, Grid, Variant
from bindplug_lab.ablations.results import RunResult
from bindplug_lab.statistics import LEVEL, Interval, overlap

REPRODUCED, OPPOSITE, UNDECIDED = "reproduced", "opposite", "undecided"


@dataclass(frozen=True)
class Cell:
    """One variant of one sense.

    Attributes:
        values: the metric of each seed that has a result, 0 to 1.
        interval: their mean with its interval, or None without values.
        failures: errors of the runs that failed.
    """

    values: tuple[float, ...]
    interval: Interval | None
    failures: tuple[str, ...]


@dataclass(frozen=True)
class Verdict:
    """What became of a direction.

    Attributes:
        experiment: its name.
        direction: what the paper found.
        outcome: ``"reproduced"`` or ``"opposite"`` where the intervals of both variants share no figure, else
            ``"undecided"``.
        difference: higher minus lower variant, -1 to 1; NaN if one has no result.
        published: the paper's difference, 0 to 1; NaN if it has none.
    """

    experiment: str
    direction: Direction
    outcome: str
    difference: float
    published: float


def pooled_intervals(samples: Sequence[Sequence[float]], level: float = LEVEL) -> list[Interval]:
    """The mean of each sample with Student's interval, their deviation taken to be equal.

    The deviation over seeds is estimated from all samples together, as in an analysis of variance: three seeds alone
    say little about it.

    Args:
        samples: a figure a seed, for each variant; not empty.
        level: share of repetitions in which an interval should hold the true mean.

    Returns:
        One interval a sample; without ends if no sample has two figures.
    """
    from scipy.stats import t

    freedom = sum(len(sample) - 1 for sample in samples)
    squares = sum(float(((np.asarray(sample) - np.mean(sample)) ** 2).sum()) for sample in samples)
    intervals = []
    for sample in samples:
        mean, half = float(np.mean(sample)), math.nan
        if freedom > 0:
            half = float(t.ppf((1 + level) / 2, freedom)) * math.sqrt(squares / freedom / len(sample))
        intervals.append(Interval(mean, mean - half, mean + half, level, len(sample)))
    return intervals


def cells(
    experiment: Experiment, results: Mapping[str, RunResult], seeds: Sequence[int]
) -> dict[tuple[str, str], Cell]:
    """The figures of an experiment by sense and variant.

    Args:
        experiment: whose.
        results: by the keys of their settings.
        seeds: which runs belong to it.
    """
    table: dict[tuple[str, str], Cell] = {}
    for sense in experiment.bases:
        rows = [_figures(experiment, sense, variant, results, seeds) for variant in experiment.variants]
        intervals = iter(pooled_intervals([values for values, _ in rows if values]))
        for variant, (values, failures) in zip(experiment.variants, rows, strict=True):
            interval = next(intervals) if values else None
            table[sense, variant.name] = Cell(tuple(values), interval, tuple(failures))
    return table


def _figures(
    experiment: Experiment,
    sense: str,
    variant: Variant,
    results: Mapping[str, RunResult],
    seeds: Sequence[int],
) -> tuple[list[float], list[str]]:
    values, failures = [], []
    for seed in seeds:
        result = results.get(experiment.settings(sense, variant, seed).key)
        if result is not None and result.failed:
            failures.append(result.error)
        elif result is not None:
            values.append(float(result.figures[experiment.metric]))
    return values, failures


def verdicts(grid: Grid, results: Mapping[str, RunResult]) -> list[Verdict]:
    """What became of every direction of a grid."""
    grid_verdicts = []
    for experiment in grid.experiments:
        table = cells(experiment, results, grid.seeds)
        published = {variant.name: variant.published for variant in experiment.variants}
        for direction in experiment.directions:
            higher, lower = (
                table[direction.sense, name].interval for name in (direction.higher, direction.lower)
            )
            figures = [published[name].get(direction.sense) for name in (direction.higher, direction.lower)]
            gap = math.nan if figures[0] is None or figures[1] is None else (figures[0] - figures[1]) / 100
            outcome, difference = UNDECIDED, math.nan
            if higher is not None and lower is not None:
                difference = higher.value - lower.value
                if not overlap(higher, lower):
                    outcome = REPRODUCED if difference > 0 else OPPOSITE
            grid_verdicts.append(Verdict(experiment.name, direction, outcome, difference, gap))
    return grid_verdicts


def experiment_outcomes(grid_verdicts: Sequence[Verdict]) -> dict[str, str]:
    """The outcome of each experiment with directions: reproduced if all of them are, ``"in part"`` if some are."""
    by_name: dict[str, list[str]] = {}
    for verdict in grid_verdicts:
        by_name.setdefault(verdict.experiment, []).append(verdict.outcome)
    outcomes = {}
    for name, several in by_name.items():
        distinct = set(several)
        mixed_outcome = "in part" if REPRODUCED in distinct else UNDECIDED
        outcomes[name] = several[0] if len(distinct) == 1 else mixed_outcome
    return outcomes
