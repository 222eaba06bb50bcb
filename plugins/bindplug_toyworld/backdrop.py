"""What stands behind the things: settings as data, their colors, distances, temperatures and clutter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from bindplug_toyworld.looks.part import GLASS, Color, Part, mix
from bindplug_toyworld.looks.shapes import blob, box, ellipse, polygon, stroke
from bindplug_toyworld.render import Bytes, Floats, Layer, noise, tint

FAR_M = 11.0
"""Where the depth camera saturates: the distance of open sky."""


@dataclass(frozen=True)
class Setting:
    """A kind of place.

    Args:
        phrases: how captions say it; empty for a plain background.
        upper: colors at the top and just above the horizon.
        lower: colors just below the horizon and at the bottom.
        ambient: range of air temperature in degrees Celsius.
        upper_heat: of sky or wall, against the air.
        lower_heat: of the ground, against the air.
        open: under the sky rather than before a wall.
        gain: brightness.
    """

    phrases: tuple[str, ...]
    upper: tuple[Color, Color]
    lower: tuple[Color, Color]
    ambient: tuple[float, float]
    upper_heat: float
    lower_heat: float
    open: bool
    gain: float = 1.0


SETTINGS: dict[str, Setting] = {
    "field": Setting(
        ("in a field", "on the grass", "outdoors"),
        ((110, 178, 238), (206, 230, 246)), ((150, 196, 104), (96, 156, 68)), (10, 28), -5.0, -1.0, True,
    ),
    "street": Setting(
        ("on a street", "in the city", "on the road"),
        ((168, 194, 216), (222, 226, 226)), ((150, 150, 152), (112, 112, 118)), (8, 30), -3.0, 1.0, True,
    ),
    "room": Setting(
        ("in a room", "indoors", "at home"),
        ((226, 210, 186), (214, 196, 170)), ((176, 132, 92), (146, 104, 70)), (18, 24), 0.2, -0.6, False,
    ),
    "studio": Setting(
        (), ((206, 206, 210), (186, 188, 194)), ((170, 172, 178), (196, 198, 202)), (17, 24), 0.0, -0.3, False
    ),
    "night": Setting(
        ("at night", "in the dark"),
        ((24, 28, 62), (58, 60, 104)), ((70, 80, 98), (52, 60, 76)), (2, 16), -6.0, -1.5, True, 0.88,
    ),
    "snow": Setting(
        ("in the snow", "in winter"),
        ((178, 200, 222), (226, 234, 242)), ((238, 242, 248), (214, 224, 236)), (-8, 2), -4.0, -2.0, True,
    ),
    "beach": Setting(
        ("on the beach", "by the sea"),
        ((96, 188, 236), (190, 226, 240)), ((240, 220, 168), (224, 196, 138)), (18, 32), -4.0, 2.0, True,
    ),
    "sunset": Setting(
        ("at sunset", "in the evening"),
        ((110, 84, 150), (250, 176, 110)), ((126, 108, 84), (88, 80, 70)), (8, 24), -4.0, 0.5, True, 0.93,
    ),
}  # fmt: skip
_WALLS: tuple[Color, ...] = (
    (226, 210, 186),
    (196, 214, 206),
    (204, 206, 224),
    (232, 206, 204),
    (222, 222, 214),
)
_NEUTRALS: tuple[Color, ...] = (
    (150, 148, 144),
    (178, 170, 158),
    (120, 116, 112),
    (164, 132, 98),
    (132, 128, 140),
)
_LEAVES: tuple[Color, ...] = ((78, 122, 70), (104, 138, 82), (124, 142, 96))


@dataclass(frozen=True)
class Backdrop:
    """One place as the three cameras see it, for a canvas of (height, width) pixels.

    Args:
        name: key of :data:`SETTINGS`.
        shape: (height, width).
        horizon: row of the horizon, or of the foot of the wall.
        upper: its two colors above.
        lower: its two colors below.
        ambient: air temperature in degrees Celsius.
        wall_m: distance of the wall or sky.
        tilt: relative change of the wall's distance from left to right.
        ground_m: distance of the ground one canvas side below the horizon.
        mottle: (6, 8) values in [-1, 1], the uneven tone of everything.
    """

    name: str
    shape: tuple[int, int]
    horizon: float
    upper: tuple[Color, Color]
    lower: tuple[Color, Color]
    ambient: float
    wall_m: float
    tilt: float
    ground_m: float
    mottle: Floats

    @property
    def setting(self) -> Setting:
        """The kind of place."""
        return SETTINGS[self.name]

    def _share(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        up = rows < self.horizon
        above = rows / max(self.horizon, 1.0)
        below = (rows - self.horizon) / max(self.shape[0] - self.horizon, 1.0)
        return up, np.where(up, above, below)

    def _mottled(self) -> Floats:
        size = self.shape[::-1]
        return np.asarray(Image.fromarray(self.mottle).resize(size, Image.Resampling.BILINEAR))

    def ground_at(self, row: float) -> float:
        """Distance in metres of what stands on the ground at a row."""
        return float(np.clip(self.ground_m * self.shape[0] / max(row - self.horizon, 1e-3), 0.7, self.wall_m))

    def color(self, rng: np.random.Generator) -> Bytes:
        """uint8 (H, W, 3)."""
        up, share = self._share(np.arange(self.shape[0]) + 0.5)
        ends = np.array([self.upper, self.lower], dtype=np.float32)[np.where(up, 0, 1)]  # (H, 2, 3)
        rows = ends[:, 0] + (ends[:, 1] - ends[:, 0]) * share[:, None].astype(np.float32)
        tone = self._mottled() * np.float32(13) + noise(self.shape, rng) * np.float32(2.5)
        picture = rows[:, None] + tone[..., None]
        return np.clip(picture, 0, 255, out=picture).astype(np.uint8)

    def depth(self) -> Floats:
        """Metres, float32 (H, W)."""
        height, width = self.shape
        rows = np.arange(height, dtype=np.float32) + 0.5
        ground = self.ground_m * height / np.maximum(rows - self.horizon, 1e-3)
        across = np.linspace(-0.5, 0.5, width, dtype=np.float32)
        wall = (
            self.wall_m * (1 + self.tilt * across)[None]
            + (0 if self.setting.open else 0.03) * self._mottled()
        )
        return np.clip(np.minimum(ground[:, None], wall), 0.7, 20).astype(np.float32)

    def heat(self) -> Floats:
        """Degrees Celsius, float32 (H, W)."""
        up, share = self._share(np.arange(self.shape[0]) + 0.5)
        setting = self.setting
        offset = np.where(
            up, setting.upper_heat * (1 - 0.6 * share), setting.lower_heat * (0.6 + 0.4 * share)
        )
        return (self.ambient + offset[:, None] + self._mottled() * 0.7).astype(np.float32)


def make_backdrop(
    rng: np.random.Generator,
    shape: tuple[int, int],
    foot: float,
    distance_m: float,
    far_m: float,
    grounded: bool,
) -> Backdrop:
    """A random place whose ground passes under a thing.

    Args:
        rng: decides everything.
        shape: (height, width) of the canvas.
        foot: row at which the thing stands.
        distance_m: how far that thing is.
        far_m: how far the farthest thing is; the wall is behind it.
        grounded: the thing stands on the ground, so the horizon is above its foot.
    """
    name = list(SETTINGS)[rng.integers(len(SETTINGS))]
    setting = SETTINGS[name]
    height = shape[0]
    rise = rng.uniform(0.12, 0.5) * height
    horizon = float(
        np.clip(foot - rise if grounded else rng.uniform(0.5, 1.05) * height, 0.15 * height, height)
    )
    drop = (foot - horizon) / height
    ground_m = distance_m * drop if drop > 0.05 else rng.uniform(0.5, 1.2)
    wall_m = FAR_M if setting.open else far_m + rng.uniform(0.8, 3.0)
    tilt = rng.uniform(-0.25, 0.25) if not setting.open else 0.0
    upper, lower = setting.upper, setting.lower
    if name in ("room", "studio"):
        wall = _WALLS[rng.integers(len(_WALLS))]
        upper = (wall, tint(wall, 0.93))
    bright = rng.uniform(0.86, 1.1)
    return Backdrop(
        name,
        shape,
        horizon,
        (tint(upper[0], bright), tint(upper[1], bright)),
        (tint(lower[0], bright), tint(lower[1], bright)),
        float(rng.uniform(*setting.ambient)),
        float(wall_m),
        float(tilt),
        float(ground_m),
        rng.uniform(-1, 1, size=(6, 8)).astype(np.float32),
    )


def scenery(backdrop: Backdrop, rng: np.random.Generator) -> Layer:
    """Hills, houses, windows, clouds, stars: flat things far behind, as one layer."""
    height, width = backdrop.shape
    horizon, name = backdrop.horizon, backdrop.name
    parts: list[Part] = []
    if name in ("field", "snow", "sunset", "beach"):
        crest = [(x * width, horizon - rng.uniform(0.02, 0.16) * height) for x in np.linspace(-0.1, 1.1, 6)]
        tone = mix(backdrop.lower[0], backdrop.upper[1], 0.35)
        hill = np.concatenate(
            [stroke(crest, 1.0)[: 5 * 5 + 1], [(width * 1.1, horizon), (-0.1 * width, horizon)]]
        )
        parts.append(Part(hill, tone, -2.5, inked=False))
    if name == "street":
        for x in rng.uniform(0, 0.9, size=4):
            wide, tall = rng.uniform(0.1, 0.22) * width, rng.uniform(0.12, 0.45) * height
            tone = tint(mix(_NEUTRALS[rng.integers(5)], backdrop.upper[1], 0.45), rng.uniform(0.9, 1.1))
            parts.append(
                Part(
                    box(x * width, horizon - tall, x * width + wide, horizon),
                    tone,
                    rng.uniform(-1, 2),
                    inked=False,
                )
            )
    if name == "room" and rng.random() < 0.6:
        x, y, side = (
            rng.uniform(0, 0.75) * width,
            rng.uniform(0.02, 0.3) * height,
            rng.uniform(0.16, 0.28) * width,
        )
        parts.append(Part(box(x, y, x + side, y + side * 1.2), (240, 238, 230), -0.3, inked=False))
        parts.append(
            Part(
                box(x + side * 0.1, y + side * 0.1, x + side * 0.9, y + side * 1.1),
                mix(GLASS, (90, 130, 170), rng.random() * 0.6),
                -1.5,
                inked=False,
            )
        )
    if name in ("field", "beach", "sunset") and rng.random() < 0.7:
        tone = mix(backdrop.upper[0], (255, 250, 244), 0.6)
        for _ in range(rng.integers(1, 4)):
            x, y, r = rng.uniform(0, width), rng.uniform(0.03, 0.35) * height, rng.uniform(0.04, 0.08) * width
            parts.append(Part(ellipse(x, y, r * 1.9, r * 0.5), tone, -3, inked=False))
    if name == "night":
        for x, y in rng.uniform(0, 1, size=(10, 2)):
            parts.append(
                Part(ellipse(x * width, y * horizon * 0.9, 0.9, 0.9, n=6), (236, 234, 210), -5.5, inked=False)
            )
    return Layer(parts, min(backdrop.wall_m * 0.93, FAR_M), 0.0, 40.0)


def _warm(parts: list[Part], heat: float) -> list[Part]:
    for part in parts:
        part.heat += heat
    return parts


def stone(rng: np.random.Generator) -> list[Part]:
    """A pebble or a boulder."""
    angles = np.linspace(0, 2 * np.pi, 7, endpoint=False)
    reach = rng.uniform(0.7, 1.0, size=7)
    path = [
        (float(r * np.cos(a)), float(0.7 * r * np.sin(a) + 0.3)) for a, r in zip(angles, reach, strict=True)
    ]
    tone = tint(_NEUTRALS[rng.integers(3)], rng.uniform(0.85, 1.1))
    return _warm([Part(blob(path), tone, 0.0, 0.1, 0.4)], rng.uniform(-1.0, 1.5))


def plant(rng: np.random.Generator) -> list[Part]:
    """Some blades of leaves."""
    tone = _LEAVES[rng.integers(3)]
    parts = []
    for lean in (-0.7, -0.3, 0.1, 0.5, 0.8):
        tip = (lean + rng.uniform(-0.15, 0.15), rng.uniform(-0.9, -0.3) + abs(lean) * 0.5)
        parts.append(
            Part(
                stroke([(lean * 0.2, 1.0), (lean * 0.5, 0.2), tip], 0.3, 0.06),
                tint(tone, rng.uniform(0.9, 1.1)),
                -1.5,
                0.2,
                0.1,
            )
        )
    return parts


def crate(rng: np.random.Generator) -> list[Part]:
    """A cardboard box."""
    tone = _NEUTRALS[rng.integers(1, 5)]
    side = rng.uniform(0.5, 0.9)
    face = Part(box(-0.9, -side + 0.3, 0.9, 1.0), tone, 0.3, 0.3, 0.05)
    lid = Part(
        polygon([(-0.9, -side + 0.3), (-0.6, -side), (1.0, -side), (0.9, -side + 0.3)]),
        tint(tone, 1.12),
        0.8,
        0.2,
    )
    return _warm(
        [lid, face, Part(box(-0.1, -side + 0.3, 0.1, 1.0), tint(tone, 0.86), 0.3, 0.35, inked=False)],
        rng.uniform(-0.6, 0.6),
    )


def bush(rng: np.random.Generator) -> list[Part]:
    """A round shrub."""
    tone = _LEAVES[rng.integers(3)]
    parts = []
    for x, y, r in ((-0.5, 0.3, 0.5), (0.5, 0.35, 0.48), (0.0, 0.0, 0.6), (0.1, 0.55, 0.5)):
        parts.append(
            Part(
                ellipse(x + rng.uniform(-0.1, 0.1), y, r, r),
                tint(tone, rng.uniform(0.9, 1.1)),
                -1.8,
                0.2,
                0.3,
            )
        )
    return parts


def post(rng: np.random.Generator) -> list[Part]:
    """A pole from above the picture to below it."""
    tone = _NEUTRALS[rng.integers(5)]
    half = rng.uniform(0.09, 0.16)
    return _warm([Part(box(-half, -6, half, 6), tone, -0.4, 0.1, 0.12)], rng.uniform(-0.6, 1.2))
