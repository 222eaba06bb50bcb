"""An index of files: :class:`Index`, which is searched, and which files are added to and removed from."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from bindplug.errors import InputError
from bindplug.indexes import IndexRow, MetadataValue
from bindplug.modality import Modality
from bindplug.query import Query
from bindplug_search.adding import Item, Work, items_of, put_files, skipped_digests
from bindplug_search.arguments import Kinds, Where, conditions_of, item_of, kinds_of, recipe_of
from bindplug_search.export import export_rows
from bindplug_search.folders import remembering
from bindplug_search.guards import committing
from bindplug_search.joined_tables import JoinedTable, folder_record, read_joined, table_record
from bindplug_search.left_out import take_in
from bindplug_search.listing import list_folder
from bindplug_search.manifest import Approximation, Folder
from bindplug_search.metadata import Changes, MetadataFile, present, with_values
from bindplug_search.recall import refresh_approximation
from bindplug_search.recipe import Recipe
from bindplug_search.removal import Selection, remove_files
from bindplug_search.report import SAVE_EVERY, AddReport, RemoveReport, absolute
from bindplug_search.searchable import Searchable
from bindplug_search.store import LanceIndex
from bindplug_search.table import file_digest
from bindplug_search.updating import update


class Index(Searchable):
    """Files of every kind, searched by queries of every kind.

    ``index = bindplug_search.open_index("library.lance")`` opens one.

    Args:
        store: where the rows are.
        load: gives a model with the towers of some modalities; the index's own model by default.
        bridge: from that model's space to the rows', where these differ; a registered one by default.

    Attributes:
        store: where the rows are.
    """

    def add(
        self,
        queries: Query | Sequence[Query],
        *,
        metadata: Sequence[Mapping[str, MetadataValue | None]]
        | Mapping[str, MetadataValue | None]
        | None = None,
        metadata_file: str | Path | None = None,
        windows: float | None = None,
        hop: float | None = None,
        on_error: str = "raise",
        save_every: int = SAVE_EVERY,
        batch_size: int = 32,
        workers: int | None = None,
        progress: bool | None = None,
    ) -> AddReport:
        """Add files, or sentences; files that are there already, as they are now, are left alone.

        Args:
            queries: one source each: ``[image("crane.jpg"), audio("bark.wav"), text("a dog")]``.
            metadata: to keep beside them, None for a value to drop: one mapping for each query, or one for all.
            metadata_file: a CSV, JSON Lines or Parquet file with a row a file, joined by its column ``path``; what it
                changes later arrives with :meth:`update`.
            windows: length in seconds of the windows that recordings are cut into; one row a file by default.
            hop: from the start of one window to that of the next; ``windows`` by default.
            on_error: ``"raise"``, or ``"skip"`` to leave out files that cannot be read; the report names them.
            save_every: rows between two commits; an interrupted run loses at most the work on these.
            batch_size: items in one pass through a tower.
            workers: threads that read files, as in :meth:`bindplug.Encoder.embed`.
            progress: True or False to force or forbid the bar.

        Raises:
            InputError: a query is no single file, a file or the metadata cannot be read, or the index cannot be
                written.
            SpaceMismatch: the model lives in another space than the index.
        """
        several = [queries] if isinstance(queries, Query) else list(queries)
        if metadata is None or isinstance(metadata, Mapping):
            metadata = [metadata or {}] * len(several)
        if len(metadata) != len(several):
            raise InputError(
                "add()",
                found=f"metadata for {len(metadata)} of {len(several)} queries",
                expected="one for each",
            )
        items = [
            item_of(query, dict(values), windows, hop)
            for query, values in zip(several, metadata, strict=True)
        ]
        work = self._work(on_error, save_every, batch_size, workers, progress)
        if metadata_file is None:
            with self._adding() as store:
                return self._put(store, items, work)
        rows, unjoined = MetadataFile(metadata_file).join(item.path for item in items)
        items = [
            replace(item, metadata=with_values(present(item.metadata), rows.get(item.path, {})))
            for item in items
        ]
        table = absolute(metadata_file)
        with self._adding() as store:
            if table not in store.manifest.tables:
                store.update_manifest(tables=(*store.manifest.tables, table))
            joined = read_joined(table_record(store.path, table), table)
            with committing(store.path):
                joined.begin(item.digest for item in items)
            items = _without_gone(joined, items, rows, {})
            report = self._put(store, items, work)
            _keep(store, joined, {item.digest: rows.get(item.path, {}) for item in items}, report)
        report.unjoined = unjoined
        return report

    def add_folder(
        self,
        folder: str | Path,
        patterns: Mapping[str, str | Sequence[str]],
        *,
        recursive: bool = True,
        options: Mapping[str, Mapping[str, Any]] | None = None,
        metadata: Mapping[str, MetadataValue] | None = None,
        metadata_file: str | Path | None = None,
        windows: float | None = None,
        hop: float | None = None,
        on_error: str = "raise",
        save_every: int = SAVE_EVERY,
        batch_size: int = 32,
        workers: int | None = None,
        progress: bool | None = None,
    ) -> AddReport:
        """Add the files of a folder, and remember it: :meth:`update` then finds its new files.

        Args:
            folder: to look in.
            patterns: for kinds, patterns of the names of their files: ``{"audio": "*.wav", "image": "*.jpg"}``.
            recursive: look into subdirectories too.
            options: for kinds, options of their readers.
            metadata: to keep beside all of them.
            metadata_file: a CSV, JSON Lines or Parquet file with a row a file, joined by its column ``path``.
            windows, hop, on_error, save_every, batch_size, workers, progress: as in :meth:`add`.

        Raises:
            InputError: as :meth:`add`; the folder cannot be listed, no file matches, or the metadata cannot be read.
        """
        pairs = [
            (Modality.parse(kind).value, pattern)
            for kind, several in patterns.items()
            for pattern in ([several] if isinstance(several, str) else several)
        ]
        listing = list_folder(str(folder), pairs, recursive=recursive)
        if not listing.files:
            described = ", ".join(pattern for _, pattern in pairs) or "no pattern"
            raise InputError(str(folder), found=f"no file that matches {described}", expected="at least one")
        reader_options = options or {}
        recipes = {kind: recipe_of(kind, reader_options.get(kind, {}), windows, hop) for kind, _ in pairs}
        rows: dict[str, Changes] = {}
        unjoined: list[str] = []
        if metadata_file is not None:
            rows, unjoined = MetadataFile(metadata_file).join(
                [path for _, path in listing.files], [str(folder)]
            )
        items = list(items_of(listing.files, recipes, rows, dict(metadata or {})))
        record = Folder(
            path=absolute(folder),
            patterns=tuple(pairs),
            recursive=recursive,
            recipes={kind: recipe.text for kind, recipe in recipes.items()},
            metadata_file="" if metadata_file is None else absolute(metadata_file),
            values=dict(metadata or {}),
        )
        work = self._work(on_error, save_every, batch_size, workers, progress)
        with self._adding() as store, remembering(store, record) as remembered:
            joined = read_joined(folder_record(store.path, record), record.metadata_file)
            if metadata_file is not None:
                with committing(store.path):
                    joined.begin()
                items = _without_gone(joined, items, rows, remembered.values)
            report = self._put(store, items, work)
            if metadata_file is not None:
                _keep(store, joined, {item.digest: rows.get(item.path, {}) for item in items}, report)
        report.unmatched, report.unjoined = listing.unmatched, unjoined
        if on_error == "raise" and listing.unreadable:
            place, reason = listing.unreadable[0]
            raise InputError(place, found=reason, expected="a directory that can be listed")
        report.skipped += [
            {"source": place, "modality": "", "reason": reason} for place, reason in listing.unreadable
        ]
        return report

    def update(
        self,
        *,
        prune: bool = False,
        on_error: str = "skip",
        save_every: int = SAVE_EVERY,
        batch_size: int = 32,
        workers: int | None = None,
        progress: bool | None = None,
    ) -> AddReport:
        """Bring the index up to date: changed files, new files of folders that were added, removed files.

        Args:
            prune: also drop the rows of files whose whole folder is missing or empty, as of a disk that is not
                mounted; by default they stay and the report names them.
            on_error, save_every, batch_size, workers, progress: as in :meth:`add`.

        Raises:
            InputError, SpaceMismatch: as :meth:`add`.
        """
        with self._adding() as store:
            report = update(
                store, self._work(on_error, save_every, batch_size, workers, progress), prune=prune
            )
            refresh_approximation(store)
        return report

    def remove(
        self,
        paths: str | Path | Sequence[str | Path] = (),
        *,
        texts: str | Sequence[str] = (),
        kind: Kinds = None,
        where: Where = None,
        missing: bool = False,
        dry_run: bool = False,
    ) -> RemoveReport:
        """Take files out of the index; the files themselves are not touched.

        Removed are files that meet all that is given; of several paths and texts, all. A removed file that is still in
        a folder that was added is left out by :meth:`update` until it is added again. A folder that is given by its
        path alone is forgotten.

        Args:
            paths: files, folders with all that is below them, and patterns of names such as ``"*_draft.png"`` or, with
                ``/``, of paths.
            texts: sentences.
            kind: a kind, or several.
            where: conditions on metadata, as in :meth:`search`.
            missing: only files that are no longer there. Those whose whole folder is missing or empty stay, unless a
                path covers them, and the report names them: their disk may not be mounted.
            dry_run: report what would be removed, and change nothing.

        Raises:
            InputError: a path or text is not in the index; then nothing is removed. No row has the metadata of a
                condition, or the index cannot be written.
            OptionError: nothing is given.
        """
        selection = Selection(
            paths=[os.fspath(path) for path in ([paths] if isinstance(paths, (str, Path)) else paths)],
            texts=[texts] if isinstance(texts, str) else list(texts),
            kinds=kinds_of(kind),
            conditions=conditions_of(where),
            missing=missing,
        )
        store = self._lance("removing files")
        report = remove_files(store, selection, dry_run=dry_run)
        if report.rows and not dry_run:
            with store.writing():
                refresh_approximation(store)
        return report

    def reader_options(self, rows: Sequence[IndexRow]) -> list[dict[str, Any]]:
        """The options that the files of rows were read with, in their order; none where that is not known."""
        if not rows or not isinstance(self.store, LanceIndex):
            return [{} for _ in rows]
        digests = [file_digest(row.path, row.kind) for row in rows]
        recipes = self.store.recipes(list(dict.fromkeys(digests)))
        return [
            dict(Recipe.parse(recipes[digest]).options) if digest in recipes else {} for digest in digests
        ]

    def optimize(self) -> Approximation | None:
        """Build the approximate search anew, and measure it; None where the index is small and every search exact."""
        with self._adding() as store:
            store.optimize()
            return refresh_approximation(store, force=True)

    def export(self, path: str | Path) -> int:
        """Write all rows to ``FILE.parquet``, ``FILE.npz`` or ``FILE.faiss``, and return how many there are.

        A FAISS file has the vectors alone; ``FILE.faiss.jsonl`` beside it says what each stands for.

        Raises:
            InputError: another suffix, or the file cannot be written.
            MissingDependency: FAISS is absent.
        """
        return export_rows(self._lance("exporting"), Path(path))

    def _put(self, store: LanceIndex, items: Sequence[Item], work: Work) -> AddReport:
        take_in(store.path, [(item.kind, item.path) for item in items])
        report = put_files(store, items, work)
        refresh_approximation(store)
        return report

    def _work(
        self, on_error: str, save_every: int, batch_size: int, workers: int | None, progress: bool | None
    ) -> Work:
        return Work(self.model_for, on_error, batch_size, workers, save_every, progress)

    def _lance(self, doing: str) -> LanceIndex:
        if not isinstance(self.store, LanceIndex):
            raise InputError(
                self.info().path,
                found=f"an index of the store {self.info().store!r}",
                expected=f"one that `bindplug index add` made, for {doing}",
            )
        return self.store

    @contextmanager
    def _adding(self) -> Iterator[LanceIndex]:
        store = self._lance("adding files")
        with store.writing():
            yield store


def _without_gone(
    joined: JoinedTable,
    items: Sequence[Item],
    rows: Mapping[str, Changes],
    values: Mapping[str, MetadataValue],
) -> list[Item]:
    """Items that drop what their table had for them before and has no longer."""
    return [
        replace(
            item,
            metadata={**joined.gone(item.digest, rows.get(item.path, {}), values), **item.metadata},
        )
        for item in items
    ]


def _keep(store: LanceIndex, joined: JoinedTable, rows: Mapping[str, Changes], report: AddReport) -> None:
    """Keep what a table gave to the files that were added."""
    skipped = skipped_digests(report)
    with committing(store.path):
        joined.keep({digest: row for digest, row in rows.items() if digest not in skipped})
