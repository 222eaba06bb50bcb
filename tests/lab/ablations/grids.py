"""A small grid for tests, as TOML and with invented results."""

from __future__ import annotations

from pathlib import Path

from bindplug_lab.ablations import Grid, ResultStore, RunResult

TINY = """
title = "A tiny grid"
seeds = [0, 1]

[base.audio]
scenes = 20
views = 1
epochs = 1
batch_size = 16
width = 32
blocks = 1
evaluation_scenes = 20

[[experiments]]
name = "temperature"
title = "Temperature of the loss"
axis = "temperature"
source = "a paper, table 5"
senses = ["audio"]
variants = [
    { name = "0.05", set = { temperature = 0.05 }, published = { audio = 56.7 } },
    { name = "1.0", set = { temperature = 1.0 }, published = { audio = 24.3 } },
]
directions = [{ sense = "audio", higher = "0.05", lower = "1.0" }]
"""


def write_grid(directory: Path, text: str = TINY) -> Path:
    """The grid's file."""
    path = directory / "grid.toml"
    path.write_text(text, encoding="utf-8")
    return path


def invent_results(grid: Grid, directory: Path, figures: dict[str, list[float]]) -> dict[str, RunResult]:
    """Results of given accuracies by the first experiment's variants, one a seed; NaN is a failed run."""
    store, experiment = ResultStore(directory), grid.experiments[0]
    for variant in experiment.variants:
        for seed, value in zip(grid.seeds, figures[variant.name], strict=True):
            for sense in experiment.bases:
                settings = experiment.settings(sense, variant, seed)
                failed = value != value
                figure = {} if failed else {"accuracy": value, "accuracy_top5": min(1.0, value * 2)}
                store.write(RunResult(settings, figure, "ValueError: the loss is nan" if failed else "", 3.0))
    return store.read_all(grid.runs())
