"""Small pieces of the page: pictures as data, color scales, captions."""

from __future__ import annotations

import base64
from html import escape
from pathlib import Path

from PIL import Image

from bindplug_toyworld.report import pictures
from bindplug_toyworld.report.colors import Stops, css_gradient

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


def read_picture(path: Path) -> Image.Image:
    """A picture file in RGB."""
    with Image.open(path) as file:
        return file.convert("RGB")


def img(picture: Image.Image, alt: str, kind: str = "WEBP", css: str = "") -> str:
    """A picture within the page; ``alt`` is plain text."""
    source = data_address(pictures.encoded(picture, kind), f"image/{kind.lower()}")
    style = f' class="{css}"' if css else ""
    size = f'width="{picture.width}" height="{picture.height}"'
    return f'<img{style} alt="{escape(alt, quote=True)}" {size} src="{source}">'


def data_address(content: bytes, media_type: str) -> str:
    """An address that holds the content itself."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def scale(stops: Stops, low: str, high: str) -> str:
    """A color map with the values at its ends."""
    bar = f'<i style="background:{css_gradient(stops)}"></i>'
    return f'<div class="scale"><span>{escape(low)}</span>{bar}<span>{escape(high)}</span></div>'


def note(text: str) -> str:
    """A line level with other pictures' scales."""
    return f'<div class="scale"><span>{escape(text)}</span></div>'


def caption(name: str, further: str = "") -> str:
    """A figure's name and what else is to say."""
    return f"<figcaption><b>{escape(name)}</b><span>{escape(further)}</span></figcaption>"


def mark(right: bool) -> str:
    """A tick or a cross, with a word for those who do not see it."""
    css, sign, word = ("good", "✓", "right") if right else ("bad", "✗", "wrong")
    return f'<b class="{css}" role="img" aria-label="{word}">{sign}</b>'


def number(value: float, places: int = 1) -> str:
    """A number with a true minus sign."""
    return f"{value:.{places}f}".replace("-", "−")
