"""The report at a glance, as one picture."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from bindplug_toyworld.commands import Asked
from bindplug_toyworld.drawing import Drawing
from bindplug_toyworld.report import pictures
from bindplug_toyworld.report.colors import PROMPTS, ink_on
from bindplug_toyworld.report.made import enlarged, prompt_picture
from bindplug_toyworld.report.markup import NAMES as HEADINGS
from bindplug_toyworld.report.markup import read_picture
from bindplug_toyworld.searching import Search, Spot
from bindplug_toyworld.showcase import Exhibit, Match, Showcase, Sum

GROUND, CARD, INK, SOFT = (245, 243, 238), (255, 255, 255), (28, 30, 35), (92, 99, 112)
GOOD, BAD, HEAT = (23, 118, 74), (178, 51, 43), (214, 96, 28)
MARGIN, NAME, GAP = 36, 128, 12
SIDE, WIDE = 120, 236
"""Extent of a square cell, and the width of sound's and motion's, in pixels."""

COLUMNS = (
    ("image", SIDE),
    ("video", SIDE),
    ("depth", SIDE),
    ("thermal", SIDE),
    ("audio", WIDE),
    ("imu", WIDE),
)
ROW = SIDE + 32
STREET = 218
"""Side of a searched picture."""
MAP = 300
WIDTH = 2 * MARGIN + NAME + sum(width for _, width in COLUMNS) + len(COLUMNS) * GAP


def draw_contact_sheet(show: Showcase, path: Path) -> Path:
    """Draw scenes by sensors with the model's answers, similarity maps, sums, detections and pictures, as a PNG."""
    top, maps = 124, (MAP + 50) * -(-len(show.matches) // 3)
    sums = top + ROW * len(show.exhibits) + 40 + maps + 40
    tools = sums + ROW * len(show.sums)
    streets = 0 if show.search is None else STREET + 76
    height = tools + streets + (0 if show.gallery is None else 3 * ROW + 56) + MARGIN
    sheet = Image.new("RGB", (WIDTH, height), GROUND)
    draw = ImageDraw.Draw(sheet)
    _head(draw, show)
    for index, exhibit in enumerate(show.exhibits):
        _row(sheet, draw, show, exhibit, top + index * ROW)
    y = top + ROW * len(show.exhibits) + 40
    for index, match in enumerate(show.matches):
        _map(draw, match, MARGIN + index % 3 * (WIDTH - 2 * MARGIN) // 3, y + index // 3 * (MAP + 50))
    for index, result in enumerate(show.sums):
        _sum(sheet, draw, show, result, sums + index * ROW)
    if show.search is not None:
        _search(sheet, draw, show, show.search, tools)
    if show.gallery is not None:
        _gallery(sheet, draw, show, tools + streets)
    temporary = path.with_name(f".{path.name}.tmp")
    sheet.save(temporary, "PNG", optimize=True)
    temporary.replace(path)
    return path


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _head(draw: ImageDraw.ImageDraw, show: Showcase) -> None:
    draw.text((MARGIN, 26), "Seven kinds of data, one space", INK, _font(34))
    tally = show.tally
    words = {
        "classified": "files named right",
        "matched": "matched across sensors",
        "sums": "sums found",
        "found": "things detected",
        "drawn": "pictures made right",
    }
    line = "   ·   ".join(f"{right} of {count} {words[kind]}" for kind, (right, count) in tally.items())
    draw.text((MARGIN, 69), f"{show.model}:  {line}", SOFT, _font(15))
    x = MARGIN + NAME
    for modality, width in COLUMNS:
        draw.text((x, 100), HEADINGS[modality], SOFT, _font(15))
        x += width + GAP


def _row(sheet: Image.Image, draw: ImageDraw.ImageDraw, show: Showcase, exhibit: Exhibit, y: int) -> None:
    draw.text((MARGIN, y + SIDE // 2 - 12), exhibit.thing, INK, _font(20))
    x = MARGIN + NAME
    for modality, width in COLUMNS:
        answer = show.answer(exhibit.thing, modality)
        if answer is None:
            draw.text((x, y + SIDE // 2 - 10), "none", SOFT, _font(14))
        else:
            sheet.paste(_thumbnail(exhibit, modality, width), (x, y))
            label, chance = answer.top[0]
            _tick(draw, x, y + SIDE + 6, answer.right)
            text = f"{label} {chance * 100:.0f} %"
            draw.text(
                (x + 18, y + SIDE + 4),
                _fitted(draw, text, width - 18),
                GOOD if answer.right else BAD,
                _font(14),
            )
        x += width + GAP


def _fitted(draw: ImageDraw.ImageDraw, text: str, width: int) -> str:
    while len(text) > 4 and draw.textlength(text, font=_font(14)) > width:
        text = f"{text.rstrip('…')[:-1]}…"
    return text


def _thumbnail(exhibit: Exhibit, modality: str, width: int) -> Image.Image:
    path = exhibit.files[modality]
    if modality == "image":
        picture = read_picture(path)
    elif modality == "video":
        picture = pictures.video_frames(path, 3)[1]
    elif modality == "depth":
        picture = pictures.depth_picture(path).picture
    elif modality == "thermal":
        picture = pictures.thermal_picture(path).picture
    elif modality == "audio":
        return _sound(path, width)
    else:
        return pictures.motion_picture(pictures.read_motion(path), width, SIDE, CARD)
    return picture.resize((width, SIDE), Image.Resampling.LANCZOS)


def _sound(path: Path, width: int) -> Image.Image:
    samples, rate_hz = pictures.read_wave(path)
    both = Image.new("RGB", (width, SIDE), CARD)
    wave = pictures.waveform_picture(samples, width, 36, (43, 108, 176))
    both.paste(wave, (0, 0), wave)
    both.paste(pictures.spectrogram_picture(samples, rate_hz, width, SIDE - 40), (0, 40))
    return both


def _tick(draw: ImageDraw.ImageDraw, x: int, y: int, right: bool) -> None:
    if right:
        draw.line([(x, y + 7), (x + 4, y + 12), (x + 12, y + 1)], fill=GOOD, width=3)
    else:
        draw.line([(x, y + 1), (x + 11, y + 12)], fill=BAD, width=3)
        draw.line([(x, y + 12), (x + 11, y + 1)], fill=BAD, width=3)


def _map(draw: ImageDraw.ImageDraw, match: Match, x: int, y: int) -> None:
    title = f"{HEADINGS[match.query]} to {HEADINGS[match.candidate]}"
    draw.text(
        (x, y),
        f"{title}: {sum(match.right)} of {len(match.right)}",
        INK,
        _font(17),
    )
    note = f"{'trained on such pairs' if match.trained else 'never trained together'}; columns in the rows' order"
    draw.text((x, y + 22), note, SOFT, _font(13))
    count = len(match.things)
    cell, left = (MAP - 56) // count, x + 84
    flat = [value for row in match.cosines for value in row]
    low, high = min(flat), max(flat)
    for i, row in enumerate(match.cosines):
        draw.text((left - 8, y + 46 + i * cell + cell // 2), match.things[i], SOFT, _font(13), anchor="rm")
        best = max(range(count), key=row.__getitem__)
        for j, value in enumerate(row):
            part = 0.04 + 0.86 * (value - low) / max(high - low, 1e-9)
            fill = tuple(round(c + (h - c) * part) for c, h in zip(CARD, HEAT, strict=True))
            box = (left + j * cell, y + 46 + i * cell, left + (j + 1) * cell - 2, y + 46 + (i + 1) * cell - 2)
            outline = (GOOD if i == j else BAD) if j == best else None
            draw.rectangle(box, fill=fill, outline=outline, width=2)


def _sum(sheet: Image.Image, draw: ImageDraw.ImageDraw, show: Showcase, result: Sum, y: int) -> None:
    by_thing = {exhibit.thing: exhibit for exhibit in show.exhibits}
    x = MARGIN
    sheet.paste(_thumbnail(by_thing[result.seen], "image", SIDE), (x, y))
    draw.text((x, y + SIDE + 4), f"picture: {result.seen}", SOFT, _font(14))
    draw.text((x + SIDE + 10, y + SIDE // 2), "+", SOFT, _font(28), anchor="lm")
    x += SIDE + 38
    sheet.paste(_thumbnail(by_thing[result.heard], "audio", SIDE + 40), (x, y))
    draw.text((x, y + SIDE + 4), f"sound: {result.heard}", SOFT, _font(14))
    draw.text((x + SIDE + 52, y + SIDE // 2), "=", SOFT, _font(28), anchor="lm")
    x += SIDE + 84
    for path, things, cosine in result.found:
        with Image.open(path) as file:
            sheet.paste(file.convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS), (x, y))
        hit = set(things) == {result.seen, result.heard}
        if hit:
            draw.rectangle((x - 3, y - 3, x + SIDE + 2, y + SIDE + 2), outline=GOOD, width=3)
        text = f"{'+'.join(things)} {cosine:.2f}"
        draw.text((x, y + SIDE + 5), _fitted(draw, text, SIDE + GAP), GOOD if hit else SOFT, _font(14))
        x += SIDE + GAP + 14


def _search(sheet: Image.Image, draw: ImageDraw.ImageDraw, show: Showcase, search: Search, y: int) -> None:
    right, count = search.found
    title = f"Pictures searched by files: {right} of {count} found, {search.wrong} wrong boxes"
    draw.text((MARGIN, y + 8), title, INK, _font(17))
    by_thing = {exhibit.thing: exhibit for exhibit in show.exhibits}
    icon = STREET // 2 - 14
    for number, asked in enumerate(search.prompts):
        x, top = MARGIN + number % 2 * (icon + 12), y + 40 + number // 2 * (icon + 28)
        sheet.paste(prompt_picture(asked, by_thing[asked[0]], icon), (x, top))
        draw.rectangle((x, top, x + icon - 1, top + icon - 1), outline=PROMPTS[number], width=4)
        draw.text((x, top + icon + 3), f"{HEADINGS[asked[1]]}: {asked[0]}", SOFT, _font(14))
    for place, searched in enumerate(search.pictures):
        x = MARGIN + 2 * (icon + 12) + 12 + place * (STREET + GAP)
        sheet.paste(searched_picture(searched.picture, searched.spots, STREET), (x, y + 40))


def searched_picture(path: Path, spots: Sequence[Spot], side: int) -> Image.Image:
    """A picture with its boxes in the prompts' colors, ``side`` pixels wide and high."""
    picture = read_picture(path)
    factor = side / picture.width
    picture = picture.resize((side, side), Image.Resampling.LANCZOS)
    draw = ImageDraw.Draw(picture)
    for spot in spots:
        x1, y1, x2, y2 = (round(edge * factor) for edge in spot.box)
        color = PROMPTS[spot.prompt]
        draw.rectangle((x1, y1, x2, y2), outline=color, width=3)
        top = max(y1 - 15, 0)
        draw.rectangle((x1, top, x1 + 30, top + 15), fill=color)
        draw.text((x1 + 3, top), f"{spot.score:.2f}", ink_on(color), _font(12))
    return picture


def _gallery(sheet: Image.Image, draw: ImageDraw.ImageDraw, show: Showcase, y: int) -> None:
    gallery = show.gallery
    assert gallery is not None
    right, count = gallery.right
    draw.text((MARGIN, y + 8), f"Pictures made of files: {right} of {count} right", INK, _font(17))
    by_thing = {exhibit.thing: exhibit for exhibit in show.exhibits}
    for number, drawing in enumerate(gallery.single):
        x, top = MARGIN + number % 3 * 2 * (SIDE + 42), y + 40 + number // 3 * ROW
        _source(sheet, draw, drawing.asked[0], by_thing, x, top)
        _arrow(draw, x + SIDE + 8, top + SIDE // 2)
        _drawn(sheet, draw, drawing, x + SIDE + 34, top, judged=True)
    x, top = MARGIN, y + 40 + 2 * ROW
    for drawing in gallery.morph:
        _drawn(sheet, draw, drawing, x, top, judged=False)
        x += SIDE + GAP


def _arrow(draw: ImageDraw.ImageDraw, x: int, y: int) -> None:
    draw.line([(x, y), (x + 17, y)], fill=SOFT, width=2)
    draw.line([(x + 11, y - 6), (x + 17, y), (x + 11, y + 6)], fill=SOFT, width=2)


def _source(
    sheet: Image.Image, draw: ImageDraw.ImageDraw, asked: Asked, by_thing: dict[str, Exhibit], x: int, y: int
) -> None:
    thing, modality = asked
    if modality == "text":
        draw.rectangle((x, y, x + SIDE, y + SIDE), fill=CARD)
        lines = textwrap.wrap(f"“{by_thing[thing].caption}”", 15)
        draw.multiline_text((x + 8, y + 8), "\n".join(lines[:6]), INK, _font(14))
    else:
        sheet.paste(prompt_picture(asked, by_thing[thing], SIDE), (x, y))
    draw.text((x, y + SIDE + 4), f"{HEADINGS[modality]}: {thing}", SOFT, _font(14))


def _drawn(
    sheet: Image.Image, draw: ImageDraw.ImageDraw, drawing: Drawing, x: int, y: int, *, judged: bool
) -> None:
    sheet.paste(enlarged(drawing.picture).resize((SIDE, SIDE), Image.Resampling.LANCZOS), (x, y))
    if judged:
        _tick(draw, x, y + SIDE + 6, drawing.right)
    color = SOFT if not judged else GOOD if drawing.right else BAD
    text = drawing.seen[0]
    draw.text((x + 18 * judged, y + SIDE + 4), _fitted(draw, text, SIDE - 18), color, _font(14))
