"""Paints layers of parts into a color picture, a depth map and a temperature map.

Shape letters: H, W = height and width of the canvas in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from bindplug_toyworld.looks.part import Color, Part, mix

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]

OVERSAMPLING = 2
_DOME_PROFILE = ((1.0, 0.25), (0.8, 0.6), (0.55, 0.85), (0.28, 1.0))
_RELIEF_LEVELS = 200.0  # grey levels for one half size of relief
_NOISE_SIDE = 769


@dataclass(slots=True)
class Layer:
    """Parts at one place in space, their points in pixels of the canvas.

    Args:
        parts: painted in order; ``lift`` and ``dome`` in half sizes.
        distance_m: of its plane from the camera.
        half_m: metres in one half size; 0 for what is flat.
        half_px: pixels in one half size; sets the width of contours.
        owner: index of the scene's thing that it shows, -1 for anything else.
    """

    parts: list[Part]
    distance_m: float
    half_m: float
    half_px: float
    owner: int = -1


@dataclass(frozen=True, slots=True)
class Light:
    """Illumination of the color picture.

    Args:
        direction: (x, y) towards the light, y downwards, length about 1.
        strength: contrast of the shading, 0 for none.
        gain: factors on red, green and blue.
        noise: standard deviation in grey levels.
        blur_px: radius of the lens blur.
    """

    direction: tuple[float, float] = (-0.7, -0.7)
    strength: float = 1.0
    gain: tuple[float, float, float] = (1.0, 1.0, 1.0)
    noise: float = 0.0
    blur_px: float = 0.0


def place(
    parts: Sequence[Part], x: float, y: float, half_px: float, angle_deg: float, mirror: bool
) -> list[Part]:
    """``parts`` moved from a look's own coordinates to the canvas."""
    cos, sin = np.cos(np.radians(angle_deg)) * half_px, np.sin(np.radians(angle_deg)) * half_px
    turning = np.array([[cos, sin], [-sin, cos]])
    if mirror:
        turning[0] *= -1
    # one product for all points: a look has about twenty parts of few points
    moved = np.concatenate([part.points for part in parts]) @ turning + (x, y)
    ends = np.cumsum([len(part.points) for part in parts])[:-1]
    return [replace(part, points=points) for part, points in zip(parts, np.split(moved, ends), strict=True)]


def _outline(part: Part, factor: float = 1.0) -> list[float]:
    flat: list[float] = (part.points * factor).ravel().tolist()
    return flat


def _draw_color(draw: ImageDraw.ImageDraw, part: Part, contour_px: int) -> None:
    outline = _outline(part, OVERSAMPLING)
    if part.alpha < 1:
        draw.polygon(outline, fill=(*part.color, round(255 * part.alpha)))
        return
    draw.polygon(outline, fill=part.color)
    if part.inked:
        joint = "curve" if len(outline) < 20 else None
        ink = mix(part.color, (24, 20, 30), 0.72)
        draw.line(outline + outline[:4], fill=ink, width=contour_px, joint=joint)


def relief_map(layers: Sequence[Layer], shape: tuple[int, int]) -> Floats:
    """Smoothed relief, (H, W), in half sizes of whichever layer is in front."""
    image = Image.new("L", shape[::-1])
    draw = ImageDraw.Draw(image)
    for layer in layers:
        for part in layer.parts if layer.half_m else ():
            if part.alpha < 0.5:
                continue
            if part.dome <= 0.1:
                level = (part.lift + part.dome) * _RELIEF_LEVELS + 10
                draw.polygon(_outline(part), fill=min(255, round(level)))
                continue
            middle = part.points.mean(axis=0)
            for shrink, rise in _DOME_PROFILE:
                level = (part.lift + part.dome * rise) * _RELIEF_LEVELS + 10
                ring = (part.points - middle) * shrink + middle
                draw.polygon(ring.ravel().tolist(), fill=min(255, round(level)))
    # down and up again is a blur, and a cheap one
    background = image.reduce(max(2, round(min(shape) / 75))).resize(shape[::-1], Image.Resampling.BICUBIC)
    return np.asarray(background, dtype=np.float32) * np.float32(1 / _RELIEF_LEVELS)


def owner_map(layers: Sequence[Layer], shape: tuple[int, int]) -> Bytes:
    """Which layer is seen at each pixel, (H, W): its index in ``layers`` plus one; 0 is the backdrop."""
    image = Image.new("L", shape[::-1])
    draw = ImageDraw.Draw(image)
    for index, layer in enumerate(layers):
        for part in layer.parts:
            if part.alpha >= 0.5:
                draw.polygon(_outline(part), fill=index + 1)
    return np.asarray(image)


def paint_color(
    backdrop: Bytes, layers: Sequence[Layer], relief: Floats, light: Light, rng: np.random.Generator
) -> Bytes:
    """The color picture, uint8 (H, W, 3), of ``layers`` before a ``backdrop`` of that size."""
    height, width = backdrop.shape[:2]
    size = (width * OVERSAMPLING, height * OVERSAMPLING)
    canvas = Image.fromarray(backdrop).resize(size, Image.Resampling.NEAREST)
    draw = ImageDraw.Draw(canvas, "RGBA")
    for layer in layers:
        contour = max(1, round(layer.half_px * OVERSAMPLING * 0.022))
        for part in layer.parts:
            _draw_color(draw, part, contour)
    small = canvas.reduce(OVERSAMPLING)
    if light.blur_px:
        small = small.filter(ImageFilter.BoxBlur(light.blur_px))
    picture = np.asarray(small, dtype=np.float32)
    slope = np.zeros_like(relief)
    slope[:, 1:] += (relief[:, 1:] - relief[:, :-1]) * np.float32(light.direction[0])
    slope[1:] += (relief[1:] - relief[:-1]) * np.float32(light.direction[1])
    shade = np.clip(1 - slope * np.float32(4 * light.strength), 0.6, 1.3)
    picture = np.multiply(picture, shade[..., None])
    picture *= np.asarray(light.gain, dtype=np.float32)
    if light.noise:
        picture += noise((height, width, 3), rng) * np.float32(light.noise)
    return np.clip(picture, 0, 255, out=picture).astype(np.uint8)


def paint_depth(
    backdrop: Floats,
    layers: Sequence[Layer],
    relief: Floats,
    owners: Bytes,
    sigma: float,
    rng: np.random.Generator,
) -> Floats:
    """Distances in metres, float32 (H, W); noise grows with the square of the distance."""
    plane = np.array([0.0] + [layer.distance_m for layer in layers], dtype=np.float32)
    metres = np.array([0.0] + [layer.half_m for layer in layers], dtype=np.float32)
    depth = plane[owners] - relief * metres[owners]
    depth = np.where(owners > 0, depth, backdrop)
    if sigma:
        depth = depth + noise(depth.shape, rng) * np.float32(sigma) * depth * depth
    return np.clip(depth, 0.1, 20.0)


def paint_heat(
    backdrop: Floats,
    layers: Sequence[Layer],
    ambient: float,
    gain: float,
    sigma: float,
    rng: np.random.Generator,
) -> Floats:
    """Temperatures in degrees Celsius, float32 (H, W), softened as a thermal lens does."""
    image = Image.fromarray(backdrop)
    draw = ImageDraw.Draw(image)
    for layer in layers:
        for part in layer.parts:
            if part.alpha >= 0.5:
                draw.polygon(_outline(part), fill=ambient + part.heat * gain)
    heat = soften(np.asarray(image, dtype=np.float32))
    return heat + noise(heat.shape, rng) * np.float32(sigma) if sigma else heat


def soften(field: Floats) -> Floats:
    """A 3 x 3 binomial blur of a (H, W) field."""
    padded = np.pad(field, 1, mode="edge")
    rows = padded[:-2] + 2 * padded[1:-1] + padded[2:]
    return ((rows[:, :-2] + 2 * rows[:, 1:-1] + rows[:, 2:]) * np.float32(1 / 16)).astype(np.float32)


@lru_cache(maxsize=2)
def _noise_tile(depth: int) -> Floats:
    shape = (_NOISE_SIDE, _NOISE_SIDE, depth) if depth else (_NOISE_SIDE, _NOISE_SIDE)
    return np.random.default_rng(20230509).standard_normal(shape, dtype=np.float32)


def noise(shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
    """White unit noise, float32 (H, W) or (H, W, C): a random window of a fixed tile, as fresh noise costs ten
    times more."""
    tile = _noise_tile(shape[2] if len(shape) > 2 else 0)
    height, width = shape[:2]
    if max(height, width) > _NOISE_SIDE:
        return rng.standard_normal(shape, dtype=np.float32)
    top = rng.integers(0, _NOISE_SIDE - height + 1)
    left = rng.integers(0, _NOISE_SIDE - width + 1)
    return tile[top : top + height, left : left + width]


def tint(color: Color, factor: float) -> Color:
    """``color`` made brighter or darker."""
    red, green, blue = (min(255, max(0, round(c * factor))) for c in color)
    return red, green, blue
