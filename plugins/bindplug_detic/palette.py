"""Colors that a person can tell apart, and the ink that reads on them."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

Color = tuple[int, ...]
"""Red, green and blue, 0 to 255."""

GOLDEN = (5**0.5 - 1) / 2
"""Steps of this share of the circle never come back to a hue, and stay far from the last ones."""

FIRST_HUE = 0.08
LIGHTNESS = (0.55, 0.68, 0.42)
SATURATION = (0.95, 0.85, 0.75)
STABLE = 24
"""So many rows of a vocabulary keep their color from picture to picture."""


def colors_of(rows: Sequence[int]) -> list[Color]:
    """A color for each of some rows of a vocabulary, the same for the same row.

    Colors go by the row itself while all are below 24, and else by its rank among those present, so that the
    few things of one picture differ well however large the vocabulary.
    """
    present = sorted(set(rows))
    is_small = not present or present[-1] < STABLE
    number = {row: row if is_small else rank for rank, row in enumerate(present)}
    return [_color(number[row]) for row in rows]


def ink_on(color: Color) -> Color:
    """Black or white, whichever has the greater contrast.

    Source: relative luminance and contrast of WCAG 2.1.
    """
    linear = [
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
        for value in (channel / 255 for channel in color)
    ]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    on_white, on_black = 1.05 / (luminance + 0.05), (luminance + 0.05) / 0.05
    return (255, 255, 255) if on_white > on_black else (0, 0, 0)


def _color(number: int) -> Color:
    hue = (FIRST_HUE + number * GOLDEN) % 1
    kind = number % len(LIGHTNESS)
    rgb = colorsys.hls_to_rgb(hue, LIGHTNESS[kind], SATURATION[kind])
    return tuple(round(channel * 255) for channel in rgb)
