"""The report as one HTML page that needs nothing beside itself: no script, no request.

What is here becomes plain values; the templates beside this file put them into HTML.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from PIL import Image

from bindplug.files import write_whole
from bindplug_toyworld.commands import Prompt
from bindplug_toyworld.demo_files import Exhibit
from bindplug_toyworld.demo_results import TOP, Answer, DemoResults, Match, Sum
from bindplug_toyworld.detection_demo import STREET_PX, DetectedBox, DetectionResults, SearchedPicture
from bindplug_toyworld.generation_demo import GeneratedPicture
from bindplug_toyworld.report import pictures
from bindplug_toyworld.report.colors import AXES, INFERNO, MAGMA, PROMPTS, VIRIDIS, css_gradient, ink_on

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

TALLY = {
    "classified": "files named right",
    "matched": "files matched to their scene across sensors",
    "sums": f"sums whose scene is among the {TOP} nearest",
    "detected": "things detected that a file pointed at",
    "generated": "generated pictures of the right thing",
}
"""What each count of the results counts."""

WAVE = (70, 130, 190)
PLAYABLE_BYTES = 200_000
"""Larger sounds are drawn, not played, to keep the page small."""
TRACES = (("accelerometer", "m/s²"), ("gyroscope", "rad/s"))
TRACES_SIZE = (300, 150)
ICON_PX = 168
VIDEO_FRAMES = 20


def write_page(results: DemoResults, path: Path) -> Path:
    """Write the page; it appears whole or not at all."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("bindplug_toyworld.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("report.html").render(_values(results))
    write_whole(path, page.encode())
    return path


def _values(results: DemoResults) -> dict[str, Any]:
    exhibits = {exhibit.thing: exhibit for exhibit in results.exhibits}
    tally = [
        (TALLY[kind], right, count, results.card_averages.get(kind, ""))
        for kind, (right, count) in results.tally.items()
    ]
    generation = results.generation
    return {
        "results": results,
        "top": TOP,
        "tally": tally,
        "exhibits": [_exhibit(results, exhibit) for exhibit in results.exhibits],
        "matches": [_match(match) for match in results.matches],
        "sums": [_sum(result, exhibits) for result in results.sums],
        "detection": None if results.detection is None else _detection(results.detection, exhibits),
        "generation": None
        if generation is None
        else {
            "judge": generation.judge,
            "counts": generation.counts,
            "single": [(_source(p.prompts[0], exhibits), _generated(p)) for p in generation.single],
            "blend": ([_source(p, exhibits) for p in generation.blend.prompts], _generated(generation.blend)),
            "ends": [thing for thing, _ in generation.morph[0].prompts],
            "morph": [_generated(picture) for picture in generation.morph],
            "commands": generation.commands,
        },
    }


def data_address(content: bytes, media_type: str) -> str:
    """An address that holds the content itself."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def _image(picture: Image.Image, alt: str, kind: str = "WEBP") -> dict[str, Any]:
    source = data_address(pictures.encoded(picture, kind), f"image/{kind.lower()}")
    return {"src": source, "alt": alt, "width": picture.width, "height": picture.height}


def _number(value: float, places: int = 1) -> str:
    """A number with a true minus sign."""
    return f"{value:.{places}f}".replace("-", "−")


def _scale(stops: Any, low: str, high: str) -> dict[str, str]:
    return {"gradient": css_gradient(stops), "low": low, "high": high}


# -- the files of each scene ------------------------------------------------------------------------------------


def _exhibit(results: DemoResults, exhibit: Exhibit) -> dict[str, Any]:
    tiles = []
    for modality in ("image", "video", "depth", "thermal", "audio", "imu"):
        answer = results.answer(exhibit.thing, modality)
        if answer is not None:
            spread = {"imu": "two", "audio": "two" if "imu" in exhibit.files else "all"}.get(modality, "")
            tiles.append(
                {"spread": spread, "name": NAMES[modality]} | _tile(exhibit, modality) | _top(answer)
            )
    return {"classname": exhibit.classname, "caption": exhibit.caption, "tiles": tiles}


def _top(answer: Answer) -> dict[str, Any]:
    return {"right": answer.right, "answers": [(label, 100 * chance) for label, chance in answer.top]}


def _tile(exhibit: Exhibit, modality: str) -> dict[str, Any]:
    path, alt = exhibit.files[modality], f"{exhibit.classname}: {NAMES[modality]}"
    if modality == "image":
        picture = pictures.read_picture(path)
        note = f"{picture.width} × {picture.height}"
        return {"kind": "image", "image": _image(picture, alt), "note": note, "format": "PNG"}
    if modality == "video":
        return _video(path, alt)
    if modality == "depth":
        scaled = pictures.depth_picture(path)
        scale = _scale(VIRIDIS[::-1], f"{scaled.low:.1f} m", f"{scaled.high:.1f} m")
        return {
            "kind": "scaled",
            "image": _image(scaled.picture, alt),
            "scale": scale,
            "format": "PNG, 16 bits",
        }
    if modality == "thermal":
        scaled = pictures.thermal_picture(path)
        scale = _scale(INFERNO, f"{_number(scaled.low, 0)} °C", f"{_number(scaled.high, 0)} °C")
        return {
            "kind": "scaled",
            "image": _image(scaled.picture, alt),
            "scale": scale,
            "format": "TIFF, 16 bits",
        }
    return _sound(path, alt) if modality == "audio" else _motion(path, alt)


def _video(path: Path, alt: str) -> dict[str, Any]:
    frames = [
        frame.resize((ICON_PX, ICON_PX), Image.Resampling.LANCZOS)
        for frame in pictures.video_frames(path, VIDEO_FRAMES)
    ]
    moving = _image(frames[0], alt) | {"src": data_address(pictures.animation(frames, 200), "image/webp")}
    still = data_address(pictures.encoded(frames[0], "WEBP"), "image/webp")
    return {
        "kind": "video",
        "image": moving,
        "still": still,
        "note": f"{len(frames)} frames",
        "format": "MP4",
    }


def _sound(path: Path, alt: str) -> dict[str, Any]:
    samples, rate_hz = pictures.read_wave(path)
    low_hz, high_hz = pictures.SPECTROGRAM_HZ
    content = path.read_bytes()
    playable = len(content) <= PLAYABLE_BYTES
    return {
        "kind": "sound",
        "alt": alt,
        "wave": _image(pictures.waveform_picture(samples, 480, 56, WAVE), f"{alt}, waveform", "PNG"),
        "image": _image(pictures.spectrogram_picture(samples, rate_hz, 480, 150), f"{alt}, spectrogram"),
        "axis": (f"{high_hz / 1000:.0f} kHz", f"{low_hz:.0f} Hz"),
        "scale": _scale(MAGMA, f"−{pictures.DYNAMIC_RANGE_DB:.0f} dB", "0 dB"),
        "player": data_address(content, "audio/wav") if playable else "",
        "format": f"{len(samples) / rate_hz:.1f} s, WAV",
    }


def _motion(path: Path, alt: str) -> dict[str, Any]:
    motion, seconds = pictures.read_motion(path), pictures.motion_seconds(path)
    width, height = TRACES_SIZE
    lines, legend = [], []
    for block, (sensor, unit) in enumerate(TRACES):
        part = motion[3 * block : 3 * block + 3]
        for color, points in zip(AXES, pictures.motion_paths(part, width, height // 2), strict=True):
            lines.append((color, " ".join(f"{x:g},{y + block * height // 2:g}" for x, y in points)))
        low, high = _number(float(np.min(part))), _number(float(np.max(part)))
        legend.append(f"{sensor}, {low} to {high} {unit}")
    return {
        "kind": "motion",
        "alt": f"{alt}, accelerometer above, gyroscope below, three axes each",
        "width": width,
        "height": height,
        "lines": lines,
        "legend": legend,
        "axes": list(zip("xyz", AXES, strict=True)),
        "format": f"{seconds:.1f} s, CSV",
    }


# -- which files belong together ----------------------------------------------------------------------------------


def _match(match: Match) -> dict[str, Any]:
    values = [value for row in match.cosines for value in row]
    low, high = min(values), max(values)

    def cell(i: int, j: int, best: int) -> tuple[str, str, str]:
        value = match.cosines[i][j]
        strength = 0.04 + 0.76 * (value - low) / max(high - low, 1e-9)
        text = f"{value:.2f}".replace("0.", ".", 1).replace("-.00", ".00").replace("-", "−")
        mark = ("best" if i == j else "wrong") if j == best else ("missed" if i == j else "")
        return mark, f"{strength:.2f}", text

    rows = []
    for i, (thing, row) in enumerate(zip(match.things, match.cosines, strict=True)):
        best = max(range(len(row)), key=row.__getitem__)
        rows.append((thing, [cell(i, j, best) for j in range(len(row))]))
    return {
        "title": f"{NAMES[match.query]} → {NAMES[match.candidate]}",
        "right": sum(match.right),
        "trained": match.trained,
        "things": match.things,
        "rows": rows,
    }


def _sum(result: Sum, exhibits: Mapping[str, Exhibit]) -> dict[str, Any]:
    both = {result.picture, result.sound}
    return {
        "picture": _source((result.picture, "image"), exhibits),
        "sound": _source((result.sound, "audio"), exhibits),
        "things": (result.picture, result.sound),
        "right": result.right,
        "rank": result.rank,
        "nearest": [
            {
                "image": _image(pictures.read_picture(path), " and ".join(things)),
                "cosine": f"{cosine:.2f}",
                "hit": set(things) == both,
            }
            for path, things, cosine in result.nearest
        ],
    }


# -- detections and generated pictures ------------------------------------------------------------------------


def _source(prompt: Prompt, exhibits: Mapping[str, Exhibit]) -> dict[str, Any]:
    """A file that something was made from, as a picture; a sentence as itself."""
    thing, modality = prompt
    label = f"{NAMES[modality]}: {thing}"
    if modality == "text":
        return {"label": label, "sentence": exhibits[thing].caption, "image": None}
    picture = pictures.prompt_picture(exhibits[thing].files[modality], modality, ICON_PX)
    return {"label": label, "sentence": "", "image": _image(picture, label)}


def _detection(results: DetectionResults, exhibits: Mapping[str, Exhibit]) -> dict[str, Any]:
    prompts = [
        _source(prompt, exhibits) | {"color": bytes(color).hex(), "route": route}
        for prompt, route, color in zip(results.prompts, results.routes, PROMPTS, strict=True)
    ]
    return {
        "prompts": prompts,
        "pictures": [_searched_picture(results, picture) for picture in results.pictures],
        "counts": results.counts,
        "wrong": results.wrong,
        "commands": (results.command,),
        "side": STREET_PX,
    }


def _searched_picture(results: DetectionResults, searched: SearchedPicture) -> dict[str, Any]:
    names = [f"{NAMES[modality]} of {thing}" for thing, modality in results.prompts]
    things = ", ".join(searched.things)
    lines = [(box.right, f"{names[box.prompt]}, {box.score:.2f}") for box in searched.boxes]
    lines += [(False, f"{names[prompt]}: missed") for prompt in searched.missed]
    alt = f"{things}, with {len(searched.boxes)} boxes"
    return {
        "image": _image(pictures.read_picture(searched.picture), alt),
        "things": things,
        "boxes": [_box(box) for box in searched.boxes],
        "lines": lines,
    }


def _box(box: DetectedBox) -> dict[str, Any]:
    x1, y1, x2, y2 = box.box
    color = PROMPTS[box.prompt]
    return {
        "x": x1,
        "y": y1,
        "width": x2 - x1,
        "height": y2 - y1,
        "top": max(y1 - 14, 0),
        "color": bytes(color).hex(),
        "ink": bytes(ink_on(color)).hex(),
        "score": f"{box.score:.2f}",
    }


def _generated(generated: GeneratedPicture) -> dict[str, Any]:
    prompts = " and ".join(f"{NAMES[modality]} of {thing}" for thing, modality in generated.prompts)
    several = len(generated.prompts) > 1
    return {
        "image": _image(pictures.enlarged(generated.picture), f"generated from {prompts}"),
        "label": " or ".join(generated.judged_as) if several else generated.judged_as[0],
        "right": generated.right,
    }
