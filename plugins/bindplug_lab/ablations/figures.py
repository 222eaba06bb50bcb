"""A picture of each experiment: figures with their intervals here, and the paper's beside them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from bindplug.lazy import require
from bindplug_lab.ablations.grid import Experiment
from bindplug_lab.ablations.verdicts import Cell

HERE, PUBLISHED = "#1f5a8c", "#d6601c"


def figure(experiment: Experiment, table: Mapping[tuple[str, str], Cell]) -> bytes:
    """A PNG with one panel a sense.

    Args:
        experiment: what is drawn.
        table: of :func:`~bindplug_lab.ablations.verdicts.cells`.

    Raises:
        MissingDependency: matplotlib is not installed.
    """
    require("matplotlib", owner="bindplug ablate's figures", extra="lab")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    senses = list(experiment.bases)
    width = max(3.6, len(senses) * max(2.6, 0.8 * len(experiment.variants) + 1.0))
    picture = Figure(figsize=(width, 2.9), dpi=110, layout="constrained")
    FigureCanvasAgg(picture)
    for axes, sense in zip(picture.subplots(1, len(senses), squeeze=False)[0], senses, strict=True):
        _draw(axes, experiment, sense, table)
    axes = picture.axes[0]
    axes.set_ylabel("top-5, percent" if experiment.metric == "accuracy_top5" else "top-1, percent")
    handles, labels = axes.get_legend_handles_labels()
    for other in picture.axes[1:]:
        more = zip(*other.get_legend_handles_labels(), strict=True)
        for handle, label in more:
            if label not in labels:
                handles, labels = [*handles, handle], [*labels, label]
    picture.legend(handles, labels, loc="outside upper center", ncols=len(senses), frameon=False, fontsize=8)
    content = io.BytesIO()
    picture.savefig(content, format="png", metadata={"Software": None})
    return content.getvalue()


def _draw(axes: Any, experiment: Experiment, sense: str, table: Mapping[tuple[str, str], Cell]) -> None:
    names = [variant.name for variant in experiment.variants]
    places, label = [], "here, with 95 % interval over seeds"
    for place, name in enumerate(names):
        cell = table[sense, name]
        if cell.interval is None:
            continue
        places.append(place)
        value = 100 * cell.interval.value
        half = 100 * (cell.interval.high - cell.interval.value) if cell.interval.is_known else 0.0
        axes.errorbar(place - 0.1, value, half, fmt="o", color=HERE, capsize=4, ms=6, label=label)
        axes.plot(
            [place - 0.1] * len(cell.values), [100 * v for v in cell.values], ".", color=HERE, ms=3, alpha=0.5
        )
        label = "_none"
    published = [
        (place + 0.1, variant.published[sense])
        for place, variant in enumerate(experiment.variants)
        if sense in variant.published
    ]
    if published:
        xs, ys = zip(*published, strict=True)
        axes.plot(xs, ys, "D", color=PUBLISHED, ms=5, mfc="none", label="the paper, on its own data")
    axes.set_xticks(range(len(names)), [name.replace(" / ", "\n") for name in names], fontsize=8)
    axes.set_xlim(-0.5, len(names) - 0.5)
    axes.margins(y=0.1)
    axes.set_ylim(bottom=0)
    axes.set_title(sense, fontsize=9)
    axes.set_xlabel(experiment.axis, fontsize=9)
    axes.grid(axis="y", lw=0.4, alpha=0.5)
    axes.spines[["top", "right"]].set_visible(False)
