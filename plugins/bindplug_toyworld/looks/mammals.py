"""Looks of dog, cat, cow and horse. They face right; each has a pose of its own."""

from __future__ import annotations

from bindplug_toyworld.looks.outlines import OUTLINES
from bindplug_toyworld.looks.part import INK, WHITE, Color, Part, Style
from bindplug_toyworld.looks.shapes import blob, box, ellipse, polygon, stroke

PINK: Color = (240, 150, 160)
TONGUE: Color = (226, 84, 96)


def eye(x: float, y: float, size: float, heat: float) -> list[Part]:
    """A round eye that looks right."""
    return [
        Part(ellipse(x, y, size, size * 1.1, n=14), WHITE, heat, 0.5),
        Part(ellipse(x + size * 0.25, y, size * 0.55, size * 0.65, n=10), INK, heat + 1, 0.5, inked=False),
    ]


def _leg(
    x: float, top: float, bottom: float, width: float, swing: float, color: Color, heat: float, lift: float
) -> list[Part]:
    foot = x + swing
    return [
        Part(
            stroke(
                [(x, top), ((x + foot) / 2 + 0.02, (top + bottom) / 2), (foot, bottom)], width, width * 0.75
            ),
            color,
            heat,
            lift,
            0.1,
        ),
        Part(
            ellipse(foot + width * 0.2, bottom, width * 0.62, width * 0.4, n=14),
            color,
            heat - 4,
            lift + 0.05,
            0.05,
        ),
    ]


def dog(s: Style) -> list[Part]:
    """Standing, tail up, floppy ear, collar, tongue out."""
    step, wag = 0.1 * s.swing(), 0.14 * s.swing(1.0)
    ear = 0.06 * s.vary[0]
    parts = [
        Part(stroke([(-0.68, -0.05), (-0.9, -0.3), (-0.86 + wag, -0.72)], 0.17, 0.08), s.body, 4, 0.0, 0.08)
    ]
    parts += _leg(-0.5, 0.3, 0.86, 0.2, -step, s.dark, 6, 0.0) + _leg(
        0.28, 0.3, 0.86, 0.19, step, s.dark, 6, 0.0
    )
    body = OUTLINES["dog"]["body"]
    parts.append(Part(blob(body), s.body, 9, 0.12, 0.35))
    parts.append(Part(ellipse(-0.15, 0.25, 0.3, 0.12), s.light, 11, 0.35, 0.1, inked=False))
    parts += _leg(-0.62, 0.25, 0.88, 0.22, step, s.body, 7, 0.25) + _leg(
        0.38, 0.25, 0.88, 0.2, -step, s.body, 7, 0.25
    )
    parts.append(Part(stroke([(0.34, -0.1), (0.45, -0.42)], 0.36, 0.32), s.body, 10, 0.25, 0.15, inked=False))
    parts.append(Part(stroke([(0.22, -0.2), (0.4, -0.1), (0.6, -0.16)], 0.09), s.accent, 3, 0.42))
    head = OUTLINES["dog"]["head"]
    parts.append(Part(stroke([(0.84, -0.34), (0.86, -0.24), (0.84, -0.14)], 0.11, 0.09), TONGUE, 14, 0.3))
    parts.append(Part(blob(head), s.body, 12, 0.35, 0.2))
    parts.append(Part(ellipse(0.8, -0.42, 0.16, 0.1), s.light, 13, 0.5, 0.08, inked=False))
    parts.append(Part(ellipse(0.96, -0.52, 0.075, 0.065, n=14), INK, -2, 0.6, 0.05))
    parts += eye(0.58, -0.66, 0.065, 14)
    floppy = [
        (0.2, -0.78),
        (0.36, -0.84),
        (0.42, -0.6),
        (0.38, -0.3 + ear),
        (0.24, -0.22 + ear),
        (0.12, -0.42),
    ]
    parts.append(Part(blob(floppy), s.dark, 7, 0.5, 0.08))
    return parts


def cat(s: Style) -> list[Part]:
    """Sitting and looking at us, pointed ears, whiskers, tail curled up."""
    sway = 0.1 * s.swing()
    parts = [
        Part(
            stroke(
                [(0.3, 0.78), (0.72, 0.72), (0.84, 0.3), (0.66 + sway, -0.02), (0.82 + sway, -0.2)],
                0.19,
                0.12,
            ),
            s.body,
            4,
            0.0,
            0.1,
        )
    ]
    body = OUTLINES["cat"]["body"]
    parts.append(Part(blob(body), s.body, 8, 0.1, 0.3))
    parts.append(Part(ellipse(0, 0.3, 0.21, 0.36), s.light, 12, 0.35, 0.1, inked=False))
    for side in (-1, 1):
        parts.append(Part(ellipse(0.42 * side, 0.72, 0.22, 0.2), s.body, 7, 0.3, 0.1))
        parts.append(Part(stroke([(0.14 * side, 0.3), (0.15 * side, 0.84)], 0.2), s.body, 9, 0.4, 0.08))
        parts.append(Part(ellipse(0.17 * side, 0.88, 0.15, 0.08, n=16), s.light, 4, 0.45, 0.05))
        tip = (0.46 * side, -0.95 + 0.04 * s.vary[0])
        parts.append(Part(polygon([(0.5 * side, -0.42), tip, (0.1 * side, -0.7)]), s.body, 12, 0.3, 0.05))
        parts.append(
            Part(
                polygon([(0.42 * side, -0.52), (0.41 * side, -0.83), (0.2 * side, -0.67)]),
                PINK,
                16,
                0.33,
                inked=False,
            )
        )
    head = OUTLINES["cat"]["head"]
    parts.append(Part(blob(head), s.body, 11, 0.4, 0.25))
    for offset in (-0.13, 0.0, 0.13):
        parts.append(
            Part(
                polygon([(offset - 0.045, -0.71), (offset + 0.045, -0.71), (offset, -0.54)]),
                s.dark,
                10,
                0.55,
                inked=False,
            )
        )
    for side in (-1, 1):
        parts.append(Part(ellipse(0.2 * side, -0.4, 0.115, 0.125, n=18), (188, 220, 96), 14, 0.6))
        parts.append(Part(ellipse(0.2 * side, -0.4, 0.035, 0.105, n=12), INK, 14, 0.6, inked=False))
        parts.append(
            Part(ellipse(0.08 * side, -0.18, 0.11, 0.08, n=16), s.light, 11, 0.65, 0.05, inked=False)
        )
        for rise in (-0.06, 0.05):
            parts.append(
                Part(
                    stroke([(0.14 * side, -0.19), (0.62 * side, -0.2 + rise)], 0.025),
                    WHITE if sum(s.body) < 450 else INK,
                    2,
                    0.6,
                    inked=False,
                )
            )
    parts.append(Part(polygon([(-0.07, -0.28), (0.07, -0.28), (0, -0.2)]), (214, 96, 110), 1, 0.7, 0.03))
    return parts


def cow(s: Style) -> list[Part]:
    """Broad and square, spotted, horns, pink muzzle and udder, tail with a tuft."""
    step, tail = 0.05 * s.swing(), 0.1 * s.swing(0.7)
    patch = INK if sum(s.body) > 330 else WHITE
    parts = [Part(stroke([(-0.82, -0.3), (-0.95, 0.0), (-0.9 + tail, 0.36)], 0.07, 0.05), s.body, 4, 0.0)]
    parts.append(Part(ellipse(-0.9 + tail, 0.44, 0.08, 0.13, n=14), s.dark, 1, 0.02, 0.03))
    parts += _leg(-0.52, 0.3, 0.88, 0.17, step, s.dark, 7, 0.0) + _leg(
        0.2, 0.3, 0.88, 0.17, -step, s.dark, 7, 0.0
    )
    parts.append(Part(ellipse(-0.36, 0.4, 0.2, 0.15), PINK, 17, 0.15, 0.1))
    body = OUTLINES["cow"]["body"]
    parts.append(Part(blob(body), s.body, 10, 0.12, 0.38))
    shift = 0.08 * s.vary[0]
    for x, y, rx, ry, tilt in (
        (-0.5 + shift, -0.14, 0.24, 0.18, 20),
        (0.02 + shift, 0.08, 0.2, 0.17, -30),
        (0.18, -0.32, 0.14, 0.1, 10),
        (-0.74, 0.18, 0.09, 0.13, 0),
    ):
        parts.append(Part(ellipse(x, y, rx, ry, tilt), patch, 13, 0.36, 0.1, inked=False))
    parts += _leg(-0.7, 0.28, 0.9, 0.19, -step, s.body, 8, 0.25) + _leg(
        0.36, 0.28, 0.9, 0.19, step, s.body, 8, 0.25
    )
    for x, bend in ((0.5, -0.1), (0.84, 0.1)):
        parts.append(
            Part(
                stroke([(x, -0.66), (x + bend, -0.78), (x + bend * 0.6, -0.94)], 0.09, 0.04),
                (236, 224, 190),
                0,
                0.45,
                0.04,
            )
        )
    parts.append(Part(ellipse(0.42, -0.52, 0.16, 0.08, 20, n=16), s.dark, 9, 0.42, 0.04))
    parts.append(Part(ellipse(0.93, -0.54, 0.1, 0.07, -24, n=16), s.dark, 9, 0.42, 0.04))
    head = OUTLINES["cow"]["head"]
    parts.append(Part(blob(head), s.body, 12, 0.5, 0.18))
    parts.append(Part(ellipse(0.72, -0.1, 0.22, 0.14), PINK, 6, 0.62, 0.1))
    for x in (0.64, 0.8):
        parts.append(Part(ellipse(x, -0.11, 0.03, 0.04, n=10), (150, 70, 84), 14, 0.7, inked=False))
    return parts + eye(0.62, -0.44, 0.055, 13) + eye(0.79, -0.44, 0.055, 13)


def horse(s: Style) -> list[Part]:
    """Galloping on long legs, arched neck, mane and flowing tail."""
    a, b = 0.2 * s.swing(), 0.2 * s.swing(1.6)
    mane = s.accent if s.accent != s.body else s.dark
    flow = [(-0.58, -0.16), (-0.82, -0.26), (-0.96, 0.02), (-0.92, 0.4), (-0.8, 0.2), (-0.72, 0.04)]
    parts = [Part(blob(flow), mane, 2, 0.05, 0.08)]

    def limb(x: float, knee: float, foot: float, color: Color, lift: float) -> list[Part]:
        leg = stroke([(x, 0.1), (x + knee, 0.5), (x + foot, 0.86)], 0.2, 0.08, smooth=False)
        hoof = polygon(
            [
                (x + foot - 0.07, 0.82),
                (x + foot + 0.06, 0.82),
                (x + foot + 0.11, 0.95),
                (x + foot - 0.08, 0.95),
            ]
        )
        return [Part(leg, color, 10, lift, 0.1), Part(hoof, INK, 1, lift + 0.03, 0.04)]

    parts += limb(-0.4, 0.02 + a * 0.5, -0.12 + a, s.dark, 0.0) + limb(
        0.26, 0.12 - b * 0.4, 0.04 - b, s.dark, 0.0
    )
    body = OUTLINES["horse"]["body"]
    parts.append(Part(blob(body), s.body, 14, 0.15, 0.32))
    parts += limb(-0.54, -0.04 - a * 0.5, -0.16 - a, s.body, 0.25) + limb(
        0.36, 0.16 + b * 0.4, 0.16 + b, s.body, 0.25
    )
    neck = [(0.16, -0.26), (0.3, -0.62), (0.5, -0.86), (0.66, -0.8), (0.6, -0.54), (0.5, -0.1), (0.3, 0.0)]
    parts.append(Part(blob(neck), s.body, 15, 0.28, 0.18, inked=False))
    hair = OUTLINES["horse"]["hair"]
    parts.append(Part(blob(hair), mane, 3, 0.35, 0.06))
    parts.append(Part(polygon([(0.5, -0.8), (0.54, -1.0), (0.64, -0.82)]), s.body, 12, 0.35, 0.03))
    head = OUTLINES["horse"]["head"]
    parts.append(Part(blob(head), s.body, 13, 0.38, 0.16))
    parts.append(Part(ellipse(0.9, -0.4, 0.075, 0.08, n=14), s.light, 18, 0.5, 0.05, inked=False))
    parts += eye(0.66, -0.69, 0.05, 14)
    if s.vary[1] > -0.2:
        parts.append(Part(box(-0.2, -0.28, 0.1, -0.14, 0.05), (120, 66, 40), 5, 0.45, 0.06))
    return parts
