"""Files into rows of an index, in batches each of which is one commit, so that a killed run goes on where it stopped.

A file's rows appear together, and replace those it had before. A file that is there already, in the same state and
read in the same way, is left alone.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from bindplug.encoder import Encoder
from bindplug.errors import InputError
from bindplug.indexes import IndexRow, MetadataValue
from bindplug.modality import Modality
from bindplug.progress import iterate_with_progress
from bindplug.query import Query
from bindplug_search.metadata import present, with_values
from bindplug_search.recipe import Recipe
from bindplug_search.report import SAVE_EVERY, AddReport
from bindplug_search.store import LanceIndex
from bindplug_search.table import FileState, IndexedFile, file_digest

REWRITE_STEP = 512
"""Files whose rows are written anew together, where only their metadata or state has changed."""

MOST_SMALL_FRAGMENTS = 24
"""Small files of a table beyond which they are joined."""

TEXT = Modality.TEXT.value


@dataclass(frozen=True)
class Item:
    """A file to keep, or a sentence.

    Args:
        kind: name of the modality.
        path: absolute, or for text the sentence itself.
        recipe: how it becomes rows.
        metadata: to keep beside them, and None for what is to go; other metadata that the file has already stays.
    """

    kind: str
    path: str
    recipe: Recipe
    metadata: Mapping[str, MetadataValue | None] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """What stands for it in the table."""
        return file_digest(self.path, self.kind)


@dataclass(frozen=True)
class Work:
    """How a run goes about it.

    Args:
        load: gives the model with the towers of these modalities; called if there is something to embed.
        on_error: "raise", or "skip" to leave out files that cannot be read.
        batch_size, workers: as in :meth:`bindplug.Encoder.embed`.
        save_every: rows between two commits.
        progress: True or False to force or forbid the bar.
    """

    load: Callable[[Iterable[str]], Encoder]
    on_error: str = "raise"
    batch_size: int = 32
    workers: int | None = None
    save_every: int = SAVE_EVERY
    progress: bool | None = None

    def __post_init__(self) -> None:
        if self.on_error not in ("raise", "skip"):
            raise InputError("index", found=f"on_error={self.on_error!r}", expected='"raise" or "skip"')
        if self.save_every < 1:
            raise InputError("index", found=f"save_every={self.save_every}", expected="at least 1")


def put_files(index: LanceIndex, items: Sequence[Item], work: Work) -> AddReport:
    """Bring files into an index that are not in it as they are now.

    Raises:
        InputError: a file cannot be read, where ``on_error`` is "raise"; metadata is of another type than that of
            other rows; the index cannot be written, or another process is writing.
        SpaceMismatch: the model lives in another space than the index.
    """
    report = AddReport()
    items = list({item.digest: item for item in items}.values())
    with index.writing():
        index.check_metadata(
            IndexRow(item.path, item.kind, metadata=present(item.metadata)) for item in items
        )
        existing = index.files()
        metadata = _metadata_of(index) if index.metadata_keys else {}
        to_embed: list[Item] = []
        to_rewrite: list[tuple[Item, FileState | None]] = []
        for item in items:
            file = existing.get(item.digest)
            merged = present({**metadata.get(item.digest, {}), **item.metadata})
            state = _same_state(item, file, report, work.on_error)
            if state is _UNREADABLE:
                continue
            if state is None:
                to_embed.append(replace(item, metadata=merged))
                continue
            report.unchanged += 1
            report.metadata_changed += merged != metadata.get(item.digest, {})
            if merged != metadata.get(item.digest, {}) or (file is not None and state != file.state):
                to_rewrite.append((replace(item, metadata=merged), state))
        _rewrite(index, to_rewrite, report)
        _embed(index, to_embed, set(existing), work, report)
        index.drop_empty_columns(
            {key for item in items for key, value in item.metadata.items() if value is None}
        )
        _tidy(index)
    return report


_UNREADABLE = FileState(hash="unreadable")


def _same_state(item: Item, file: IndexedFile | None, report: AddReport, on_error: str) -> FileState | None:
    """The state of a file now, if its rows are those of its content; None if it is to be embedded."""
    try:
        if file is None or not file.is_whole or file.state.recipe != item.recipe.text:
            return None
        quick = quick_state(item)
        state = file.state
        if quick == (state.size, state.modified_ns, state.changed_ns):
            return state
        return replace(read_state(item), parts=state.parts) if content_hash(item) == state.hash else None
    except OSError as error:
        _skip(item, _vanished(error), report, on_error)
        return _UNREADABLE


def quick_state(item: Item) -> tuple[int, int, int]:
    """Size, and times of the last change of content and entry; zeros for a sentence.

    Raises:
        OSError: there is no such file, it cannot be looked at, or it is a pipe, a device or a socket, which reading
            could wait on for ever.
    """
    if item.kind == TEXT:
        return 0, 0, 0
    status = os.stat(item.path)  # noqa: PTH116 (faster for a million files)
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
        raise OSError(errno.EINVAL, "a pipe, a device or a socket, and no regular file")
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def read_state(item: Item) -> FileState:
    """The state of a file now. A change while it is read makes the next update read it again.

    Raises:
        OSError: it cannot be read.
    """
    size, modified, changed = quick_state(item)  # before the content, which may change meanwhile
    return FileState(content_hash(item), size, modified, changed, item.recipe.text)


def content_hash(item: Item) -> str:
    """SHA-256 of a file's content, or of a sentence.

    Raises:
        OSError: it cannot be read.
    """
    if item.kind == TEXT:
        return hashlib.sha256(item.path.encode("utf-8", errors="surrogatepass")).hexdigest()
    digest = hashlib.sha256()
    with Path(item.path).open("rb", buffering=0) as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _embed(
    index: LanceIndex, items: Sequence[Item], existing: set[str], work: Work, report: AddReport
) -> None:
    if not items:
        return
    model = work.load(dict.fromkeys(item.kind for item in items))
    index.space.ensure(model.embedding_space, doing=f"the index {index.path}")
    quiet = None if work.progress is None else not work.progress
    batch: list[_Read] = []
    for item in iterate_with_progress(items, label="indexing", quiet=quiet, total=len(items)):
        read = _opened(item, report, work.on_error)
        if read is not None:
            batch.append(read)
        if sum(len(entry.queries) for entry in batch) >= work.save_every:
            _commit(index, model, batch, existing, work, report)
            batch = []
    _commit(index, model, batch, existing, work, report)


@dataclass
class _Read:
    """A file about to be embedded."""

    item: Item
    state: FileState
    queries: list[Query]


def _opened(item: Item, report: AddReport, on_error: str) -> _Read | None:
    try:
        state = read_state(item)
        queries = item.recipe.queries(item.kind, item.path)
    except OSError as error:
        _skip(item, _vanished(error), report, on_error)
        return None
    except InputError as error:
        if on_error == "raise":
            raise
        _skip(item, str(error), report, on_error)
        return None
    return _Read(item, replace(state, parts=len(queries)), queries)


def _commit(
    index: LanceIndex,
    model: Encoder,
    batch: Sequence[_Read],
    existing: set[str],
    work: Work,
    report: AddReport,
) -> None:
    if not batch:
        return
    owners = [entry for entry in batch for _ in entry.queries]
    queries = [query for entry in batch for query in entry.queries]
    embedded = model.embed_with_report(
        queries, batch_size=work.batch_size, on_error=work.on_error, progress=False, workers=work.workers
    )
    for skip in embedded.skipped:
        item = owners[skip.index].item
        report.skipped.append({"source": item.path, "modality": item.kind, "reason": skip.reason})
    for note in embedded.notes:
        item = owners[note.index].item
        report.notes.append({"source": item.path, "modality": item.kind, "note": note.text})
    rows = [_row(owners[place].item, queries[place]) for place in embedded.kept]
    vectors = embedded.rows.cpu().numpy().astype(np.float32)
    digests = dict.fromkeys(owners[place].item.digest for place in embedded.kept)
    entries = [entry for entry in batch if entry.item.digest in digests]
    index.replace_files(vectors, rows, {(entry.item.path, entry.item.kind): entry.state for entry in entries})
    report.rows += len(rows)
    report.changed += sum(digest in existing for digest in digests)
    report.added += sum(digest not in existing for digest in digests)


def _row(item: Item, query: Query) -> IndexRow:
    leaf: Any = query.terms[0][1]
    span = leaf.span if item.recipe.seconds is not None else None
    return IndexRow(item.path, item.kind, span, present(item.metadata))


def _rewrite(index: LanceIndex, entries: Sequence[tuple[Item, FileState | None]], report: AddReport) -> None:
    """Write rows anew whose vectors stay: with other metadata, or another time of change."""
    for start in range(0, len(entries), REWRITE_STEP):
        part = {item.digest: (item, state) for item, state in entries[start : start + REWRITE_STEP]}
        vectors, rows, _ = index.rows_of(list(part))
        renewed = [
            replace(row, metadata=present(part[file_digest(row.path, row.kind)][0].metadata)) for row in rows
        ]
        states = {(item.path, item.kind): state for item, state in part.values() if state is not None}
        index.replace_files(vectors, renewed, states)
        report.rows += len(rows)


def _metadata_of(index: LanceIndex) -> dict[str, dict[str, MetadataValue]]:
    """For the digest of each file the metadata of its rows."""
    return {
        file_digest(row.path, row.kind): dict(row.metadata)
        for _, rows in index.batches(vectors=False)
        for row in rows
        if row.metadata
    }


def _skip(item: Item, reason: str, report: AddReport, on_error: str) -> None:
    """Note a file that is left out.

    Raises:
        InputError: where files are not to be left out.
    """
    if on_error == "raise":
        raise InputError(
            item.path,
            found=reason,
            expected="a file that can be read",
            remedy="Or leave it out: --on-error skip, or on_error='skip'",
        )
    report.skipped.append({"source": item.path, "modality": item.kind, "reason": reason})


def skipped_digests(report: AddReport) -> set[str]:
    """Digests of the files that a run left out."""
    return {file_digest(skip["source"], skip["modality"]) for skip in report.skipped}


def _vanished(error: OSError) -> str:
    """Why a file that was listed cannot be read."""
    if isinstance(error, FileNotFoundError):
        return "no such file; it was not there, or vanished between listing and reading"
    return error.strerror or str(error)


def _tidy(index: LanceIndex) -> None:
    """Join the small files that many commits leave."""
    if index.small_fragments > MOST_SMALL_FRAGMENTS:
        index.optimize()


def items_of(
    files: Iterable[tuple[str, str]],
    recipes: Mapping[str, Recipe],
    metadata: Mapping[str, Mapping[str, MetadataValue | None]],
    values: Mapping[str, MetadataValue],
) -> Iterator[Item]:
    """Items for pairs of kind and path.

    Args:
        files: the pairs.
        recipes: for each kind; a kind that is absent is read without options.
        metadata: for paths.
        values: for all files.
    """
    plain = Recipe()
    for kind, path in files:
        yield Item(kind, path, recipes.get(kind, plain), with_values(values, metadata.get(path, {})))
