"""Results as tables: models side by side, beside published figures and chance."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bindplug_lab.evaluation.measures import is_share
from bindplug_lab.evaluation.results import Result, Settings
from bindplug_lab.output import markdown_cell, markdown_row
from bindplug_lab.statistics import Interval, difference

__all__ = ["Difference", "as_json", "differences", "markdown", "short_labels", "table_rows"]


@dataclass(frozen=True)
class Difference:
    """How much more one model reaches than another, on the same items.

    Attributes:
        task, metric: what is compared.
        model, base: ``model`` minus ``base``.
        interval: paired; None where they were not measured on the same items.
    """

    task: str
    metric: str
    model: str
    base: str
    interval: Interval | None


def differences(results: Sequence[Result]) -> list[Difference]:
    """For each task its main figure of each model, minus that of the first model."""
    gaps = []
    for group in by_task(results):
        base = group[0]
        for other in group[1:]:
            name, interval = base.main, None
            same_items = base.data_digest == other.data_digest and base.count == other.count
            same_items = same_items and _names(base.skipped) == _names(other.skipped)
            a, b = other.metrics.get(name), base.metrics.get(name)
            draws = other.draws.get(name), base.draws.get(name)
            if same_items and a and b and draws[0] is not None and draws[1] is not None:
                interval = difference(
                    a.value, b.value, draws[0], draws[1], b.count, b.level, share=is_share(name)
                )
            gaps.append(Difference(base.task, name, other.model, base.model, interval))
    return gaps


def _names(skipped: Sequence[dict[str, Any]]) -> list[str]:
    return sorted(item["item"] for item in skipped)


def by_task(results: Sequence[Result]) -> list[list[Result]]:
    """Results of each task, in the order in which tasks occur."""
    groups: dict[str, list[Result]] = {}
    for result in results:
        groups.setdefault(result.task, []).append(result)
    return list(groups.values())


def short_labels(models: Iterable[str]) -> dict[str, str]:
    """Names of models as tables have them: the last part of a path where that tells them apart."""
    names = list(dict.fromkeys(models))
    last = {name: Path(name).name if os.sep in name else name for name in names}
    return {name: label if list(last.values()).count(label) == 1 else name for name, label in last.items()}


def figure_names(group: Sequence[Result]) -> list[str]:
    """Names of a task's figures, the main one first."""
    names = dict.fromkeys([group[0].main])
    for result in group:
        names |= dict.fromkeys(result.metrics)
    return list(names)


def published_of(result: Result, name: str) -> list[dict[str, Any]]:
    """Published figures that stand beside a figure."""
    direction, _, metric = name.rpartition(" ")
    return [
        figure
        for figure in result.published
        if figure["metric"] == metric and figure["direction"] in ("", direction)
    ]


def table_rows(group: Sequence[Result]) -> list[tuple[str, list[str], str, str]]:
    """Lines of a task's table: figure, a cell for each result, published figures, chance; in percent."""
    rows = []
    for name in figure_names(group):
        cells = [result.metrics[name].text() if name in result.metrics else "" for result in group]
        published = ", ".join(
            f"{figure['value']:g} ({figure['model']})"
            for figure in published_of(group[0], name)
            if figure["model"] != "chance"
        )
        chance = group[0].chance.get(name)
        rows.append(
            (name, cells, published, "" if chance is None else f"{100 * chance:.2f}".rstrip("0").rstrip("."))
        )
    return rows


def markdown(results: Sequence[Result], settings: Settings, picture: str = "") -> str:
    """The report of results.

    Args:
        results: of any tasks and models.
        settings: of the run.
        picture: file name of the figure, if there is one.
    """
    labels = short_labels(result.model for result in results)
    lines = [
        "# Results",
        "",
        f"Figures are in percent, with {settings.level * 100:g} % intervals over items "
        f"(resamples with seed {settings.seed}). Chance is what equal scores for everything reach on the same items.",
    ]
    if settings.limit is not None:
        lines += [
            "",
            f"**At most {settings.limit} items of a task were drawn (--limit): published figures are of all items and "
            f"not comparable.**",
        ]
    if picture:
        lines += ["", f"![Main figures with intervals]({picture})"]
    for group in by_task(results):
        lines += ["", *_section(group, labels)]
    gaps = differences(results)
    if gaps:
        lines += ["", "## Differences", "", *_differences(gaps, labels)]
    return "\n".join(lines) + "\n"


def _section(group: Sequence[Result], labels: dict[str, str]) -> list[str]:
    first = group[0]
    head = [labels[result.model] for result in group]
    rows = table_rows(group)
    has_published = any(row[2] for row in rows)
    columns = ["figure", *head, *(["published"] if has_published else []), "chance"]
    lines = [f"## {markdown_cell(first.title)} (`{first.task}`)", "", markdown_row(columns)]
    lines.append(markdown_row(["---", *["---:"] * len(head), *(["---"] if has_published else []), "---:"]))
    for name, cells, published, chance in rows:
        head_cell = f"**{name}**" if name == first.main else name
        lines.append(markdown_row([head_cell, *cells, *([published] if has_published else []), chance]))
    lines.append("")
    for result in group:
        parts = [f"{result.count} items"]
        if result.skipped:
            parts.append(f"**{len(result.skipped)} skipped**")
        parts += result.remarks
        lines.append(f"- {markdown_cell(labels[result.model])}: {'; '.join(parts)}.")
    sources = dict.fromkeys(
        f"{figure['model']}: {figure['source']}" for figure in first.published if figure["model"] != "chance"
    )
    lines += [f"- Published, {markdown_cell(source)}." for source in sources]
    return lines


def _differences(gaps: Sequence[Difference], labels: dict[str, str]) -> list[str]:
    lines = [
        "Of the main figure, in points, with paired intervals.",
        "",
        markdown_row(["task", "figure", "models", "difference", "is it clear?"]),
        markdown_row(["---", "---", "---", "---:", "---"]),
    ]
    for item in gaps:
        pair = f"{labels[item.model]} minus {labels[item.base]}"
        if item.interval is None:
            lines.append(markdown_row([item.task, item.metric, pair, "", "not measured on the same items"]))
            continue
        lines.append(
            markdown_row([item.task, item.metric, pair, item.interval.text(), verdict(item.interval)])
        )
    return lines


def verdict(interval: Interval) -> str:
    """Whether a difference is clear: its interval leaves out 0."""
    if not interval.is_known:
        return "too few items to tell"
    return "yes" if interval.low > 0 or interval.high < 0 else "no, 0 is within the interval"


def as_json(results: Sequence[Result], settings: Settings) -> dict[str, Any]:
    """All results as one JSON object; figures are shares in [0, 1], published ones percent as they were."""
    return {
        "settings": asdict(settings),
        "results": [result.as_dict() for result in results],
        "differences": [
            {
                "task": item.task,
                "metric": item.metric,
                "model": item.model,
                "base": item.base,
                "interval": item.interval.as_dict() if item.interval else None,
            }
            for item in differences(results)
        ],
    }
