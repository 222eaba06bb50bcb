"""Looks of a person walking and a person running."""

from __future__ import annotations

from bindplug_toyworld.looks.outlines import OUTLINES
from bindplug_toyworld.looks.part import INK, SKINS, Color, Part, Style, mix
from bindplug_toyworld.looks.shapes import blob, box, ellipse, stroke

HAIRS: tuple[Color, ...] = ((60, 42, 32), (30, 26, 28), (206, 160, 82), (150, 76, 40))
Joint = tuple[float, float]


def _skin(s: Style) -> Color:
    return SKINS[int((s.vary[6] + 1) * 1.999)]


def _hair(s: Style) -> Color:
    return HAIRS[int((s.vary[7] + 1) * 1.999)]


def _head(s: Style, x: float, y: float, radius: float, heat: float) -> list[Part]:
    skin = _skin(s)
    parts = [
        Part(ellipse(x, y, radius * 0.92, radius), skin, heat, 0.35, 0.2),
        Part(
            ellipse(x + radius * 0.95, y + radius * 0.15, radius * 0.16, radius * 0.15, n=10),
            skin,
            heat - 6,
            0.5,
            0.03,
        ),
        Part(
            ellipse(x + radius * 0.45, y - radius * 0.08, radius * 0.11, radius * 0.17, n=10),
            INK,
            heat,
            0.55,
            inked=False,
        ),
        Part(
            stroke(
                [
                    (x + radius * 0.35, y + radius * 0.5),
                    (x + radius * 0.55, y + radius * 0.52),
                    (x + radius * 0.72, y + radius * 0.42),
                ],
                radius * 0.09,
            ),
            (160, 60, 60),
            heat + 1,
            0.55,
            inked=False,
        ),
    ]
    hair = OUTLINES["person head"]["hair"]
    parts.append(
        Part(blob([(x + radius * a, y + radius * b) for a, b in hair]), _hair(s), heat * 0.4, 0.5, 0.08)
    )
    return parts


def _limb(joints: list[Joint], width: float, color: Color, heat: float, lift: float) -> Part:
    return Part(stroke(joints, width, width * 0.78, smooth=False), color, heat, lift, 0.1)


def _shoe(x: float, y: float, tilt: float, color: Color, heat: float, lift: float) -> Part:
    return Part(ellipse(x + 0.05, y, 0.14, 0.07, tilt, n=16), color, heat, lift, 0.06)


def walking(s: Style) -> list[Part]:
    """Upright and calm: long straight legs a short step apart, arms hanging, a bag on the shoulder or none."""
    step = 0.16 + 0.05 * s.swing()
    skin = _skin(s)
    trousers = mix(s.accent, INK, 0.45)
    parts = [_limb([(0.02, -0.36), (0.12, -0.08), (0.24, 0.16)], 0.15, s.dark, 4, 0.0)]
    parts.append(Part(ellipse(0.26, 0.2, 0.07, 0.08, n=12), skin, 10, 0.02, 0.04))
    parts.append(
        _limb([(-0.02, 0.16), (-0.08, 0.52), (-0.1 - step, 0.86)], 0.2, mix(trousers, INK, 0.25), 3.5, 0.0)
    )
    parts.append(_shoe(-0.1 - step, 0.9, 22, INK, 1.5, 0.02))
    parts.append(_limb([(0.0, 0.16), (0.1, 0.52), (0.1 + step, 0.88)], 0.22, trousers, 4, 0.2))
    parts.append(_shoe(0.1 + step, 0.92, -12, INK, 1.5, 0.22))
    parts.append(Part(stroke([(0.0, -0.56), (0.0, -0.44)], 0.15), skin, 12, 0.2, 0.05))
    torso = [(-0.16, -0.48), (0.14, -0.48), (0.2, -0.2), (0.18, 0.22), (-0.18, 0.22), (-0.2, -0.2)]
    parts.append(Part(blob(torso), s.body, 5.5, 0.22, 0.25))
    parts.append(Part(box(-0.18, 0.14, 0.18, 0.21, 0.03), (90, 60, 40), 2.5, 0.42, inked=False))
    parts += _head(s, 0.02, -0.72, 0.21, 12)
    swing = 0.05 * s.swing()
    parts.append(_limb([(-0.02, -0.36), (-0.08, -0.06), (-0.12 - swing, 0.2)], 0.16, s.dark, 5, 0.5))
    parts.append(Part(ellipse(-0.13 - swing, 0.26, 0.075, 0.085, n=12), skin, 11, 0.52, 0.05))
    if s.vary[1] > 0:
        parts.append(Part(box(-0.27 - swing, 0.3, -0.01 - swing, 0.56, 0.04), (158, 104, 60), 0.5, 0.5, 0.08))
    return parts


def running(s: Style) -> list[Part]:
    """Leaning forward in a wide stride: knee up in front, heel up behind, elbows bent, shorts and bare limbs."""
    beat = 0.05 * s.swing()
    skin = _skin(s)
    far = mix(skin, INK, 0.22)
    shorts = mix(s.accent, INK, 0.2)
    parts = [_limb([(0.2, -0.34), (-0.16, -0.24), (-0.3, -0.5 + beat)], 0.14, far, 14, 0.0)]
    parts.append(_limb([(-0.1, 0.18), (-0.42, 0.46), (-0.9, 0.42 - beat)], 0.19, far, 15, 0.0))
    parts.append(_limb([(-0.1, 0.18), (-0.32, 0.38)], 0.24, mix(shorts, INK, 0.25), 8, 0.03))
    parts.append(_shoe(-0.96, 0.38 - beat, 78, s.accent, 6, 0.02))
    parts.append(_limb([(-0.06, 0.18), (0.4, 0.3), (0.36, 0.74 - beat)], 0.21, skin, 17, 0.25))
    parts.append(_limb([(-0.06, 0.18), (0.24, 0.26)], 0.27, shorts, 9, 0.28))
    parts.append(_shoe(0.4, 0.82 - beat, -10, s.accent, 6, 0.3))
    parts.append(Part(stroke([(0.26, -0.56), (0.3, -0.44)], 0.15), skin, 18, 0.2, 0.05))
    torso = [(0.1, -0.5), (0.38, -0.42), (0.32, -0.1), (0.06, 0.24), (-0.2, 0.14), (-0.04, -0.18)]
    parts.append(Part(blob(torso), s.body, 10, 0.24, 0.25))
    parts += _head(s, 0.42, -0.7, 0.2, 17)
    parts.append(_limb([(0.2, -0.36), (0.24, -0.02), (0.62, -0.14 + beat)], 0.15, skin, 16, 0.5))
    parts.append(_limb([(0.2, -0.38), (0.22, -0.2)], 0.19, s.dark, 10, 0.52))
    parts.append(Part(ellipse(0.67, -0.17 + beat, 0.08, 0.08, n=12), skin, 15, 0.52, 0.05))
    return parts
