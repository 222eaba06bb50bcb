"""Ego4D: motion of head-worn cameras, in clips of 5 s, by what their wearer does."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bindplug.errors import InputError, InputNote
from bindplug.query import Query, imu
from bindplug_lab.datasets.annotations import read_json, seconds
from bindplug_lab.datasets.folder import DataFolder, is_file
from bindplug_lab.datasets.labels import ClassList, Entry, check_choice, labeled_items
from bindplug_lab.tasks.items import LabeledItems

__all__ = ["read_ego4d"]

CLIP_SECONDS = 5.0
CLOCKS = ("canonical_timestamp_ms", "component_timestamp_ms")
TAIL_BYTES = 8192
SPLITS = ("all", "train", "val", "test")


def read_ego4d(
    folder: DataFolder,
    *,
    split: str = "all",
    benchmark: str = "fho",
    several: str = "leave_out",
    clips_per_video: int | None = None,
    classes: int | None = None,
) -> LabeledItems:
    """Clips of 5 s, one after another, from the recordings of motion.

    Layout: ``ego4d.json`` (``videos`` with video_uid, duration_sec, scenarios, has_imu, split_fho, ...) and
    ``v2/imu/<video_uid>.csv`` (component_idx, component_timestamp_ms, canonical_timestamp_ms, gyro_x to accl_z), also
    with ``v1`` or without. A class is a scenario of a video with motion. The paper's split is not published.

    Args:
        folder: the data set.
        split: ``"all"``, or the videos that the benchmark has in ``"train"``, ``"val"`` or ``"test"``.
        benchmark: whose split, as in the JSON's ``split_fho``.
        several: what becomes of videos of several scenarios: ``"leave_out"``, ``"first"`` counts the first alone,
            ``"any"`` lets any of them be right.
        clips_per_video: at most so many clips of a video, evenly spread; all by default.
        classes: how many scenarios there must be; None for any number.

    Raises:
        MissingData: the JSON or recordings are missing.
        InputError: the JSON or a recording is damaged.
        OptionError: an option has a value that it does not take.

    Warns:
        InputNote: recordings are shorter than their videos; there are fewer clips of these.
    """
    check_choice("split", split, SPLITS)
    check_choice("several", several, ("leave_out", "first", "any"))
    listing = folder.find("ego4d.json", "v2/ego4d.json", "v1/ego4d.json")
    recordings = folder.find("v2/imu/", "v1/imu/", "imu/", what="the folder of motion recordings")
    videos = _videos(listing, split, benchmark)
    scenarios = sorted({scenario for _, _, labels in videos for scenario in labels})
    if not scenarios:
        found = f"no video with motion and a scenario in the split {split!r}"
        raise InputError(str(listing), found=found, expected="at least one")
    class_list = ClassList(scenarios, source=str(listing)).expect(classes)
    entries = []
    short: list[str] = []
    for uid, duration, labels in videos:
        if len(labels) > 1 and several == "leave_out":
            continue
        path = recordings / f"{uid}.csv"
        present = is_file(path)
        length = min(duration, _recorded_seconds(path)) if present else duration
        if length < duration - CLIP_SECONDS:
            short.append(f"{uid} ({length:.0f} of {duration:.0f} s)")
        places = tuple(class_list.place(label, uid) for label in (labels if several == "any" else labels[:1]))
        starts = _starts(int(length // CLIP_SECONDS), clips_per_video)
        entries += [
            Entry(
                f"{uid}_{start:g}",
                path if present else None,
                places,
                cluster=uid,
                start=start,
                end=start + CLIP_SECONDS,
            )
            for start in starts
        ]
    if short:
        message = f"{len(short)} recordings are shorter than their videos, as {short[0]}: were they cut off?"
        warnings.warn(InputNote(f"{recordings}: {message}"), stacklevel=2)
    return labeled_items(folder, entries, class_list, _clip, f"clips of {CLIP_SECONDS:g} s")


def _starts(count: int, most: int | None) -> list[float]:
    if most is None or count <= most:
        return [CLIP_SECONDS * place for place in range(count)]
    return [CLIP_SECONDS * ((2 * place + 1) * count // (2 * most)) for place in range(most)]


def _videos(listing: Path, split: str, benchmark: str) -> list[tuple[str, float, tuple[str, ...]]]:
    """(uid, duration in s, scenarios) of the videos of a split with motion and a scenario."""
    content = read_json(listing)
    if not isinstance(content, dict) or not isinstance(content.get("videos"), list):
        raise InputError(str(listing), found="no list 'videos'", expected="Ego4D's ego4d.json")
    videos = []
    key = f"split_{benchmark}"
    if split != "all" and not any(isinstance(v, dict) and key in v for v in content["videos"]):
        raise InputError(str(listing), found=f"no key {key!r}", expected=f"videos with {key}")
    for number, entry in enumerate(content["videos"]):
        place = f"{listing}, videos[{number}]"
        uid, labels, duration = _fields(entry, place)
        if entry.get("has_imu", True) and labels and (split == "all" or entry.get(key) == split):
            videos.append((uid, duration, labels))
    return videos


def _fields(entry: Mapping[str, Any], place: str) -> tuple[str, tuple[str, ...], float]:
    try:
        uid, labels = entry["video_uid"], entry["scenarios"] or []
        duration = entry["duration_sec"]
    except (TypeError, KeyError) as error:
        expected = "video_uid, scenarios and duration_sec"
        raise InputError(place, found=f"no {error}", expected=expected) from None
    if not isinstance(uid, str) or not uid or "/" in uid or "\\" in uid:
        raise InputError(place, found=f"video_uid = {uid!r}", expected="an id")
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise InputError(place, found=f"scenarios = {labels!r}"[:120], expected="a list of names")
    return uid, tuple(dict.fromkeys(labels)), seconds(duration, "duration_sec", place)


def _recorded_seconds(path: Path) -> float:
    """How long a recording is, from its first and last rows alone."""
    with path.open("rb") as file:
        head = file.read(TAIL_BYTES)
        file.seek(max(0, path.stat().st_size - TAIL_BYTES))
        tail = file.read()
    lines = head.decode("utf-8-sig", "replace").splitlines()
    names = [name.strip().casefold() for name in next(csv.reader(lines[:1]), [])]
    first = list(csv.reader(lines[1:-1] or lines[1:]))
    last = list(csv.reader(tail.decode("utf-8", "replace").splitlines()[1:]))
    for clock in CLOCKS:
        if clock in names:
            column = names.index(clock)
            begin, end = _time(first, column, len(names)), _time(last[::-1], column, len(names))
            if begin is not None and end is not None:
                return max(0.0, (end - begin) / 1000)
    found, expected = "no times in milliseconds", f"a table with {' or '.join(CLOCKS)}"
    raise InputError(str(path), found=found, expected=expected, remedy="Download it again if it is cut off.")


def _time(rows: list[list[str]], column: int, width: int) -> float | None:
    """The first time among rows; those cut off in their middle are passed over, as are blank cells."""
    for row in rows:
        if len(row) == width and row[column].strip():
            try:
                return float(row[column])
            except ValueError:
                continue
    return None


def _clip(entry: Entry) -> Query:
    return imu(entry.path, start=entry.start, end=entry.end)
