"""Where the things of a scene are, how they look and move, and what stands around them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bindplug_toyworld.backdrop import Backdrop, bush, crate, plant, post, scenery, stone
from bindplug_toyworld.looks import LOOKS, PALETTE, Color, Part, Style
from bindplug_toyworld.render import Layer, place
from bindplug_toyworld.things import THINGS

_FOCAL = 0.9  # focal length in short canvas sides: a field of view of 58 degrees
_EXTENTS = {1: (0.30, 0.75), 2: (0.32, 0.52), 3: (0.26, 0.40), 4: (0.22, 0.34), 5: (0.20, 0.30)}


@dataclass(frozen=True, slots=True)
class Placement:
    """Where one thing is: center and half size in pixels, tilt, mirroring, distance, color and variation."""

    label: int
    x: float
    y: float
    half_px: float
    angle_deg: float
    mirror: bool
    distance_m: float
    half_m: float
    color: str
    accent: Color
    vary: tuple[float, ...]
    phase: float


def arrange(
    labels: Sequence[int], canvas: tuple[int, int], layout: np.random.Generator, looks: np.random.Generator
) -> list[Placement]:
    """Places things on a canvas of (height, width) pixels so that they overlap little.

    Args:
        labels: what to place.
        canvas: (height, width).
        layout: decides where and how large.
        looks: decides distance, colors and everything else.
    """
    short = min(canvas)
    result = []
    for label, (x, y, half) in zip(labels, _spots(len(labels), canvas, layout), strict=True):
        ideal = THINGS[label].size_m / 2 * _FOCAL * short / half
        distance = float(np.clip(ideal * looks.uniform(0.75, 1.35), 1.0, 8.0))
        color = _body_color(THINGS[label].natural, looks)
        accents = [value for name, value in PALETTE.items() if name not in (color, "white", "black")]
        placement = Placement(
            label,
            x,
            y,
            half,
            angle_deg=float(looks.uniform(-15, 15)),
            mirror=bool(looks.random() < 0.5),
            distance_m=distance,
            half_m=half * distance / (_FOCAL * short),
            color=color,
            accent=accents[looks.integers(len(accents))],
            vary=tuple(looks.uniform(-1, 1, size=8).tolist()),
            phase=float(looks.uniform(0, 2 * np.pi)),
        )
        result.append(placement)
    return result


def _spots(count: int, canvas: tuple[int, int], rng: np.random.Generator) -> list[tuple[float, float, float]]:
    """Center and half size of each thing."""
    height, width = canvas
    shrink = 1.0
    low, high = _EXTENTS[count]
    for attempt in range(400):
        spots: list[tuple[float, float, float]] = []
        for _ in range(count):
            half = rng.uniform(low, high) * shrink * min(canvas) / 2
            x, y = (rng.uniform(half * 0.95, side - half * 0.95) for side in (width, height))
            spots.append((float(x), float(y), float(half)))
        if not _crowded(spots):
            break
        shrink = max(0.6, 1 - attempt / 400)
    return spots


def _crowded(spots: Sequence[tuple[float, float, float]]) -> bool:
    for i, (xa, ya, a) in enumerate(spots):
        for xb, yb, b in spots[i + 1 :]:
            wide = min(xa + a, xb + b) - max(xa - a, xb - b)
            tall = min(ya + a, yb + b) - max(ya - a, yb - b)
            if wide > 0 and tall > 0 and wide * tall > 0.06 * 4 * min(a, b) ** 2:
                return True
    return False


def _body_color(natural: Sequence[str], rng: np.random.Generator) -> str:
    names = list(natural) if rng.random() < 0.5 else list(PALETTE)
    return names[int(rng.integers(len(names)))]


def place_word(p: Placement, canvas: tuple[int, int]) -> str:
    """``"left" "right" "top" "bottom" "center"``, or ``""`` where none is plainly right."""
    across, down = p.x / canvas[1] - 0.5, p.y / canvas[0] - 0.5
    if max(abs(across), abs(down)) < 0.07:
        return "center"
    if abs(across) >= abs(down):
        return "" if abs(across) < 0.12 else "left" if across < 0 else "right"
    return "" if abs(down) < 0.12 else "top" if down < 0 else "bottom"


def size_word(p: Placement, canvas: tuple[int, int]) -> str:
    """``"small"``, ``"large"`` or ``""``."""
    extent = 2 * p.half_px / min(canvas)
    return "small" if extent < 0.42 else "large" if extent > 0.62 else ""


def thing_layer(p: Placement, owner: int, time_s: float, rng: np.random.Generator) -> Layer:
    """A thing as it is at a time of the video, drifting and swaying about its placement."""
    rates = rng.uniform(0.2, 0.5, size=4) * 2 * np.pi
    reach = rng.uniform(0.1, 0.25, size=2) * p.half_px
    swing = np.sin(rates * time_s)
    x, y = p.x + reach[0] * swing[0], p.y + reach[1] * swing[1]
    half = p.half_px * (1 + 0.06 * swing[2])
    style = Style(PALETTE[p.color], p.accent, p.vary, p.phase + 2 * np.pi * 1.2 * time_s)
    parts = place(LOOKS[THINGS[p.label].name](style), x, y, half, p.angle_deg + 4 * swing[3], p.mirror)
    return Layer(parts, p.distance_m, p.half_m, half, owner)


def surround(
    placements: Sequence[Placement], backdrop: Backdrop, rng: np.random.Generator
) -> tuple[list[Layer], list[Layer]]:
    """Scenery and clutter among the things, and whatever hides a part of one of them."""
    height, width = backdrop.shape
    short = min(backdrop.shape)
    among = [scenery(backdrop, rng)]
    for _ in range(int(rng.integers(0, 4))):
        kind = (stone, plant, crate)[rng.integers(3)]
        half = rng.uniform(0.04, 0.09) * short
        y = rng.uniform(max(backdrop.horizon, 0.3 * height), height)
        distance = backdrop.ground_at(float(y + half))
        among.append(_layer(kind(rng), float(rng.uniform(0, width)), float(y), float(half), distance, short))
    return among, [_occluder(p, short, rng) for p in placements if rng.random() < 0.25]


def _layer(parts: list[Part], x: float, y: float, half: float, distance: float, short: int) -> Layer:
    return Layer(place(parts, x, y, half, 0.0, False), distance, half * distance / (_FOCAL * short), half)


def _occluder(p: Placement, short: int, rng: np.random.Generator) -> Layer:
    """Something that hides a small part of a thing."""
    side = -1 if rng.random() < 0.5 else 1
    distance = max(0.6, p.distance_m * 0.8 - 0.45 * p.half_m)
    kind = rng.integers(3)
    if kind == 0:
        return _layer(
            post(rng), p.x + side * rng.uniform(0.3, 0.8) * p.half_px, p.y, p.half_px, distance, short
        )
    half = p.half_px * rng.uniform(0.35, 0.5)
    make = bush if kind == 1 else crate
    x, y = p.x + side * rng.uniform(0.6, 0.95) * p.half_px, p.y + rng.uniform(0.65, 0.9) * p.half_px
    return _layer(make(rng), float(x), float(y), float(half), distance, short)
