"""Grids in TOML: expansion, shared runs, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bindplug.errors import InputError
from bindplug_lab.ablations import Direction, Experiment, Grid, RunSettings, Variant, read_grid
from tests.lab.ablations.grids import TINY, write_grid

PAPER = Path(__file__).parents[3] / "recipes" / "ablations" / "paper.toml"

temperatures = st.lists(
    st.sampled_from([0.05, 0.07, 0.1, 0.2, 1.0, "learned"]), min_size=2, max_size=5, unique=True
)


@settings(deadline=None, max_examples=30)
@given(
    temperatures,
    st.lists(st.integers(0, 99), min_size=1, max_size=4, unique=True),
    st.lists(st.sampled_from(["depth", "audio"]), min_size=1, max_size=2, unique=True),
    st.integers(1, 3),
)
def test_a_grid_has_each_combination_once(values, seeds, senses, copies):
    variants = tuple(Variant(str(value), {"temperature": value}) for value in values)
    bases = {sense: RunSettings(sense=sense) for sense in senses}
    experiments = tuple(
        Experiment(f"e{i}", "title", "axis", "", "", "accuracy", bases, variants, ()) for i in range(copies)
    )
    runs = Grid("title", tuple(seeds), experiments).runs()
    combinations = {(run.sense, run.temperature, run.seed) for run in runs}
    # equal experiments share their runs
    assert len(runs) == len(combinations) == len(values) * len(seeds) * len(senses)
    assert len({run.key for run in runs}) == len(runs)
    for run in runs:
        assert run == RunSettings(sense=run.sense, temperature=run.temperature, seed=run.seed)


def test_the_file_says_what_is_run(grid_file):
    grid = read_grid(grid_file)
    (experiment,) = grid.experiments
    assert grid.seeds == (0, 1)
    assert experiment.directions == (Direction("audio", "0.05", "1.0"),)
    assert [variant.published for variant in experiment.variants] == [{"audio": 56.7}, {"audio": 24.3}]
    run = experiment.settings("audio", experiment.variants[1], 1)
    assert (run.sense, run.temperature, run.seed, run.scenes) == ("audio", 1.0, 1, 20)


def test_any_changed_setting_changes_the_key():
    base = RunSettings()
    changes = {"scenes": 601, "temperature": "learned", "head": "mlp", "seed": 1, "evaluation_holes": 0.1,
               "spatial_alignment": False, "image_encoder": "clip-base"}  # fmt: skip
    keys = {base.but(**{name: value}).key for name, value in changes.items()}
    assert len(keys | {base.key}) == len(changes) + 1
    assert RunSettings.from_mapping(json.loads(json.dumps(base.to_dict()))).key == base.key


def test_senses_take_their_own_changes(tmp_path):
    text = TINY.replace("directions =", "base = { audio = { change = 0.5, moments = 2 } }\ndirections =")
    grid = read_grid(write_grid(tmp_path, text))
    assert grid.experiments[0].bases["audio"].moments == 2


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "temperature = 0.05 }",
            "temprature = 0.05 }",
            r"unknown setting 'temprature'.*Did you mean 'temperature'",
        ),
        ("scenes = 20", "sceens = 20", r"base\.audio.*unknown setting 'sceens'"),
        ("[base.audio]", "[base.smell]", "unknown key 'smell'.*depth, audio"),
        ('senses = ["audio"]', 'senses = ["depth"]', "unknown sense 'depth'.*audio"),
        ('lower = "1.0"', 'lower = "2.0"', r"unknown variant '2\.0'.*0\.05, 1\.0"),
        ('axis = "temperature"', 'axes = "temperature"', "unknown key 'axes'"),
        ("published = { audio = 56.7 }", "published = { depth = 56.7 }", "unknown key 'depth'"),
        ("temperature = 1.0 }", 'temperature = "warm" }', "temperature.*'warm'.*learned"),
        ("temperature = 1.0 }", "temperature = nan }", "a finite number"),
        ("temperature = 1.0 }", "head = 3 }", "head: 3; expected str"),
        ("temperature = 1.0 }", 'head = "conv" }', "variant '1.0'.*linear or mlp"),
        ("temperature = 1.0 }", "seed = 3 }", "'seed'"),
        ("batch_size = 16", "batch_size = 64", "batch_size.*2 to 20"),
        ("seeds = [0, 1]", "seeds = [0, 0]", "distinct"),
        ("seeds = [0, 1]", "seeds = []", "distinct"),
        ('name = "1.0"', 'name = "0.05"', "a name twice"),
        ('name = "temperature"', 'name = "../x"', "letters, digits"),
        ("seeds = [0, 1]", "seeds = [0, 1", "damaged TOML"),
        ("evaluation_scenes = 20", 'metric = "f1"', "unknown setting 'metric'"),
        ('source = "a paper, table 5"', 'metric = "f1"', "unknown metric 'f1'.*accuracy"),
    ],
)
def test_mistakes_are_errors_that_say_what_there_is(tmp_path, old, new, message):
    assert old in TINY
    with pytest.raises(InputError, match=f"(?s){message}"):
        read_grid(write_grid(tmp_path, TINY.replace(old, new)))


def test_a_missing_file():
    with pytest.raises(InputError, match="no such file"):
        read_grid("nowhere.toml")


def test_an_unknown_experiment(grid_file):
    with pytest.raises(InputError, match=r"'heads'.*temperature"):
        read_grid(grid_file).only(["heads"])


def test_the_papers_grid_has_its_ten_experiments():
    grid = read_grid(PAPER)
    assert len(grid.experiments) == 10
    assert len(grid.seeds) >= 3
    assert all(experiment.directions for experiment in grid.experiments)
    # a direction is what the published figures say
    for experiment in grid.experiments:
        figures = {variant.name: variant.published for variant in experiment.variants}
        for direction in experiment.directions:
            higher, lower = figures[direction.higher], figures[direction.lower]
            assert higher[direction.sense] > lower[direction.sense]
    # every variant but the base's own differs from it in one setting, or in two of the same axis
    assert all(1 <= len(v.changes) <= 2 for e in grid.experiments for v in e.variants)


def test_a_smoke_run_is_small():
    runs = read_grid(PAPER).smoke().runs()
    assert max(run.scenes for run in runs) <= 20
    assert max(run.epochs for run in runs) <= 2
