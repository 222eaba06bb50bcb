"""Few-shot learners and their curves on planted rows."""

import sys

import numpy as np
import pytest

from bindplug.errors import InputError, MissingDependency
from bindplug_lab.evaluation.metrics import hits_at
from bindplug_lab.few_shot.curve import curve_of_rows, few_shot_hits
from bindplug_lab.few_shot.learners import (
    LEARNERS,
    _best_pair,
    cache_scores,
    logistic_scores,
    prototype_scores,
)
from bindplug_lab.few_shot.supports import ensure_shots, support_order


def planted(each, noise, classes=5, seed=0, width=16):
    """Unit rows around a center for each class, and their labels; the centers are the same for every seed."""
    centers = np.random.default_rng(99).normal(size=(classes, width))
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), each)
    rows = centers[labels] + noise * rng.normal(size=(len(labels), width))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True), labels


def accuracy(learner, support, labels, rows, answers, zero_shot=None):
    scores = LEARNERS[learner](support, labels, rows, zero_shot, 20.0)
    return hits_at(scores, np.eye(scores.shape[1], dtype=bool)[answers], 1).mean()


@pytest.mark.parametrize("learner", list(LEARNERS))
@pytest.mark.parametrize("each", [1, 4])
def test_every_learner_separates_well_separated_classes(learner, each):
    (support, labels), (rows, answers) = planted(each, 0.1), planted(20, 0.1, seed=1)
    centers, _ = planted(1, 0.0)
    assert accuracy(learner, support, labels, rows, answers, centers) == 1.0


def test_two_classes_have_a_score_each():
    (support, labels), (rows, answers) = planted(3, 0.1, classes=2), planted(20, 0.1, classes=2, seed=1)
    scores = logistic_scores(support, labels, rows, None, 1.0)
    assert scores.shape == (40, 2)
    assert (scores.argmax(1) == answers).all()


def test_logistic_regression_is_scikit_learns():
    from sklearn.linear_model import LogisticRegression

    (support, labels), (rows, _) = planted(1, 0.5), planted(5, 0.5, seed=1)
    expected = LogisticRegression(C=10.0, max_iter=2000).fit(support, labels).decision_function(rows)
    assert logistic_scores(support, labels, rows, None, 1.0) == pytest.approx(expected)


def test_a_prototype_is_the_normalized_mean():
    support = np.array([[1.0, 0], [0, 1], [-1, 0]])
    scores = prototype_scores(support, np.array([0, 0, 1]), np.array([[1.0, 0]]), None, 1.0)
    assert scores == pytest.approx(np.array([[np.sqrt(0.5), -1.0]]))


def test_the_cache_is_tip_adapters_sum_for_one_example():
    (support, labels), (rows, _) = planted(1, 0.5), planted(4, 0.5, seed=1)
    names, _ = planted(1, 0.2, seed=5)
    expected = 20.0 * rows @ names.T + np.exp(-5.5 * (1 - rows @ support.T)) @ np.eye(5)[labels]
    assert cache_scores(support, labels, rows, names, 20.0) == pytest.approx(expected)


def test_the_cache_trusts_the_support_where_the_names_mislead():
    (support, labels), (rows, answers) = planted(8, 0.3), planted(20, 0.3, seed=1)
    wrong = planted(1, 0.0)[0][[1, 2, 3, 4, 0]]
    assert accuracy("cache", support, labels, rows, answers, wrong) > 0.95


def test_a_support_row_does_not_vote_for_itself():
    names = np.eye(9)[:4]
    labels = np.array([0, 1, 2, 3, 0, 1, 2, 3, 1, 2])
    twins = np.repeat(np.arange(5), 2)  # the nearest other row is always of another class
    support = 0.3 * names[labels] + np.sqrt(1 - 0.09) * np.eye(9)[4 + twins]
    blend, _ = _best_pair(support, labels, np.eye(4)[labels], 20.0 * support @ names.T)
    assert blend == 0.0


def test_random_rows_are_classified_at_chance():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(440, 16))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    labels, answers = np.repeat(np.arange(4), 10), rng.integers(0, 4, 400)
    curve = curve_of_rows(
        rows[:40], labels, rows[40:], answers, list("abcd"), shots=(1, 8), repeats=3, draws=200
    )
    for points in curve.learners.values():
        for point in points:
            assert point.low <= 0.25 <= point.high
    assert set(curve.learners) == {"logistic", "prototypes"}  # without text neither a cache nor zero-shot
    assert curve.zero_shot is None


def test_larger_supports_hold_smaller_ones_and_draws_differ():
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(4), 6))
    first, again, other = (support_order(labels, 4, seed) for seed in (0, 0, 1))
    assert first.shape == (4, 6)
    assert (first == again).all()
    assert (first != other).any()
    assert (labels[first] == np.arange(4)[:, None]).all()


def test_curves_rise_with_examples_and_are_seeded():
    (support, labels), (rows, answers) = planted(16, 1.0), planted(40, 1.0, seed=1)
    names = planted(1, 1.5, seed=7)[0]
    arguments = (support, labels, rows, answers, list("abcde"))
    options = {"shots": (1, 4, 16), "repeats": 3, "draws": 100, "zero_shot": names, "scale": 20.0}
    curve = curve_of_rows(*arguments, **options)
    for points in (curve.learners["logistic"], curve.learners["prototypes"]):
        assert points[0].value < points[1].value < points[2].value
        assert all(point.low <= point.value <= point.high for point in points)
    assert curve.as_dict() == curve_of_rows(*arguments, **options).as_dict()
    for name, gains in curve.gains.items():
        for gain, point in zip(gains, curve.learners[name], strict=True):
            assert gain.value == pytest.approx(point.value - curve.zero_shot.value)
            alone = (point.high - point.low) ** 2 + (curve.zero_shot.high - curve.zero_shot.low) ** 2
            assert (gain.high - gain.low) ** 2 < 1.2 * alone  # at most as wide as if they were unpaired
    assert curve.gains["logistic"][2].low > 0
    assert curve.gains["cache"][2].high - curve.gains["cache"][2].low < 0.15
    hits = few_shot_hits(support, labels, rows, answers, shots=(1,), repeats=3)
    assert hits["prototypes", 1].shape == (3, 200)
    assert curve.learners["prototypes"][0].value == pytest.approx(hits["prototypes", 1].mean())


def test_classes_with_too_few_examples_are_named():
    with pytest.raises(InputError, match=r"train/: 'b' with 1; expected 2 readable.*--shots with 1 at most"):
        ensure_shots(np.array([0, 0, 1]), ["a", "b"], (1, 2), "train/")
    with pytest.raises(InputError, match="shots"):
        ensure_shots(np.array([0]), ["a"], (0,))


def test_logistic_regression_without_scikit_learn_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    support, labels = planted(2, 0.1)
    with pytest.raises(MissingDependency, match=r"bindplug\[lab\]"):
        logistic_scores(support, labels, support, None, 1.0)
