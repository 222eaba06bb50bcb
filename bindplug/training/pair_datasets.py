"""Pairs from a Hugging Face data set on this machine."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bindplug.errors import InputError
from bindplug.lazy import require
from bindplug.training.pair_items import PairItem, PairList, PairProblem
from bindplug.training.pair_sources import DatasetCell
from bindplug.training.pair_table import Columns, resolve_columns, stretch_of

SAVED = ("dataset_info.json", "dataset_dict.json", "state.json")
"""What ``save_to_disk`` leaves in a directory."""

SHARD = re.compile(r"(?P<split>.+?)-\d{5}-of-\d{5}")
"""Name of a Parquet file of a data set of the hub, as ``train-00000-of-00002``."""

SPLITS = ("train", "training", "validation", "valid", "val", "dev", "test", "testing", "eval")
"""Names of files and folders that are splits."""

MEDIA = ("Image", "Audio", "Video")
"""Features that a data set would decode; they are read as bytes."""


def is_dataset(folder: Path) -> bool:
    """Whether a directory was written by ``save_to_disk``, or holds Parquet files and nothing that pairs by name."""
    if any((folder / name).is_file() for name in SAVED):
        return True
    names = [
        path.suffix.lower() for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")
    ]
    return ".parquet" in names and set(names) <= {".parquet", ".md", ".json"}


def read_dataset(
    folder: Path, sense: str, columns: Mapping[str, str] | None = None, *, split: str | None = None
) -> PairList:
    """Pairs of a directory that ``save_to_disk`` wrote, or of Parquet files with media as bytes.

    Columns are named as in :func:`bindplug.training.pair_table.read_table`. Pictures and sounds stay bytes, which
    bindplug's readers decode; no code of the data set runs, and the hub is not asked.

    Args:
        folder: the directory, or one Parquet file.
        sense: of the samples.
        columns: names of columns that are called otherwise.
        split: which part of several to read; ``"train"`` if there is one, else the only one.

    Raises:
        InputError: the directory is no data set, has several splits of which none is named, or lacks a column.
        MissingDependency: datasets is absent.
    """
    datasets = require("datasets", owner="reading a Hugging Face data set", extra="datasets")
    table = _undecoded(datasets, _split(_opened(datasets, folder), split, str(folder)))
    names = list(table.column_names)
    resolved = resolve_columns(names, sense, columns, str(folder))
    pairs = PairList([], format="dataset", source=str(folder))
    media = {name: table.select_columns([name]) for name in (resolved.anchor, resolved.sample)}
    light = table.select_columns(sorted(set(resolved.others.values())))
    for row in range(len(table)):
        cells = light[row] if resolved.others else {}
        try:
            pairs.items.append(_pair(table, media, row, resolved, cells, folder))
        except ValueError as error:
            pairs.problems.append(PairProblem(f"{folder.name}[{row}]", str(error)))
    return pairs


def _opened(datasets: Any, folder: Path) -> Any:
    """A data set, or several by the names of their splits."""
    try:
        if folder.is_dir() and any((folder / name).is_file() for name in SAVED):
            return datasets.load_from_disk(str(folder))
        files = [folder] if folder.is_file() else sorted(folder.rglob("*.parquet"))
        by_split: dict[str, list[str]] = {}
        for file in files:
            by_split.setdefault("" if folder.is_file() else _split_of(file, folder), []).append(str(file))
        parts = {name: datasets.Dataset.from_parquet(paths) for name, paths in by_split.items()}
    except Exception as error:  # the library has errors of many kinds for damage
        problem = f"no readable data set ({type(error).__name__}: {' '.join(str(error).split())[:160]})"
        expected = "a directory that save_to_disk wrote, or Parquet files"
        raise InputError(str(folder), found=problem, expected=expected) from error
    return parts[""] if set(parts) == {""} else {name or "others": part for name, part in parts.items()}


def _split_of(file: Path, folder: Path) -> str:
    """The split that a Parquet file belongs to, by its name or a folder's, as the hub lays them out; else empty."""
    match = SHARD.fullmatch(file.stem)
    names = [match["split"] if match else file.stem, *reversed(file.relative_to(folder).parts[:-1])]
    return names[0] if match else next((name for name in names if name.lower() in SPLITS), "")


def _split(opened: Any, split: str | None, name: str) -> Any:
    if not isinstance(opened, Mapping):
        if split not in (None, str(getattr(opened, "split", None))):
            raise InputError(
                name,
                found="a data set without splits",
                expected=f"one with a split {split}",
                remedy="Leave out --split",
            )
        return opened
    chosen = split or ("train" if "train" in opened else next(iter(opened)) if len(opened) == 1 else None)
    if chosen not in opened:
        problem = f"the splits {', '.join(opened)}" + (f" and no {split}" if split else "")
        raise InputError(name, found=problem, expected="one of them", remedy="Name it with --split NAME")
    return opened[chosen]


def _undecoded(datasets: Any, table: Any) -> Any:
    """The table with media columns as bytes and paths."""
    for name, feature in table.features.items():
        kind = type(feature).__name__
        if kind in MEDIA and getattr(feature, "decode", False):
            table = table.cast_column(name, getattr(datasets, kind)(decode=False))
    return table.with_format(None)


def _pair(
    table: Any,
    media: Mapping[str, Any],
    row: int,
    columns: Columns,
    cells: Mapping[str, Any],
    folder: Path,
) -> PairItem:
    base, title = str(folder if folder.is_dir() else folder.parent), folder.name
    anchor, sample = (
        DatasetCell(media[name], row, name, base, title) for name in (columns.anchor, columns.sample)
    )
    values = {role: columns.cell(cells, role) for role in columns.others}
    start, end = stretch_of(cells, columns)
    is_video = type(table.features[columns.anchor]).__name__ == "Video" or columns.anchor == "video"
    middle = (start + end) / 2 if is_video and start is not None and end is not None else None
    return PairItem(
        anchor,
        sample,
        name=f"{title}[{row}]",
        group=_text(values.get("group")) or f"{title}[{row}]",
        moment_s=middle,
        start_s=start,
        end_s=end,
        is_video=is_video,
        label=_label(table, columns.others.get("label"), values.get("label")),
        caption=_text(values.get("caption")),
    )


def _label(table: Any, column: str | None, value: Any) -> str:
    """The class as text; by its name where the data set has names."""
    feature: Any = table.features.get(column) if column else None
    if isinstance(value, int) and hasattr(feature, "int2str") and value >= 0:
        return str(feature.int2str(value))
    return _text(value)


def _text(value: Any) -> str:
    return "" if value is None else str(value)
