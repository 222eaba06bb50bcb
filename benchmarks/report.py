"""The table a person reads, and the chart."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import Comparison, Growth

HEADER = ("", "baseline", "bindplug", "ratio", "goal", "", "equal within")


def table(results: Sequence[Comparison | Growth]) -> str:
    """One line a comparison: medians, and the ratios' extremes in brackets; then growth, then notes."""
    compared = [one for one in results if isinstance(one, Comparison)]
    grown = [one for one in results if isinstance(one, Growth)]
    lines = _aligned([HEADER, *(_row(one) for one in compared)]) if compared else []
    if lines:
        lines.insert(1, "-" * max(map(len, lines)))
    for one in grown:
        lines += _growth(one)
    return "\n".join([*lines, *(f"  {one.name}: {'; '.join(one.notes)}" for one in results if one.notes)])


def footer(
    results: Sequence[Comparison | Growth], missing: dict[str, dict[str, str]], machine: dict[str, Any]
) -> str:
    """What was left out and why, how to read the table, and the machine.

    Args:
        results: all of them.
        missing: what became of benchmarks that did not run through, as ``"skipped"`` -> name -> reason.
        machine: as :func:`bindplug.bench.machine.describe` gives it.
    """
    lines = [] if results else ["nothing was measured"]
    lines += [f"{name}: {how}, {why}" for how, reasons in missing.items() for name, why in reasons.items()]
    compared = [one for one in results if isinstance(one, Comparison)]
    if compared:
        repeats = ", ".join(map(str, sorted({len(one.ours) for one in compared})))
        lines.append(
            "ratio: baseline / bindplug measured in turns, median of the pairs [least, most]. "
            f"Repeats: {repeats}."
        )
    if any(isinstance(one, Growth) for one in results):
        lines.append("exponent b: time ~ size^b, least squares in logarithms, of the medians [rounds].")
    lines.append(
        f"{machine['device']}, {machine['threads']} threads, torch {machine['torch']}, "
        f"load {machine['load_1_min']:.1f} on {machine['cores']} cores at the start"
    )
    if machine["load_1_min"] / machine["cores"] > 0.5:
        lines.append("The machine was busy with other work: take these figures as a check, not a result.")
    return "\n".join(lines)


def draw(path: str | Path, results: Sequence[Comparison | Growth], machine: dict[str, Any]) -> bool:
    """Draw the ratios of all comparisons, with spread and goals; False if there are none."""
    from benchmarks.plot import Bar, draw_bars

    bars = [
        Bar(one.name, one.ratio, min(one.ratios), max(one.ratios), one.least_ratio, one.met)
        for one in results
        if isinstance(one, Comparison)
    ]
    if not bars:
        return False
    title = "How many times less time or memory bindplug takes than the baseline"
    note = f"{machine['device']}, torch {machine['torch']}. Green: goal met, orange: missed, blue: no goal."
    draw_bars(path, title, bars, unit="x", origin=1.0, footer=note)
    return True


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]


def _growth(one: Growth) -> list[str]:
    exponents = one.exponents
    head = f"{one.name}: exponent {one.exponent:.2f} [{min(exponents):.2f}, {max(exponents):.2f}]"
    sizes = [one.size, *(f"{size:,}" for size in one.sizes)]
    medians = [f"median {one.unit}", *(f"{statistics.median(taken):.3g}" for taken in one.samples)]
    ends = ["[least, most]", *(f"[{min(taken):.2g}, {max(taken):.2g}]" for taken in one.samples)]
    return [head, *(f"  {line}" for line in _aligned([sizes, medians, ends]))]


def _row(one: Comparison) -> tuple[str, ...]:
    goal = f">= {one.least_ratio:g} x" if one.least_ratio else ""
    ratio = _spread(one.ratios, "x")
    if one.most_added is not None:
        goal, ratio = f"<= +{one.most_added:g} {one.unit}", f"{one.added:+.3f} {one.unit} ({one.ratio:.2f} x)"
    verdict = {True: "met", False: "MISSED", None: ""}[one.met]
    return (
        one.name,
        f"{statistics.median(one.baseline):.3g} {one.unit}",
        f"{statistics.median(one.ours):.3g} {one.unit}",
        ratio,
        goal,
        verdict,
        _equality(one),
    )


def _equality(one: Comparison) -> str:
    if one.deviation is not None:
        return f"{one.deviation:.0e}"
    return "" if one.cosine is None else f"cosine {one.cosine:.5f}"


def _spread(samples: list[float], unit: str) -> str:
    middle, least, most = statistics.median(samples), min(samples), max(samples)
    return f"{middle:.3g} {unit} [{least:.3g}, {most:.3g}]"
