"""Compare image encoders by what audio and depth learn from them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bindplug.errors import InputError
from bindplug.progress import iterate_with_progress
from bindplug_lab.judging.anchors import check_anchors
from bindplug_lab.judging.measures import MEASURES
from bindplug_lab.judging.parts import Parts
from bindplug_lab.judging.settings import SENSES, JudgeSettings
from bindplug_lab.statistics import Interval, mean_interval, overlap, share_interval
from bindplug_lab.world import open_world

HEADLINE = next(iter(MEASURES))
"""The measure of an anchor's own accuracy that the comparison is about: the linear probe."""

Job = tuple[Parts, str, str, int]
"""Parts, anchor, sense and seed of a binding; the sense of an anchor's own measurement is empty."""


@dataclass(frozen=True)
class Judgement:
    """What was measured of every anchor.

    Attributes:
        settings: sizes.
        own: for each anchor its own accuracy by measure.
        emergent: for each anchor the accuracy of each sense that was bound to it, over seeds.
        by_seed: the same, a figure a seed.
    """

    settings: JudgeSettings
    own: dict[str, dict[str, Interval]]
    emergent: dict[str, dict[str, Interval]]
    by_seed: dict[str, dict[str, list[float]]]

    @property
    def anchors(self) -> list[str]:
        """Their names, best own accuracy first."""
        return sorted(self.own, key=lambda name: -self.own[name][HEADLINE].value)

    def order(self, sense: str) -> list[str]:
        """The anchors by the accuracy of a sense, best first."""
        return sorted(self.own, key=lambda name: -self.emergent[name][sense].value)

    def reversals(self, sense: str, measure: str = HEADLINE) -> list[tuple[str, str]]:
        """Pairs of anchors that a sense orders otherwise than their own accuracy.

        Returns:
            Pairs (a, b): a's own accuracy is higher, b's sense is more accurate, and no intervals overlap.
        """
        pairs = []
        for first, second in combinations(self.anchors, 2):
            a, b = sorted((first, second), key=lambda name: -self.own[name][measure].value)
            own = self.own[a][measure], self.own[b][measure]
            emergent = self.emergent[a][sense], self.emergent[b][sense]
            if emergent[1].value > emergent[0].value and not (overlap(*own) or overlap(*emergent)):
                pairs.append((a, b))
        return pairs

    def agreement(self, sense: str, measure: str = HEADLINE) -> float:
        """Kendall's rank correlation of own accuracy with that of a sense: 1 for one order, -1 for opposite ones."""
        concordance = [
            np.sign(self.own[a][measure].value - self.own[b][measure].value)
            * np.sign(self.emergent[a][sense].value - self.emergent[b][sense].value)
            for a, b in combinations(self.own, 2)
        ]
        return float(np.mean(concordance)) if concordance else float("nan")

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        pairs = {measure: {sense: self.reversals(sense, measure) for sense in SENSES} for measure in MEASURES}
        correlations = {
            measure: {sense: round(self.agreement(sense, measure), 3) for sense in SENSES}
            for measure in MEASURES
        }
        return {
            "settings": self.settings.to_dict(),
            "anchors": {
                name: {
                    "own": {measure: interval.as_dict() for measure, interval in self.own[name].items()},
                    "emergent": {
                        sense: interval.as_dict() | {"by_seed": self.by_seed[name][sense]}
                        for sense, interval in self.emergent[name].items()
                    },
                }
                for name in self.anchors
            },
            "orders": {"own": self.anchors} | {sense: self.order(sense) for sense in SENSES},
            "rank_correlation": correlations if len(self.own) > 1 else {},
            "pairs_ordered_otherwise": pairs,
        }


def judge(
    anchors: Sequence[str],
    output: str | Path,
    settings: JudgeSettings | None = None,
    *,
    cache: str | Path | None = None,
    jobs: int = 1,
    quiet: bool | None = None,
) -> Judgement:
    """Bind audio and depth to every anchor, and measure both it and them.

    What is measured is kept in ``output``; a run that ended early goes on where it ended, and another run may add
    anchors.

    Args:
        anchors: names of encoders that are trained here (``toy_clip``, ``supervised``, ``simclr``, ``dino``,
            ``random``), or ids of models with an image tower, as :func:`bindplug.load` takes them.
        output: directory of the comparison.
        settings: sizes; the defaults of :class:`JudgeSettings` for None.
        cache: directory of rendered worlds and trained encoders; ``output/cache`` for None.
        jobs: processes.
        quiet: True shows no progress, None asks the environment.

    Raises:
        UnknownModel: an anchor is unknown.
        InputError: an anchor is given twice, ``jobs`` is below 1, or ``output`` holds something else.
    """
    if jobs < 1:
        raise InputError("jobs", found=str(jobs), expected="1 or more")
    check_anchors(anchors)
    output, settings = Path(output), settings or JudgeSettings()
    parts = Parts(output, Path(cache) if cache else output / "cache", settings)
    parts.open()
    for spec in settings.worlds().values():
        open_world(spec, parts.cache / "worlds", quiet=quiet)
    missing: list[Job] = [(parts, name, "", 0) for name in anchors if not parts.has_anchor(name)]
    _run(missing, jobs, "anchors", quiet)
    missing = [
        (parts, name, sense, seed)
        for seed in range(settings.seeds)
        for name in anchors
        for sense in SENSES
        if not parts.has_binding(name, sense, seed)
    ]
    _run(missing, jobs, "bound towers", quiet)
    return _judgement(parts, anchors)


def _run(jobs: list[Job], processes: int, label: str, quiet: bool | None) -> None:
    for _ in iterate_with_progress(_results(jobs, processes), total=len(jobs), label=label, quiet=quiet):
        pass


def _results(jobs: Iterable[Job], processes: int) -> Iterator[None]:
    if processes == 1:
        yield from map(_measure, jobs)
        return
    with get_context("spawn").Pool(processes, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        yield from pool.imap_unordered(_measure, jobs)


def _measure(job: Job) -> None:
    parts, anchor, sense, seed = job
    if sense:
        parts.measure_binding(anchor, sense, seed, quiet=True)
    else:
        parts.measure_anchor(anchor, quiet=True)


def _judgement(parts: Parts, anchors: Sequence[str]) -> Judgement:
    own, emergent, by_seed = {}, {}, {}
    for name in anchors:
        own[name] = {
            measure: share_interval(float(right.mean()), len(right))
            for measure, right in parts.own(name).items()
        }
        right = {sense: parts.emergent(name, sense) for sense in SENSES}
        emergent[name] = {sense: seeds_interval(values) for sense, values in right.items()}
        by_seed[name] = {
            sense: [round(float(row.mean()), 4) for row in values] for sense, values in right.items()
        }
    return Judgement(parts.settings, own, emergent, by_seed)


def seeds_interval(right: NDArray[np.bool_]) -> Interval:
    """The accuracy of towers of several seeds on the same scenes.

    Args:
        right: (seeds, N) which scenes each tower classified right.

    Returns:
        The mean with the wider of two intervals: Student's over the seeds, which is for other trainings, and the
        exact one over the scenes, which is for other scenes.
    """
    over_scenes = share_interval(float(right.mean()), right.shape[1])
    if len(right) < 2:
        return over_scenes
    over_seeds = mean_interval(right.mean(1))
    # the width of an interval that is symmetric may leave 0 to 1, accuracies don't
    low, high = max(0.0, over_seeds.low), min(1.0, over_seeds.high)
    widest = max((over_scenes.low, over_scenes.high), (low, high), key=lambda ends: ends[1] - ends[0])
    return Interval(over_scenes.value, *widest, count=len(right))
