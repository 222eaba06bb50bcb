"""Looks of bell, drum, clock, rain and fire."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from bindplug_toyworld.looks.outlines import OUTLINES
from bindplug_toyworld.looks.part import GOLD, INK, STEEL, WATER, WHITE, WOOD, Color, Part, Style, mix
from bindplug_toyworld.looks.shapes import Points, blob, box, ellipse, polygon, ring, stroke, turn


def bell(s: Style) -> list[Part]:
    """A church bell under its yoke, clapper showing; one flank is warmed by the sun."""
    swing = 14 * s.swing()

    def hang(points: Points) -> Points:
        return turn(points, swing, (0.0, -0.7))

    parts = [Part(hang(ellipse(0.0, 0.76, 0.15, 0.15)), mix(s.dark, INK, 0.4), -3, 0.1, 0.15)]
    parts.append(Part(box(-0.56, -0.98, 0.56, -0.82, 0.04), WOOD, 1, 0.3, 0.08))
    parts.append(Part(hang(ring(0, -0.72, 0.13, 0.09)), STEEL, 0.5, 0.25, 0.05))
    side = [(0.0, -0.66), (0.24, -0.6), (0.36, -0.36), (0.42, 0.06), (0.52, 0.4), (0.78, 0.64)]
    left = [(-x, y) for x, y in side[::-1]]
    parts.append(Part(hang(blob(side + left[:-1])), s.body, 2.5, 0.2, 0.45))
    flank = [(0.06, -0.56), (0.22, -0.5), (0.33, -0.3), (0.4, 0.1), (0.5, 0.44), (0.24, 0.5), (0.14, 0.1)]
    parts.append(Part(hang(blob(flank)), s.dark, 6.5, 0.45, 0.12, inked=False))
    shine = [(-0.24, -0.38), (-0.3, 0.02), (-0.36, 0.3)]
    parts.append(Part(hang(stroke(shine, 0.1, 0.07)), s.light, 1, 0.55, inked=False))
    parts.append(Part(hang(stroke([(-0.74, 0.6), (0.0, 0.68), (0.74, 0.6)], 0.13)), s.dark, -1.5, 0.5, 0.08))
    parts.append(
        Part(hang(stroke([(-0.4, -0.1), (0.0, -0.05), (0.4, -0.1)], 0.06)), s.accent, 4, 0.65, inked=False)
    )
    return parts


def drum(s: Style) -> list[Part]:
    """A laced side drum from above the rim, with two sticks."""
    lift = 0.1 * s.swing()
    rope: Color = WHITE if sum(s.body) < 560 else INK
    shell = polygon([(-0.74, -0.12), (0.74, -0.12), (0.74, 0.58), (-0.74, 0.58)])
    parts = [Part(ellipse(0, 0.58, 0.74, 0.3), s.body, 1.5, 0.15, 0.2), Part(shell, s.body, 3, 0.2, 0.35)]
    parts.append(Part(ellipse(0, 0.6, 0.735, 0.29), s.body, 3, 0.4, 0.1, inked=False))
    xs = np.linspace(-0.7, 0.7, 8)
    low = 0.56 + 0.29 * np.sqrt(np.clip(1 - (xs / 0.78) ** 2, 0, 1))
    high = -0.1 + 0.26 * np.sqrt(np.clip(1 - (xs / 0.78) ** 2, 0, 1))
    lace = [(float(x), float(low[i] if i % 2 else high[i])) for i, x in enumerate(xs)]
    for a, b in pairwise(lace):
        parts.append(Part(stroke([a, b], 0.05), rope, 0.5, 0.6, inked=False))
    rim = [(-0.74, 0.56), (-0.4, 0.8), (0.0, 0.87), (0.4, 0.8), (0.74, 0.56)]
    parts.append(Part(stroke(rim, 0.12), GOLD, -2, 0.6, 0.05))
    parts.append(Part(ellipse(0, -0.14, 0.8, 0.32), GOLD, -2, 0.45, 0.05))
    parts.append(Part(ellipse(0, -0.15, 0.71, 0.26), (246, 238, 220), 2, 0.5))
    parts.append(Part(ellipse(0.04, -0.12, 0.3, 0.11, n=18), (232, 220, 196), 6, 0.52, inked=False))
    for side, rise in ((-1, lift), (1, -lift)):
        tip = (0.16 * side, -0.24 - abs(rise) * 0.3 + rise * 0.2)
        parts.append(Part(stroke([(0.86 * side, -0.86 + rise), tip], 0.085, 0.06), WOOD, 9, 0.7, 0.05))
        parts.append(Part(ellipse(tip[0], tip[1], 0.075, 0.06, n=14), WOOD, 4, 0.72, 0.05))
    return parts


def clock(s: Style) -> list[Part]:
    """A round alarm clock on two feet with a handle, white face and two hands."""
    parts = [
        Part(stroke([(-0.2, -0.7), (-0.16, -0.94), (0.16, -0.94), (0.2, -0.7)], 0.09), STEEL, -1, 0.2, 0.04)
    ]
    for side in (-1, 1):
        parts.append(
            Part(stroke([(0.4 * side, 0.6), (0.62 * side, 0.94)], 0.17, 0.1), s.dark, -2, 0.15, 0.06)
        )
        parts.append(Part(ellipse(0.56 * side, -0.64, 0.25, 0.17, 42 * side, n=20), GOLD, -1, 0.2, 0.15))
    parts.append(Part(ellipse(0, 0.06, 0.8, 0.8, n=36), s.body, -2.5, 0.3, 0.2))
    parts.append(Part(ellipse(0, 0.06, 0.63, 0.63, n=32), WHITE, 2, 0.35, 0.05))
    for hour in range(12):
        long = hour % 3 == 0
        direction = np.array([np.sin(hour * np.pi / 6), -np.cos(hour * np.pi / 6)])
        ends = [tuple(direction * r + (0, 0.06)) for r in ((0.46 if long else 0.52), 0.58)]
        parts.append(Part(stroke(ends, 0.07 if long else 0.04), INK, 1, 0.42, inked=False))
    minute = s.vary[0] * np.pi + s.phase * 0.15
    hour_angle = s.vary[1] * np.pi + s.phase * 0.02
    for angle, reach, width in ((hour_angle, 0.32, 0.1), (minute, 0.5, 0.07)):
        tip = (reach * float(np.sin(angle)), 0.06 - reach * float(np.cos(angle)))
        parts.append(Part(stroke([(0, 0.06), tip], width, width * 0.6), INK, 3.5, 0.48, inked=False))
    second = s.phase * 1.5
    parts.append(
        Part(
            stroke([(0, 0.06), (0.52 * float(np.sin(second)), 0.06 - 0.52 * float(np.cos(second)))], 0.03),
            (220, 50, 50),
            3,
            0.5,
            inked=False,
        )
    )
    parts.append(Part(ellipse(0, 0.06, 0.09, 0.09, n=16), s.body, 9, 0.55, 0.05))
    return parts


def rain(s: Style) -> list[Part]:
    """A dark cloud, slanting drops and a puddle with rings."""
    parts = [Part(ellipse(0, 0.86, 0.78, 0.11), WATER, -5, 0.05, 0.02)]
    parts.append(
        Part(ring(-0.24, 0.86, 0.1, 0.02, n=16) * (1, 0.35) + (0, 0.56), WHITE, -6, 0.05, inked=False)
    )
    parts.append(
        Part(ring(0.3, 0.86, 0.14, 0.02, n=16) * (1, 0.35) + (0, 0.56), WHITE, -6, 0.05, inked=False)
    )
    fall = (s.phase / (2 * np.pi)) % 1
    slant = -0.1 + 0.06 * s.vary[0]
    for row in range(3):
        for column in range(6):
            drop = (row + fall + 0.37 * (column % 3)) % 3 / 3
            x, y = -0.66 + 0.26 * column + slant * (drop * 2 - 0.6), -0.12 + 0.86 * drop
            parts.append(
                Part(
                    stroke([(x, y), (x + slant * 0.7, y + 0.16)], 0.035, 0.075),
                    (92, 168, 226),
                    -7,
                    0.15,
                    0.05,
                    inked=False,
                )
            )
    grey = mix((104, 110, 124), s.body, 0.25)
    cloud = OUTLINES["rain"]["cloud"]
    parts.append(Part(blob(cloud), grey, -9, 0.2, 0.5))
    for x, y, r in ((-0.5, -0.52, 0.24), (0.0, -0.6, 0.22), (0.46, -0.56, 0.28)):
        parts.append(Part(ellipse(x, y, r, r * 0.8), mix(grey, WHITE, 0.18), -12, 0.45, 0.15, inked=False))
    return parts


def _flame(x: float, base: float, width: float, height: float, lean: float) -> Points:
    outline = OUTLINES["flame"]["outline"]
    return blob([(x + width * a + lean * b * b, base + height * b) for a, b in outline])


def fire(s: Style) -> list[Part]:
    """Flames in three tones over crossed logs and embers."""
    flicker, lean = 0.12 * s.swing(), 0.14 * s.vary[0] + 0.08 * s.swing(1.1)
    parts = [Part(ellipse(0, 0.84, 0.72, 0.12), (92, 82, 80), 45, 0.05, 0.05)]
    parts.append(Part(stroke([(-0.8, 0.68), (0.76, 0.9)], 0.2), (112, 72, 44), 70, 0.2, 0.15))
    for x, width, height, turn_back in (
        (-0.36, 0.26, 1.0, -0.1),
        (0.38, 0.26, 1.12, 0.1),
        (0.0, 0.44, 1.74, 0.0),
    ):
        flame = _flame(x, 0.76, width, height * (1 + flicker * (0.6 + x)), lean + turn_back)
        parts.append(Part(flame, (232, 74, 32), 150, 0.25, 0.25, inked=False))
    for x, width, height in ((-0.26, 0.2, 0.7), (0.28, 0.2, 0.78), (0.0, 0.32, 1.22)):
        flame = _flame(x, 0.76, width, height * (1 - flicker * (0.6 - x)), lean)
        parts.append(Part(flame, (250, 158, 40), 230, 0.4, 0.15, inked=False))
    parts.append(
        Part(
            _flame(0.0, 0.76, 0.19, 0.76 * (1 + flicker), lean), (255, 232, 120), 320, 0.55, 0.1, inked=False
        )
    )
    parts.append(Part(stroke([(-0.74, 0.92), (0.8, 0.66)], 0.2), (134, 88, 52), 80, 0.4, 0.15))
    for x, y in ((-0.4, 0.86), (0.05, 0.8), (0.4, 0.74)):
        parts.append(Part(ellipse(x, y, 0.06, 0.03, -18, n=10), (255, 150, 60), 210, 0.5, inked=False))
    return parts
