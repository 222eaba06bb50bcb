"""The items that an encoder is tried on: rows whose files can be read here, embedded again."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bindplug.errors import InputError, InputNote
from bindplug.modality import Modality
from bindplug.query import Leaf, Query
from bindplug_search.adopt.row_file import RowFile, name_at

if TYPE_CHECKING:
    from torch import Tensor

    from bindplug.encoder import Encoder

MOST_MISSING = 20_000
"""Files that are looked for and not here, before the search for readable ones is given up."""

REREAD_ITEMS = 24
"""Items that are read a second time, differently."""

COARSE = (0.8, 0.5)
"""Shares of an input's resolution that it is reduced to, and enlarged from again, to read it differently."""


@dataclass(frozen=True)
class Item:
    """A row and the file that it was made from.

    Attributes:
        position: of the row.
        path: as the file of rows has it.
        query: reads the file.
        modality: of the file.
    """

    position: int
    path: str
    query: Query
    modality: str


@dataclass(frozen=True)
class PathRoot:
    """Where relative paths of a file of rows begin.

    Attributes:
        directory: that they are joined to; None where they are taken as they are.
    """

    directory: Path | None

    def resolve(self, path: str) -> Path | None:
        """The place of a file; None for an address that is not of this machine."""
        local = path.removeprefix("file://")
        if "://" in local or "\0" in local:
            return None
        return Path(local) if self.directory is None else self.directory / local


def choose_root(file: RowFile, root: str | Path | None) -> PathRoot:
    """The root that a person names; else the working directory, or that of the rows if more files are found there."""
    if root is not None:
        directory = Path(root).expanduser()
        if not directory.is_dir():
            raise InputError(
                str(root), found="no such directory", expected="the directory that paths begin at"
            )
        return PathRoot(directory)
    spread = np.linspace(0, file.count - 1, min(file.count, 200)).astype(int)
    paths = [path for position in spread if (path := name_at(file.paths, int(position)))]
    here, beside = PathRoot(None), PathRoot(file.path.absolute().parent)
    counts = [sum(_is_file(candidate.resolve(path)) for path in paths) for candidate in (here, beside)]
    return beside if counts[1] > counts[0] else here


def choose_items(
    file: RowFile, usable: np.ndarray, root: PathRoot, count: int, *, modality: str, seed: int = 0
) -> list[Item]:
    """Up to ``count`` items in a random order, of different files that exist here.

    Args:
        file: of rows.
        usable: (N,) bool.
        root: of relative paths.
        count: most items.
        modality: of rows for which the file names none.
        seed: of the order.

    Raises:
        InputError: a kind is no modality, or no file of the rows that were looked at is here.
    """
    order = np.random.default_rng(seed).permutation(np.flatnonzero(usable))
    items: list[Item] = []
    sources: set[tuple[str, object]] = set()
    missing, example = 0, "none: the rows have no paths"
    for position in order:
        path = name_at(file.paths, int(position))
        kind = kind_at(file, int(position), modality)
        if path is None:
            continue
        place = path if kind == Modality.TEXT.value else root.resolve(path)
        if kind != Modality.TEXT.value and not _is_file(place):
            missing, example = missing + 1, str(place or path)
            if missing == MOST_MISSING:
                break
            continue
        span = span_at(file, int(position))
        if (path, span) in sources:
            continue
        sources.add((path, span))
        options = {} if span is None else {"start": span[0], "end": span[1]}
        source = str(place)
        items.append(
            Item(int(position), path, Query([(1.0, Leaf(Modality.parse(kind), source, options))]), kind)
        )
        if len(items) == count:
            break
    if not items:
        raise InputError(
            f"{file.path}: {file.paths_file or file.path_column or 'paths'}",
            found=f"no file that is here, of {missing} looked for (such as {example})",
            expected="files that can be read, to find out which encoder made the rows",
            remedy="Name the directory that relative paths begin at: --root DIR",
        )
    return items


def kind_at(file: RowFile, position: int, modality: str) -> str:
    """The modality of a row."""
    kind = None if file.kinds is None else name_at(file.kinds, position)
    return Modality.parse(kind or modality).value


def span_at(file: RowFile, position: int) -> tuple[float, float] | None:
    """Start and end in seconds of the window that a row stands for; None for a whole recording."""
    if file.spans is None or not np.isfinite(file.spans[position]).all():
        return None
    return float(file.spans[position, 0]), float(file.spans[position, 1])


@dataclass(frozen=True)
class Embedded:
    """What an encoder makes of items.

    Attributes:
        items: indexes of the items that it could read, n of them.
        rows: (n, D) unit rows.
        reread_items: for each of v rows of other readings, the place of its item among ``items``.
        reread: (v, D) unit rows.
    """

    items: np.ndarray
    rows: np.ndarray
    reread_items: np.ndarray
    reread: np.ndarray


def embed_items(
    encoder: Encoder,
    items: Sequence[Item],
    *,
    batch_size: int = 32,
    progress: bool | None = None,
    reread: bool = True,
) -> Embedded:
    """Embed items that the encoder has a tower for, and some of them again from a coarser reading."""
    able = [index for index, item in enumerate(items) if item.modality in encoder.modalities]
    queries = [items[index].query for index in able]
    if not queries:
        empty = np.zeros((0, encoder.embedding_space.width), dtype=np.float32)
        return Embedded(np.zeros(0, dtype=np.int64), empty, np.zeros(0, dtype=np.int64), empty)
    embedded = encoder.embed_with_report(queries, batch_size=batch_size, on_error="skip", progress=progress)
    indexes = np.array([able[index] for index in embedded.kept], dtype=np.int64)
    rows = embedded.rows.cpu().numpy()
    sample_indexes = list(range(min(len(indexes), REREAD_ITEMS))) if reread else []
    pairs = [pair for place in sample_indexes for pair in _reread(encoder, items[indexes[place]], place)]
    places = np.array([place for place, _ in pairs], dtype=np.int64)
    others = np.stack([row for _, row in pairs]) if pairs else rows[:0]
    return Embedded(indexes, rows, places, others)


def squashed(items: Sequence[Item]) -> list[Item]:
    """The pictures among items, whole and squashed to a square, as some pipelines read them; those not square."""
    from PIL import Image

    from bindplug.query import image

    changed = []
    for item in items:
        leaf = item.query.terms[0][1]
        if item.modality != Modality.IMAGE.value or not isinstance(leaf, Leaf):
            continue
        try:
            with Image.open(str(leaf.source)) as picture:
                side = min(picture.size)
                whole = picture.convert("RGB").resize((side, side), Image.Resampling.BICUBIC)
        except (OSError, ValueError, Image.DecompressionBombError):
            continue
        changed.append(Item(item.position, item.path, image(whole), item.modality))
    return changed


def _reread(encoder: Encoder, item: Item, place: int) -> list[tuple[int, np.ndarray]]:
    """Rows of an item whose input lost some resolution on the way; none for text."""
    import torch

    leaf = item.query.terms[0][1]
    if item.modality == Modality.TEXT.value or not isinstance(leaf, Leaf):
        return []
    rows = []
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore", InputNote)  # issued when the item was first read
        x = encoder.preprocess[item.modality](leaf.source, **dict(leaf.options))
        for share in COARSE:
            coarse: Any
            if isinstance(x, Mapping):
                coarse = {name: _placed(_coarser(part, share), encoder) for name, part in x.items()}
            else:
                coarse = _placed(_coarser(x, share), encoder)
            row = encoder.encode(item.modality, coarse, normalize=True)[0]
            rows.append((place, row.float().cpu().numpy()))
    return rows


def _placed(x: Tensor, encoder: Encoder) -> Tensor:
    """A batch of one on the encoder's device, in its dtype."""
    batch = x[None].to(encoder.device)
    return batch.to(encoder.dtype) if x.is_floating_point() else batch


def _coarser(x: Tensor, share: float) -> Tensor:
    """A tensor (..., L) at a share of its resolution along the last axis, brought back to its shape.

    Whole numbers (masks, sizes, positions) stay as they are, and so do short rows.
    """
    from torch.nn import functional

    if not x.is_floating_point() or x.ndim < 2 or x.shape[-1] < 8:
        return x
    flat = x.reshape(1, -1, x.shape[-1]).float()  # (..., L) -> (1, C, L)
    small = functional.interpolate(flat, size=max(4, round(x.shape[-1] * share)), mode="linear")
    return functional.interpolate(small, size=x.shape[-1], mode="linear").reshape(x.shape).to(x.dtype)


def _is_file(place: Path | str | None) -> bool:
    try:
        return place is not None and Path(place).is_file()
    except (OSError, ValueError):
        return False
