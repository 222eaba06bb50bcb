"""Small pictures of files: of two pixels a character in a terminal, and as data of a page."""

from __future__ import annotations

import base64
import io
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image
    from rich.text import Text

PICTURED = ("image", "depth", "thermal")
"""Kinds that have a picture."""

COLORS = {
    "depth": ((68, 1, 84), (33, 145, 140), (253, 231, 37)),
    "thermal": ((10, 5, 40), (190, 40, 80), (255, 230, 120)),
}
"""For maps of numbers, colors of their least, middle and greatest value."""

DRAFT_SIDE = 512
"""Pixels to which a large JPEG is decoded at least."""


def thumbnail(path: str, kind: str, side: int) -> Image | None:
    """A picture of a file, of at most ``side`` pixels a side; None if it has none or cannot be read.

    The numbers of depth and thermal maps are shown in colors, between their 2nd and 98th percentile.
    """
    if kind not in PICTURED:
        return None
    import PIL.Image
    from PIL import ImageOps

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with PIL.Image.open(path) as file:
                file.draft("RGB", (DRAFT_SIDE, DRAFT_SIDE))
                if kind in COLORS and len(file.getbands()) == 1:
                    picture = _colored(np.asarray(file, dtype=np.float32), kind)
                else:
                    picture = ImageOps.exif_transpose(file).convert("RGB")
    except (
        Exception
    ):  # a picture beside a result is no reason to end a search, whatever a file makes Pillow raise
        return None
    picture.thumbnail((side, side))
    return picture


def _colored(values: np.ndarray, kind: str) -> Image:
    import PIL.Image

    finite = values[np.isfinite(values)]
    low, high = np.percentile(finite, (2, 98)) if finite.size else (0.0, 1.0)
    share = np.clip((np.nan_to_num(values) - low) / max(high - low, 1e-12), 0, 1)  # (H, W)
    stops = np.array(COLORS[kind], dtype=np.float32)  # (3, 3)
    channels = [np.interp(share, (0.0, 0.5, 1.0), stops[:, channel]) for channel in range(3)]
    return PIL.Image.fromarray(np.stack(channels, axis=-1).astype(np.uint8))


def as_blocks(picture: Image, width: int) -> Text:
    """A picture of ``width`` characters, each an upper and a lower pixel."""
    from rich.text import Text

    height = max(2, round(picture.height * width / picture.width / 2) * 2)
    pixels = np.asarray(picture.convert("RGB").resize((width, height)))  # (H, W, 3)
    text = Text()
    for upper, lower in zip(pixels[0::2], pixels[1::2], strict=True):
        for above, below in zip(upper.tolist(), lower.tolist(), strict=True):
            text.append("▀", style=f"{_rgb(above)} on {_rgb(below)}")
        text.append("\n")
    text.right_crop(1)
    return text


def _rgb(color: list[int]) -> str:
    return f"rgb({color[0]},{color[1]},{color[2]})"


def as_data_url(picture: Any) -> str:
    """A picture as the source of an ``<img>``."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
