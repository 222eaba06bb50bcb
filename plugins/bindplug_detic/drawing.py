"""Masks, boxes and labels drawn on a picture.

torchvision draws masks and boxes. Labels are drawn here, as torchvision's may lie outside the picture, hide each other
and need a font file for any size but one.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Callable, Mapping, Sequence
from os import PathLike, fspath

from PIL import Image, ImageColor, ImageDraw, ImageFont
from torch import Tensor
from torchvision.transforms.functional import pil_to_tensor, to_pil_image
from torchvision.utils import draw_bounding_boxes, draw_segmentation_masks

from bindplug.errors import InputError
from bindplug_detic.masks import Crop

MASK_OPACITY = 0.4
SMALLEST_TEXT, LARGEST_TEXT = 9, 72
MOST_COVERED = 0.3
"""The share of a picture that labels may hide; those of the least certain detections are left out beyond it."""

GOLDEN = (5**0.5 - 1) / 2
"""Hues that are steps of this share of the circle apart never repeat, and neighbors differ well."""
FIRST_HUE = 0.08
LIGHTNESS = (0.55, 0.68, 0.42)
SATURATION = (0.95, 0.85, 0.75)
STABLE_ROWS = 24
"""This many rows of a vocabulary have the same color in every picture."""

Color = tuple[int, int, int]
"""Red, green and blue, 0 to 255."""
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
Rectangle = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels."""


def annotate(
    canvas: Image.Image,
    boxes: Tensor,
    scores: Tensor,
    labels: Sequence[str],
    rows: Sequence[int],
    *,
    mask_crop: Callable[[int], Crop] | None = None,
    with_scores: bool = True,
    colors: Mapping[str, str] | None = None,
    font: str | PathLike[str] | None = None,
) -> Image.Image:
    """A new picture with masks, boxes and labels, the best detection on top.

    Args:
        canvas: RGB.
        boxes: (N, 4) xyxy in its pixels.
        scores: (N,).
        labels: N texts.
        rows: N rows of a vocabulary, which decide the colors.
        mask_crop: the mask of a detection by its index; None draws no masks.
        with_scores: whether labels include the score.
        colors: by label, as ``{"dog": "#ff8800"}`` or any name Pillow knows.
        font: a TrueType file for labels.

    Raises:
        InputError: a color that Pillow does not know, or a font that cannot be read.
    """
    palette = _palette(labels, rows, colors)
    best_first = scores.argsort(stable=True, descending=True).tolist()
    side = math.sqrt(canvas.width * canvas.height)
    label_font = _font(font, min(max(round(0.022 * side), SMALLEST_TEXT), LARGEST_TEXT))
    corners = [_pixels(box, canvas.size) for box in boxes.tolist()]
    worst_first = best_first[::-1]
    pixels = pil_to_tensor(canvas)  # (3, H, W) uint8
    if mask_crop is not None:
        for index in worst_first:
            mask, top, left = mask_crop(index)
            # one mask at a time: torchvision paints black where several overlap
            region = pixels[:, top : top + mask.shape[0], left : left + mask.shape[1]]
            if mask.any():
                region.copy_(draw_segmentation_masks(region, mask, MASK_OPACITY, palette[index]))
    if corners:
        pixels = draw_bounding_boxes(
            pixels,
            boxes.new_tensor([corners[index] for index in worst_first]),
            colors=[palette[index] for index in worst_first],
            width=max(1, round(side / 320)),
        )
    drawn = to_pil_image(pixels)
    texts = [f" {score:.2f}" if with_scores else "" for score in scores.tolist()]
    _draw_labels(drawn, corners, labels, texts, palette, best_first, label_font)
    return drawn


def colors_of(rows: Sequence[int]) -> list[Color]:
    """A color for each of some rows of a vocabulary, the same for the same row.

    While all rows are below 24 the color depends on the row itself, otherwise on its rank among those present, so
    that the few classes of one picture differ well however large the vocabulary.
    """
    present = sorted(set(rows))
    is_small = not present or present[-1] < STABLE_ROWS
    numbers = {row: row if is_small else rank for rank, row in enumerate(present)}
    return [_color(numbers[row]) for row in rows]


def text_color_on(color: Color) -> Color:
    """Black or white, whichever has the greater contrast.

    Source: relative luminance and contrast of WCAG 2.1.
    """
    linear = [
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
        for value in (channel / 255 for channel in color)
    ]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    white_contrast, black_contrast = 1.05 / (luminance + 0.05), (luminance + 0.05) / 0.05
    return (255, 255, 255) if white_contrast > black_contrast else (0, 0, 0)


def _color(number: int) -> Color:
    hue = (FIRST_HUE + number * GOLDEN) % 1
    shade = number % len(LIGHTNESS)
    red, green, blue = colorsys.hls_to_rgb(hue, LIGHTNESS[shade], SATURATION[shade])
    return round(red * 255), round(green * 255), round(blue * 255)


def _palette(labels: Sequence[str], rows: Sequence[int], colors: Mapping[str, str] | None) -> list[Color]:
    """A color for each detection."""
    try:
        by_label = {label: ImageColor.getrgb(color)[:3] for label, color in (colors or {}).items()}
    except ValueError as error:
        raise InputError("draw()", found=str(error), expected='colors as "#ff8800" or "orange"') from None
    return [by_label.get(label, color) for label, color in zip(labels, colors_of(rows), strict=True)]


def _pixels(box: Sequence[float], size: tuple[int, int]) -> Rectangle:
    """The first and last pixel of a box on both axes, inside a picture of ``size`` (width, height)."""
    (width, height), (x1, y1, x2, y2) = size, box
    left, top = min(max(round(x1), 0), width - 1), min(max(round(y1), 0), height - 1)
    return left, top, max(left, min(round(x2) - 1, width - 1)), max(top, min(round(y2) - 1, height - 1))


def _font(path: str | PathLike[str] | None, size: int) -> Font:
    if path is None:
        return ImageFont.load_default(size)
    try:
        return ImageFont.truetype(fspath(path), size)
    except OSError as error:
        problem = f"a font that cannot be read ({error})"
        raise InputError(fspath(path), found=problem, expected="a TrueType or OpenType file") from None


def _draw_labels(
    canvas: Image.Image,
    corners: Sequence[Rectangle],
    labels: Sequence[str],
    scores: Sequence[str],
    palette: Sequence[Color],
    order: Sequence[int],
    font: Font,
) -> None:
    """A chip with the label at each box, the best first, each where it hides no other if there is such a place."""
    pen = ImageDraw.Draw(canvas)
    _, ascent, _, descent = font.getbbox("Ápg")
    text_height = math.ceil(descent - ascent)
    margin = max(1, text_height // 4)
    height = text_height + 2 * margin
    if height > canvas.height or canvas.width < 2 * text_height:
        return  # no room for a single letter
    chips: list[Rectangle] = []
    covered = 0
    for index in order:
        line = _shortened(labels[index], scores[index], font, canvas.width - 2 * margin)
        width = math.ceil(font.getlength(line)) + 2 * margin
        covered += width * height
        if chips and covered > MOST_COVERED * canvas.width * canvas.height:
            return
        chip = _place(corners[index], (width, height), canvas.size, chips)
        chips.append(chip)
        left, top, right, bottom = chip
        pen.rounded_rectangle((left, top, right - 1, bottom - 1), radius=margin, fill=palette[index])
        color = text_color_on(palette[index])
        pen.text((left + margin, top + margin - ascent), line, font=font, fill=color)


def _shortened(label: str, score: str, font: Font, room: int) -> str:
    """Label and score on one line; where they are too long the score is dropped, then the label's end."""
    label = " ".join(label.split())
    for line in (label + score, label):
        if font.getlength(line) <= room:
            return line
    length = len(label) - 1
    while length > 1 and font.getlength(label[:length].rstrip() + "…") > room:
        length -= 1
    return label[:length].rstrip() + "…"


def _place(
    box: Rectangle, size: tuple[int, int], canvas: tuple[int, int], chips: Sequence[Rectangle]
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
    places = []
    for x, y in corners:
        x, y = min(max(x, 0), max(canvas[0] - width, 0)), min(max(y, 0), max(canvas[1] - height, 0))
        places.append((x, y, x + width, y + height))
    free = (place for place in places if not any(_overlap(place, chip) for chip in chips))
    return next(free, places[0])


def _overlap(first: Rectangle, second: Rectangle) -> bool:
    return first[0] < second[2] and second[0] < first[2] and first[1] < second[3] and second[1] < first[3]
