"""A look is a list of parts; a part has an outline, a color, relief and heat."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bindplug_toyworld.looks.shapes import Points

Color = tuple[int, int, int]

PALETTE: dict[str, Color] = {
    "red": (214, 48, 44),
    "orange": (240, 138, 36),
    "yellow": (247, 208, 54),
    "green": (70, 164, 74),
    "blue": (52, 106, 206),
    "purple": (136, 74, 180),
    "pink": (242, 142, 178),
    "brown": (138, 88, 52),
    "black": (52, 50, 56),
    "white": (244, 243, 238),
    "grey": (146, 150, 156),
}
"""The named body colors, sRGB."""

INK: Color = (34, 30, 36)
WHITE: Color = (250, 250, 246)
STEEL: Color = (172, 178, 188)
RUBBER: Color = (46, 46, 52)
WOOD: Color = (150, 100, 58)
GLASS: Color = (176, 216, 236)
WATER: Color = (78, 150, 206)
GOLD: Color = (236, 188, 62)
SKINS: tuple[Color, ...] = ((250, 212, 176), (226, 172, 128), (172, 116, 78), (112, 74, 52))


@dataclass(slots=True)
class Part:
    """One painted piece of a thing.

    Args:
        points: its outline, ``(n, 2)``; in a look's own coordinates, x to the right and y downwards, a thing fills
            [-1, 1].
        color: sRGB, 0 to 255.
        heat: degrees Celsius above the ambient temperature.
        lift: how far its rim stands before the thing's plane, in half sizes of the thing (as all relief).
        dome: how far its middle bulges beyond its rim.
        inked: it is drawn with a contour.
        alpha: opacity in RGB, 0 to 1; a part below 0.5 is invisible to the depth and thermal cameras.
    """

    points: Points
    color: Color
    heat: float
    lift: float = 0.1
    dome: float = 0.0
    inked: bool = True
    alpha: float = 1.0


@dataclass(frozen=True, slots=True)
class Style:
    """What varies between two instances of one thing.

    Args:
        body: the color a caption would name.
        accent: a second color.
        vary: eight numbers in [-1, 1] for proportions and details.
        phase: radians into the thing's own movement: steps, wings, flames.
    """

    body: Color
    accent: Color
    vary: tuple[float, ...]
    phase: float = 0.0

    @property
    def dark(self) -> Color:
        """The body color in shadow."""
        return mix(self.body, INK, 0.3)

    @property
    def light(self) -> Color:
        """A pale tone of the body color."""
        return mix(self.body, WHITE, 0.55)

    def swing(self, delay: float = 0.0) -> float:
        """The movement's position in [-1, 1], ``delay`` radians later."""
        return float(np.sin(self.phase - delay))


def mix(a: Color, b: Color, share: float) -> Color:
    """``a`` with ``share`` of it replaced by ``b``."""
    red, green, blue = (round(p + (q - p) * share) for p, q in zip(a, b, strict=True))
    return red, green, blue
