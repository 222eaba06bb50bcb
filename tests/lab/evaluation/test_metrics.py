"""Metrics against scikit-learn, hand-made values and laws."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, balanced_accuracy_score, top_k_accuracy_score

from bindplug.errors import InputError
from bindplug_lab.evaluation.metrics import (
    PrecisionRanking,
    class_scores,
    cosines,
    hits_at,
    mean_by_class,
    weighted_mean,
)


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("k", [1, 2, 5])
def test_accuracy_without_ties_is_that_of_scikit_learn(k: int) -> None:
    rng = np.random.default_rng(k)
    scores, labels = rng.normal(size=(200, 8)), rng.integers(0, 8, 200)
    expected = top_k_accuracy_score(labels, scores, k=k, labels=range(8))
    assert hits_at(scores, np.eye(8, dtype=bool)[labels], k).mean() == pytest.approx(expected)


def test_mean_class_accuracy_is_scikit_learns_balanced_accuracy() -> None:
    rng = np.random.default_rng(0)
    labels, guesses = np.r_[np.zeros(50, int), rng.integers(0, 5, 60)], rng.integers(0, 5, 110)
    right = (labels == guesses).astype(float)
    assert mean_by_class(right, labels, np.ones(110)) == pytest.approx(
        balanced_accuracy_score(labels, guesses)
    )


@pytest.mark.parametrize("places", [1, 6])
def test_average_precision_is_that_of_scikit_learn_with_ties_and_weights(places: int) -> None:
    rng = np.random.default_rng(1)
    scores, relevant = rng.random(120).round(places), rng.random(120) < 0.2
    weights = rng.integers(0, 3, 120).astype(float)
    ranking = PrecisionRanking(scores, relevant)
    assert ranking.average_precision() == pytest.approx(average_precision_score(relevant, scores))
    expected = average_precision_score(relevant, scores, sample_weight=weights)
    assert ranking.average_precision(weights) == pytest.approx(expected)


def test_average_precision_of_a_class_that_nothing_has_is_not_a_number() -> None:
    assert np.isnan(PrecisionRanking(np.arange(3.0), np.zeros(3, bool)).average_precision())


def test_a_tie_counts_as_its_share_of_orders() -> None:
    relevant = np.array([[True, False, False, False]])
    assert hits_at(np.zeros((1, 4)), relevant, 1) == pytest.approx([0.25])
    assert hits_at(np.zeros((1, 4)), relevant, 3) == pytest.approx([0.75])
    assert hits_at(np.array([[0.5, 0.9, 0.5, 0.5]]), relevant, 2) == pytest.approx([1 / 3])
    two = np.array([[True, True, False, False]])
    assert hits_at(np.zeros((1, 4)), two, 2) == pytest.approx([1 - 1 / 6])  # one of six pairs has neither


@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_ties_count_as_the_mean_over_random_orders(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    scores, relevant = rng.integers(0, 3, 6).astype(float), rng.random(6) < 0.4
    relevant[rng.integers(6)] = True
    expected = hits_at(scores[None], relevant[None], k)[0]
    hits = []
    for _ in range(300):
        order = np.lexsort((rng.random(6), -scores))
        hits.append(relevant[order[:k]].any())
    assert abs(np.mean(hits) - expected) < 0.16


def test_a_candidate_that_is_the_query_itself_does_not_compete() -> None:
    scores, relevant = np.array([[1.0, 0.8, 0.9]]), np.array([[True, True, False]])
    assert hits_at(scores, relevant, 1).tolist() == [1.0]
    allowed = np.array([[False, True, True]])
    assert hits_at(scores, relevant, 1, allowed).tolist() == [0.0]
    assert hits_at(scores, relevant, 2, allowed).tolist() == [1.0]
    with pytest.raises(InputError, match="without a relevant"):
        hits_at(scores, np.array([[True, False, False]]), 1, allowed)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_rows_that_are_not_finite_never_become_a_figure(bad: float) -> None:
    rows = unit(np.random.default_rng(0).normal(size=(4, 8)))
    rows[2, 3] = bad
    with np.errstate(invalid="ignore"), pytest.raises(InputError, match="row 2"):
        cosines(rows, rows[:2])
    with pytest.raises(InputError, match="not finite"):
        hits_at(np.array([[bad, 0.0]]), np.array([[True, False]]), 1)
    with pytest.raises(InputError, match="not finite"):
        PrecisionRanking(np.array([bad, 0.0]), np.array([True, False]))


def test_rows_that_are_not_of_unit_length_are_refused() -> None:
    with pytest.raises(InputError, match="unit length"):
        cosines(np.full((2, 4), 3.0), np.full((2, 4), 0.5))


def test_cosines_of_rows_that_differ_by_rounding_are_ties() -> None:
    row = unit(np.random.default_rng(0).normal(size=(1, 64)))
    noisy = (row + 1e-8).astype(np.float32)
    scores = cosines(row, np.concatenate([row, noisy]))
    assert scores[0, 0] == scores[0, 1]


def test_a_class_scores_as_its_best_name() -> None:
    scores = np.array([[0.1, 0.7, 0.3], [0.6, 0.2, 0.5]])
    assert class_scores(scores, np.array([0, 0, 1]), 2).tolist() == [[0.7, 0.3], [0.6, 0.5]]
    with pytest.raises(InputError, match="without a name"):
        class_scores(scores, np.array([0, 0, 1]), 3)


@given(st.integers(0, 2**32 - 1))
def test_the_order_of_items_and_candidates_changes_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 4, (7, 5)).astype(float)
    labels = rng.integers(0, 5, 7)
    relevant = np.eye(5, dtype=bool)[labels]
    rows, columns = rng.permutation(7), rng.permutation(5)
    for k in (1, 3):
        before = hits_at(scores, relevant, k)
        after = hits_at(scores[rows][:, columns], relevant[rows][:, columns], k)
        assert after == pytest.approx(before[rows])
    for c in range(5):
        if relevant[:, c].any():
            before_c = PrecisionRanking(scores[:, c], relevant[:, c]).average_precision()
            after_c = PrecisionRanking(scores[rows, c], relevant[rows, c]).average_precision()
            assert after_c == pytest.approx(before_c)


def test_means_with_weights() -> None:
    assert weighted_mean(np.array([1.0, 0.0]), np.array([3.0, 1.0])) == 0.75
    assert np.isnan(weighted_mean(np.array([1.0]), np.zeros(1)))
