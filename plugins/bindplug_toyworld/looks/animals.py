"""Looks of the animals. They face right; each has a pose of its own."""

from __future__ import annotations

from bindplug_toyworld.looks.part import INK, WHITE, Colour, Part, Style, mix
from bindplug_toyworld.looks.shapes import blob, box, curve, ellipse, polygon, stroke, turn

PINK: Colour = (240, 150, 160)
TONGUE: Colour = (226, 84, 96)


def _eye(x: float, y: float, size: float, heat: float) -> list[Part]:
    return [
        Part(ellipse(x, y, size, size * 1.1, n=14), WHITE, heat, 0.5),
        Part(ellipse(x + size * 0.25, y, size * 0.55, size * 0.65, n=10), INK, heat + 1, 0.5, inked=False),
    ]


def _leg(
    x: float, top: float, bottom: float, width: float, swing: float, colour: Colour, heat: float, lift: float
) -> list[Part]:
    foot = x + swing
    return [
        Part(
            stroke(
                [(x, top), ((x + foot) / 2 + 0.02, (top + bottom) / 2), (foot, bottom)], width, width * 0.75
            ),
            colour,
            heat,
            lift,
            0.1,
        ),
        Part(
            ellipse(foot + width * 0.2, bottom, width * 0.62, width * 0.4, n=14),
            colour,
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
    body = [
        (-0.74, 0.0),
        (-0.6, -0.2),
        (-0.1, -0.16),
        (0.3, -0.3),
        (0.52, -0.1),
        (0.5, 0.3),
        (0.2, 0.44),
        (-0.2, 0.34),
        (-0.58, 0.42),
        (-0.76, 0.25),
    ]
    parts.append(Part(blob(body), s.body, 9, 0.12, 0.35))
    parts.append(Part(ellipse(-0.15, 0.25, 0.3, 0.12), s.light, 11, 0.35, 0.1, inked=False))
    parts += _leg(-0.62, 0.25, 0.88, 0.22, step, s.body, 7, 0.25) + _leg(
        0.38, 0.25, 0.88, 0.2, -step, s.body, 7, 0.25
    )
    parts.append(Part(stroke([(0.34, -0.1), (0.45, -0.42)], 0.36, 0.32), s.body, 10, 0.25, 0.15, inked=False))
    parts.append(Part(stroke([(0.22, -0.2), (0.4, -0.1), (0.6, -0.16)], 0.09), s.accent, 3, 0.42))
    head = [
        (0.2, -0.6),
        (0.32, -0.86),
        (0.58, -0.86),
        (0.68, -0.66),
        (0.98, -0.56),
        (0.96, -0.34),
        (0.66, -0.28),
        (0.4, -0.26),
        (0.24, -0.38),
    ]
    parts.append(Part(stroke([(0.84, -0.34), (0.86, -0.24), (0.84, -0.14)], 0.11, 0.09), TONGUE, 14, 0.3))
    parts.append(Part(blob(head), s.body, 12, 0.35, 0.2))
    parts.append(Part(ellipse(0.8, -0.42, 0.16, 0.1), s.light, 13, 0.5, 0.08, inked=False))
    parts.append(Part(ellipse(0.96, -0.52, 0.075, 0.065, n=14), INK, -2, 0.6, 0.05))
    parts += _eye(0.58, -0.66, 0.065, 14)
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
    body = [
        (-0.3, -0.2),
        (0.3, -0.2),
        (0.46, 0.3),
        (0.54, 0.76),
        (0.3, 0.92),
        (-0.3, 0.92),
        (-0.54, 0.76),
        (-0.46, 0.3),
    ]
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
    head = [
        (0, -0.74),
        (0.32, -0.68),
        (0.52, -0.4),
        (0.42, -0.14),
        (0, -0.04),
        (-0.42, -0.14),
        (-0.52, -0.4),
        (-0.32, -0.68),
    ]
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
    body = [
        (-0.56, 0.24),
        (-0.34, -0.1),
        (0.02, -0.42),
        (0.1, -0.76),
        (0.42, -0.9),
        (0.7, -0.68),
        (0.64, -0.36),
        (0.56, 0.1),
        (0.3, 0.5),
        (-0.12, 0.58),
        (-0.42, 0.46),
    ]
    parts.append(Part(polygon([(0.64, -0.7), (0.98, -0.68), (0.66, -0.58)]), (244, 170, 50), 0.5, 0.3, 0.05))
    parts.append(Part(polygon([(0.64, -0.58), (0.9, -0.48), (0.6, -0.5)]), (226, 140, 40), 1, 0.28, 0.05))
    parts.append(Part(blob(body), s.body, 7, 0.2, 0.4))
    parts.append(Part(ellipse(0.34, 0.06, 0.2, 0.38, 24), s.light, 12, 0.45, 0.12, inked=False))
    parts += _eye(0.46, -0.66, 0.085, 11)
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
    body = [
        (-0.86, -0.38),
        (-0.5, -0.48),
        (0.1, -0.44),
        (0.46, -0.5),
        (0.58, -0.2),
        (0.5, 0.28),
        (0.2, 0.42),
        (-0.3, 0.36),
        (-0.74, 0.36),
        (-0.9, 0.0),
    ]
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
    head = [
        (0.5, -0.68),
        (0.7, -0.74),
        (0.88, -0.66),
        (0.9, -0.4),
        (0.88, -0.12),
        (0.7, -0.02),
        (0.54, -0.12),
        (0.5, -0.4),
    ]
    parts.append(Part(blob(head), s.body, 12, 0.5, 0.18))
    parts.append(Part(ellipse(0.72, -0.1, 0.22, 0.14), PINK, 6, 0.62, 0.1))
    for x in (0.64, 0.8):
        parts.append(Part(ellipse(x, -0.11, 0.03, 0.04, n=10), (150, 70, 84), 14, 0.7, inked=False))
    return parts + _eye(0.62, -0.44, 0.055, 13) + _eye(0.79, -0.44, 0.055, 13)


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
    body = [
        (0, -0.36),
        (0.42, -0.2),
        (0.56, 0.3),
        (0.42, 0.74),
        (0, 0.84),
        (-0.42, 0.74),
        (-0.56, 0.3),
        (-0.42, -0.2),
    ]
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
    head = [
        (0, -0.48),
        (0.4, -0.48),
        (0.74, -0.2),
        (0.6, 0.1),
        (0, 0.22),
        (-0.6, 0.1),
        (-0.74, -0.2),
        (-0.4, -0.48),
    ]
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
    parts += _eye(0.68, 0.0, 0.1, 9)
    parts.append(Part(stroke([(0.6, 0.2), (0.7, 0.24), (0.8, 0.18)], 0.035), INK, 8, 0.6, inked=False))
    return parts


def horse(s: Style) -> list[Part]:
    """Galloping on long legs, arched neck, mane and flowing tail."""
    a, b = 0.2 * s.swing(), 0.2 * s.swing(1.6)
    mane = s.accent if s.accent != s.body else s.dark
    flow = [(-0.58, -0.16), (-0.82, -0.26), (-0.96, 0.02), (-0.92, 0.4), (-0.8, 0.2), (-0.72, 0.04)]
    parts = [Part(blob(flow), mane, 2, 0.05, 0.08)]

    def limb(x: float, knee: float, foot: float, colour: Colour, lift: float) -> list[Part]:
        leg = stroke([(x, 0.1), (x + knee, 0.5), (x + foot, 0.86)], 0.2, 0.08, smooth=False)
        hoof = polygon(
            [
                (x + foot - 0.07, 0.82),
                (x + foot + 0.06, 0.82),
                (x + foot + 0.11, 0.95),
                (x + foot - 0.08, 0.95),
            ]
        )
        return [Part(leg, colour, 10, lift, 0.1), Part(hoof, INK, 1, lift + 0.03, 0.04)]

    parts += limb(-0.4, 0.02 + a * 0.5, -0.12 + a, s.dark, 0.0) + limb(
        0.26, 0.12 - b * 0.4, 0.04 - b, s.dark, 0.0
    )
    body = [
        (-0.66, -0.1),
        (-0.46, -0.3),
        (-0.05, -0.22),
        (0.26, -0.34),
        (0.48, -0.14),
        (0.4, 0.14),
        (0.1, 0.24),
        (-0.3, 0.16),
        (-0.58, 0.24),
        (-0.7, 0.08),
    ]
    parts.append(Part(blob(body), s.body, 14, 0.15, 0.32))
    parts += limb(-0.54, -0.04 - a * 0.5, -0.16 - a, s.body, 0.25) + limb(
        0.36, 0.16 + b * 0.4, 0.16 + b, s.body, 0.25
    )
    neck = [(0.16, -0.26), (0.3, -0.62), (0.5, -0.86), (0.66, -0.8), (0.6, -0.54), (0.5, -0.1), (0.3, 0.0)]
    parts.append(Part(blob(neck), s.body, 15, 0.28, 0.18, inked=False))
    hair = [
        (0.06, -0.22),
        (0.14, -0.6),
        (0.34, -0.9),
        (0.56, -0.96),
        (0.52, -0.84),
        (0.36, -0.66),
        (0.26, -0.3),
    ]
    parts.append(Part(blob(hair), mane, 3, 0.35, 0.06))
    parts.append(Part(polygon([(0.5, -0.8), (0.54, -1.0), (0.64, -0.82)]), s.body, 12, 0.35, 0.03))
    head = [
        (0.46, -0.78),
        (0.62, -0.86),
        (0.78, -0.68),
        (0.97, -0.46),
        (0.92, -0.32),
        (0.78, -0.34),
        (0.6, -0.5),
        (0.48, -0.6),
    ]
    parts.append(Part(blob(head), s.body, 13, 0.38, 0.16))
    parts.append(Part(ellipse(0.9, -0.4, 0.075, 0.08, n=14), s.light, 18, 0.5, 0.05, inked=False))
    parts += _eye(0.66, -0.69, 0.05, 14)
    if s.vary[1] > -0.2:
        parts.append(Part(box(-0.2, -0.28, 0.1, -0.14, 0.05), (120, 66, 40), 5, 0.45, 0.06))
    return parts
