"""A picture of main figures: a bar for each task and model, with its interval, chance and published figures."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from bindplug.lazy import require
from bindplug_lab.evaluation.report import by_task, published_of, short_labels
from bindplug_lab.evaluation.results import Result

__all__ = ["bars"]

COLORS = ("#1f5a8c", "#d6601c", "#2c7873", "#8c3b6b", "#7a7a2c", "#555555")
BAR = 0.8
"""Width of a task's bars together."""


def bars(results: Sequence[Result]) -> bytes:
    """A PNG with a group of horizontal bars for each task.

    Raises:
        MissingDependency: matplotlib is not installed.
    """
    require("matplotlib", owner="bindplug eval's figure", extra="lab")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    groups = by_task(results)
    labels = short_labels(result.model for result in results)
    places = {model: place for place, model in enumerate(labels)}
    width = BAR / len(places)
    height = 1.2 + len(groups) * max(0.45, 0.2 * len(places) + 0.15)
    figure = Figure(figsize=(8.0, height), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    legend_labels: set[str] = set()
    for row, group in enumerate(groups):
        for result in group:
            place = places[result.model]
            interval = result.metrics[result.main]
            y = row - BAR / 2 + width * (place + 0.5)
            label = None if result.model in legend_labels else labels[result.model]
            legend_labels.add(result.model)
            color = COLORS[place % len(COLORS)]
            axes.barh(y, 100 * interval.value, 0.92 * width, color=color, label=label)
            if interval.is_known:
                ends = [
                    [max(0.0, 100 * (interval.value - interval.low))],
                    [max(0.0, 100 * (interval.high - interval.value))],
                ]
                axes.errorbar(100 * interval.value, y, xerr=ends, color="black", capsize=2.5, lw=1)
        _lines(axes, row, group[0], legend_labels)
    names = [f"{group[0].task}\n{group[0].main}" for group in groups]
    axes.set_yticks(range(len(groups)), names, fontsize=8)
    axes.set_ylim(len(groups) - 0.4, -0.6)  # the first task on top
    axes.set_xlim(0, 100)
    axes.set_xlabel("percent")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=3, frameon=False, fontsize=8)
    content = io.BytesIO()
    figure.savefig(content, format="png", metadata={"Software": None})
    return content.getvalue()


def _lines(axes: Any, row: int, result: Result, legend_labels: set[str]) -> None:
    """Chance as a dotted line, and each published figure as a dashed one."""
    ends = (row - BAR / 2 - 0.04, row + BAR / 2 + 0.04)
    lines = [("chance", 100 * result.chance[result.main], ":")] if result.main in result.chance else []
    lines += [
        ("published", figure["value"], "--")
        for figure in published_of(result, result.main)
        if figure["model"] != "chance"
    ]
    for label, value, style in lines:
        legend_label = None if label in legend_labels else label
        axes.vlines(value, *ends, colors="black", linestyles=style, lw=1.4, label=legend_label)
        legend_labels.add(label)
