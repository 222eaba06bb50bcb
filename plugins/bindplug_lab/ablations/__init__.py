"""Grids of binding experiments: small towers bound under varied recipes, compared over seeds.

from bindplug_lab.ablations import read_grid, run_grid
results = run_grid(read_grid("recipes/ablations/paper.toml"), "ablations/")
"""

from bindplug_lab.ablations.grid import Direction, Experiment, Grid, Variant, read_grid
from bindplug_lab.ablations.results import ResultStore, RunResult
from bindplug_lab.ablations.runner import run_grid
from bindplug_lab.ablations.settings import RunSettings
from bindplug_lab.ablations.verdicts import Verdict, cells, verdicts

__all__ = [
    "Direction",
    "Experiment",
    "Grid",
    "ResultStore",
    "RunResult",
    "RunSettings",
    "Variant",
    "Verdict",
    "cells",
    "read_grid",
    "run_grid",
    "verdicts",
]
