"""The senses benchmark: its recordings, its tasks, its reference models and their figures."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import bindplug
from bindplug.errors import InputError, UnknownModel
from bindplug_lab.evaluation.results import Settings
from bindplug_lab.evaluation.run import evaluate
from bindplug_lab.senses import (
    Recording,
    class_names_of,
    query_of,
    random_model,
    read_senses,
    recordings,
    small_model,
    things_of,
    train_small,
)
from bindplug_lab.senses.recordings import SENSORS, sum_of
from bindplug_lab.senses.reference import SENSORS as BOUND
from bindplug_lab.senses.reference import WEIGHTS, reference_figures
from bindplug_lab.tasks import LabeledItems, PairedItems, load_task, load_tasks
from bindplug_toyworld import MOVING, NAMES, Scene

TASKS = load_tasks("senses-v1")


# -- recordings -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sensor", "shape", "dtype"),
    [
        ("image", (224, 224, 3), np.uint8),
        ("audio", (32_000,), np.float32),
        ("depth", (224, 224), np.float32),
        ("thermal", (222, 222), np.float32),
        ("imu", (6, 1000), np.float32),
    ],
)
def test_a_recording_is_always_the_same(sensor, shape, dtype):
    item = recordings(sensor, 4)[3]
    values, again = item.values(), Recording(item.sensor, item.seed, item.things).values()
    assert (values.shape, values.dtype) == (shape, dtype)
    assert np.array_equal(values, again)
    assert np.isfinite(values).all()


@pytest.mark.parametrize("sensor", ["audio", "depth", "thermal", "imu"])
def test_sensors_are_worse_than_those_of_training_and_not_blind(sensor):
    item = recordings(sensor, 1)[0]
    clean = np.asarray(getattr(item.scene(), sensor), dtype=np.float64)
    values = item.values().astype(np.float64)
    clean = clean[tuple(slice(extent) for extent in values.shape)]
    correlation = np.corrcoef(clean.ravel(), values.ravel())[0, 1]
    assert 0.5 < correlation < 0.9999


def test_the_numbers_of_version_1_do_not_change():
    """Sums of the first recordings: whoever changes them makes another benchmark."""
    sums = {
        sensor: float(np.abs(recordings(sensor, 1)[0].values().astype(np.float64)).mean())
        for sensor in SENSORS
    }
    assert sums == pytest.approx(GOLDEN, rel=2e-3)


GOLDEN = {"image": 170.30754, "audio": 0.00702, "depth": 2.535, "thermal": 9.5523, "imu": 2.88609}


def test_no_scene_is_recorded_by_two_sensors_or_seen_in_training():
    seeds = [item.seed for sensor in SENSORS for item in recordings(sensor)]
    assert len(seeds) == len(set(seeds))
    assert recordings("depth")[0].scene().split == "eval"


def test_things_take_turns():
    assert [item.things[0] for item in recordings("audio", 20)] == list(NAMES)
    assert [item.things[0] for item in recordings("imu", 8)] == list(MOVING) == list(things_of("imu"))
    assert len(class_names_of("depth")) == 20


# -- tasks ----------------------------------------------------------------------------------------------------------


def test_the_group_holds_every_task_and_needs_no_data():
    assert len(TASKS) == 10
    assert all(not task.needs_data for task in TASKS)
    assert {task.protocol for task in TASKS} == {
        "zero_shot",
        "cross_sensor_retrieval",
        "arithmetic_retrieval",
    }
    for task in TASKS:
        items = task.items()
        queries = items.queries if isinstance(items, LabeledItems) else items.left
        modalities = {leaf.modality.value for _, leaf in queries[0].terms}
        if isinstance(items, PairedItems):
            modalities |= {leaf.modality.value for _, leaf in items.right[0].terms}
        assert modalities == set(task.modalities), task.name


def test_everything_of_the_same_thing_matches():
    items = load_task("senses-v1-audio-imu").items()
    for match, left in zip(items.matches, items.left.records, strict=True):
        assert {items.right.records[place].things for place in match} == {left.things}
    assert len(items.left) == 200
    assert len(items.right) == 500


def test_sums_are_of_two_things_and_their_scenes_hold_both():
    items = load_task("senses-v1-image-plus-audio").items()
    for match, terms in zip(items.matches, items.left.records, strict=True):
        things = {term.things[0] for term in terms}
        assert len(things) == 2
        assert len(match) == 5
        assert all(set(items.right.records[place].things) == things for place in match)
    query = sum_of(items.left.records[0])
    assert [leaf.modality.value for _, leaf in query.terms] == ["image", "audio"]


@pytest.mark.parametrize(
    "options",
    [
        {"sensors": ["smell"]},
        {"sensors": ["audio"], "candidates": "smell"},
        {"sensors": ["audio", "depth"]},
        {"sensors": ["audio", "imu"], "candidates": "image"},
        {"sensors": ["audio"], "count": 0},
    ],
    ids=str,
)
def test_options_that_make_no_task_are_refused(options):
    with pytest.raises(InputError, match="senses"):
        read_senses(None, **options)


# -- reference models -----------------------------------------------------------------------------------------------


def test_the_small_model_is_small_and_bound_to_imagebind_tiny():
    assert sum(file.stat().st_size for file in WEIGHTS.iterdir()) < 1 << 20
    small = bindplug.load("senses:small")
    tiny = bindplug.load("imagebind_tiny")
    assert small.embedding_space == tiny.embedding_space
    text = [bindplug.text("a dog")]
    assert torch.allclose(small.embed(text, progress=False), tiny.embed(text, progress=False), atol=1e-5)
    parameters = [sum(p.numel() for s in BOUND for p in m.towers[s].parameters()) for m in (small, tiny)]
    assert parameters[0] < parameters[1] / 10


def test_parts_of_the_reference_models_equal_the_whole():
    query = [query_of(recordings("imu", 1)[0])]
    for model in (small_model, random_model):
        whole, part = model(), model({"imu"})
        assert part.modalities == ("imu",)
        assert torch.allclose(
            whole.embed(query, progress=False), part.embed(query, progress=False), atol=1e-6
        )


def test_unknown_reference_models_are_named():
    with pytest.raises(UnknownModel, match="senses:small"):
        bindplug.load("senses:big")


def test_the_recipe_of_the_small_model_runs(tmp_path):
    path = train_small(tmp_path / "small", tmp_path / "worlds", pairs=8, epochs=1, quiet=True)
    names = {file.name for file in path.iterdir()}
    assert names == {file.name for file in WEIGHTS.iterdir()}


def test_the_shipped_figures_are_in_the_right_order_with_intervals_apart():
    figures = reference_figures()
    assert set(figures) == {task.name for task in TASKS}
    paired = json.loads((WEIGHTS.parent.parent / "reference.json").read_text("utf-8"))["differences"]
    for name, models in figures.items():
        random, small, tiny = (models[m] for m in ("senses:random", "senses:small", "imagebind_tiny"))
        assert random["high"] < small["low"] or paired[name]["low"] > 0, name
        assert small["high"] < tiny["low"], name
        assert tiny["high"] < 0.97, f"{name} is saturated"
    assert list(paired) == ["senses-v1-thermal-audio"]


def measured(models, tasks, **settings):
    result = evaluate(models, tasks, settings=Settings(**settings), quiet=True)
    return {(r.task, r.model): r.metrics[r.main] for r in result.results}


def test_a_part_of_the_benchmark_has_the_right_order():
    models = ["senses:random", "senses:small", "imagebind_tiny"]
    values = measured(models, "senses-v1-motion", limit=40)
    random, small, tiny = (values["senses-v1-motion", model].value for model in models)
    assert random < small < tiny


@pytest.mark.slow
def test_the_shipped_figures_are_measured_again():
    figures = reference_figures()
    models = ["senses:random", "senses:small", "imagebind_tiny"]
    for (task, model), interval in measured(models, TASKS).items():
        assert interval.value == pytest.approx(figures[task][model]["value"], abs=0.02), (task, model)


def test_the_figures_are_plain_json():
    path = WEIGHTS.parent.parent / "reference.json"
    assert json.loads(path.read_text("utf-8"))["tasks"] == reference_figures()


def test_a_scene_is_the_toy_worlds():
    item = recordings("image", 1)[0]
    assert np.array_equal(item.values(), Scene(item.seed, "eval", item.things, seconds=2.0).pixels)
