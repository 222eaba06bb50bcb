"""Intervals: how often they hold a truth that is known, clusters, pairing, and what is refused."""

import math

import numpy as np
import pytest
from scipy.stats import binom, multinomial

from bindplug.errors import InputError
from bindplug_lab.evaluation.measures import MeanPrecision, figures_of
from bindplug_lab.statistics import (
    Interval,
    binomial_interval,
    cluster_numbers,
    difference,
    figure_interval,
    mean_interval,
    overlap,
    resampled_weights,
    share_interval,
)


def covers(interval: Interval, truth: float) -> bool:
    return interval.low <= truth <= interval.high


def draws_of(values: np.ndarray, clusters: np.ndarray | None = None, draws: int = 150, seed: int = 0):
    weights = resampled_weights(len(values), clusters=clusters, draws=draws, seed=seed)
    return np.array([w @ values / w.sum() for w in weights])


# -- coverage: how often an interval holds the truth -----------------------------------------------------------------


@pytest.mark.parametrize("count", [20, 100, 500])
def test_the_interval_of_a_share_holds_it_at_least_as_often_as_it_says(count: int) -> None:
    """Exact: each number of right answers with its probability, for true shares up to 99.9 %."""
    hits = np.arange(count + 1)
    ends = np.array([(i.low, i.high) for i in (share_interval(h / count, count) for h in hits)])
    for share in (0.05, 0.3, 0.5, 0.72, 0.9, 0.93, 0.96, 0.985, 0.99, 0.995, 0.999):
        held = (ends[:, 0] <= share) & (share <= ends[:, 1])
        assert binom.pmf(hits, count, share) @ held >= 0.95, share


@pytest.mark.parametrize(("share", "alike"), [(0.9, False), (0.9, True), (0.97, False)])
def test_the_interval_of_clustered_items_holds_the_share(share: float, alike: bool) -> None:
    """Simulated: 40 recordings of 1 to 8 windows, alike within a recording or of a share of its own."""
    rng = np.random.default_rng(0)
    held, held_alone = [], []
    for seed in range(150):
        clusters = np.repeat(np.arange(40), rng.integers(1, 9, 40))
        own = rng.random(40) < share if alike else rng.beta(4 * share, 4 * (1 - share), 40)
        right = (rng.random(len(clusters)) < own[clusters]).astype(float)
        draws = draws_of(right, clusters, seed=seed)
        held.append(covers(share_interval(right.mean(), len(right), draws, 40), share))
        held_alone.append(covers(share_interval(right.mean(), len(right)), share))
    assert np.mean(held) >= 0.92
    assert np.mean(held_alone) < (0.7 if alike else np.mean(held))


def test_students_interval_of_three_seeds_holds_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    held = [covers(mean_interval(rng.normal(5, 2, 3)), 5) for _ in range(600)]
    assert 0.92 <= np.mean(held) <= 0.975


def test_the_interval_of_a_mean_average_precision_holds_that_of_all_items() -> None:
    """Simulated: ten classes of 2 to 30 %, of which 200 items are drawn from 20,000."""
    rng = np.random.default_rng(0)
    shares = np.geomspace(0.02, 0.3, 10)

    def figure(count: int, draws: int):
        relevant = rng.random((count, 10)) < shares
        relevant[:, 0] |= ~relevant.any(1)
        noise = rng.normal(size=(count, 10)) + 1.5 * relevant
        rows = np.concatenate([noise, np.full((count, 1), 20.0)], axis=1)  # so that cosines are almost linear
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        measure = MeanPrecision(rows, np.eye(11)[:10], np.arange(10), relevant)
        return figures_of(measure, draws=draws)["mAP"]

    truth = figure(20_000, 1).value
    figures = [figure(200, 60) for _ in range(40)]
    percentiles = [np.quantile(item.draws, [0.025, 0.975]) for item in figures]
    assert np.mean([covers(item.interval(), truth) for item in figures]) >= 0.87
    assert np.mean([low <= truth <= high for low, high in percentiles]) < 0.7  # why they are not used


@pytest.mark.parametrize(("first", "second"), [(0.02, 0.02), (0.1, 0.1), (0.06, 0.01)])
def test_the_interval_of_a_difference_holds_it(first: float, second: float) -> None:
    """Exact over how often either of two models alone is right on 60 items; resamples stand in by their variance."""
    count, held = 60, 0.0
    for a in range(25):
        for b in range(25):
            chance = multinomial.pmf([a, b, count - a - b], count, [first, second, 1 - first - second])
            gain = (a - b) / count
            reach = math.sqrt(max(0.0, ((a + b) / count - gain**2) / count))
            draws = gain + reach * np.array([-1.0, 1.0]) / math.sqrt(2)  # variance: reach squared
            interval = difference(gain, 0, draws, np.zeros(2), count, share=True)
            held += chance * covers(interval, first - second)
    assert 0.945 <= held <= 1


# -- shares ---------------------------------------------------------------------------------------------------------


def test_a_share_of_single_items_has_clopper_and_pearsons_interval() -> None:
    assert binomial_interval(0.9, 20) == pytest.approx((0.68302, 0.98765), abs=1e-5)
    assert binomial_interval(0.0, 10) == pytest.approx((0.0, 0.30850), abs=1e-5)
    assert binomial_interval(1.0, 200)[0] == pytest.approx(0.025 ** (1 / 200))
    interval = share_interval(0.9, 20)
    assert (interval.low, interval.high, interval.count) == (*binomial_interval(0.9, 20), 20)
    assert share_interval(0.9, 20, level=0.8).low > interval.low


def test_clusters_count_as_many_items_as_they_tell() -> None:
    rng = np.random.default_rng(0)
    right = np.repeat(rng.random(50) < 0.7, 8).astype(float)  # eight windows of each recording agree
    clusters = np.repeat(np.arange(50), 8)
    together = share_interval(right.mean(), 400, draws_of(right, clusters, 1000), 50)
    of_recordings = share_interval(right.mean(), 50)
    assert together.high - together.low == pytest.approx(of_recordings.high - of_recordings.low, rel=0.1)
    shuffled = rng.permutation(right)
    apart = share_interval(right.mean(), 400, draws_of(shuffled, clusters, 1000), 50)
    of_items = share_interval(right.mean(), 400)
    assert apart.high - apart.low == pytest.approx(of_items.high - of_items.low, rel=0.25)
    assert apart.high - apart.low >= of_items.high - of_items.low


def test_all_right_is_not_certainty() -> None:
    assert share_interval(1.0, 200).low == pytest.approx(0.025 ** (1 / 200))
    clustered = share_interval(1.0, 200, np.ones(100), 20)
    assert clustered.high == 1.0
    assert clustered.low < 0.025 ** (1 / 20)  # windows of a recording may be right together
    assert figure_interval(1.0, np.ones(100), 200).low == pytest.approx(0.025 ** (1 / 200))


def test_weights_of_a_resample_are_counts_and_equal_within_a_cluster() -> None:
    clusters = ["x", "y", "x", "z"]
    for weights in resampled_weights(4, clusters=clusters, draws=20, seed=3):
        assert weights[0] == weights[2]
        assert weights[0] + weights[1] + weights[3] == 3
    assert cluster_numbers(clusters).tolist() == [0, 1, 0, 2]


def test_the_same_seed_gives_the_same_resamples_and_another_one_not() -> None:
    values = np.random.default_rng(0).random(40)
    assert np.array_equal(draws_of(values, seed=1), draws_of(values, seed=1))
    assert not np.array_equal(draws_of(values, seed=1), draws_of(values, seed=2))


# -- differences ----------------------------------------------------------------------------------------------------


def test_a_paired_difference_is_narrower_than_the_intervals_that_it_is_made_of() -> None:
    rng = np.random.default_rng(0)
    hard = rng.random(300)
    a, b = (hard < 0.6).astype(float), (hard < 0.55).astype(float)
    draws = [draws_of(values) for values in (a, b)]
    interval = difference(a.mean(), b.mean(), *draws, 300, share=True)
    alone = share_interval(a.mean(), 300)
    assert interval.value == pytest.approx(a.mean() - b.mean())
    assert interval.low > 0
    assert interval.high - interval.low < alone.high - alone.low
    assert difference(a.mean(), b.mean(), *draws, 300).low > interval.low
    with pytest.raises(InputError, match="same resamples"):
        difference(0.6, 0.5, draws[0], draws[1][:-1], 300)


def test_few_items_on_which_models_differ_are_no_proof() -> None:
    first, second = np.ones(50), np.ones(50)
    second[:4] = 0  # 4 to 0: McNemar's exact test has p = 0.125
    draws = [draws_of(values, draws=1000) for values in (first, second)]
    assert difference(1.0, 0.92, *draws, 50, share=True).low < 0
    same = difference(1.0, 1.0, draws[0], draws[0], 50, share=True)
    assert same.low == -same.high < 0
    assert difference(0.5, 0.4, [0.5], [0.4], 1).text() == "10.0"


# -- in general -----------------------------------------------------------------------------------------------------


def test_too_little_data_has_a_figure_and_no_interval() -> None:
    one = np.ones(5)
    for interval in (
        mean_interval([0.5]),
        share_interval(1.0, 1),
        share_interval(0.5, 9, one, 1),
        figure_interval(0.5, one, 1),
        figure_interval(0.5, one * math.nan, 9),
    ):
        assert not interval.is_known
        assert interval.as_dict()["low"] is None
    assert share_interval(1.0, 1).text() == "100.0"
    assert Interval(0.669, 0.64, 0.695).text() == "66.9 (64.0 to 69.5)"


def test_overlap() -> None:
    assert overlap(Interval(1, 0, 2), Interval(3, 2, 4))
    assert not overlap(Interval(1, 0, 2), Interval(3, 2.1, 4))
    assert overlap(Interval(1, math.nan, math.nan), Interval(9, 8, 10))


def test_undefined_resamples_are_left_out() -> None:
    draws = draws_of(np.random.default_rng(0).random(30))
    assert figure_interval(0.5, [*draws, math.nan], 30) == figure_interval(0.5, draws, 30)
    assert share_interval(0.5, 30, [*draws, math.nan]) == share_interval(0.5, 30, draws)


def test_ends_stay_where_a_figure_can_be() -> None:
    assert mean_interval([0.9, -0.8], low=-1.0, high=1.0).low == -1.0
    wide = figure_interval(0.95, [0.2, 0.99, 1.0, 0.9], 5)
    assert 0 <= wide.low <= 0.95 <= wide.high <= 1


@pytest.mark.parametrize("values", [[], [1.0, math.nan], [math.inf]])
def test_values_that_make_no_figure_are_refused(values: list[float]) -> None:
    with pytest.raises(InputError):
        mean_interval(values)


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(InputError, match="level"):
        mean_interval([1.0, 2.0], level=95)
    with pytest.raises(InputError, match="level"):
        share_interval(0.5, 9, level=95)
    with pytest.raises(InputError, match="clusters"):
        list(resampled_weights(2, clusters=["a"]))
