"""Pairs from a folder of files with the same name."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from bindplug.errors import InputError
from bindplug.training.pair_items import (
    MAPS,
    PIXELS,
    VIDEOS,
    PairItem,
    PairList,
    PairProblem,
    suffixes_of,
)
from bindplug.training.pair_sources import FileSource

PICTURE_WORDS = frozenset(
    (
        *(
            "image",
            "images",
            "img",
            "picture",
            "pictures",
            "photo",
            "photos",
            "rgb",
            "color",
            "frame",
            "frames",
        ),
        *("video", "videos", "visual", "vision"),
    )
)
"""Names of sub-folders and of endings (``room_rgb.png``) that hold pictures."""

WORDS_OF = {
    "audio": ("audio", "audios", "sound", "sounds", "wav", "wavs"),
    "depth": ("depth", "depths", "disparity"),
    "thermal": ("thermal", "heat", "infrared", "ir"),
    "imu": ("imu", "motion", "motions", "accelerometer"),
}

OTHER_SENSES = frozenset(("audio", "depth", "disparity", "thermal", "infrared", "imu"))
"""A file that is named for one of these is no picture of another sense's pair."""

MARK = re.compile(r"(?P<stem>.+)[._-](?P<mark>[A-Za-z]+)$")
LOSSY = frozenset((".jpg", ".jpeg", ".webp", ".heic", ".heif", ".avif"))
"""Of two pictures of one name, the one with such an ending is the photo: no map of measurements is stored so."""


def words_of(sense: str) -> frozenset[str]:
    """Names of sub-folders and of endings that hold samples of a sense."""
    return frozenset((*WORDS_OF.get(sense, ()), sense.lower(), f"{sense.lower()}s"))


@dataclass
class _Candidates:
    """Files of one name: pictures and videos, samples, and those that may be either."""

    pictures: list[str] = field(default_factory=list)
    samples: list[str] = field(default_factory=list)
    either: list[str] = field(default_factory=list)


def read_folder(folder: Path, sense: str) -> PairList:
    """Pairs of the files of a folder and its sub-folders that have the same name.

    Three layouts, which may be mixed: ``dog1.jpg`` beside ``dog1.wav``; sub-folders ``images/`` and ``audio/`` with
    the same names inside; a folder a scene with ``image.png`` and ``audio.wav``. Where both sides are pictures, an
    ending tells them apart (``room_rgb.png``, ``room_depth.png``), or the format: a JPEG is the photo, the other
    one the map. For sounds, a video is both sides unless a sound of its name lies beside it.

    Args:
        folder: to look through; hidden files are left out.
        sense: of the samples.

    Raises:
        InputError: there is no such folder.
    """
    if not folder.is_dir():
        problem = "a file" if folder.exists() else "no such folder"
        raise InputError(str(folder), found=problem, expected="a folder of pairs")
    by_key: dict[str, _Candidates] = {}
    for path in _files(folder):
        sorted_in = _sorted_in(path, sense)
        if sorted_in is not None:
            key, role = sorted_in
            getattr(by_key.setdefault(key, _Candidates()), role).append(path)
    pairs = PairList([], format="folder", source=str(folder))
    for key, candidates in sorted(by_key.items()):
        result = _pair(folder, key, candidates, sense)
        (pairs.items if isinstance(result, PairItem) else pairs.problems).append(result)  # type: ignore[arg-type]
    return pairs


def _files(folder: Path) -> Iterator[str]:
    """Paths relative to the folder, with forward slashes, sorted; links to folders are not followed."""
    for directory, subfolders, files in os.walk(folder):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        inside = Path(directory).relative_to(folder)
        for name in sorted(files):
            if not name.startswith("."):
                yield (inside / name).as_posix()


def _sorted_in(relative: str, sense: str) -> tuple[str, str] | None:
    """The name that pairs a file, and which side it is: ``"pictures"``, ``"samples"`` or ``"either"``."""
    path = PurePosixPath(relative)
    suffix = path.suffix.lower()
    pictures, samples = suffix in PIXELS | VIDEOS, suffix in suffixes_of(sense)
    if not pictures and not samples:
        return None
    role = "either" if pictures and samples else "pictures" if pictures else "samples"
    parts, stem = list(path.parts[:-1]), path.stem
    words = words_of(sense)
    match = MARK.match(stem)
    mark = match["mark"].lower() if match else ""
    if not {mark, stem.lower(), *(name.lower() for name in parts)}.isdisjoint(OTHER_SENSES - words):
        return None
    by_suffix = "either" if sense == "audio" and suffix in VIDEOS else role
    for place in reversed(range(len(parts))):
        name = parts[place].lower()
        if name in PICTURE_WORDS or name in words:
            del parts[place]
            named_role = "pictures" if name in PICTURE_WORDS else "samples"
            return "/".join((*parts, stem)), _agreed(by_suffix, named_role)
    if stem.lower() in PICTURE_WORDS or stem.lower() in words:
        named_role = "pictures" if stem.lower() in PICTURE_WORDS else "samples"
        return "/".join(parts) or ".", _agreed(by_suffix, named_role)
    if match and (mark in PICTURE_WORDS or mark in words):
        named_role = "pictures" if mark in PICTURE_WORDS else "samples"
        return "/".join((*parts, match["stem"])), _agreed(by_suffix, named_role)
    return "/".join((*parts, stem)), role


def _agreed(by_suffix: str, by_name: str) -> str:
    """The side that a name says, if the format allows it; else the format's."""
    return by_name if by_suffix in ("either", by_name) else by_suffix


def _pair(folder: Path, key: str, candidates: _Candidates, sense: str) -> PairItem | PairProblem:
    pictures, samples, either = candidates.pictures, candidates.samples, candidates.either
    if either:
        pictures, samples = tell_apart(pictures, samples, either)
    files = ", ".join((*pictures, *samples))
    first = str(folder / ([*pictures, *samples] or either)[0])
    pictures = still_or_video(pictures, sense)
    if len(pictures) > 1 or len(samples) > 1:
        side = "pictures" if len(pictures) > 1 else f"{sense} files"
        return PairProblem(
            first, f"several {side} of one name, {files}; which belong together is not clear", "unpaired"
        )
    is_video = bool(pictures) and PurePosixPath(pictures[0]).suffix.lower() in VIDEOS
    if not samples and is_video and sense == "audio":
        samples = pictures
    if not pictures or not samples:
        lacking = f"no {sense} file" if pictures else "no picture or video"
        return PairProblem(first, f"{lacking} of the name {key!r}", "unpaired")
    return PairItem(
        FileSource(str(folder / pictures[0])),
        FileSource(str(folder / samples[0])),
        name=key,
        group=key,
        is_video=is_video,
    )


def tell_apart(pictures: list[str], samples: list[str], either: list[str]) -> tuple[list[str], list[str]]:
    """File names that may be either side, each put to the one that lacks a file, or by format."""
    if len(either) == 1:
        if samples and not pictures:
            return either, samples
        if pictures and not samples:
            return pictures, either
    elif not pictures and not samples:
        photos = [p for p in either if _format(p) in LOSSY]
        if not photos:
            photos = [p for p in either if _format(p) not in MAPS]
        return photos, [p for p in either if p not in photos]
    return [*pictures, *either], samples


def still_or_video(pictures: list[str], sense: str) -> list[str]:
    """Of a still beside its video the one to pair: a recording takes the video, a map has the still's moment."""
    are_videos = [_format(picture) in VIDEOS for picture in pictures]
    if len(set(are_videos)) < 2:
        return pictures
    takes_video = sense in ("audio", "imu")
    return [
        picture for picture, is_video in zip(pictures, are_videos, strict=True) if is_video == takes_video
    ]


def _format(name: str) -> str:
    """The ending of a file, or of a member of shards, which is named by its endings alone."""
    return f".{name.rpartition('.')[2].lower()}"
