"""Detections drawn on their picture: translucent masks, boxes, and labels that stay inside and readable."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageColor, ImageDraw, ImageFont

from bindplug.errors import InputError
from bindplug_detic.palette import Color, colors_of, ink_on

if TYPE_CHECKING:
    from bindplug_detic.results import Detections

MASK_OPACITY = 0.4
EDGE_OPACITY = 0.9
SMALLEST_TEXT, LARGEST_TEXT = 9, 72
LARGEST_SCALE = 16
MOST_COVERED = 0.3
"""The share of a picture that labels may hide; those of the least certain detections are left out beyond it."""

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
Rectangle = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels."""


@dataclass(frozen=True)
class Strokes:
    """Sizes in pixels that grow with the picture."""

    line: int
    outline: int
    text: int

    @classmethod
    def fitting(cls, width: int, height: int) -> Strokes:
        """For a picture of that size."""
        side = math.sqrt(width * height)
        text = min(max(round(0.022 * side), SMALLEST_TEXT), LARGEST_TEXT)
        return cls(line=max(1, round(side / 320)), outline=max(1, round(side / 640)), text=text)


def draw(
    found: Detections,
    *,
    picture: Image.Image | None = None,
    masks: bool = True,
    scores: bool = True,
    scale: int = 1,
    colors: Mapping[str, str] | None = None,
    font: str | PathLike[str] | None = None,
) -> Image.Image:
    """A new picture with the detections on it, the best on top.

    Args:
        found: what to draw.
        picture: what to draw on, of the size the detections are for; by default the one they were found in.
        masks: whether to draw masks, if there are any.
        scores: whether labels say the score.
        scale: enlarge the picture this many times first, from 1 to 16, so that labels on a small one can be read.
        colors: by label, as ``{"dog": "#ff8800"}`` or any name Pillow knows; others get colors of their own.
        font: a TrueType file, for labels in scripts that Pillow's own font lacks.

    Raises:
        InputError: no picture, one of another size, or an option out of its range.
    """
    canvas = _canvas(found, picture)
    if isinstance(scale, bool) or not isinstance(scale, int) or not 1 <= scale <= LARGEST_SCALE:
        raise InputError(
            "draw()", found=f"scale={scale!r}", expected=f"a whole number from 1 to {LARGEST_SCALE}"
        )
    if scale > 1:
        canvas = canvas.resize((canvas.width * scale, canvas.height * scale), Image.Resampling.LANCZOS)
        found = _enlarged(found, scale)
    palette = _palette(found, colors)
    worst_first = found.scores.argsort(stable=True).tolist()
    strokes = Strokes.fitting(*canvas.size)
    if masks and found.has_masks:
        _draw_masks(canvas, found, palette, worst_first, strokes)
    _draw_boxes(canvas, found, palette, worst_first, strokes)
    _draw_labels(canvas, found, palette, worst_first[::-1], _font(font, strokes.text), scores)
    return canvas


def _canvas(found: Detections, picture: Image.Image | None) -> Image.Image:
    picture = found.picture if picture is None else picture
    if picture is None:
        raise InputError("draw()", found="no picture", expected="picture=..., what the detections are of")
    height, width = found.image_size
    if picture.size != (width, height):
        size = f"a picture of {picture.width}x{picture.height}"
        raise InputError("draw()", found=size, expected=f"{width}x{height}, which the detections are for")
    return picture.convert("RGB") if picture.mode != "RGB" else picture.copy()


def _enlarged(found: Detections, scale: int) -> Detections:
    from bindplug_detic.results import Detections as Result

    height, width = found.image_size
    masks = None
    if found.mask_logits is None and found.masks is not None:
        masks = found.masks.repeat_interleave(scale, 1).repeat_interleave(scale, 2)
    return Result(
        found.boxes * scale,
        found.scores,
        found.labels,
        found.label_indices,
        (height * scale, width * scale),
        masks=masks,
        mask_logits=found.mask_logits,
    )


def _palette(found: Detections, chosen: Mapping[str, str] | None) -> list[Color]:
    """A color for each detection."""
    own = colors_of(found.label_indices.tolist())
    try:
        given = {label: ImageColor.getrgb(color)[:3] for label, color in (chosen or {}).items()}
    except ValueError as error:
        raise InputError("draw()", found=str(error), expected='colors as "#ff8800" or "orange"') from None
    return [given.get(label, color) for label, color in zip(found.labels, own, strict=True)]


def _draw_masks(
    canvas: Image.Image, found: Detections, palette: Sequence[Color], order: Sequence[int], strokes: Strokes
) -> None:
    for index in order:
        mask, top, left = found.mask_crop(index)
        inside = mask.numpy()
        if not inside.any():
            continue
        opacity = np.where(_eroded(inside, strokes.outline), MASK_OPACITY, EDGE_OPACITY) * inside
        layer = Image.fromarray((opacity * 255).round().astype(np.uint8))
        canvas.paste(palette[index], (left, top), layer)


def _eroded(mask: np.ndarray, pixels: int) -> np.ndarray:
    """``mask`` less what lies within ``pixels`` of its edge, along rows and columns."""
    kept = mask.copy()
    for axis in (0, 1):
        for step in range(1, pixels + 1):
            ahead, behind = [slice(None)] * 2, [slice(None)] * 2
            ahead[axis], behind[axis] = slice(step, None), slice(None, -step)
            kept[tuple(behind)] &= mask[tuple(ahead)]
            kept[tuple(ahead)] &= mask[tuple(behind)]
    return kept


def _draw_boxes(
    canvas: Image.Image, found: Detections, palette: Sequence[Color], order: Sequence[int], strokes: Strokes
) -> None:
    pen = ImageDraw.Draw(canvas)
    for index in order:
        left, top, right, bottom = _corners(found, index)
        pen.rectangle((left, top, right, bottom), outline=palette[index], width=strokes.line)


def _corners(found: Detections, index: int) -> Rectangle:
    """The first and last pixel of a box on both axes, inside the picture."""
    height, width = found.image_size
    x1, y1, x2, y2 = found.boxes[index].tolist()
    left, top = min(max(round(x1), 0), width - 1), min(max(round(y1), 0), height - 1)
    return left, top, max(left, min(round(x2) - 1, width - 1)), max(top, min(round(y2) - 1, height - 1))


def _font(path: str | PathLike[str] | None, size: int) -> Font:
    if path is None:
        return ImageFont.load_default(size)
    try:
        return ImageFont.truetype(fspath(path), size)
    except OSError as error:
        found = f"a font that cannot be read ({error})"
        raise InputError(fspath(path), found=found, expected="a TrueType or OpenType file") from None


def _draw_labels(
    canvas: Image.Image,
    found: Detections,
    palette: Sequence[Color],
    order: Sequence[int],
    font: Font,
    scores: bool,
) -> None:
    """A chip with the label at each box, the best first, each where it hides no other if there is such a place."""
    pen = ImageDraw.Draw(canvas)
    _, top, _, bottom = font.getbbox("Ápg")
    text_height = math.ceil(bottom - top)
    margin = max(1, text_height // 4)
    height = text_height + 2 * margin
    if height > canvas.height or canvas.width < 2 * text_height:
        return  # no room for a single letter
    taken: list[Rectangle] = []
    covered = 0
    for index in order:
        number = f" {found.scores[index]:.2f}" if scores else ""
        words = _shortened(found.labels[index], number, font, canvas.width - 2 * margin)
        width = math.ceil(font.getlength(words)) + 2 * margin
        covered += width * height
        if taken and covered > MOST_COVERED * canvas.width * canvas.height:
            return
        chip = _place(_corners(found, index), (width, height), canvas.size, taken)
        taken.append(chip)
        corners = (chip[0], chip[1], chip[2] - 1, chip[3] - 1)
        pen.rounded_rectangle(corners, radius=margin, fill=palette[index])
        spot = (chip[0] + margin, chip[1] + margin - top)
        pen.text(spot, words, font=font, fill=ink_on(palette[index]))


def _shortened(label: str, number: str, font: Font, room: int) -> str:
    """The label and its score, on one line; first the score gives way where it is too long, then its end."""
    label = " ".join(label.split())
    for words in (label + number, label):
        if font.getlength(words) <= room:
            return words
    length = len(label) - 1
    while length > 1 and font.getlength(label[:length].rstrip() + "…") > room:
        length -= 1
    return label[:length].rstrip() + "…"


def _place(
    box: Rectangle, size: tuple[int, int], canvas: tuple[int, int], taken: Sequence[Rectangle]
) -> Rectangle:
    left, top, right, bottom = box
    width, height = size
    corners = [
        (left, top - height),
        (left, top),
        (right + 1 - width, top - height),
        (left, bottom + 1),
        (left, bottom + 1 - height),
        (right + 1 - width, top),
        (right + 1 - width, bottom + 1 - height),
    ]
    spots = []
    for x, y in corners:
        x, y = min(max(x, 0), max(canvas[0] - width, 0)), min(max(y, 0), max(canvas[1] - height, 0))
        spots.append((x, y, x + width, y + height))
    free = (spot for spot in spots if not any(_overlap(spot, other) for other in taken))
    return next(free, spots[0])


def _overlap(one: Rectangle, other: Rectangle) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
