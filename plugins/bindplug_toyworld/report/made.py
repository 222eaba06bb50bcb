"""What a detector found and a generator made; a line that says how to get them where they are absent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path

from PIL import Image

from bindplug_toyworld.commands import Asked
from bindplug_toyworld.drawing import Drawing
from bindplug_toyworld.report import pictures
from bindplug_toyworld.report.colors import PROMPTS, ink_on
from bindplug_toyworld.report.markup import NAMES, img, mark, read_picture
from bindplug_toyworld.searching import STREET_PX, Search, Searched
from bindplug_toyworld.showcase import Exhibit, Showcase

ICON_PX = 168
ENLARGED_PX = 192
"""Generated pictures are enlarged to at least this side, smoothly, rather than by the browser."""

Files = Mapping[str, Exhibit]


def search_section(show: Showcase) -> Iterator[str]:
    """Pictures with boxes, by prompts of four kinds."""
    yield '<section aria-labelledby="found"><h2 id="found">Point at a file, find the thing</h2>'
    yield (
        "<p>A detector whose classes are words is prompted by recordings of other scenes. It works in the space of "
        "another CLIP; a bridge leads there. Every picture is searched for all four, and holds two of them.</p>"
    )
    if show.search is None:
        yield _absent(show, "search")
    else:
        yield from _search(show.search, {exhibit.thing: exhibit for exhibit in show.exhibits})
    yield "</section>"


def gallery_section(show: Showcase) -> Iterator[str]:
    """Pictures made from files, from a sum, and on the way between two sounds."""
    yield '<section aria-labelledby="drawn"><h2 id="drawn">Pictures made from sounds, depth, heat and motion</h2>'
    yield (
        "<p>A diffusion model that was conditioned on embeddings of pictures takes those of other files. All start "
        "from the same noise.</p>"
    )
    if show.gallery is None:
        yield _absent(show, "gallery")
        yield "</section>"
        return
    gallery, by_thing = show.gallery, {exhibit.thing: exhibit for exhibit in show.exhibits}
    right, count = gallery.right
    yield (
        f"<p class=soft>Under each picture: what <code>{escape(gallery.judge)}</code>, another CLIP that took no part, "
        f"sees in it. {right} of {count} are right.</p>"
    )
    yield '<div class="card"><h3>One file each</h3><div class="pairs">'
    for drawing in gallery.single:
        yield f'<div class="strip">{_source(drawing.asked[0], by_thing)}{_sign("→")}{_drawn(drawing)}</div>'
    yield "</div></div>"
    yield '<div class="card sum"><h3>A picture plus a sound</h3><div class="strip">'
    first, second = (_source(asked, by_thing) for asked in gallery.blend.asked)
    yield f"{first}{_sign('+')}{second}{_sign('=')}{_drawn(gallery.blend, judged=False)}</div>"
    yield (
        "<p class=soft>The bundled painter knows one thing a picture: of most sums it shows one of the two, often in "
        "the colors and before the place of the other.</p></div>"
    )
    (start, _), (end, _) = gallery.morph[0].asked
    yield f'<div class="card sum"><h3>From the sound of a {escape(start)} to that of a {escape(end)}</h3>'
    yield '<div class="strip">'
    yield from (_drawn(drawing, judged=False) for drawing in gallery.morph)
    yield f"</div></div>{_commands(gallery.commands)}</section>"


def prompt_picture(asked: Asked, exhibit: Exhibit, side: int) -> Image.Image:
    """A file as a square picture; a sentence's scene has none and is the caption's matter."""
    path, modality = exhibit.files[asked[1]], asked[1]
    if modality == "audio":
        samples, rate_hz = pictures.read_wave(path)
        return pictures.spectrogram_picture(samples, rate_hz, side, side)
    if modality == "imu":
        return pictures.motion_picture(pictures.read_motion(path), side, side, (255, 255, 255))
    drawn: Image.Image
    if modality == "depth":
        drawn = pictures.depth_picture(path).picture
    elif modality == "thermal":
        drawn = pictures.thermal_picture(path).picture
    else:
        drawn = read_picture(path)
    return drawn.resize((side, side), Image.Resampling.LANCZOS)


def enlarged(path: Path) -> Image.Image:
    """A generated picture at no less than :data:`ENLARGED_PX`."""
    picture = read_picture(path)
    factor = max(1.0, ENLARGED_PX / max(picture.size))
    size = (round(picture.width * factor), round(picture.height * factor))
    return picture.resize(size, Image.Resampling.BICUBIC)


def _search(search: Search, by_thing: Files) -> Iterator[str]:
    yield '<div class="card"><div class="strip legend-strip">'
    for number, ((thing, modality), route) in enumerate(zip(search.prompts, search.routes, strict=True)):
        color = bytes(PROMPTS[number]).hex()
        picture = prompt_picture((thing, modality), by_thing[thing], ICON_PX)
        what = f"{NAMES[modality]}: {thing}"
        yield (
            f'<figure class="prompt" style="--c:#{color}">{img(picture, f"prompt, {what}")}'
            f"<figcaption>{escape(what)}<br>route: {escape(route)}</figcaption></figure>"
        )
    yield '</div><div class="streets">'
    for searched in search.pictures:
        yield _street(search, searched)
    right, count = search.found
    boxes = "no box" if not search.wrong else f"{search.wrong} box{'es' * (search.wrong > 1)}"
    yield (
        f"</div><p class=soft>{right} of {count} things found, and {boxes} on anything else. Scores are above 0.3, the "
        f"default.</p></div>{_commands((search.command,))}"
    )


def _street(search: Search, searched: Searched) -> str:
    boxes, told = [], []
    for spot in searched.spots:
        thing, modality = search.prompts[spot.prompt]
        boxes.append(_box(spot.box, PROMPTS[spot.prompt], f"{spot.score:.2f}"))
        told.append(f"{mark(spot.right)} {escape(NAMES[modality])} of {escape(thing)}, {spot.score:.2f}")
    for prompt in searched.missed:
        thing, modality = search.prompts[prompt]
        told.append(f"{mark(False)} {escape(NAMES[modality])} of {escape(thing)}: missed")
    holds = ", ".join(searched.things)
    items = "".join(f"<li>{line}</li>" for line in told)
    overlay = f'<svg viewBox="0 0 {STREET_PX} {STREET_PX}" aria-hidden="true">{"".join(boxes)}</svg>'
    alt = f"{holds}, with {len(searched.spots)} boxes"
    return (
        f'<figure><div class="plot">{img(read_picture(searched.picture), alt)}{overlay}</div>'
        f'<figcaption>holds {escape(holds)}</figcaption><ul class="told">{items}</ul></figure>'
    )


def _box(corners: tuple[float, ...], color: tuple[int, int, int], score: str) -> str:
    x1, y1, x2, y2 = corners
    fill, top = bytes(color).hex(), max(y1 - 14, 0)
    ink = bytes(ink_on(color)).hex()
    return (
        f'<rect x="{x1:.1f}" y="{y1:.1f}" width="{x2 - x1:.1f}" height="{y2 - y1:.1f}" fill="none" '
        f'stroke="#{fill}" stroke-width="3"/>'
        f'<rect x="{x1 - 1.5:.1f}" y="{top:.1f}" width="29" height="14" fill="#{fill}"/>'
        f'<text x="{x1 + 2:.1f}" y="{top + 11:.1f}" fill="#{ink}">{score}</text>'
    )


def _source(asked: Asked, by_thing: Files) -> str:
    thing, modality = asked
    if modality == "text":
        said = f"<blockquote>“{escape(by_thing[thing].caption)}”</blockquote>"
        return f"<figure>{said}<figcaption>sentence: {escape(thing)}</figcaption></figure>"
    what = f"{NAMES[modality]}: {thing}"
    picture = prompt_picture(asked, by_thing[thing], ICON_PX)
    return f"<figure>{img(picture, what)}<figcaption>{escape(what)}</figcaption></figure>"


def _drawn(drawing: Drawing, judged: bool = True) -> str:
    what = " and ".join(f"{NAMES[modality]} of {thing}" for thing, modality in drawing.asked)
    names = " or ".join(drawing.seen) if len(drawing.asked) > 1 else drawing.seen[0]
    sign = f"{mark(drawing.right)} " if judged else ""
    return (
        f"<figure>{img(enlarged(drawing.picture), f'generated from {what}')}"
        f"<figcaption>{sign}{escape(names)}</figcaption></figure>"
    )


def _sign(sign: str) -> str:
    return f'<span class="sign">{sign}</span>'


def _commands(commands: tuple[str, ...]) -> str:
    lines = "\n".join(escape(command) for command in commands)
    return f"<details><summary>The same from a terminal, in this page's folder</summary><pre>{lines}</pre></details>"


def _absent(show: Showcase, what: str) -> str:
    reason = show.absent.get(what, "it was not asked for")
    return f'<p class="card absent">Not here: {escape(reason)}</p>'
