"""Embedding one partition: the readers, the model and the columns are those of the local path."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from bindplug.cli.building import ModelChoice, Source, Sources, in_windows, part_of, rows_schema, rows_table
from bindplug.encoder import Encoder, embed_parts
from bindplug.errors import InputError, UnknownWords
from bindplug_search.engine.copies import Copies, copies_of
from bindplug_search.engine.plan import Item

if TYPE_CHECKING:
    from bindplug.query import Query

MOST_REMARKS = 100
"""Skipped items, and notes, of a partition that are reported to the driver; its tables hold all."""

GROUP_ITEMS = 256
"""Items, and rows, that are in hand at once."""


@dataclass(frozen=True)
class Work:
    """What the embedding of every partition of a job has in common; travels to the workers.

    Attributes:
        choice: model, device, dtype and batch size.
        modalities: towers to load.
        reader_options: for each modality, options of its reader.
        windows: length and hop in seconds; None without windows.
        on_error: "raise" or "skip".
        workers: threads that read files; None for one a core, at most four.
        cwd: the directory that relative paths start from.
        width, metadata, windowed, with_bytes: of the table of rows, as :func:`bindplug.cli.building.rows_schema`.
    """

    choice: ModelChoice
    modalities: list[str]
    reader_options: dict[str, dict[str, Any]]
    windows: dict[str, float] | None
    on_error: str
    workers: int | None
    cwd: str
    width: int = 0
    metadata: Mapping[str, Any] = field(default_factory=dict)
    windowed: bool = False
    with_bytes: bool = False

    def schema(self) -> pa.Schema:
        """Of the table of rows."""
        return rows_schema(self.width, self.metadata, windowed=self.windowed, with_bytes=self.with_bytes)


@dataclass
class PartitionReport:
    """What came of a partition, besides its rows.

    Attributes:
        rows: how many there are.
        skipped: items left out: ``{"modality", "source", "reason"}``.
        notes: what readers remarked: ``{"modality", "source", "note"}``.
        unknown_words: words of texts that carry no meaning in the model.
        skipped_count, notes_count: how many there are, where the lists hold only the first.
    """

    rows: int = 0
    skipped: list[dict[str, Any]] = field(default_factory=list)
    notes: list[dict[str, Any]] = field(default_factory=list)
    unknown_words: list[str] = field(default_factory=list)
    skipped_count: int = 0
    notes_count: int = 0

    def summary(self) -> PartitionReport:
        """The same with counts, and lists short enough to be sent and held by the million."""
        return PartitionReport(
            self.rows,
            self.skipped[:MOST_REMARKS],
            self.notes[:MOST_REMARKS],
            list(dict.fromkeys(self.unknown_words))[:MOST_REMARKS],
            max(self.skipped_count, len(self.skipped)),
            max(self.notes_count, len(self.notes)),
        )


@dataclass
class _Piece:
    """Sources embedded together, and the copies to remove after the last of them."""

    sources: list[Source]
    copies: Copies
    last: bool


def embed_items(
    model: Encoder, items: Iterable[Item], work: Work, report: PartitionReport
) -> Iterator[pa.Table]:
    """Tables of rows in the order of the items; ``report`` is complete once they are exhausted.

    Raises:
        InputError: a bad item, where ``work.on_error`` is "raise".
    """
    schema = work.schema()
    pieces: deque[_Piece] = deque()

    def parts() -> Iterator[list[Query]]:  # consumed ahead of the rows, by no more than the readers need
        for copies in copies_of(items, GROUP_ITEMS, work.cwd):
            _note_failures(copies, work, report)
            sources = _cut_in_windows(model, copies, work)
            groups = [sources[i : i + GROUP_ITEMS] for i in range(0, len(sources), GROUP_ITEMS)] or [[]]
            for place, group in enumerate(groups, start=1):
                pieces.append(_Piece(group, copies, place == len(groups)))
                yield [source.query(work.reader_options) for source in group]

    embedded = embed_parts(
        model, parts(), batch_size=work.choice.batch_size, on_error=work.on_error, workers=work.workers
    )
    try:
        with warnings.catch_warnings(), closing(embedded):
            warnings.simplefilter("ignore", UnknownWords)  # reported once, for the whole job
            for result in embedded:
                piece = pieces.popleft()
                part = part_of(result, piece.sources)
                names = [piece.copies.by_name(source) for source in piece.sources]
                report.rows += len(part.rows)
                report.skipped += [_named(item, names, piece.copies, "reason") for item in part.skipped]
                report.notes += [_named(item, names, piece.copies, "note") for item in part.notes]
                report.unknown_words += result.unknown_words
                if piece.last:
                    piece.copies.close()
                yield rows_table(part.rows, [names[i] for i in part.kept], schema)
    except InputError as error:
        raise _renamed_error(error, [piece.copies for piece in pieces]) from None
    finally:
        for piece in pieces:
            piece.copies.close()


def _cut_in_windows(model: Encoder, copies: Copies, work: Work) -> list[Source]:
    try:
        return in_windows(model, Sources(copies.sources, work.reader_options), work.windows, work.on_error)
    except InputError as error:
        raise _renamed_error(error, [copies]) from None


def _note_failures(copies: Copies, work: Work, report: PartitionReport) -> None:
    for source, reason in copies.failures:
        if work.on_error == "raise":
            problem = reason.removeprefix(f"{source.value}: ")
            raise InputError(source.value, found=problem, expected="a source that can be read")
        report.skipped.append({"modality": source.modality, "source": source.value, "reason": reason})


def _named(item: Mapping[str, Any], names: list[Source], copies: Copies, key: str) -> dict[str, Any]:
    """What was reported of an item, with its own name in place of a copy's."""
    source = names[item["index"]]
    return {"modality": source.modality, "source": source.value, key: copies.renamed(item[key])}


def _renamed_error(error: InputError, all_copies: list[Copies]) -> InputError:
    texts = {"source": error.source, "found": error.found, "expected": error.expected}
    for copies in all_copies:
        texts = {key: copies.renamed(text) for key, text in texts.items()}
    return InputError(texts["source"], found=texts["found"], expected=texts["expected"], remedy=error.remedy)
