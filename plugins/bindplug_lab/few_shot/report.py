"""A few-shot curve as tables and JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bindplug_lab.few_shot.run import FewShot
from bindplug_lab.output import markdown_cell, markdown_row

__all__ = ["as_json", "gain_rows", "markdown", "table_rows"]


def table_rows(result: FewShot) -> list[list[str]]:
    """A line for each learner, with a cell for each number of shots, in percent."""
    curve = result.curve
    return [[name, *(point.text() for point in points)] for name, points in curve.learners.items()]


def gain_rows(result: FewShot) -> list[list[str]]:
    """A line for each learner, with the points that it has above zero-shot for each number of shots."""
    return [[name, *(point.text() for point in points)] for name, points in result.curve.gains.items()]


def markdown(result: FewShot, model: str, settings: Mapping[str, Any], picture: str = "") -> str:
    """The report of a curve.

    Args:
        result: the curve with its counts.
        model: its name.
        settings: seed and level, as the JSON has them.
        picture: file name of the figure, if there is one.
    """
    curve = result.curve
    lines = [
        f"# Few-shot accuracy of {markdown_cell(model)}",
        "",
        f"{curve.classes} classes, {result.test_count} test items. Each figure is the mean over {curve.repeats} drawn "
        f"supports, in percent, with a {100 * settings['level']:g} % interval over supports and test "
        f"items (seed {settings['seed']}). The encoder is frozen.",
        "",
        markdown_row(["examples a class", *map(str, curve.shots)]),
        markdown_row(["---", *["---:"] * len(curve.shots)]),
        *map(markdown_row, table_rows(result)),
        "",
    ]
    if curve.zero_shot is not None:
        lines += [
            "Points above zero-shot, with paired intervals:",
            "",
            markdown_row(["examples a class", *map(str, curve.shots)]),
            markdown_row(["---", *["---:"] * len(curve.shots)]),
            *map(markdown_row, gain_rows(result)),
            "",
            f"- Zero-shot, from the classes' names: {curve.zero_shot.text()}.",
        ]
    else:
        lines.append("- No zero-shot figure: the model has no text.")
    lines.append(f"- Chance: {100 * curve.chance:.2f}.")
    if result.missing_count:
        lines.append(f"- **Files of the data set that are missing here: {result.missing_count}.**")
    if result.skipped:
        lines.append(f"- **{len(result.skipped)} files skipped.**")
    if picture:
        lines += ["", f"![Accuracy over examples a class]({picture})"]
    return "\n".join(lines) + "\n"


def as_json(result: FewShot, model: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The curve as one JSON object; figures are shares in [0, 1]."""
    return {
        "model": model,
        "settings": dict(settings),
        "class_names": list(result.class_names),
        "support_count": result.support_count,
        "test_count": result.test_count,
        "missing_count": result.missing_count,
        **result.curve.as_dict(),
        "skipped": result.skipped,
        "notes": result.notes,
    }
