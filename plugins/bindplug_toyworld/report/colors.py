"""Color maps as a few stops each, interpolated between."""

from __future__ import annotations

import numpy as np

Stops = tuple[tuple[int, int, int], ...]


def _stops(listed: str) -> Stops:
    """Colors from hexadecimal RGB triples."""
    numbers = [bytes.fromhex(color) for color in listed.split()]
    return tuple((red, green, blue) for red, green, blue in numbers)


VIRIDIS = _stops("440154 472d7b 3b528b 2c728e 21918c 28ae80 5ec962 addc30 fde725")
INFERNO = _stops("000004 1f0c48 550f6d 88226a ba3655 e35933 f98c0a f9c932 fcffa4")
MAGMA = _stops("000004 1c1044 4f127b 812581 b5367a e55064 fb8761 fec287 fcfdbf")
"""Even in lightness, so that a grey print still tells more from less. Source: matplotlib's maps of these names
(CC0), at eighths."""

AXES = ((213, 94, 0), (0, 146, 106), (0, 114, 178))
"""x, y, z of a motion sensor: readable on white and on black, and told apart by people who see red and green alike.
Source: vermilion, bluish green (a little darker) and blue of Okabe and Ito, Color Universal Design (2008)."""

PROMPTS = ((230, 159, 0), (86, 180, 233), (204, 121, 167), (0, 158, 115))
"""One for each prompt of a detection. Source: orange, sky blue, reddish purple and bluish green of the same."""


def apply_colors(values: np.ndarray, stops: Stops, low: float, high: float) -> np.ndarray:
    """Colors for numbers.

    Args:
        values: of any shape; what lies outside ``low`` to ``high`` takes the end's color.
        stops: colors from ``low`` to ``high``, evenly spaced.

    Returns:
        uint8, the shape of ``values`` with a last axis of 3.
    """
    table = np.array(stops, dtype=np.float64)
    span = max(high - low, 1e-9)
    place = np.clip((np.asarray(values, dtype=np.float64) - low) / span, 0, 1) * (len(table) - 1)
    left = np.minimum(place.astype(int), len(table) - 2)
    part = (place - left)[..., None]
    return np.round(table[left] * (1 - part) + table[left + 1] * part).astype(np.uint8)


def css_gradient(stops: Stops) -> str:
    """The map as a CSS background, left to right."""
    return f"linear-gradient(90deg,{','.join(f'#{bytes(stop).hex()}' for stop in stops)})"


def ink_on(color: tuple[int, int, int]) -> tuple[int, int, int]:
    """Black or white, whichever is easier to read on a color."""
    red, green, blue = ((c / 255) ** 2.2 for c in color)
    return (0, 0, 0) if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.18 else (255, 255, 255)
