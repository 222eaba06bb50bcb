"""One scene, seen, heard, measured and described by aligned sensors; made from a seed, each sensor on demand."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from bindplug.errors import InputError
from bindplug_toyworld.backdrop import Backdrop, make_backdrop
from bindplug_toyworld.captions import Mention, group_caption, single_caption
from bindplug_toyworld.layout import Placement, arrange, place_word, size_word, surround, thing_layer
from bindplug_toyworld.render import (
    Bytes,
    Floats,
    Layer,
    Light,
    owner_map,
    paint_color,
    paint_depth,
    paint_heat,
    relief_map,
)
from bindplug_toyworld.things import MOVING, NAMES, THINGS, label_of

SPLITS = {"train": 0, "eval": 1, "calibration": 2}
"""Splits enter the seed of every random stream, so scenes of different splits never share a draw. Scales are
fitted on the third."""
_STREAMS = (
    "layout",
    "looks",
    "backdrop",
    "clutter",
    "light",
    "depth",
    "thermal",
    "sound",
    "motion",
    "words",
    "path",
)


class Scene:
    """A deterministic little world of one to five things.

    Every sensor is made when first asked for and kept; the order of asking changes nothing.

    Args:
        seed: 0 or more.
        split: one of :data:`SPLITS`; the same seed is another scene in another split.
        labels: things that are in it, by name or label.
        canvas: (height, width) of all pictures in pixels, each 64 or more.
        things: how many there are, one to five; those beyond ``labels`` are picked. ``None`` means just ``labels``,
            or without any, thing number ``seed % 20``.
        seconds: length of sound and video.
        fps: frames a second of the video.

    Raises:
        InputError: an argument is out of range.
    """

    sample_rate_hz = 16000
    imu_rate_hz = 200

    def __init__(
        self,
        seed: int,
        split: str = "train",
        labels: Sequence[int | str] | int | str | None = None,
        canvas: tuple[int, int] = (224, 224),
        things: int | None = None,
        *,
        seconds: float = 4.0,
        fps: int = 12,
    ) -> None:
        if seed < 0:
            raise InputError("seed", found=str(seed), expected="an integer of 0 or more")
        if split not in SPLITS:
            raise InputError("split", found=repr(split), expected=f"one of {', '.join(SPLITS)}")
        if min(canvas) < 64:
            raise InputError("canvas", found=str(canvas), expected="(height, width), each 64 pixels or more")
        if seconds <= 0 or fps <= 0:
            raise InputError("seconds and fps", found=f"{seconds} and {fps}", expected="positive numbers")
        self.seed, self.split, self.fps, self.seconds = int(seed), split, fps, seconds
        self.canvas = (int(canvas[0]), int(canvas[1]))
        first_names = [labels] if isinstance(labels, int | str) else list(labels or ())
        self.labels = self._completed([NAMES[label_of(thing)] for thing in first_names], things)

    def __repr__(self) -> str:
        return (
            f"Scene({self.seed}, {self.split!r}: {', '.join(self.labels)}, {self.canvas[0]}x{self.canvas[1]})"
        )

    def __reduce__(self) -> tuple[object, ...]:
        # sensors are not pickled: they are larger than the time to make them is long
        return (_rebuild, (self.seed, self.split, self.labels, self.canvas, self.seconds, self.fps))

    @property
    def label(self) -> str:
        """The name of the first thing."""
        return self.labels[0]

    def random(self, stream: str, index: int = 0) -> np.random.Generator:
        """The generator of one independent stream of this scene."""
        return np.random.default_rng([self.seed, SPLITS[self.split], _STREAMS.index(stream), index])

    # -- layout ---------------------------------------------------------------------------------------------------

    def _completed(self, names: list[str], count: int | None) -> tuple[str, ...]:
        if not names and count in (None, 1):
            return (NAMES[self.seed % len(NAMES)],)
        count = len(names) if count is None else count
        if not max(1, len(names)) <= count <= 5:
            raise InputError(
                "things", found=f"{count} things, {len(names)} named", expected="one to five, all named ones"
            )
        further_names = [name for name in NAMES if name not in names]
        picks = self.random("looks", 99).choice(len(further_names), size=count - len(names), replace=False)
        return (*names, *(further_names[int(index)] for index in picks))

    @cached_property
    def placements(self) -> list[Placement]:
        """Where the things are and how they look, in order of ``labels``."""
        return arrange(
            [label_of(name) for name in self.labels], self.canvas, self.random("layout"), self.random("looks")
        )

    @cached_property
    def backdrop(self) -> Backdrop:
        """The place, as all cameras see it."""
        lowest = max(self.placements, key=lambda p: p.y + p.half_px * 0.9)
        far = max(p.distance_m for p in self.placements)
        has_ground = any(THINGS[p.label].place == "ground" for p in self.placements)
        foot = lowest.y + lowest.half_px * 0.9
        return make_backdrop(self.random("backdrop"), self.canvas, foot, lowest.distance_m, far, has_ground)

    @cached_property
    def _surroundings(self) -> tuple[list[Layer], list[Layer]]:
        """Layers among the things and before them."""
        return surround(self.placements, self.backdrop, self.random("clutter"))

    def layers(self, time_s: float = 0.0) -> list[Layer]:
        """Everything before the backdrop, far to near, at a time of the video; the pictures show time 0."""
        among, before = self._surroundings
        path = self.random("path")
        things = [thing_layer(p, owner, time_s, path) for owner, p in enumerate(self.placements)]
        return [*sorted(among + things, key=lambda layer: -layer.distance_m), *before]

    @cached_property
    def _still(self) -> list[Layer]:
        return self.layers()

    @cached_property
    def _relief(self) -> Floats:
        return relief_map(self._still, self.backdrop.shape)

    @cached_property
    def _owners(self) -> Bytes:
        return owner_map(self._still, self.backdrop.shape)

    # -- sensors --------------------------------------------------------------------------------------------------

    @cached_property
    def _light(self) -> Light:
        rng = self.random("light")
        angle = np.radians(rng.uniform(200, 340))
        gain = self.backdrop.setting.gain * rng.uniform(0.82, 1.12) * rng.uniform(0.95, 1.05, size=3)
        return Light(
            (float(np.cos(angle)), float(np.sin(angle))),
            float(rng.uniform(0.5, 1.2)),
            (float(gain[0]), float(gain[1]), float(gain[2])),
            float(rng.uniform(0, 7)),
            float(rng.uniform(0.3, 1.0)) if rng.random() < 0.25 else 0.0,
        )

    @cached_property
    def pixels(self) -> Bytes:
        """The color picture, uint8 (H, W, 3)."""
        rng = self.random("light", 1)
        return paint_color(self.backdrop.color(rng), self._still, self._relief, self._light, rng)

    @property
    def image(self) -> Image.Image:
        """The color picture, RGB."""
        return Image.fromarray(self.pixels)

    @cached_property
    def video(self) -> Bytes:
        """The thing in motion, uint8 (T, H, W, 3) at ``fps``; the first frame shows the instant of ``image``."""
        rng = self.random("light", 2)
        behind = self.backdrop.color(rng)
        frames = []
        for index in range(max(1, round(self.seconds * self.fps))):
            layers = self.layers(index / self.fps)
            frames.append(
                paint_color(behind, layers, relief_map(layers, self.backdrop.shape), self._light, rng)
            )
        return np.stack(frames)

    @cached_property
    def depth(self) -> Floats:
        """Distance from the camera in metres, float32 (H, W), without holes."""
        rng = self.random("depth")
        sigma = float(rng.uniform(0.0, 0.003))
        return paint_depth(self.backdrop.depth(), self._still, self._relief, self._owners, sigma, rng)

    @cached_property
    def thermal(self) -> Floats:
        """Temperature in degrees Celsius, float32 (H, W)."""
        rng = self.random("thermal")
        gain, sigma, drift = rng.uniform(0.75, 1.25), rng.uniform(0.05, 0.35), rng.uniform(-0.8, 0.8)
        ambient = self.backdrop.ambient
        heat = paint_heat(self.backdrop.heat(), self._still, ambient, float(gain), float(sigma), rng)
        return (heat + np.float32(drift)).astype(np.float32)

    @cached_property
    def audio(self) -> Floats:
        """The sound of all things together, float32 (N,) at ``sample_rate_hz``, within [-1, 1]."""
        from bindplug_toyworld.sounds import synthesise

        voices = []
        for index, name in enumerate(self.labels):
            rng = self.random("sound", index)
            voice = synthesise(name, rng, self.seconds)
            voices.append(voice * np.float32(rng.uniform(0.7, 1.0)) if len(self.labels) > 1 else voice)
        length = min(len(voice) for voice in voices)
        mixture = np.sum([voice[:length] for voice in voices], axis=0, dtype=np.float32)
        peak = float(np.max(np.abs(mixture), initial=0.0))
        return np.asarray(mixture / max(1.0, peak), dtype=np.float32)

    @cached_property
    def imu(self) -> Floats | None:
        """Five seconds of motion, float32 (6, T) at ``imu_rate_hz``: accelerometer xyz in m/s^2 with gravity, then
        gyroscope xyz in rad/s. ``None`` for several things, and for a thing that moves nobody."""
        if len(self.labels) > 1 or self.label not in MOVING:
            return None
        from bindplug_toyworld.motions import move

        return move(self.label, self.random("motion"))

    # -- description ----------------------------------------------------------------------------------------------

    @cached_property
    def boxes(self) -> Floats:
        """Tight boxes around each thing's visible pixels, float32 (n, 4): x0, y0, x1, y1 in pixels, in order of
        ``labels``; the far edges are exclusive. A thing that is hidden altogether has a box of zeros."""
        result = np.zeros((len(self.labels), 4), dtype=np.float32)
        for index, layer in enumerate(self._still):
            if layer.owner < 0:
                continue
            visible = self._owners == index + 1
            rows, columns = np.flatnonzero(visible.any(axis=1)), np.flatnonzero(visible.any(axis=0))
            if len(rows):
                result[layer.owner] = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
        return result

    @cached_property
    def mask(self) -> Bytes:
        """Which thing is seen at each pixel, uint8 (H, W): 1 + its place in ``labels``, 0 for none."""
        return np.array([0] + [layer.owner + 1 for layer in self._still], dtype=np.uint8)[self._owners]

    @cached_property
    def caption(self) -> str:
        """One sentence that names every thing."""
        return self.captions(1)[0]

    def captions(self, count: int) -> list[str]:
        """``count`` wordings, the first of which is :attr:`caption`."""
        return [self._worded(self.random("words", index)) for index in range(count)]

    def _worded(self, rng: np.random.Generator) -> str:
        mentions = []
        for p in self.placements:
            size = size_word(p, self.canvas) if len(self.labels) == 1 else ""
            mentions.append(
                Mention(THINGS[p.label], p.color, place_word(p, self.canvas), size, p.x / self.canvas[1])
            )
        phrases = self.backdrop.setting.phrases
        if len(mentions) == 1:
            return single_caption(mentions[0], phrases, rng)
        return group_caption(mentions, phrases, rng)

    def write(self, directory: str | Path, *, depth_holes: float = 0.0) -> dict[str, Path]:
        """Writes all sensors as files; see :func:`bindplug_toyworld.files.write_scene`."""
        from bindplug_toyworld.files import write_scene

        return write_scene(self, Path(directory), depth_holes=depth_holes)


def _rebuild(
    seed: int, split: str, labels: tuple[str, ...], canvas: tuple[int, int], seconds: float, fps: int
) -> Scene:
    return Scene(seed, split, labels, canvas, seconds=seconds, fps=fps)
