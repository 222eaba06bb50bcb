"""The modality of files whose names tell it: formats that hold sounds, films or pictures and nothing else.

A PNG may be a picture, a depth map or a thermal picture, a TIFF, an array and a CSV file likewise: these are never
guessed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import PurePosixPath

from bindplug.errors import InputError
from bindplug.modality import Modality

_AUDIO, _VIDEO, _IMAGE = Modality.AUDIO.value, Modality.VIDEO.value, Modality.IMAGE.value

KINDS = {
    **dict.fromkeys((".aac", ".aif", ".aiff", ".flac", ".m4a", ".mp3", ".oga", ".opus", ".wav"), _AUDIO),
    **dict.fromkeys((".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg"), _VIDEO),
    **dict.fromkeys((".avif", ".gif", ".heic", ".heif", ".jpeg", ".jpg", ".webp"), _IMAGE),
}
"""Suffixes and the one modality of their files."""

SHARED = {
    ".png": "pictures, depth maps and thermal pictures",
    ".bmp": "pictures and thermal pictures",
    **dict.fromkeys((".tif", ".tiff"), "pictures, depth maps and thermal pictures"),
    **dict.fromkeys((".npy", ".npz"), "arrays of every modality"),
    ".csv": "motion logs and thermal arrays",
    **dict.fromkeys((".ogg", ".webm"), "sounds and films"),
}
"""Suffixes that files of several modalities have."""


def kind_of_name(name: str) -> str:
    """The modality of a file by its name.

    Raises:
        InputError: the name does not tell it.
    """
    suffix = _suffix(name)
    if suffix in KINDS:
        return KINDS[suffix]
    detail = f"the suffix {suffix!r}" if suffix else "a name without a suffix"
    if suffix in SHARED:
        detail += f", which {SHARED[suffix]} have"
    raise InputError(
        name,
        found=detail,
        expected="files whose names tell what they are, as .jpg, .wav and .mp4",
        remedy="Say it: --modality image|video|audio|depth|thermal|imu; or take some files alone: --include '*.jpg'",
    )


def described(names: Iterable[str]) -> str:
    """What files were taken for by their names: ``12 image (.jpg), 3 audio (.flac, .wav)``."""
    counts: Counter[str] = Counter()
    suffixes: dict[str, set[str]] = {}
    for name in names:
        kind = kind_of_name(name)
        counts[kind] += 1
        suffixes.setdefault(kind, set()).add(_suffix(name))
    return ", ".join(
        f"{count} {kind} ({', '.join(sorted(suffixes[kind]))})" for kind, count in counts.items()
    )


def _suffix(name: str) -> str:
    path = name.partition("?")[0] if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", name) else name
    return PurePosixPath(path).suffix.lower()
