"""A picture of a few-shot curve."""

from __future__ import annotations

import io

from bindplug.lazy import require
from bindplug_lab.few_shot.curve import Curve

__all__ = ["PLOT_FORMATS", "plot_curve"]

PLOT_FORMATS = ("png", "svg", "pdf")

STYLES = {
    "logistic": ("#1f5a8c", "o", "logistic regression"),
    "prototypes": ("#2c7873", "s", "prototypes"),
    "cache": ("#d6601c", "^", "cache and text"),
}


def plot_curve(curve: Curve, title: str = "", form: str = "png") -> bytes:
    """A curve for each learner with its intervals, zero-shot as a dashed line with its own, and chance dotted.

    Args:
        curve: of any learners.
        title: above the axes.
        form: one of :data:`PLOT_FORMATS`.

    Raises:
        MissingDependency: matplotlib is not installed.
    """
    require("matplotlib", owner="bindplug few-shot's figure", extra="lab")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.4), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for place, (name, points) in enumerate(curve.learners.items()):
        color, marker, label = STYLES.get(name, (f"C{place}", "o", name))
        values = [100 * point.value for point in points]
        axes.plot(curve.shots, values, color=color, marker=marker, ms=5, lw=1.8, label=label)
        if all(point.is_known for point in points):
            low, high = [100 * p.low for p in points], [100 * p.high for p in points]
            axes.fill_between(curve.shots, low, high, color=color, alpha=0.15, lw=0)
    if curve.zero_shot is not None:
        interval = curve.zero_shot
        axes.axhline(100 * interval.value, color="black", ls="--", lw=1.2, label="zero-shot, from text")
        if interval.is_known:
            axes.axhspan(100 * interval.low, 100 * interval.high, color="black", alpha=0.07, lw=0)
    axes.axhline(100 * curve.chance, color="grey", ls=":", lw=1.2, label="chance")
    axes.set_xscale("log", base=2)
    axes.set_xticks(curve.shots, [str(k) for k in curve.shots])
    axes.minorticks_off()
    axes.set_xlabel("examples a class")
    axes.set_ylabel("accuracy, percent")
    axes.set_ylim(0, 102)
    axes.set_title(title, fontsize=10)
    axes.grid(axis="y", alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=8)  # never over the curves
    content = io.BytesIO()
    metadata = (
        {"Software": None} if form == "png" else {"Date": None} if form == "svg" else {"CreationDate": None}
    )
    figure.savefig(content, format=form, metadata=metadata)
    return content.getvalue()
