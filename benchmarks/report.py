"""The table a person reads."""

from __future__ import annotations

import statistics
from typing import Any

from benchmarks.harness import Comparison

HEADER = ("", "baseline", "bindplug", "ratio", "goal", "", "largest difference")


def table(compared: list[Comparison], skipped: dict[str, str], machine: dict[str, Any]) -> str:
    """One line a comparison: medians, with the extremes in brackets, then notes."""
    if not compared:
        return "\n".join(
            ["nothing was measured", *(f"{name}: skipped, {why}" for name, why in skipped.items())]
        )
    rows = [HEADER, *(_row(one) for one in compared)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.insert(1, "-" * max(map(len, lines)))
    lines += ["", *(f"{one.name}: {'; '.join(one.notes)}" for one in compared if one.notes)]
    lines += [f"{name}: skipped, {reason}" for name, reason in skipped.items()]
    busy = machine["load_1_min"] / machine["cores"]
    lines += [
        "",
        "ratio: baseline / bindplug measured in turns, median of the pairs [least, most]. "
        f"Repeats: {', '.join(map(str, sorted({len(one.ours) for one in compared})))}.",
        f"{machine['processor']}, {machine['threads']} threads, torch {machine['torch']}, "
        f"load {machine['load_1_min']:.1f} on {machine['cores']} cores at the start",
    ]
    if busy > 0.5:
        lines.append("The machine was busy with other work: take these figures as a check, not a result.")
    return "\n".join(lines)


def _row(one: Comparison) -> tuple[str, ...]:
    goal = f">= {one.least_ratio:g} x" if one.least_ratio else ""
    ratio = _spread(one.ratios, "x")
    if one.most_added is not None:
        goal, ratio = f"<= +{one.most_added:g} {one.unit}", f"{one.added:+.3f} {one.unit} ({one.ratio:.2f} x)"
    verdict = {True: "met", False: "MISSED", None: ""}[one.met]
    deviation = "" if one.deviation is None else f"{one.deviation:.0e}"
    return (
        one.name,
        _spread(one.baseline, one.unit),
        _spread(one.ours, one.unit),
        ratio,
        goal,
        verdict,
        deviation,
    )


def _spread(samples: list[float], unit: str) -> str:
    middle, least, most = statistics.median(samples), min(samples), max(samples)
    return f"{middle:.3g} {unit} [{least:.3g}, {most:.3g}]"
