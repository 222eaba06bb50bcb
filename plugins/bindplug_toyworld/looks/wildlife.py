"""Looks of bird, frog and bee."""

from __future__ import annotations

from bindplug_toyworld.looks.mammals import eye
from bindplug_toyworld.looks.outlines import OUTLINES
from bindplug_toyworld.looks.part import INK, WHITE, Part, Style, mix
from bindplug_toyworld.looks.shapes import blob, curve, ellipse, polygon, stroke, turn


def bird(s: Style) -> list[Part]:
    """A songbird on a twig, beak open, tail down, one wing lifting."""
    flap = 16 * s.swing() + 10 * s.vary[0]
    parts = [
        Part(stroke([(-0.85, 0.86), (-0.1, 0.8), (0.9, 0.88)], 0.1, 0.06), (116, 80, 52), 0.5, 0.15, 0.05)
    ]
    parts.append(
        Part(
            polygon([(-0.4, 0.1), (-1.0, 0.46), (-0.92, 0.62), (-0.72, 0.62), (-0.24, 0.4)]),
            s.dark,
            2,
            0.0,
            0.03,
        )
    )
    for x in (-0.02, 0.16):
        parts.append(Part(stroke([(x, 0.5), (x + 0.02, 0.82)], 0.055), (226, 150, 50), 3, 0.1))
    body = OUTLINES["bird"]["body"]
    parts.append(Part(polygon([(0.64, -0.7), (0.98, -0.68), (0.66, -0.58)]), (244, 170, 50), 0.5, 0.3, 0.05))
    parts.append(Part(polygon([(0.64, -0.58), (0.9, -0.48), (0.6, -0.5)]), (226, 140, 40), 1, 0.28, 0.05))
    parts.append(Part(blob(body), s.body, 7, 0.2, 0.4))
    parts.append(Part(ellipse(0.34, 0.06, 0.2, 0.38, 24), s.light, 12, 0.45, 0.12, inked=False))
    parts += eye(0.46, -0.66, 0.085, 11)
    wing = [(0.1, -0.22), (0.16, 0.12), (-0.12, 0.34), (-0.5, 0.4), (-0.86, 0.34), (-0.5, 0.02), (-0.2, -0.2)]
    parts.append(Part(turn(blob(wing), flap, (0.1, -0.1)), s.accent, 2.5, 0.55, 0.1))
    for shift in (0.0, 0.13):
        feather = [
            (-0.62 + shift, 0.27 - shift),
            (-0.3 + shift, 0.22 - shift * 0.8),
            (-0.08 + shift, 0.1 - shift),
        ]
        parts.append(Part(turn(stroke(feather, 0.03), flap, (0.1, -0.1)), INK, 3, 0.6, inked=False))
    return parts


def frog(s: Style) -> list[Part]:
    """Squatting and looking at us: wide mouth, eyes on top, splayed legs."""
    puff = 0.04 * s.swing()
    parts = []
    for side in (-1, 1):
        thigh = [
            (0.3 * side, 0.3),
            (0.62 * side, -0.02),
            (0.94 * side, 0.3),
            (0.8 * side, 0.66),
            (0.4 * side, 0.74),
        ]
        parts.append(Part(blob(thigh), s.body, -4, 0.05, 0.2))
        for toe in (0.6, 0.8, 1.0):
            parts.append(
                Part(
                    stroke([(0.6 * side, 0.66), ((toe - 0.05) * side, 0.82)], 0.13, 0.09),
                    s.dark,
                    -3,
                    0.1,
                    0.05,
                )
            )
    body = OUTLINES["frog"]["body"]
    parts.append(Part(blob(body), s.body, -3.5, 0.15, 0.3))
    parts.append(Part(ellipse(0, 0.4, 0.34, 0.38 + puff), s.light, -1.5, 0.4, 0.15, inked=False))
    for side in (-1, 1):
        parts.append(
            Part(
                stroke([(0.36 * side, 0.22), (0.4 * side, 0.56), (0.28 * side, 0.8)], 0.18, 0.14),
                s.body,
                -4.5,
                0.45,
                0.08,
            )
        )
        for toe in (0.12, 0.27, 0.42):
            parts.append(Part(ellipse(toe * side, 0.86, 0.07, 0.06, n=12), s.dark, -3, 0.5, 0.04))
        parts.append(Part(ellipse(0.38 * side, -0.56, 0.24, 0.26), s.body, -4, 0.3, 0.15))
    head = OUTLINES["frog"]["head"]
    parts.append(Part(blob(head), s.body, -3, 0.45, 0.25))
    for side in (-1, 1):
        parts.append(Part(ellipse(0.38 * side, -0.6, 0.165, 0.175, n=20), WHITE, 0.5, 0.55, 0.1))
        parts.append(
            Part(ellipse((0.38 + 0.03 * s.vary[0]) * side, -0.6, 0.085, 0.1, n=14), INK, 1, 0.62, inked=False)
        )
        parts.append(Part(ellipse(0.08 * side, -0.24, 0.025, 0.025, n=8), s.dark, -1, 0.6, inked=False))
    parts.append(
        Part(
            stroke([(-0.56, -0.12), (-0.3, 0.02), (0, 0.06), (0.3, 0.02), (0.56, -0.12)], 0.05),
            INK,
            1.5,
            0.66,
            inked=False,
        )
    )
    return parts


def bee(s: Style) -> list[Part]:
    """In flight: striped egg of a body, two clear wings, feelers, sting."""
    flap = 18 * s.swing()
    parts = [Part(polygon([(-0.7, 0.12), (-1.0, 0.26), (-0.68, 0.32)]), INK, 1, 0.1, 0.05)]
    for tilt, x in ((-28 + flap, -0.26), (14 - flap * 0.6, 0.1)):
        parts.append(Part(ellipse(x, -0.5, 0.22, 0.48, tilt), (226, 240, 250), 1.5, 0.05, 0.05, alpha=0.8))
        parts.append(
            Part(ellipse(x, -0.4, 0.1, 0.26, tilt, n=16), (196, 220, 240), 2.5, 0.1, inked=False, alpha=0.8)
        )
    for x in (-0.3, -0.02, 0.24):
        parts.append(Part(stroke([(x, 0.5), (x + 0.04, 0.66), (x - 0.04, 0.8)], 0.06, 0.04), INK, 1, 0.1))
    parts.append(Part(ellipse(-0.2, 0.2, 0.62, 0.44, 6), s.body, 2.5, 0.2, 0.4))
    for x, half in ((-0.58, 0.25), (-0.28, 0.37), (0.04, 0.39)):
        stripe = curve([(x - 0.05, 0.2 - half), (x + 0.06, 0.2), (x - 0.05, 0.2 + half)])
        parts.append(Part(stroke(stripe, 0.15, smooth=False), INK, 5.5, 0.45, 0.1, inked=False))
    parts.append(Part(ellipse(0.3, 0.08, 0.28, 0.3), mix(s.body, INK, 0.15), 13, 0.4, 0.2))
    parts.append(Part(ellipse(0.62, 0.06, 0.28, 0.29), s.body if sum(s.body) > 300 else s.dark, 8, 0.4, 0.25))
    for bend in (0.0, 0.2):
        tip = (0.78 + bend, -0.46 + 0.04 * s.vary[0] + bend * 0.4)
        parts.append(Part(stroke([(0.6 + bend * 0.6, -0.16), (0.64 + bend, -0.34), tip], 0.045), INK, 1, 0.5))
        parts.append(Part(ellipse(*tip, 0.06, 0.06, n=10), INK, 1.5, 0.5, 0.03))
    parts += eye(0.68, 0.0, 0.1, 9)
    parts.append(Part(stroke([(0.6, 0.2), (0.7, 0.24), (0.8, 0.18)], 0.035), INK, 8, 0.6, inked=False))
    return parts
