"""Intervals: their coverage on data whose truth is known, clusters, pairing, and what is refused."""

import math

import numpy as np
import pytest

from bindplug.errors import InputError
from bindplug_lab.statistics import (
    Interval,
    bootstrap,
    cluster_numbers,
    difference,
    interval_of_draws,
    mean_interval,
    overlap,
    resampled_weights,
)


def covers(interval: Interval, truth: float) -> bool:
    return interval.low <= truth <= interval.high


def test_the_bootstrap_holds_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    held = [covers(bootstrap(rng.random(150) < 0.7, draws=200, seed=i), 0.7) for i in range(200)]
    assert 0.89 <= np.mean(held) <= 0.985


def test_students_interval_of_three_seeds_holds_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    held = [covers(mean_interval(rng.normal(5, 2, 3)), 5) for _ in range(600)]
    assert 0.92 <= np.mean(held) <= 0.975


def test_items_of_one_recording_are_resampled_together() -> None:
    rng = np.random.default_rng(0)
    held_alone, held_together = [], []
    for seed in range(120):
        values = np.repeat(rng.random(25) < 0.6, 8).astype(float)  # eight windows of each recording agree
        clusters = np.repeat(np.arange(25), 8).tolist()
        held_alone.append(covers(bootstrap(values, draws=150, seed=seed), 0.6))
        held_together.append(covers(bootstrap(values, clusters=clusters, draws=150, seed=seed), 0.6))
    assert np.mean(held_together) > 0.87
    assert np.mean(held_alone) < 0.7
    assert bootstrap([1.0, 0.0, 1.0], clusters=["a", "a", "b"]).count == 2


def test_weights_of_a_resample_are_counts_and_equal_within_a_cluster() -> None:
    clusters = ["x", "y", "x", "z"]
    for weights in resampled_weights(4, clusters=clusters, draws=20, seed=3):
        assert weights[0] == weights[2]
        assert weights[0] + weights[1] + weights[3] == 3
    assert cluster_numbers(clusters).tolist() == [0, 1, 0, 2]


def test_the_same_seed_gives_the_same_interval_and_another_one_not() -> None:
    values = np.random.default_rng(0).random(40)
    assert bootstrap(values, seed=1) == bootstrap(values, seed=1)
    assert bootstrap(values, seed=1) != bootstrap(values, seed=2)


def test_a_paired_difference_is_narrower_than_the_intervals_that_it_is_made_of() -> None:
    rng = np.random.default_rng(0)
    hard = rng.random(300)
    a, b = (hard < 0.6).astype(float), (hard < 0.55).astype(float)
    weights = list(resampled_weights(300, seed=0))
    draws = [[float(w @ values / w.sum()) for w in weights] for values in (a, b)]
    interval = difference(a.mean(), b.mean(), *draws, 300)
    alone = bootstrap(a)
    assert interval.value == pytest.approx(a.mean() - b.mean())
    assert interval.low > 0
    assert interval.high - interval.low < alone.high - alone.low
    with pytest.raises(InputError, match="same resamples"):
        difference(0.6, 0.5, draws[0], draws[1][:-1], 300)


def test_too_little_data_has_a_figure_and_no_interval() -> None:
    for interval in (mean_interval([0.5]), bootstrap([1.0]), bootstrap([1.0, 0.0], clusters=["a", "a"])):
        assert not interval.is_known
        assert interval.as_dict()["low"] is None
    assert bootstrap([1.0]).text() == "100.0"
    assert Interval(0.669, 0.64, 0.695).text() == "66.9 (64.0 to 69.5)"


def test_overlap() -> None:
    assert overlap(Interval(1, 0, 2), Interval(3, 2, 4))
    assert not overlap(Interval(1, 0, 2), Interval(3, 2.1, 4))
    assert overlap(Interval(1, math.nan, math.nan), Interval(9, 8, 10))


def test_undefined_resamples_are_left_out() -> None:
    interval = interval_of_draws(0.5, [0.4, math.nan, 0.6], 10)
    assert 0.4 <= interval.low <= interval.high <= 0.6


@pytest.mark.parametrize("values", [[], [1.0, math.nan], [math.inf]])
def test_values_that_make_no_figure_are_refused(values: list[float]) -> None:
    with pytest.raises(InputError):
        mean_interval(values)
    with pytest.raises(InputError):
        bootstrap(values)


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(InputError, match="level"):
        mean_interval([1.0, 2.0], level=95)
    with pytest.raises(InputError, match="clusters"):
        bootstrap([1.0, 2.0], clusters=["a"])
    with pytest.raises(InputError, match="count"):
        bootstrap(lambda weights: 0.0)


def test_all_right_is_not_certainty() -> None:
    interval = interval_of_draws(1.0, np.ones(100), 200, share=True)
    assert interval.high == 1.0
    assert interval.low == pytest.approx(0.025 ** (1 / 200))  # Clopper and Pearson
    none = interval_of_draws(0.0, np.zeros(100), 200, share=True)
    assert (none.low, none.high) == pytest.approx((0.0, 1 - 0.025 ** (1 / 200)))
    assert interval_of_draws(1.0, np.ones(100), 200).low == 1.0
