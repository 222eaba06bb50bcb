"""Pairs from whatever holds them, and recordings cut into windows."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from bindplug.errors import InputError, WeightsNotFound
from bindplug.inputs import make_preprocess
from bindplug.inputs.clips import span_within, window_count, window_span
from bindplug.inputs.notes import collected_notes
from bindplug.modality import Modality
from bindplug.progress import iterate_with_progress
from bindplug.training.pair_datasets import is_dataset, read_dataset
from bindplug.training.pair_folder import read_folder
from bindplug.training.pair_items import PairItem, PairList, PairProblem
from bindplug.training.pair_shards import is_shards, read_shards
from bindplug.training.pair_table import TABLES, read_table

FORMATS = ("folder", "table", "shards", "dataset")
"""What pairs may lie in."""

RECORDED = frozenset(("audio", "imu"))
"""Senses whose samples have a length in time."""

SENSES = ("audio", "depth", "thermal", "imu")
"""Modalities that a tower can be bound for."""

VIDEO_WINDOW_S = {"audio": 2.0, "imu": 5.0}
"""Length of the windows that videos are cut into by default: that of a clip."""


def open_pairs(
    source: str | os.PathLike[str],
    sense: str,
    *,
    format: str | None = None,
    columns: Mapping[str, str] | None = None,
    split: str | None = None,
) -> PairList:
    """Pairs of a picture and another sense, listed without reading them.

    Args:
        source: a folder of files with the same names; a CSV, TSV, JSON Lines or Parquet table of paths; webdataset
            shards (``shards/``, ``shard-{000..012}.tar``); or a Hugging Face data set on this machine (what
            ``save_to_disk`` wrote, or Parquet files with media as bytes).
        sense: of the samples: ``"audio"``, ``"depth"``, ``"thermal"``, ``"imu"``, or a name of one's own.
        format: one of :data:`FORMATS`; recognized for None.
        columns: names of columns, or endings of members of shards, that are called otherwise, as
            ``{"image": "photo"}``.
        split: of a data set of several.

    Returns:
        The pairs in a fixed order, and what is unpaired or cannot be a pair.

    Raises:
        InputError: nothing pairs up, or the source is damaged or of no known format.
        WeightsNotFound: there is nothing at ``source``.
        MissingDependency: the package that reads the format is absent.
    """
    sense = checked_sense(sense)
    name = os.fspath(source)
    path = Path(name).expanduser()
    chosen = format or _recognized(name, path)
    if chosen == "folder":
        pairs = read_folder(path, sense)
    elif chosen == "table":
        pairs = read_table(path, sense, columns)
    elif chosen == "shards":
        pairs = read_shards(name, sense, columns)
    elif chosen == "dataset":
        pairs = read_dataset(path, sense, columns, split=split)
    else:
        raise InputError("format", found=repr(format), expected=f"one of {', '.join(FORMATS)}")
    if not pairs.items:
        listed = "; ".join(f"{problem.source}: {problem.reason}" for problem in pairs.problems[:3])
        raise InputError(
            name,
            found=f"no pair of a picture and {sense}" + (f" ({listed})" if listed else ""),
            expected=f"pictures or videos, each with a file of {sense} of the same name, or a table of such pairs",
            remedy=_other_senses(path, sense) if chosen == "folder" else "",
        )
    return pairs


def _other_senses(folder: Path, sense: str) -> str:
    """Which senses the files of a folder would pair for, as advice."""
    counts = {other: len(read_folder(folder, other)) for other in SENSES if other != sense}
    likely = [f"{count} pairs with --sense {other}" for other, count in counts.items() if count]
    return f"There are {', '.join(likely)}" if likely else ""


def checked_sense(sense: str) -> str:
    """The sense's name in lower case.

    Raises:
        InputError: it is no plain word, or one that the anchor embeds: image, video or text.
    """
    name = sense.lower()
    if not name.isidentifier() or not name.isascii() or name in ("image", "video", "text", "vision"):
        raise InputError(
            "sense",
            found=repr(sense),
            expected="audio, depth, thermal, imu, or a word of your own, as sonar",
            remedy="Pictures and text are the anchor's"
            if name in ("image", "video", "text", "vision")
            else "",
        )
    return name


def is_own_sense(sense: str) -> bool:
    """Whether a sense is none of bindplug's modalities."""
    return sense not in {modality.value for modality in Modality}


def _recognized(name: str, path: Path) -> str:
    if is_shards(name):
        return "shards"
    if path.is_dir():
        return "dataset" if is_dataset(path) else "folder"
    if path.suffix.lower() in TABLES:
        return "dataset" if path.suffix.lower() == ".parquet" and _has_media(path) else "table"
    if not path.exists():
        raise WeightsNotFound(f"there are no pairs at {name!r} (from {str(Path.cwd())!r})")
    raise InputError(
        name,
        found=f"a file {path.suffix or 'without an ending'}",
        expected=f"a folder, a table ({', '.join(TABLES)}), .tar shards or a data set",
    )


def _has_media(file: Path) -> bool:
    """Whether columns of a Parquet file hold media, and no paths."""
    try:
        import pyarrow.parquet as parquet
        import pyarrow.types as types

        schema = parquet.read_schema(file)
    except Exception:  # absent or damaged: the table's reader says which
        return False
    return any(types.is_struct(field.type) or types.is_binary(field.type) for field in schema)


def cut_windows(
    pairs: PairList,
    sense: str,
    *,
    seconds: float | None = None,
    hop: float | None = None,
    options: Mapping[str, Any] | None = None,
    quiet: bool | None = None,
) -> PairList:
    """The pairs with every recording replaced by its windows, each with the picture of its moment.

    A window of a video is paired with the frame in its middle. A window of a sound beside a picture is paired with
    that picture. Without ``seconds`` recordings stay whole, but for videos, which are cut into windows of a clip's
    length. All windows of a recording are of one group.

    Args:
        pairs: to cut.
        sense: of the samples.
        seconds: length of a window; None for whole recordings.
        hop: from the start of one window to that of the next; ``seconds`` by default.
        options: of the sense's reader, which tell the length of some recordings.
        quiet: True shows no progress.

    Returns:
        The windows; recordings whose length cannot be read are among the problems.

    Raises:
        InputError: the sense has no length in time.
    """
    if seconds is not None and sense not in RECORDED:
        raise InputError(
            "windows", found=f"{sense}, whose samples have no length in time", expected="audio or imu"
        )
    if sense not in RECORDED or (seconds is None and not any(item.is_video for item in pairs)):
        return pairs
    length = VIDEO_WINDOW_S[sense] if seconds is None else seconds
    step = length if hop is None else hop
    reader = make_preprocess([sense])[sense]
    items: list[PairItem] = []
    problems = list(pairs.problems)
    cut = 0
    for item in iterate_with_progress(pairs.items, label="measuring recordings", quiet=quiet):
        if seconds is None and not item.is_video:
            items.append(item)
            continue
        try:
            with collected_notes():
                duration_s = reader.duration(item.sample.open(), **(options or {}))
            first, last = span_within(item.start_s, item.end_s, duration_s, item.sample.name)
        except InputError as error:
            problems.append(PairProblem(item.sample.name, str(error)))
            continue
        cut += item.is_video
        for index in range(window_count(last - first, length, step)):
            start, end = window_span(index, last - first, length, step)
            moment = first + (start + end) / 2 if item.is_video else None
            items.append(
                replace(
                    item,
                    name=f"{item.name} at {first + start:g} s",
                    start_s=first + start,
                    end_s=first + end,
                    moment_s=moment,
                )
            )
    result = PairList(items, problems, pairs.format, pairs.source, list(pairs.notes))
    if seconds is None and cut:
        result.notes.append(
            f"{cut} videos were cut into windows of {length:g} s, each with the frame in its middle"
        )
    return result
