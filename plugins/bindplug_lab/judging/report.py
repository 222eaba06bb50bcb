"""A comparison of image encoders as JSON, a Markdown table and a figure."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path

from bindplug.files import write_whole
from bindplug_lab.judging.comparison import HEADLINE, Judgement
from bindplug_lab.judging.measures import MEASURES
from bindplug_lab.judging.settings import SENSES

COLORS = ("#2a6fbb", "#c8553d", "#3a7d44", "#7a5195", "#b58900", "#4d4d4d")


def write_report(judgement: Judgement, output: str | Path) -> dict[str, Path]:
    """Write ``judge.json``, ``judge.md`` and ``judge.png`` into ``output``; returns their paths by kind."""
    output = Path(output)
    paths = {
        kind: output / f"judge.{ending}"
        for kind, ending in (("json", "json"), ("table", "md"), ("figure", "png"))
    }
    write_whole(paths["json"], (json.dumps(judgement.to_dict(), indent=1) + "\n").encode())
    write_whole(paths["table"], markdown(judgement).encode())
    write_whole(paths["figure"], draw(judgement))
    return paths


def markdown(judgement: Judgement) -> str:
    """The table, and what it says about the orders."""
    settings = judgement.settings
    columns = [f"own: {name}" for name in MEASURES] + [f"{sense}, emergent" for sense in SENSES]
    lines = ["| anchor | " + " | ".join(columns) + " |", "|---|" + "---|" * len(columns)]
    for name in judgement.anchors:
        cells = [judgement.own[name][measure].text() for measure in MEASURES]
        cells += [judgement.emergent[name][sense].text() for sense in SENSES]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines += [
        "",
        f"Accuracy in percent on {settings.test} unseen scenes of 20 things (chance 5.0), with 95 % intervals. "
        f"Emergent: {settings.seeds} towers a sense, bound to {settings.pairs} pictures without labels, classified by "
        f"the class means of {settings.support} labeled pictures of the anchor.",
        "",
        *(f"- {sentence}" for sentence in findings(judgement)),
    ]
    return "\n".join(lines) + "\n"


def findings(judgement: Judgement) -> list[str]:
    """What the figures say about the orders of the anchors, a sentence a sense."""
    if len(judgement.own) < 2:
        return ["One anchor has no order: give several."]
    sentences = []
    for sense in SENSES:
        correlation = judgement.agreement(sense)
        pairs = judgement.reversals(sense)
        order = " > ".join(judgement.order(sense))
        if pairs:
            reversals = "; ".join(f"{b} over {a}" for a, b in pairs)
            verdict = f"orders the anchors otherwise than their own accuracy ({HEADLINE}) does: {reversals}"
        elif correlation == 1:
            verdict = f"orders the anchors as their own accuracy ({HEADLINE}) does"
        else:
            verdict = f"differs from the order of own accuracy ({HEADLINE}) only within the intervals"
        sentences.append(
            f"{sense}: {order}. Emergent accuracy {verdict}. Rank correlation {correlation:.2f}."
        )
    return sentences


def draw(judgement: Judgement) -> bytes:
    """A PNG with one panel a sense: own accuracy across, emergent accuracy up, an anchor a point."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6 * len(SENSES), 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(SENSES), squeeze=False)[0]
    for panel, sense in zip(panels, SENSES, strict=True):
        for number, name in enumerate(judgement.anchors):
            x, y = judgement.own[name][HEADLINE], judgement.emergent[name][sense]
            color = COLORS[number % len(COLORS)]
            panel.errorbar(
                100 * x.value,
                100 * y.value,
                xerr=[[100 * (x.value - x.low)], [100 * (x.high - x.value)]],
                yerr=[[100 * (y.value - y.low)], [100 * (y.high - y.value)]],
                fmt="o",
                color=color,
                capsize=3,
                label=name,
            )
        panel.set_title(f"{sense}, bound to each anchor")
        panel.set_xlabel(f"own accuracy of the anchor ({HEADLINE}), %")
        panel.set_ylabel(f"emergent accuracy of {sense}, %")
        panel.axhline(5, color="#999999", linewidth=0.8, linestyle=":", label="chance")
        panel.set_xlim(0, 100)
        panel.set_ylim(bottom=0)
        panel.grid(alpha=0.25)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].legend(frameon=False, loc="upper left")
    content = BytesIO()
    figure.savefig(content, format="png", dpi=150)
    return content.getvalue()
