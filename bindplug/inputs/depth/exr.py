"""Reads depth channels of OpenEXR files by name."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from bindplug.errors import InputError
from bindplug.inputs.decoder_messages import decoder_messages
from bindplug.inputs.limits import MOST_PIXELS, check_limit
from bindplug.inputs.optional import import_optional
from bindplug.inputs.source import describe_source, open_source, peek

EXR_MAGIC = b"\x76\x2f\x31\x01"
DEPTH_LAYERS = ("depth", "z", "zdepth", "depthz", "zbuffer", "worlddepth", "scenedepth", "distance", "viewz")
OTHER_Z_LAYERS = ("mist", "normal", "position", "vector", "uv", "motion", "velocity", "shadow", "denoising")
"""Layers of Blender and others whose channel ``Z`` is not a depth: mist is 0 to 1, the rest are vectors."""
EXPECTED = "an EXR with a depth channel"


@dataclass(frozen=True)
class _Channel:
    """A channel, its name split at the dots, and its part's number."""

    name: str
    part: int
    key: str

    @property
    def last(self) -> str:
        return self.name.rpartition(".")[2].lower()

    @property
    def prefix(self) -> str:
        return self.name.rpartition(".")[0]

    @property
    def layer(self) -> str:
        return self.prefix.rpartition(".")[2].lower().replace("_", "").replace(" ", "")


def is_exr(source: object) -> bool:
    """Whether ``source`` begins as OpenEXR files do."""
    return peek(source, len(EXR_MAGIC)) == EXR_MAGIC


def read_exr(source: object, channel: str | None = None) -> tuple[np.ndarray, np.ndarray | None]:
    """The depth channel of an EXR file as stored.

    Args:
        source: a path, bytes or file object.
        channel: name of the channel; by default ``Z``, ``depth.Z``, ``*.Depth.Z``, ``V``, ``Y`` or ``R`` where
            that is unambiguous.

    Returns:
        Values (H, W) over the display window, float32, float16 or uint32; and which of them lie inside the
        data window, None where all do.

    Raises:
        InputError: it is damaged, too large, holds color or deep pixels, or several channels may be meant.
        MissingDependency: OpenEXR is absent.
    """
    openexr = import_optional("OpenEXR", "bindplug.inputs.depth", "depth")
    name = describe_source(source)
    with open_source(source, EXPECTED) as file, decoder_messages(), _unprinted() as messages:
        start = file.tell()
        try:
            header = openexr.File(file, separate_channels=True, header_only=True)
            for part in header.parts:
                window = _window(part, "dataWindow")
                _check_part(part, window, name)
            file.seek(start)
            picture = openexr.File(file, separate_channels=True)
        except InputError:
            raise
        except Exception as error:  # the bindings raise RuntimeError, TypeError and others
            raise InputError(name, found=f"an EXR that cannot be read ({error})", expected=EXPECTED) from None
    if len(picture.parts) < len(
        header.parts
    ):  # a part whose pixels are damaged is left out with a printed line
        reason = " ".join("".join(messages).split()) or "a part is missing"
        raise InputError(name, found=f"an EXR that cannot be read ({reason})", expected=EXPECTED)
    channels = _channels_of(picture)
    depth = (
        _find_channel(channels, channel, name)
        if channel is not None
        else _depth_channel(channels, picture, name)
    )
    part = picture.parts[depth.part]
    return _over_display(part, np.asarray(part.channels[depth.key].pixels), name)


class _ThreadFilter:
    """Stands in for ``sys.stdout``; collects what some threads write and passes on what all others do."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.texts: dict[int, list[str]] = {}

    def write(self, text: str) -> int:
        texts = self.texts.get(threading.get_ident())
        if texts is None:
            return int(self.stream.write(text))
        texts.append(text)
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


_print_lock = threading.Lock()
_filter: _ThreadFilter | None = None


@contextmanager
def _unprinted() -> Iterator[list[str]]:
    """Collect what OpenEXR's bindings print to ``sys.stdout`` in this thread: it would mix with a command's output."""
    global _filter
    me = threading.get_ident()
    with _print_lock:
        if _filter is None:
            _filter = _ThreadFilter(sys.stdout)
            sys.stdout = _filter
        texts = _filter.texts[me] = []
    try:
        yield texts
    finally:
        with _print_lock:
            del _filter.texts[me]
            if not _filter.texts:
                if sys.stdout is _filter:
                    sys.stdout = _filter.stream
                _filter = None


def _check_part(part: Any, window: tuple[int, int, int, int], name: str) -> None:
    left, top, right, bottom = window
    width, height = right - left + 1, bottom - top + 1
    check_limit(name, max(width, 0) * max(height, 0), MOST_PIXELS, "pixels in an EXR")
    if "deep" in str(part.header.get("type", "")).lower():
        remedy = "Flatten it first: one depth a pixel."
        raise InputError(name, found="an EXR of deep pixels", expected=EXPECTED, remedy=remedy)


def _channels_of(picture: Any) -> list[_Channel]:
    channels = []
    several = len(picture.parts) > 1
    for number, part in enumerate(picture.parts):
        part_name = str(part.header.get("name", "") or "")
        for key in part.channels:
            whole = key
            if several and part_name and not key.lower().startswith(part_name.lower()):
                whole = f"{part_name}.{key}"
            channels.append(_Channel(whole, number, key))
    return channels


def _find_channel(channels: list[_Channel], channel_name: str, name: str) -> _Channel:
    matches = [c for c in channels if channel_name in (c.name, c.key)] or [
        c for c in channels if channel_name.lower() in (c.name.lower(), c.key.lower())
    ]
    if len(matches) == 1:
        return matches[0]
    detail = (
        f"an EXR with {'several channels' if matches else 'no channel'} {channel_name!r} ({_list(channels)})"
    )
    raise InputError(name, found=detail, expected="one of its channels by its whole name")


def _depth_channel(channels: list[_Channel], picture: Any, name: str) -> _Channel:
    groups = (
        [c for c in channels if c.last in ("z", "depth") and not c.prefix and not _is_vector(c, channels)],
        [c for c in channels if c.last in ("z", "v", "y", "depth") and c.layer in DEPTH_LAYERS],
        [
            c
            for c in channels
            if c.last == "z" and c.layer not in OTHER_Z_LAYERS and not _is_vector(c, channels)
        ],
        [
            c
            for c in channels
            if c.last == "v" and c.layer not in OTHER_Z_LAYERS and not _has(c, channels, "u")
        ],
        [c for c in channels if c.last == "y" and not _has(c, channels, "x", "ry", "by")],
        _grey_groups(channels, picture),
    )
    for group in groups:
        if len(group) == 1:
            return group[0]
        if group:
            detail = f"an EXR with several channels that may be depth ({_list(group)})"
            raise InputError(
                name,
                found=detail,
                expected="one depth channel",
                remedy=f"Say channel={group[0].name!r} or another.",
            )
    detail = f"an EXR without a depth channel ({_list(channels)})"
    if {c.last for c in channels} >= {"r", "g", "b"}:
        detail = f"an EXR in color ({_list(channels)}); false colors cannot be undone"
    remedy = "Export the depth itself; or say channel=, if one of these is depth."
    raise InputError(name, found=detail, expected=EXPECTED, remedy=remedy)


def _grey_groups(channels: list[_Channel], picture: Any) -> list[_Channel]:
    """The red channels of layers that have no green and blue, or the same values in them."""

    def pixels(channel: _Channel) -> np.ndarray:
        return np.asarray(picture.parts[channel.part].channels[channel.key].pixels)

    grey = []
    for red in (c for c in channels if c.last == "r"):
        others = [
            c for c in channels if c.prefix == red.prefix and c.part == red.part and c.last in ("g", "b")
        ]
        if all(np.array_equal(pixels(red), pixels(other), equal_nan=True) for other in others):
            grey.append(red)
    depth = [c for c in grey if c.layer in DEPTH_LAYERS or any(word in c.layer for word in ("depth", "zbuf"))]
    return depth or grey


def _is_vector(channel: _Channel, channels: list[_Channel]) -> bool:
    return _has(channel, channels, "x") and _has(channel, channels, "y")


def _has(channel: _Channel, channels: list[_Channel], *last: str) -> bool:
    return any(c.prefix == channel.prefix and c.part == channel.part and c.last in last for c in channels)


def _list(channels: list[_Channel]) -> str:
    names = ", ".join(c.name for c in channels[:12])
    return names if len(channels) <= 12 else f"{names}, and {len(channels) - 12} more"


def _window(part: Any, key: str) -> tuple[int, int, int, int]:
    (left, top), (right, bottom) = part.header[key]
    return int(left), int(top), int(right), int(bottom)


def _over_display(part: Any, values: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray | None]:
    """``values`` of the data window laid over the display window, which is what other pictures of it show."""
    left, top, right, bottom = _window(part, "dataWindow")
    if values.shape != (bottom - top + 1, right - left + 1):
        detail = f"a channel of shape {values.shape}, subsampled or of several values a pixel"
        raise InputError(name, found=detail, expected="one value for each pixel")
    display = _window(part, "displayWindow")
    if display == (left, top, right, bottom):
        return values, None
    width, height = display[2] - display[0] + 1, display[3] - display[1] + 1
    check_limit(name, width * height, MOST_PIXELS, "pixels in an EXR")
    columns = slice(max(left, display[0]), min(right, display[2]) + 1)
    rows = slice(max(top, display[1]), min(bottom, display[3]) + 1)
    if columns.start >= columns.stop or rows.start >= rows.stop:
        raise InputError(name, found="an EXR whose data lies outside its display", expected=EXPECTED)
    canvas, inside = np.zeros((height, width), values.dtype), np.zeros((height, width), bool)
    place = np.s_[
        rows.start - display[1] : rows.stop - display[1],
        columns.start - display[0] : columns.stop - display[0],
    ]
    canvas[place] = values[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    inside[place] = True
    return canvas, inside
