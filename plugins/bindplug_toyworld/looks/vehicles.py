"""Looks of what one rides in; all drive to the right."""

from __future__ import annotations

import numpy as np

from bindplug_toyworld.looks.outlines import OUTLINES
from bindplug_toyworld.looks.part import GLASS, INK, RUBBER, STEEL, WATER, WHITE, Part, Style
from bindplug_toyworld.looks.shapes import arc, blob, box, ellipse, polygon, ring, stroke


def _wheel(x: float, y: float, radius: float, heat: float, turn: float) -> list[Part]:
    spoke = [(x + radius * 0.45 * np.cos(turn), y + radius * 0.45 * np.sin(turn))]
    return [
        Part(ellipse(x, y, radius, radius), RUBBER, heat, 0.4, 0.1),
        Part(ellipse(x, y, radius * 0.55, radius * 0.55, n=18), STEEL, heat + 8, 0.5, 0.05, inked=False),
        Part(
            stroke([(2 * x - spoke[0][0], 2 * y - spoke[0][1]), *spoke], radius * 0.16),
            INK,
            heat + 8,
            0.5,
            inked=False,
        ),
    ]


def car(s: Style) -> list[Part]:
    """A rounded saloon from the side; bonnet, wheels and exhaust are hot."""
    parts = [Part(stroke([(-0.98, 0.36), (-0.8, 0.36)], 0.07), STEEL, 28, 0.2)]
    cabin = [(-0.62, -0.02), (-0.44, -0.42), (0.12, -0.46), (0.3, -0.36), (0.5, -0.02)]
    parts.append(Part(polygon(cabin), s.body, 5, 0.2, 0.2))
    parts.append(
        Part(polygon([(-0.5, -0.04), (-0.37, -0.34), (-0.1, -0.36), (-0.1, -0.04)]), GLASS, -3, 0.35, 0.05)
    )
    parts.append(
        Part(
            polygon([(-0.02, -0.04), (-0.02, -0.36), (0.13, -0.36), (0.23, -0.28), (0.37, -0.04)]),
            GLASS,
            -3,
            0.35,
            0.05,
        )
    )
    body = OUTLINES["car"]["body"]
    parts.append(Part(blob(body), s.body, 3.5, 0.25, 0.3))
    parts.append(
        Part(
            blob([(0.5, -0.04), (0.86, 0.08), (0.94, 0.26), (0.6, 0.2), (0.46, 0.1)]),
            s.body,
            18,
            0.45,
            0.08,
            inked=False,
        )
    )
    parts.append(Part(stroke([(-0.9, 0.26), (0.92, 0.26)], 0.04), s.dark, 4, 0.5, inked=False))
    parts.append(Part(stroke([(-0.06, -0.02), (-0.06, 0.36)], 0.02), s.dark, 3, 0.5, inked=False))
    parts.append(Part(box(-0.24, 0.04, -0.12, 0.08, 0.018), STEEL, 3, 0.5, inked=False))
    parts.append(Part(ellipse(0.9, 0.16, 0.06, 0.08, n=14), (255, 240, 160), 22, 0.55, 0.04))
    parts.append(Part(ellipse(-0.93, 0.14, 0.05, 0.08, n=14), (220, 40, 40), 5, 0.5, 0.04))
    return parts + _wheel(-0.52, 0.44, 0.23, 11, s.phase * 2) + _wheel(0.54, 0.44, 0.23, 13, s.phase * 2)


def train(s: Style) -> list[Part]:
    """A steam locomotive: boiler, chimney with smoke, cab, rods and rails."""
    drift = 0.06 * s.swing()
    parts = [Part(box(-1.0, 0.82, 1.0, 0.9), (96, 88, 84), 2, 0.1, 0.02)]
    for x, y, r, heat in (
        (-0.02, -0.84, 0.14, 12),
        (0.2 + drift, -0.8, 0.17, 18),
        (0.42 + drift / 2, -0.72, 0.13, 28),
    ):
        parts.append(Part(ellipse(x, y, r * 1.2, r, n=18), (222, 222, 226), heat, 0.15, 0.2))
    parts.append(
        Part(
            polygon([(0.42, -0.2), (0.46, -0.44), (0.36, -0.62), (0.74, -0.62), (0.64, -0.44), (0.68, -0.2)]),
            INK,
            62,
            0.3,
            0.12,
        )
    )
    parts.append(
        Part(
            blob([(0.0, -0.2), (0.02, -0.38), (0.12, -0.44), (0.22, -0.38), (0.24, -0.2)]),
            (232, 186, 66),
            40,
            0.35,
            0.1,
        )
    )
    parts.append(Part(box(-0.4, -0.28, 0.86, 0.3, 0.1), s.body, 38, 0.25, 0.35))
    for x in (-0.08, 0.26, 0.56):
        parts.append(Part(box(x, -0.28, x + 0.06, 0.3), (232, 186, 66), 44, 0.5, 0.12, inked=False))
    parts.append(Part(ellipse(0.86, 0.0, 0.09, 0.27, n=20), s.dark, 48, 0.3, 0.1))
    parts.append(Part(box(-0.92, -0.58, -0.32, 0.4), s.body, 9, 0.35, 0.12))
    parts.append(Part(box(-1.0, -0.7, -0.24, -0.56, 0.05), s.accent, 3, 0.45, 0.06))
    parts.append(Part(box(-0.78, -0.44, -0.46, -0.12, 0.03), (255, 226, 140), 26, 0.42))
    parts.append(Part(box(-0.94, 0.28, 0.9, 0.46), s.accent, 12, 0.4, 0.08))
    parts.append(Part(polygon([(0.84, 0.42), (1.0, 0.8), (0.7, 0.8)]), s.accent, 5, 0.42, 0.08))
    for x, r in ((-0.66, 0.27), (-0.1, 0.27)):
        parts += _wheel(x, 0.84 - r, r, 8, s.phase)
    for x in (0.3, 0.62):
        parts += _wheel(x, 0.67, 0.16, 10, s.phase * 1.6)
    shift = (0.12 * float(np.cos(s.phase)), 0.12 * float(np.sin(s.phase)))
    parts.append(
        Part(
            stroke([(-0.66 + shift[0], 0.57 + shift[1]), (0.3 + shift[0], 0.6 + shift[1])], 0.06),
            STEEL,
            20,
            0.6,
            0.03,
        )
    )
    return parts


def ambulance(s: Style) -> list[Part]:
    """A tall box van with a blue star, a stripe and a light bar."""
    blink = s.swing() > 0
    parts = [Part(box(0.06, -0.62, 0.3, -0.5, 0.04), (40, 90, 230) if blink else (230, 40, 50), 24, 0.3, 0.1)]
    parts.append(
        Part(box(-0.24, -0.62, 0.04, -0.5, 0.04), (230, 40, 50) if blink else (40, 90, 230), 30, 0.3, 0.1)
    )
    cab = [(0.34, 0.42), (0.34, -0.3), (0.62, -0.3), (0.78, 0.0), (0.96, 0.1), (0.98, 0.42)]
    parts.append(Part(polygon(cab), s.body, 5, 0.3, 0.2))
    parts.append(
        Part(
            polygon([(0.64, 0.08), (0.78, 0.02), (0.95, 0.12), (0.95, 0.3), (0.64, 0.3)]),
            s.body,
            19,
            0.5,
            0.06,
            inked=False,
        )
    )
    parts.append(Part(polygon([(0.42, 0.0), (0.42, -0.2), (0.58, -0.2), (0.7, 0.02)]), GLASS, -3, 0.5, 0.03))
    parts.append(Part(box(-0.98, -0.52, 0.38, 0.42, 0.05), s.body, 2, 0.4, 0.2))
    stripe = (222, 44, 44) if sum(s.body) > 520 or s.body[2] > 150 else (250, 246, 240)
    parts.append(Part(box(-0.97, 0.18, 0.96, 0.3), stripe, 5, 0.58, inked=False))
    parts.append(Part(box(-0.58, -0.42, -0.02, 0.12, 0.04), WHITE, 3.5, 0.6, 0.02))
    for angle in np.radians((30, 90, 150)):
        reach = (0.2 * float(np.cos(angle)), 0.2 * float(np.sin(angle)))
        arm = stroke([(-0.3 - reach[0], -0.15 - reach[1]), (-0.3 + reach[0], -0.15 + reach[1])], 0.11)
        parts.append(Part(arm, (36, 84, 200), 8, 0.64, inked=False))
    parts.append(Part(box(-0.9, -0.36, -0.68, -0.12, 0.03), GLASS, -2, 0.6))
    parts.append(Part(ellipse(0.93, 0.2, 0.05, 0.07, n=12), (255, 240, 160), 20, 0.6, 0.03))
    return parts + _wheel(-0.58, 0.44, 0.21, 9, s.phase * 2) + _wheel(0.62, 0.44, 0.21, 11, s.phase * 2)


def helicopter(s: Style) -> list[Part]:
    """Bubble cabin, tail boom, main and tail rotors, skids; the engine above is very hot."""
    reach = 0.94 * abs(float(np.cos(s.phase))) * 0.3 + 0.66
    parts = [Part(polygon([(-0.3, 0.0), (-0.92, -0.18), (-0.92, -0.06), (-0.24, 0.24)]), s.body, 3, 0.1, 0.1)]
    parts.append(
        Part(
            polygon([(-0.98, -0.46), (-0.82, -0.44), (-0.74, -0.04), (-0.92, 0.0)]), s.accent, 1.5, 0.12, 0.05
        )
    )
    tail = s.phase * 1.7 + 0.6
    spin = (0.2 * float(np.cos(tail)), 0.2 * float(np.sin(tail)))
    parts.append(
        Part(
            stroke([(-0.9 - spin[0], -0.12 - spin[1]), (-0.9 + spin[0], -0.12 + spin[1])], 0.06), INK, 8, 0.3
        )
    )
    for x in (0.0, 0.42):
        parts.append(Part(stroke([(x, 0.4), (x + 0.03, 0.68)], 0.06), STEEL, 0.5, 0.2))
    parts.append(
        Part(stroke([(-0.3, 0.68), (0.5, 0.7), (0.72, 0.7), (0.84, 0.6)], 0.075), STEEL, -1, 0.3, 0.05)
    )
    parts.append(Part(box(-0.3, -0.34, 0.34, -0.04, 0.1), s.dark, 55, 0.25, 0.15))
    parts.append(Part(box(-0.44, -0.28, -0.26, -0.14, 0.04), INK, 85, 0.3, 0.05))
    parts.append(
        Part(
            blob(OUTLINES["helicopter"]["fuselage"]),
            s.body,
            6,
            0.25,
            0.4,
        )
    )
    parts.append(
        Part(
            blob([(0.36, -0.12), (0.62, -0.04), (0.8, 0.18), (0.66, 0.24), (0.36, 0.2)]), GLASS, -4, 0.55, 0.1
        )
    )
    parts.append(Part(box(-0.04, -0.08, 0.26, 0.2, 0.05), GLASS, -3, 0.58, 0.04))
    parts.append(Part(stroke([(-0.4, 0.3), (0.76, 0.32)], 0.05), s.accent, 4, 0.6, inked=False))
    parts.append(Part(stroke([(0.06, -0.3), (0.06, -0.54)], 0.09), INK, 30, 0.3, 0.04))
    parts.append(
        Part(
            polygon(
                [
                    (0.06 - reach, -0.6),
                    (0.06, -0.57),
                    (0.06 + reach, -0.62),
                    (0.06 + reach, -0.53),
                    (0.06, -0.5),
                    (0.06 - reach, -0.51),
                ]
            ),
            INK,
            3,
            0.5,
            0.02,
        )
    )
    parts.append(Part(ellipse(0.06, -0.55, 0.1, 0.07, n=14), STEEL, 22, 0.55, 0.04))
    return parts


def boat(s: Style) -> list[Part]:
    """A sailing boat with an outboard motor, riding waves."""
    rock, roll = 0.03 * s.swing(), s.phase
    parts = [Part(stroke([(-0.04, 0.34), (-0.02, -0.96)], 0.06), (128, 84, 50), 1, 0.15, 0.03)]
    flag = [(-0.02, -0.98), (-0.26, -0.9 + rock), (-0.02, -0.82)]
    parts.append(Part(polygon(flag), (220, 50, 50), 1, 0.15))
    parts.append(
        Part(
            blob([(0.04, -0.84), (0.36, -0.36), (0.62, 0.14), (0.3, 0.2), (0.04, 0.18)], 4),
            WHITE if sum(s.body) < 600 else s.accent,
            4,
            0.3,
            0.25,
        )
    )
    parts.append(
        Part(
            polygon([(-0.1, -0.7), (-0.1, 0.16), (-0.56, 0.16)]),
            s.light if sum(s.body) < 600 else s.accent,
            3,
            0.25,
            0.15,
        )
    )
    parts.append(Part(box(-0.98, 0.14, -0.84, 0.4, 0.05), INK, 30, 0.2, 0.1))
    parts.append(Part(stroke([(-0.92, 0.36), (-0.9, 0.66)], 0.06), STEEL, 14, 0.2))
    parts.append(
        Part(polygon([(-0.88, 0.26), (0.98, 0.2), (0.62, 0.72), (-0.7, 0.72)]), s.body, -2, 0.3, 0.3)
    )
    parts.append(
        Part(
            polygon([(-0.88, 0.26), (0.98, 0.2), (0.92, 0.3), (-0.84, 0.36)]),
            s.light if sum(s.body) < 600 else s.dark,
            2,
            0.48,
            0.05,
            inked=False,
        )
    )
    for x in (-0.4, -0.05, 0.3):
        parts.append(Part(ellipse(x, 0.5, 0.065, 0.065, n=14), GLASS, 6, 0.55))
    across = np.linspace(-1, 1, 33)
    for base, delay, color, heat in ((0.66, 0.0, WATER, -6.0), (0.78, 1.4, (52, 112, 178), -7.0)):
        crest = base + 0.05 * np.sin(10 * across + roll + delay)
        water = np.concatenate([np.stack([across, crest], 1), [(0.9, 0.94), (-0.9, 0.94)]])
        parts.append(Part(water, color, heat, 0.45, 0.05))
    return parts


def bicycle(s: Style) -> list[Part]:
    """Two open wheels, diamond frame, handlebars and saddle."""
    turn = s.phase
    rear, front = (-0.54, 0.36), (0.56, 0.36)
    parts = []
    for x, y in (rear, front):
        for k in range(4):
            dx, dy = 0.38 * np.cos(turn + k * np.pi / 4), 0.38 * np.sin(turn + k * np.pi / 4)
            parts.append(
                Part(stroke([(x - dx, y - dy), (x + dx, y + dy)], 0.02), STEEL, 0.8, 0.05, inked=False)
            )
        parts.append(Part(ring(x, y, 0.4, 0.085), RUBBER, 6, 0.15, 0.05, inked=False))
        parts.append(Part(ellipse(x, y, 0.075, 0.075, n=14), STEEL, 14, 0.25, 0.05))
    pedal, seat, head = (-0.06, 0.36), (-0.24, -0.3), (0.38, -0.36)
    for a, b, width in (
        (rear, seat, 0.07),
        (rear, pedal, 0.07),
        (seat, pedal, 0.09),
        (seat, head, 0.09),
        (pedal, head, 0.09),
        (head, front, 0.08),
    ):
        parts.append(Part(stroke([a, b], width), s.body, 3, 0.3, 0.05))
    parts.append(Part(stroke([seat, (-0.28, -0.46)], 0.06), STEEL, 2, 0.3))
    parts.append(
        Part(
            blob([(-0.5, -0.54), (-0.28, -0.56), (-0.06, -0.5), (-0.24, -0.42), (-0.46, -0.42)]),
            INK,
            9,
            0.45,
            0.1,
        )
    )
    parts.append(Part(stroke([head, (0.33, -0.58)], 0.07), s.body, 2.5, 0.32))
    bar = (
        arc(0.46, -0.46, 0.17, -140, 60)
        if s.vary[0] > 0
        else np.array([(0.2, -0.68), (0.33, -0.62), (0.5, -0.64)])
    )
    parts.append(Part(stroke(bar, 0.07, smooth=False), INK, 7, 0.45, 0.05))
    crank = (0.2 * float(np.cos(turn)), 0.2 * float(np.sin(turn)))
    parts.append(Part(ellipse(*pedal, 0.12, 0.12, n=16), STEEL, 8, 0.4, 0.04))
    parts.append(
        Part(
            stroke(
                [(pedal[0] - crank[0], pedal[1] - crank[1]), (pedal[0] + crank[0], pedal[1] + crank[1])], 0.05
            ),
            INK,
            5,
            0.45,
        )
    )
    return parts
