"""The report as one HTML page that needs nothing beside itself: no script, no request."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from html import escape
from importlib.resources import files
from pathlib import Path

from PIL import Image

from bindplug_toyworld.report import pictures
from bindplug_toyworld.report.colours import AXES, INFERNO, VIRIDIS, css_gradient
from bindplug_toyworld.showcase import TOP, Answer, Exhibit, Match, Showcase, Sum

NAMES = {
    "image": "picture",
    "video": "video",
    "audio": "sound",
    "depth": "depth",
    "thermal": "heat",
    "imu": "motion",
    "text": "sentence",
}
"""How the report calls a modality."""

WAVE = (70, 130, 190)
HEAT = "214,96,28"
NO_SCALE = '<div class="scale"></div>'
"""Keeps captions of pictures level with those that have a colour scale."""


def write_page(show: Showcase, path: Path) -> Path:
    """Write the page; it appears whole or not at all."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text("\n".join(_page(show)), encoding="utf-8")
    temporary.replace(path)
    return path


def _page(show: Showcase) -> Iterator[str]:
    style = files("bindplug_toyworld.report").joinpath("style.css").read_text(encoding="utf-8")
    yield '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield '<link rel="icon" href="data:,">'
    yield f"<title>bindplug demo: {escape(show.model)}</title><style>{style}</style></head><body><main>"
    yield from _head(show)
    yield "<h2>What the sensors recorded, and what the model calls it</h2>"
    yield (
        "<p>Each scene was written as real files, and every file was read back and named by zero-shot "
        "classification: its embedding against the words for twenty things (eight, for motion). The model "
        "never saw these scenes.</p>"
    )
    yield '<div class="exhibits">'
    for exhibit in show.exhibits:
        yield from _exhibit(show, exhibit)
    yield "</div>"
    yield "<h2>Which files belong together</h2>"
    yield (
        "<p>Cosine similarity between files of one kind (rows) and files of another (columns). The outlined "
        "cell is the nearest in its row: <b class=good>green</b> is the same scene, <b class=bad>red</b> another "
        "one. Only pictures were ever paired with anything in training, so every other alignment emerged.</p>"
    )
    yield '<div class="maps">'
    for match in show.matches:
        yield from _map(match)
    yield "</div>"
    yield "<h2>Adding a sound to a picture</h2>"
    yield (
        f"<p>Embeddings can be added. <code>image(a) + audio(b)</code> looks for scenes that hold both things among "
        f"pictures of every pair and of each thing alone; here are the {TOP} nearest.</p>"
    )
    for result in show.sums:
        yield from _sum(show, result)
    yield from _foot(show)
    yield "</main></body></html>"


def _head(show: Showcase) -> Iterator[str]:
    yield "<h1>Seven kinds of data, one space</h1>"
    yield (
        f"<p class=soft>Pictures, video, sound, depth, heat, motion and sentences, embedded by "
        f"<code>{escape(show.model)}</code> and compared as if they were one kind.</p>"
    )
    labels = {
        "classified": "files named right",
        "matched": "files matched to their scene across sensors",
        "sums": f"sums whose scene is among the {TOP} nearest",
    }
    yield '<dl class="tally">'
    for kind, (right, count) in show.tally.items():
        yield f"<div><dt>{labels[kind]}</dt><dd>{right} <small>of {count}</small></dd></div>"
    yield "</dl>"


def _exhibit(show: Showcase, exhibit: Exhibit) -> Iterator[str]:
    yield f'<section class="card"><h3>{escape(exhibit.classname)}</h3><p class=soft>“{escape(exhibit.caption)}”</p>'
    yield '<div class="tiles">'
    for modality in ("image", "video", "depth", "thermal", "audio", "imu"):
        answer = show.answer(exhibit.thing, modality)
        if answer is not None:
            spread = {"imu": "two", "audio": "two" if "imu" in exhibit.files else "all"}.get(modality, "")
            yield f'<figure class="{spread}">{_media(exhibit, modality)}{_top(answer)}</figure>'
    yield "</div></section>"


def _media(exhibit: Exhibit, modality: str) -> str:
    path = exhibit.files[modality]
    name, alt = NAMES[modality], escape(f"{exhibit.classname}: {NAMES[modality]}", quote=True)
    if modality == "image":
        return _img(_picture(path), alt) + NO_SCALE + _caption(name, "PNG")
    if modality == "video":
        return _video(path, alt) + NO_SCALE + _caption(name, "MP4")
    if modality == "depth":
        scaled = pictures.depth_picture(path)
        span = f"{scaled.low:.1f}–{scaled.high:.1f} m"
        return _img(scaled.picture, alt) + _scale(VIRIDIS[::-1]) + _caption(name, span)
    if modality == "thermal":
        scaled = pictures.thermal_picture(path)
        return (
            _img(scaled.picture, alt)
            + _scale(INFERNO)
            + _caption(name, f"{scaled.low:.0f}–{scaled.high:.0f} °C")
        )
    if modality == "audio":
        return _sound(path, alt, name)
    return _motion(path, alt) + _caption(name, "m/s², rad/s; x y z in red, green, blue")


def _picture(path: Path) -> Image.Image:
    with Image.open(path) as file:
        return file.convert("RGB")


def _img(picture: Image.Image, alt: str, kind: str = "WEBP", css: str = "") -> str:
    return f'<img class="{css}" alt="{alt}" src="{_data(pictures.encoded(picture, kind), f"image/{kind.lower()}")}">'


def _data(content: bytes, media_type: str) -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def _video(path: Path, alt: str) -> str:
    frames = [frame.resize((168, 168), Image.Resampling.LANCZOS) for frame in pictures.video_frames(path, 20)]
    still = _data(pictures.encoded(frames[0], "WEBP"), "image/webp")
    moving = _data(pictures.animation(frames, 200), "image/webp")
    return (
        f'<picture><source media="(prefers-reduced-motion: reduce)" srcset="{still}">'
        f'<img alt="{alt}" src="{moving}"></picture>'
    )


def _sound(path: Path, alt: str, name: str) -> str:
    samples, rate_hz = pictures.read_wave(path)
    wave = _img(pictures.waveform_picture(samples, 480, 56, WAVE), f"{alt}, waveform", "PNG", "wave")
    spectrogram = _img(
        pictures.spectrogram_picture(samples, rate_hz, 480, 150), f"{alt}, spectrogram", css="wide"
    )
    player = f'<audio controls preload="metadata" src="{_data(path.read_bytes(), "audio/wav")}"></audio>'
    seconds = len(samples) / rate_hz
    return wave + spectrogram + player + _caption(name, f"{seconds:.1f} s, up to {rate_hz / 2000:.0f} kHz")


def _motion(path: Path, alt: str) -> str:
    motion = pictures.read_motion(path)
    width, height = 300, 150
    lines = []
    for block in range(2):
        for colour, points in zip(
            AXES, pictures.motion_paths(motion[3 * block : 3 * block + 3], width, height // 2), strict=True
        ):
            drawn = " ".join(f"{x:g},{y + block * height // 2:g}" for x, y in points)
            lines.append(f'<polyline points="{drawn}" fill="none" stroke="rgb{colour}" stroke-width="1"/>')
    rule = f'<path d="M0 {height // 2}H{width}" stroke="currentColor" stroke-opacity=".25"/>'
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{alt}">{"".join(lines)}{rule}</svg>'


def _scale(stops: tuple[tuple[int, int, int], ...]) -> str:
    return f'<div class="scale" style="background:{css_gradient(stops)}"></div>'


def _caption(name: str, note: str) -> str:
    return f"<figcaption><b>{name}</b><span>{escape(note)}</span></figcaption>"


def _top(answer: Answer) -> str:
    items = []
    for place, (label, chance) in enumerate(answer.top):
        mark = ""
        if place == 0:
            mark = '<b class="good">✓</b> ' if answer.right else '<b class="bad">✗</b> '
        percent = f"{chance * 100:.0f} %"
        items.append(
            f'<li style="--p:{chance * 100:.1f}%"><span>{mark}{escape(label)}</span><span>{percent}</span></li>'
        )
    return f'<ol class="top">{"".join(items)}</ol>'


def _map(match: Match) -> Iterator[str]:
    flat = [value for row in match.cosines for value in row]
    low, high = min(flat), max(flat)
    right = sum(match.right)
    how = "trained on such pairs" if match.trained else "never trained together"
    yield '<div class="card"><table>'
    yield (
        f"<caption>{NAMES[match.query]} → {NAMES[match.candidate]} <span>{right} of {len(match.right)} right · "
        f'<i class="chip">{how}</i></span></caption>'
    )
    heads = "".join(f'<th scope="col"><span>{escape(thing)}</span></th>' for thing in match.things)
    yield f"<thead><tr><th></th>{heads}</tr></thead><tbody>"
    for i, (thing, row) in enumerate(zip(match.things, match.cosines, strict=True)):
        best = max(range(len(row)), key=row.__getitem__)
        cells = "".join(_cell(value, low, high, _mark(i, j, best)) for j, value in enumerate(row))
        yield f'<tr><th scope="row">{escape(thing)}</th>{cells}</tr>'
    yield "</tbody></table></div>"


def _mark(row: int, column: int, best: int) -> str:
    if column == best:
        return "best" if column == row else "wrong"
    return "missed" if column == row else ""


def _cell(value: float, low: float, high: float, mark: str) -> str:
    strength = 0.04 + 0.76 * (value - low) / max(high - low, 1e-9)
    shown = f"{value:.2f}".replace("0.", ".", 1).replace("-.00", ".00")
    return f'<td class="{mark}" style="background:rgba({HEAT},{strength:.2f})">{shown}</td>'


def _sum(show: Showcase, result: Sum) -> Iterator[str]:
    by_thing = {exhibit.thing: exhibit for exhibit in show.exhibits}
    picture = _picture(by_thing[result.seen].files["image"])
    samples, rate_hz = pictures.read_wave(by_thing[result.heard].files["audio"])
    spectrogram = pictures.spectrogram_picture(samples, rate_hz, 224, 224)
    verdict = (
        f"found at place {result.rank}"
        if result.right
        else f"not among the {TOP} nearest (place {result.rank})"
    )
    css = "good" if result.right else "bad"
    seen, heard = escape(result.seen), escape(result.heard)
    yield f'<div class="card sum"><h3>{seen} + {heard}: <span class="{css}">{verdict}</span></h3>'
    yield '<div class="strip">'
    yield _operand(picture, f"picture: {seen}")
    yield '<span class="sign">+</span>'
    yield _operand(spectrogram, f"sound: {heard}")
    yield '<span class="sign break">=</span>'
    for path, things, cosine in result.found:
        hit = "hit" if set(things) == {result.seen, result.heard} else ""
        names = " and ".join(things)
        yield (
            f'<figure class="{hit}">{_img(_picture(path), escape(names, quote=True))}'
            f"<figcaption>{escape(names)} · {cosine:.2f}</figcaption></figure>"
        )
    yield "</div></div>"


def _operand(picture: Image.Image, what: str) -> str:
    return f"<figure>{_img(picture, what)}<figcaption>{what}</figcaption></figure>"


def _foot(show: Showcase) -> Iterator[str]:
    yield (
        f"<footer><p>Made by <code>bindplug demo --seed {show.seed}</code> with <code>{escape(show.model)}</code> in "
        f"{escape(show.space)}, in {show.seconds:.0f} s. Another seed draws other scenes. The scenes come from the "
        f"procedural toy world that the bundled model was trained on; evaluation scenes never occur in training. "
        f"The files themselves lie in the folder <code>files</code> beside this page.</p></footer>"
    )
