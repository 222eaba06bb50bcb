"""Verdicts by intervals, tables, figures and the record, of invented results."""

from __future__ import annotations

import io
import json
import math

import numpy as np
import pytest
from PIL import Image

from bindplug_lab.ablations import cells, read_grid, verdicts
from bindplug_lab.ablations.figures import figure
from bindplug_lab.ablations.report import experiment_markdown, grid_markdown, grid_record
from bindplug_lab.ablations.verdicts import experiment_outcomes, pooled_intervals
from bindplug_lab.statistics import mean_interval
from tests.lab.ablations.grids import TINY, invent_results, write_grid


@pytest.mark.parametrize(
    ("figures", "outcome"),
    [
        ({"0.05": [0.60, 0.61], "1.0": [0.30, 0.31]}, "reproduced"),
        ({"0.05": [0.30, 0.31], "1.0": [0.60, 0.61]}, "opposite"),
        ({"0.05": [0.50, 0.60], "1.0": [0.40, 0.55]}, "undecided"),
        ({"0.05": [0.60, math.nan], "1.0": [0.30, math.nan]}, "undecided"),
        ({"0.05": [0.60, 0.61], "1.0": [math.nan, math.nan]}, "undecided"),
    ],
)
def test_a_direction_needs_intervals_that_do_not_overlap(grid_file, tmp_path, figures, outcome):
    grid = read_grid(grid_file)
    results = invent_results(grid, tmp_path / "results", figures)
    (verdict,) = verdicts(grid, results)
    assert verdict.outcome == outcome
    assert verdict.published == pytest.approx(0.324)


def test_pooled_intervals_are_students_where_there_is_one_sample():
    sample = [0.5, 0.52, 0.57]
    (pooled,) = pooled_intervals([sample])
    assert (pooled.low, pooled.high) == pytest.approx((mean_interval(sample).low, mean_interval(sample).high))


def test_pooled_intervals_hold_the_mean_as_often_as_they_say():
    rng = np.random.default_rng(0)
    inside = [
        interval.low <= 0.3 <= interval.high
        for _ in range(1000)
        for interval in pooled_intervals(rng.normal(0.3, 0.02, (3, 3)))
    ]
    assert np.mean(inside) == pytest.approx(0.95, abs=0.015)


def test_tables_hold_figures_intervals_and_the_papers(grid_file, tmp_path):
    grid = read_grid(grid_file)
    results = invent_results(grid, tmp_path / "results", {"0.05": [0.60, 0.62], "1.0": [0.30, 0.32]})
    text = experiment_markdown(grid.experiments[0], grid, results)
    assert "| temperature | 0.05 | 1.0 |" in text
    # t(2 degrees of freedom) = 4.303, deviation 1.414, two seeds: 4.3 to each side
    assert "| audio | 61.0 (56.7 to 65.3) | 31.0 (26.7 to 35.3) |" in text
    assert "| audio, the paper | 56.7 | 24.3 |" in text
    assert "**reproduced**, here +30.0 points, in the paper +32.4" in text
    summary = grid_markdown(grid, results)
    assert "1 of 1 experiments reproduced" in summary
    assert (
        "| [Temperature of the loss](temperature.md) | audio | 0.05 > 1.0 | +32.4 | +30.0 | reproduced |"
        in summary
    )
    assert "4 of 4 runs, 0 failed" in summary


def test_a_bar_in_a_name_splits_no_column(grid_file, tmp_path):
    grid = read_grid(write_grid(tmp_path, TINY.replace('"1.0"', '"1|0"')))
    text = experiment_markdown(grid.experiments[0], grid, {})
    assert "| temperature | 0.05 | 1\\|0 |" in text


def test_failures_are_named(grid_file, tmp_path):
    grid = read_grid(grid_file)
    results = invent_results(
        grid, tmp_path / "results", {"0.05": [0.6, math.nan], "1.0": [math.nan, math.nan]}
    )
    text = experiment_markdown(grid.experiments[0], grid, results)
    assert "60.0, 1 failed" in text
    assert "| failed |" in text
    assert "the loss is nan" in text


def test_the_record_is_json(grid_file, tmp_path):
    grid = read_grid(grid_file)
    results = invent_results(grid, tmp_path / "results", {"0.05": [0.60, 0.62], "1.0": [0.30, math.nan]})
    record = json.loads(json.dumps(grid_record(grid, results), allow_nan=False))
    assert record["outcomes"] == {"temperature": "reproduced"}
    assert record["experiments"][0]["variants"][0]["figures"]["audio"]["values"] == [0.60, 0.62]


def test_an_experiment_is_reproduced_if_all_its_directions_are(grid_file, tmp_path):
    text = TINY.replace(
        "directions = [", 'directions = [{ sense = "audio", higher = "1.0", lower = "0.05" }, '
    )
    grid = read_grid(write_grid(tmp_path, text))
    results = invent_results(grid, tmp_path / "results", {"0.05": [0.60, 0.61], "1.0": [0.30, 0.31]})
    grid_verdicts = verdicts(grid, results)
    assert [verdict.outcome for verdict in grid_verdicts] == ["opposite", "reproduced"]
    assert experiment_outcomes(grid_verdicts) == {"temperature": "in part"}


def test_the_figure_shows_both(grid_file, tmp_path):
    grid = read_grid(grid_file)
    results = invent_results(grid, tmp_path / "results", {"0.05": [0.60, 0.62], "1.0": [math.nan, math.nan]})
    experiment = grid.experiments[0]
    picture = Image.open(io.BytesIO(figure(experiment, cells(experiment, results, grid.seeds)))).convert(
        "RGB"
    )
    pixels = np.asarray(picture).reshape(-1, 3).astype(int)
    for color in ((0x1F, 0x5A, 0x8C), (0xD6, 0x60, 0x1C)):
        assert (np.abs(pixels - color).sum(axis=1) < 30).sum() > 10
