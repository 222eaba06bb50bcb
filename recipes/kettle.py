"""A kettle: a twenty-first thing that the toy world's models have neither seen nor heard."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from bindplug_toyworld.looks import PALETTE, Part, Style
from bindplug_toyworld.looks.part import GOLD, INK, STEEL, WHITE, WOOD, mix
from bindplug_toyworld.looks.shapes import arc, blob, box, ellipse, stroke
from bindplug_toyworld.render import Floats, Layer, place
from bindplug_toyworld.scene import Scene
from bindplug_toyworld.sounds.recording import record
from bindplug_toyworld.sounds.signals import (
    Signal,
    band,
    curve,
    envelope,
    noise,
    oscillate,
    phase_of,
    rolloff,
    samples,
    wander,
    wavetable,
)


def look(s: Style) -> list[Part]:
    """A round-bellied kettle with a handle over its lid; steam comes out of the spout."""
    parts = [
        Part(stroke(list(map(tuple, arc(0.0, -0.2, 0.5, 185, 355))), 0.11), WOOD, 4, 0.2, 0.06),
        Part(stroke([(0.42, 0.2), (0.66, -0.04), (0.84, -0.26)], 0.26, 0.12), s.dark, 22, 0.1, 0.12),
    ]
    belly = [
        (-0.56, 0.78),
        (-0.74, 0.42),
        (-0.58, 0.0),
        (-0.24, -0.22),
        (0.24, -0.22),
        (0.58, 0.0),
        (0.74, 0.42),
    ]
    parts.append(Part(blob([*belly, (0.56, 0.78)]), s.body, 24, 0.25, 0.5))
    parts.append(Part(box(-0.6, 0.74, 0.6, 0.9, 0.06), STEEL, 30, 0.3, 0.05))
    parts.append(
        Part(stroke([(-0.4, 0.5), (-0.44, 0.26), (-0.3, 0.04)], 0.1, 0.06), s.light, 20, 0.5, inked=False)
    )
    parts.append(Part(ellipse(0.0, -0.22, 0.28, 0.09), mix(s.body, INK, 0.25), 18, 0.4, 0.08))
    parts.append(Part(ellipse(0.0, -0.34, 0.09, 0.08, n=16), GOLD, 12, 0.45, 0.08))
    rise = (s.phase / (2 * np.pi)) % 1
    for puff in range(3):
        height = (puff / 3 + rise) % 1
        x, y = 0.84 + 0.08 * np.sin(5 * height + s.vary[0]), -0.42 - 0.5 * height
        parts.append(
            Part(
                ellipse(float(x), float(y), 0.07 + 0.07 * height, 0.06 + 0.06 * height),
                WHITE,
                14,
                0.1,
                inked=False,
                alpha=0.8,
            )
        )
    return parts


def voice(rng: np.random.Generator, n: int) -> Signal:
    """Water that rumbles, and a whistle of two close notes that rises and warbles while steam hisses."""
    start_hz = rng.uniform(1500, 2100)
    climb = curve(n, (0.0, 0.35, 1.0), (rng.uniform(0.7, 0.95), 1.0, rng.uniform(1.0, 1.12)))
    warble = 1 + rng.uniform(0.004, 0.015) * np.sin(2 * np.pi * rng.uniform(6, 11) * np.arange(n) / 16_000)
    pitch_hz = start_hz * climb * warble * (1 + 0.02 * wander(rng, n, 3))
    table = wavetable(rolloff(3, 2.0))
    whistle = oscillate(phase_of(pitch_hz, rng.random()), table)
    whistle = whistle + 0.6 * oscillate(phase_of(pitch_hz * rng.uniform(1.18, 1.26), rng.random()), table)
    breath = 0.75 + 0.25 * wander(rng, n, 8)
    steam = noise(rng, n, band(3000, 7500, 2)) * rng.uniform(0.1, 0.25)
    boiling = noise(rng, n, band(120, 500, 2)) * rng.uniform(0.2, 0.5) * (0.6 + 0.4 * wander(rng, n, 14))
    opening = envelope(n, 0.02, 0.02)
    return np.asarray((whistle * breath + steam + boiling) * opening, dtype=np.float32)


class KettleScene(Scene):
    """A scene of the toy world with one kettle in it, seen and heard like any other thing.

    Args:
        seed: 0 or more.
        split: as of any scene.
    """

    def __init__(self, seed: int, split: str = "train") -> None:
        # a drum's size, distance and place; its look and sound are replaced
        super().__init__(seed, split, labels=("drum",))

    def random(self, stream: str, index: int = 0) -> np.random.Generator:
        """Streams of its own, so that no kettle stands where the drum of that seed does."""
        return super().random(stream, index + 1000)

    def layers(self, time_s: float = 0.0) -> list[Layer]:
        """The scene with the kettle in the place of the thing."""
        p = self.placements[0]
        style = Style(PALETTE[p.color], p.accent, p.vary, p.phase + 2 * np.pi * 1.2 * time_s)
        parts = place(look(style), p.x, p.y, p.half_px, p.angle_deg / 2, p.mirror)
        return [
            Layer(parts, layer.distance_m, layer.half_m, layer.half_px, 0) if layer.owner == 0 else layer
            for layer in super().layers(time_s)
        ]

    @cached_property
    def audio(self) -> Floats:
        """The kettle's sound, float32 (N,) at 16 kHz, through the same rooms and microphones."""
        rng = self.random("sound")
        return np.asarray(record(voice(rng, samples(self.seconds)), rng), dtype=np.float32)
