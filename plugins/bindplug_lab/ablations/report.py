"""Tables of a grid's results as Markdown, and everything as plain values for JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from bindplug_lab.ablations.grid import Experiment, Grid
from bindplug_lab.ablations.results import RunResult
from bindplug_lab.ablations.settings import RunSettings
from bindplug_lab.ablations.verdicts import (
    OPPOSITE,
    REPRODUCED,
    UNDECIDED,
    Cell,
    Verdict,
    cells,
    experiment_outcomes,
    verdicts,
)
from bindplug_lab.output import markdown_row

INTERVALS = (
    "Intervals hold 95 %: Student's over seeds, with the deviation of all variants of a sense pooled. A direction is "
    "*reproduced* if the intervals of its two variants share no figure and lie as the paper's do, *opposite* if they "
    "lie the other way round, and *undecided* if they overlap."
)


def experiment_markdown(experiment: Experiment, grid: Grid, results: Mapping[str, RunResult]) -> str:
    """An experiment's table, figure, notes and settings."""
    table = cells(experiment, results, grid.seeds)
    own_verdicts = [verdict for verdict in verdicts(grid, results) if verdict.experiment == experiment.name]
    lines = [f"## {experiment.title}", ""]
    lines += [*_table(experiment, table), "", f"![{experiment.title}]({experiment.name}.png)", ""]
    lines += [_sentence(verdict) for verdict in own_verdicts]
    failures = [
        f"- failed: {sense}, {name}: {_one_line(error)}"
        for (sense, name), cell in table.items()
        for error in cell.failures
    ]
    lines += [*failures, ""]
    if experiment.notes:
        lines += [experiment.notes, ""]
    source = f" Published figures: {experiment.source}." if experiment.source else ""
    runs = ", ".join(map(str, grid.seeds))
    lines += [f"Metric: {_metric(experiment)}, in percent. Seeds: {runs}.{source}", ""]
    for sense, base in experiment.bases.items():
        lines += [f"Base of {sense}: {_changes(base)}.", ""]
    return "\n".join(lines)


def grid_markdown(grid: Grid, results: Mapping[str, RunResult]) -> str:
    """The summary of a grid: every direction with its outcome.

    Args:
        grid: the experiments.
        results: by the keys of their settings.
    """
    grid_verdicts = verdicts(grid, results)
    outcomes = experiment_outcomes(grid_verdicts)
    runs = grid.runs()
    seconds = sum(results[settings.key].seconds for settings in runs if settings.key in results)
    complete = sum(1 for settings in runs if settings.key in results and not results[settings.key].failed)
    failures = sum(1 for settings in runs if settings.key in results and results[settings.key].failed)
    lines = [f"# {grid.title}", ""]
    if outcomes:
        counts = {outcome: list(outcomes.values()).count(outcome) for outcome in (REPRODUCED, "in part")}
        directions = sum(verdict.outcome == REPRODUCED for verdict in grid_verdicts)
        lines += [
            f"{counts[REPRODUCED]} of {len(outcomes)} experiments reproduced in all their directions, "
            f"{counts['in part']} in part; {directions} of {len(grid_verdicts)} directions.",
            "",
        ]
    lines += [INTERVALS, ""]
    lines += [
        markdown_row(["experiment", "sense", "the paper: higher > lower", "paper", "here", "outcome"]),
        markdown_row(["---", "---", "---", "--:", "--:", "---"]),
    ]
    for verdict in grid_verdicts:
        title = next(e.title for e in grid.experiments if e.name == verdict.experiment)
        direction = verdict.direction
        link, variants = f"[{title}]({verdict.experiment}.md)", f"{direction.higher} > {direction.lower}"
        figures = [_points(verdict.published), _points(verdict.difference)]
        lines.append(markdown_row([link, direction.sense, variants, *figures, verdict.outcome]))
    lines += [
        "",
        f"{complete} of {len(runs)} runs, {failures} failed; together they took {seconds / 60:.0f} minutes.",
        "",
    ]
    return "\n".join(lines)


def grid_record(grid: Grid, results: Mapping[str, RunResult]) -> dict[str, Any]:
    """Plain values of everything in the report."""
    grid_verdicts = verdicts(grid, results)
    return {
        "title": grid.title,
        "seeds": list(grid.seeds),
        "experiments": [
            {
                "name": experiment.name,
                "title": experiment.title,
                "metric": experiment.metric,
                "base": {sense: base.to_dict() for sense, base in experiment.bases.items()},
                "variants": [
                    {
                        "name": variant.name,
                        "set": dict(variant.changes),
                        "published": dict(variant.published),
                        "figures": {sense: _cell(table[sense, variant.name]) for sense in experiment.bases},
                    }
                    for variant in experiment.variants
                ],
            }
            for experiment in grid.experiments
            for table in (cells(experiment, results, grid.seeds),)
        ],
        "directions": [
            {
                "experiment": verdict.experiment,
                **vars(verdict.direction),
                "outcome": verdict.outcome,
                "difference": _number(verdict.difference),
                "published": _number(verdict.published),
            }
            for verdict in grid_verdicts
        ],
        "outcomes": experiment_outcomes(grid_verdicts),
    }


def _cell(cell: Cell) -> dict[str, Any]:
    interval = None if cell.interval is None else cell.interval.as_dict()
    return {"values": list(cell.values), "interval": interval, "failures": list(cell.failures)}


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 6)


def _table(experiment: Experiment, table: Mapping[tuple[str, str], Cell]) -> list[str]:
    names = [variant.name for variant in experiment.variants]
    lines = [markdown_row([experiment.axis, *names]), markdown_row(["---", *["--:"] * len(names)])]
    for sense in experiment.bases:
        lines.append(markdown_row([sense, *(_text(table[sense, name]) for name in names)]))
        published = [variant.published.get(sense) for variant in experiment.variants]
        if any(figure is not None for figure in published):
            texts = ["" if figure is None else f"{figure:.1f}" for figure in published]
            lines.append(markdown_row([f"{sense}, the paper", *texts]))
    return lines


def _text(cell: Cell) -> str:
    if cell.interval is None:
        return "failed" if cell.failures else ""
    return cell.interval.text() + (f", {len(cell.failures)} failed" if cell.failures else "")


def _sentence(verdict: Verdict) -> str:
    direction = verdict.direction
    what = {REPRODUCED: "reproduced", OPPOSITE: "the opposite", UNDECIDED: "undecided"}[verdict.outcome]
    return (
        f"- {direction.sense}: {direction.higher} above {direction.lower}: **{what}**, here "
        f"{_points(verdict.difference)} points, in the paper {_points(verdict.published)}."
    )


def _points(fraction: float) -> str:
    return "-" if math.isnan(fraction) else f"{100 * fraction:+.1f}"


def _metric(experiment: Experiment) -> str:
    names = {"accuracy": "zero-shot top-1 accuracy", "accuracy_top5": "zero-shot top-5 accuracy"}
    return f"{names[experiment.metric]} among 20 things"


def _changes(base: RunSettings) -> str:
    values = {name: value for name, value in base.to_dict().items() if name not in ("sense", "seed")}
    plain = RunSettings().to_dict()
    notable = {
        n: v for n, v in values.items() if v != plain[n] or n in ("epochs", "batch_size", "temperature")
    }
    return ", ".join(f"`{name} = {value!r}`" for name, value in notable.items())


def _one_line(text: str) -> str:
    return " ".join(text.split())[:300]
