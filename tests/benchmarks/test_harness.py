"""Ratios, spreads, turns, and the proof of equal numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from benchmarks.harness import (
    Comparison,
    Growth,
    Outcome,
    Skipped,
    UnequalNumbers,
    attempt,
    deviation,
    ensure_aligned,
    ensure_equal,
    fitted_exponent,
    in_turns,
)
from benchmarks.report import draw, footer, table

MACHINE = {"device": "p", "threads": 2, "torch": "2", "cores": 2, "load_1_min": 0.1}
times = st.floats(0.001, 1000)


def test_ratio_is_the_median_of_pairs() -> None:
    one = Comparison("x", "s", [10.0, 20.0, 90.0], [1.0, 1.0, 10.0], least_ratio=10)
    assert one.ratios == [10.0, 20.0, 9.0]
    assert one.ratio == 10.0
    assert one.met is True
    assert one.to_dict()["ratio"] | {"samples": []} == {
        "median": 10.0,
        "min": 9.0,
        "max": 20.0,
        "samples": [],
    }


def test_a_goal_can_be_missed() -> None:
    assert Comparison("x", "s", [10.0], [5.0], least_ratio=2.5).met is False
    assert Comparison("x", "s", [1.0], [1.5], most_added=0.4).met is False
    assert Comparison("x", "s", [1.0], [1.25], most_added=0.4).met is True
    assert Comparison("x", "s", [1.0], [1.3]).met is None


@given(st.lists(st.tuples(times, times), min_size=1, max_size=9))
def test_median_ratio_lies_within_the_spread(pairs: list[tuple[float, float]]) -> None:
    one = Comparison("x", "s", [a for a, _ in pairs], [b for _, b in pairs])
    assert min(one.ratios) <= one.ratio <= max(one.ratios)


@pytest.mark.parametrize(("baseline", "ours"), [([], []), ([1.0], [1.0, 2.0])])
def test_unpaired_measurements_are_refused(baseline: list[float], ours: list[float]) -> None:
    with pytest.raises(ValueError, match="measurements"):
        Comparison("x", "s", baseline, ours)


def test_sides_take_turns_at_going_first() -> None:
    order: list[str] = []
    numbers = iter(range(100))

    def measure(side: str) -> float:
        order.append(side)
        return float(next(numbers))

    baseline, ours = in_turns(lambda: measure("b"), lambda: measure("o"), 3, label="x")
    assert "".join(order) == "boobbo"
    assert (baseline, ours) == ([0.0, 3.0, 4.0], [1.0, 2.0, 5.0])


def test_equal_numbers_pass_and_say_how_equal() -> None:
    rows = torch.randn(3, 4)
    assert ensure_equal("x", rows, rows) == 0.0
    assert 0 < ensure_equal("x", rows + 1e-6, rows) < 1e-4


@pytest.mark.parametrize(
    "ours",
    [torch.tensor([1.0, 2.001]), torch.tensor([1.0, math.nan]), torch.ones(3), torch.tensor([2.0, 1.0])],
)
def test_unequal_numbers_are_refused_by_name(ours: torch.Tensor) -> None:
    with pytest.raises(UnequalNumbers, match="the prompts"):
        ensure_equal("the prompts", ours, torch.tensor([1.0, 2.0]))


def test_deviation_is_relative_to_the_largest_number() -> None:
    assert deviation([1.0, 100.5], [1.0, 100.0]) == pytest.approx(0.005)


def test_cosines_count_as_equality_in_half_precision() -> None:
    rows = torch.randn(3, 8)
    assert ensure_aligned("x", rows.bfloat16().float(), rows) > 0.999
    for wrong in (-rows, rows[:2], rows * math.nan):
        with pytest.raises(UnequalNumbers, match="the prompts"):
            ensure_aligned("the prompts", wrong, rows)


def test_a_failing_part_keeps_what_came_before() -> None:
    one = Comparison("x", "s", [1.0], [1.0])

    def work() -> Iterator[Outcome]:
        yield one
        raise Skipped("too little memory")

    first, last = attempt(work)
    assert first is one
    assert str(last) == "too little memory"


@given(st.floats(-3, 3), st.floats(0.01, 100))
def test_the_exponent_of_a_power_is_found(exponent: float, factor: float) -> None:
    sizes = [1, 3, 10, 100]
    assert fitted_exponent(sizes, [factor * s**exponent for s in sizes]) == pytest.approx(exponent, abs=1e-6)


def test_growth_has_an_exponent_a_round() -> None:
    grown = Growth("g", "items", "s", [1, 10], [[1.0, 1.0, 1.0], [10.0, 100.0, 10.0]])
    assert grown.exponents == pytest.approx([1, 2, 1])
    described = grown.to_dict()
    assert described["exponent"] == pytest.approx({"fitted": 1, "min": 1, "max": 2})
    assert [point["size"] for point in described["points"]] == [1, 10]


@pytest.mark.parametrize("sizes", [[1], [2, 1], [1, 1]])
def test_growth_needs_rising_sizes(sizes: list[int]) -> None:
    with pytest.raises(ValueError, match="sizes"):
        Growth("g", "items", "s", sizes, [[1.0]] * len(sizes))


def test_table_shows_medians_goals_and_growth() -> None:
    met = Comparison("fast", "s", [8.0] * 5, [1.0] * 5, 1e-6, least_ratio=4, notes=["a note"])
    missed = Comparison("slow", "s", [1.0] * 5, [2.0] * 5, most_added=0.4, cosine=0.9995)
    grown = Growth("much", "items", "s", [1, 1000], [[1.0], [1000.0]])
    shown = table([met, missed, grown])
    for part in ("8 x [8, 8]", ">= 4 x", "met", "MISSED", "+1.000 s", "a note", "1e-06", "cosine 0.99950"):
        assert part in shown
    for part in ("much: exponent 1.00 [1.00, 1.00]", "1,000", "1e+03"):
        assert part in shown


def test_footer_says_what_is_missing_and_whether_to_trust() -> None:
    one = Comparison("fast", "s", [8.0] * 5, [1.0] * 5)
    missing = {"skipped": {"cold-start": "too little memory"}, "unequal": {}, "failed": {"towers": "oh"}}
    shown = footer([one], missing, MACHINE)
    assert "cold-start: skipped, too little memory" in shown
    assert "towers: failed, oh" in shown
    assert "Repeats: 5" in shown
    assert "busy" not in shown
    assert "busy" in footer([], {}, MACHINE | {"load_1_min": 2.0})


def test_chart_is_drawn_of_comparisons_alone(tmp_path: Path) -> None:
    grown = Growth("much", "items", "s", [1, 2], [[1.0], [2.0]])
    assert not draw(tmp_path / "none.png", [grown], MACHINE)
    assert not (tmp_path / "none.png").exists()
    one = Comparison("fast", "s", [8.0, 9.0], [1.0, 1.0], least_ratio=4)
    assert draw(tmp_path / "one.png", [grown, one], MACHINE)
    with Image.open(tmp_path / "one.png") as drawn:
        assert drawn.width > 400
