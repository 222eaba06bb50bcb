"""Pairs from whatever holds them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from bindplug.errors import InputError, WeightsNotFound
from bindplug.modality import Modality
from bindplug.training.pair_datasets import is_dataset, read_dataset
from bindplug.training.pair_folder import read_folder
from bindplug.training.pair_items import PairList, first_problems
from bindplug.training.pair_shards import is_shards, read_shards
from bindplug.training.pair_table import TABLES, read_table

FORMATS = ("folder", "table", "shards", "dataset")
"""What pairs may lie in."""

SENSES = ("audio", "depth", "thermal", "imu")
"""Modalities that a tower can be bound for."""


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
        reasons = first_problems(pairs.problems)
        raise InputError(
            name,
            found=f"no pair of a picture and {sense}" + (f" ({reasons})" if reasons else ""),
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
