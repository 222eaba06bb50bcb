"""Bars with their spread and goals on a logarithmic axis, drawn with Pillow alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

SCALE = 2
"""Pixels per point: sharp on dense screens."""
ROW, FONT, PLOT_WIDTH, MARGIN, HEAD = 24, 12, 440, 16, 56
BACKGROUND, INK, GRID = (255, 255, 255), (34, 40, 49), (222, 226, 230)
DENSE_DECADES = 2.5
"""An axis shorter than this has marks at 1, 2 and 5; a longer one at powers of ten."""
COLORS = {True: (44, 140, 120), False: (214, 96, 28), None: (90, 120, 170)}
"""Goal met, goal missed, no goal."""


@dataclass(frozen=True)
class Bar:
    """One row of a chart.

    Args:
        label: what it is.
        middle, least, most: median and extremes, positive.
        goal: where a mark shows what was aimed at.
        met: whether the goal is met, which the color tells; None without one.
    """

    label: str
    middle: float
    least: float
    most: float
    goal: float | None = None
    met: bool | None = None


def draw_bars(
    path: str | Path,
    title: str,
    bars: Sequence[Bar],
    *,
    unit: str = "",
    origin: float | None = None,
    footer: str = "",
) -> None:
    """Draw a chart into a PNG or any other file that Pillow writes.

    Args:
        path: where to; its directory is made.
        title: above the chart.
        bars: from top to bottom.
        unit: after every number, as ``"x"``.
        origin: where bars begin, as 1 for ratios; the axis' left end for None.
        footer: a line below the chart.

    Raises:
        ValueError: there are no bars, or a value is not positive.
    """
    if not bars or any(not (bar.least > 0 and math.isfinite(bar.most)) for bar in bars):
        raise ValueError(f"{len(bars)} bars; expected at least one, all of positive finite values")
    font, bold = _font(FONT), _font(FONT + 3)
    names = max(font.getlength(bar.label) for bar in bars)
    numbers = max(font.getlength(_said(bar, unit)) for bar in bars)
    axis = _axis(bars, origin, left=round(names) + 2 * MARGIN * SCALE)
    width = axis.left + PLOT_WIDTH * SCALE + round(numbers) + 2 * MARGIN * SCALE
    picture = Image.new("RGB", (width, (HEAD + ROW * len(bars) + 3 * ROW) * SCALE), BACKGROUND)
    draw = ImageDraw.Draw(picture)
    draw.text((MARGIN * SCALE, MARGIN * SCALE), title, INK, bold)
    top, bottom = HEAD * SCALE, (HEAD + ROW * len(bars)) * SCALE
    for tick in axis.ticks():
        draw.line((axis.across(tick), top, axis.across(tick), bottom), GRID, SCALE)
        draw.text((axis.across(tick), bottom + 4 * SCALE), f"{tick:g}{unit}", INK, font, anchor="ma")
    for index, bar in enumerate(bars):
        middle = top + ROW * index * SCALE + ROW * SCALE // 2
        _draw_bar(draw, bar, axis, middle)
        draw.text((axis.left - MARGIN * SCALE / 2, middle), bar.label, INK, font, anchor="rm")
        after = axis.left + (PLOT_WIDTH + MARGIN / 2) * SCALE
        draw.text((after, middle), _said(bar, unit), INK, font, anchor="lm")
    if origin:
        draw.line((axis.across(origin), top, axis.across(origin), bottom), INK, SCALE)
    draw.text((MARGIN * SCALE, bottom + 2 * ROW * SCALE), footer, INK, font, anchor="lm")
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)


@dataclass(frozen=True)
class _Axis:
    """A logarithmic axis of ``PLOT_WIDTH`` points from the pixel ``left``; bars begin at ``start``."""

    low: float
    high: float
    start: float
    left: int

    def across(self, value: float) -> float:
        """The pixel of a value."""
        share = math.log(value / self.low) / math.log(self.high / self.low)
        return self.left + PLOT_WIDTH * SCALE * share

    def ticks(self) -> list[float]:
        """Round values on the axis."""
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        steps = (1, 2, 5) if math.log10(self.high / self.low) < DENSE_DECADES else (1,)
        marks = (float(f"{step}e{decade}") for decade in decades for step in steps)
        return [mark for mark in marks if self.low <= mark <= self.high]


def _axis(bars: Sequence[Bar], origin: float | None, left: int) -> _Axis:
    values = [v for bar in bars for v in (bar.least, bar.most, bar.goal or bar.middle, origin or bar.middle)]
    low = min(values) / (1.15 if origin else 1.5)
    return _Axis(low, max(values) * 1.15, origin or low, left)


def _draw_bar(draw: ImageDraw.ImageDraw, bar: Bar, axis: _Axis, middle: int) -> None:
    half, cap = (ROW // 2 - 5) * SCALE, 3 * SCALE
    left, right = sorted((axis.across(axis.start), axis.across(bar.middle)))
    draw.rectangle((left, middle - half, right, middle + half), COLORS[bar.met])
    draw.line((axis.across(bar.least), middle, axis.across(bar.most), middle), INK, SCALE)
    for value in (bar.least, bar.most):
        draw.line((axis.across(value), middle - cap, axis.across(value), middle + cap), INK, SCALE)
    if bar.goal:
        mark = axis.across(bar.goal)
        draw.line((mark, middle - half - cap, mark, middle + half + cap), INK, round(1.5 * SCALE))


def _said(bar: Bar, unit: str) -> str:
    said = f"{_number(bar.middle)}{unit} [{_number(bar.least)}, {_number(bar.most)}]"
    return f"{said}, goal {bar.goal:g}{unit}" if bar.goal else said


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size * SCALE)
