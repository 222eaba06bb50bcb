"""Accuracy over the number of examples a class, for several learners, beside zero-shot."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

import numpy as np

from bindplug.errors import InputError
from bindplug_lab.evaluation.measures import Accuracy, FewShotAccuracy, Figure, figures_of
from bindplug_lab.evaluation.metrics import hits_at
from bindplug_lab.few_shot.learners import LEARNERS
from bindplug_lab.few_shot.supports import ensure_shots, support_order
from bindplug_lab.statistics import DRAWS, LEVEL, Interval, difference

__all__ = ["DEFAULT_REPEATS", "DEFAULT_SHOTS", "Curve", "curve_of_rows", "few_shot_hits"]

DEFAULT_SHOTS = (1, 2, 4, 8, 16)

DEFAULT_REPEATS = 5
"""Supports that are drawn for each number of shots."""


@dataclass(frozen=True)
class Curve:
    """Accuracies of learners over the number of examples a class.

    Attributes:
        shots: numbers of examples a class.
        learners: by learner's name an interval for each of ``shots``, over drawn supports and test items.
        zero_shot: accuracy from the classes' names alone; None of a model without text.
        chance: accuracy of guessing.
        classes: how many there are.
        test_count: test items.
        repeats: supports drawn for each number of shots.
        gains: by learner's name what it has above zero-shot for each of ``shots``, with paired intervals; empty without
            zero-shot.
    """

    shots: tuple[int, ...]
    learners: dict[str, tuple[Interval, ...]]
    zero_shot: Interval | None
    chance: float
    classes: int
    test_count: int
    repeats: int
    gains: dict[str, tuple[Interval, ...]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return {
            "shots": list(self.shots),
            "learners": {name: [i.as_dict() for i in points] for name, points in self.learners.items()},
            "zero_shot": self.zero_shot.as_dict() if self.zero_shot else None,
            "chance": self.chance,
            "classes": self.classes,
            "test_count": self.test_count,
            "repeats": self.repeats,
            "gains": {name: [i.as_dict() for i in points] for name, points in self.gains.items()},
        }


def few_shot_hits(
    support: np.ndarray,
    support_labels: np.ndarray,
    test: np.ndarray,
    test_labels: np.ndarray,
    *,
    shots: Sequence[int],
    repeats: int,
    seed: int = 0,
    learners: Sequence[str] = tuple(LEARNERS),
    zero_shot: np.ndarray | None = None,
    scale: float = 100.0,
) -> dict[tuple[str, int], np.ndarray]:
    """What each learner gets right after each drawn support.

    Args:
        support: (S, D) unit rows.
        support_labels: (S,) classes 0 to C - 1, each at least ``max(shots)`` times.
        test: (N, D) unit rows.
        test_labels: (N,) classes.
        shots: examples a class.
        repeats: supports for each number of shots.
        seed: of the first one.
        learners: names of :data:`~bindplug_lab.few_shot.learners.LEARNERS`; ``cache`` is left out without
            ``zero_shot``.
        zero_shot: (C, D) unit rows of the classes' texts.
        scale: factor on zero-shot cosines.

    Returns:
        By learner and number of shots (repeats, N) float64: 1 where right, a share where classes tie.
    """
    unknown = [name for name in learners if name not in LEARNERS]
    if unknown:
        raise InputError("learners", found=repr(unknown[0]), expected=", ".join(LEARNERS))
    support, test = support.astype(np.float64), test.astype(np.float64)
    names = None if zero_shot is None else zero_shot.astype(np.float64)
    classes = int(max(support_labels.max(), test_labels.max())) + 1
    relevant = np.eye(classes, dtype=bool)[test_labels]
    hits: dict[tuple[str, int], list[np.ndarray]] = {}
    for repeat in range(repeats):
        order = support_order(support_labels, classes, seed + repeat)  # (C, fewest)
        for k in shots:
            places = order[:, :k].ravel()
            for name in learners:
                if name == "cache" and names is None:
                    continue
                scores = LEARNERS[name](support[places], support_labels[places], test, names, scale)
                hits.setdefault((name, k), []).append(hits_at(scores, relevant, 1))
    return {key: np.stack(parts) for key, parts in hits.items()}


def curve_of_rows(
    support: np.ndarray,
    support_labels: np.ndarray,
    test: np.ndarray,
    test_labels: np.ndarray,
    class_names: Sequence[str],
    *,
    shots: Sequence[int] = DEFAULT_SHOTS,
    repeats: int = DEFAULT_REPEATS,
    seed: int = 0,
    learners: Sequence[str] = tuple(LEARNERS),
    zero_shot: np.ndarray | None = None,
    scale: float = 100.0,
    clusters: Sequence[Hashable] | None = None,
    draws: int = DRAWS,
    level: float = LEVEL,
    where: str = "",
) -> Curve:
    """The curve of rows embedded earlier.

    Arguments are those of :func:`few_shot_hits`, and

    Args:
        class_names: C names, for errors.
        clusters: for each test item what it is resampled with.
        draws, level: of the intervals, for which supports and test items are resampled.
        where: the support, as errors name it.

    Raises:
        InputError: a class has too few examples.
    """
    shots = tuple(sorted(set(shots)))
    ensure_shots(support_labels, class_names, shots, where)
    hits = few_shot_hits(
        support,
        support_labels,
        test,
        test_labels,
        shots=shots,
        repeats=repeats,
        seed=seed,
        learners=learners,
        zero_shot=zero_shot,
        scale=scale,
    )
    classes = len(class_names)
    correct = {f"{name} {k}": values for (name, k), values in hits.items()}
    measure = FewShotAccuracy(correct, chance=1 / classes, clusters=clusters, seed=seed)
    figures = figures_of(measure, draws=draws, seed=seed)
    intervals = {name: figure.interval(level) for name, figure in figures.items()}
    names = [name for name in learners if (name, shots[0]) in hits]
    base = _zero_shot(test, test_labels, zero_shot, clusters, draws, seed)
    gains: dict[str, tuple[Interval, ...]] = {}
    if base is not None:
        gains = {name: tuple(_gain(figures[f"{name} {k}"], base, level) for k in shots) for name in names}
    return Curve(
        shots,
        {name: tuple(intervals[f"{name} {k}"] for k in shots) for name in names},
        base.interval(level) if base is not None else None,
        1.0 / classes,
        classes,
        len(test),
        repeats,
        gains,
    )


def _gain(figure: Figure, base: Figure, level: float) -> Interval:
    """How much more than zero-shot on the same items; both meet the same resamples of them."""
    return difference(figure.value, base.value, figure.draws, base.draws, base.count, level, share=True)


def _zero_shot(
    test: np.ndarray,
    labels: np.ndarray,
    names: np.ndarray | None,
    clusters: Sequence[Hashable] | None,
    draws: int,
    seed: int,
) -> Figure | None:
    if names is None:
        return None
    relevant = np.eye(len(names), dtype=bool)[labels]
    measure = Accuracy(test, names, np.arange(len(names)), relevant, clusters=clusters)
    return figures_of(measure, draws=draws, seed=seed)["accuracy"]
