"""An index brought up to date with its files: changed ones read anew, new ones added, removed ones dropped."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from bindplug.errors import InputError
from bindplug_search.adding import TEXT, Item, Work, items_of, put_files, skipped_digests
from bindplug_search.guards import committing
from bindplug_search.joined_tables import JoinedTable, folder_record, read_joined, table_record
from bindplug_search.left_out import read_left_out
from bindplug_search.listing import Listing, list_folder
from bindplug_search.manifest import Folder
from bindplug_search.metadata import Changes, MetadataFile
from bindplug_search.recipe import Recipe
from bindplug_search.report import AddReport
from bindplug_search.store import LanceIndex
from bindplug_search.table import IndexedFile, file_digest

DELETE_STEP = 1000
"""Files whose rows are deleted in one commit."""


def update(index: LanceIndex, work: Work, *, prune: bool = False) -> AddReport:
    """Bring an index up to date.

    Rows of a file that is no longer there are deleted. Where the folder that it was in is missing too, or has no file
    left, the disk may not be mounted: then its rows stay and are reported, unless ``prune``. What has changed in the
    metadata tables that files were added with is written to the rows of these files.

    Args:
        index: to change.
        work: how files are read.
        prune: delete the rows of such files too, and forget folders that are not there.

    Raises:
        InputError, SpaceMismatch: as :func:`bindplug_search.adding.put_files`; a metadata table cannot be read, where
            ``work.on_error`` is "raise".
    """
    with index.writing():
        listings = [(folder, listed(folder)) for folder in index.manifest.folders]
        if prune and any(listing is None for _, listing in listings):
            gone = [folder for folder, listing in listings if listing is None]
            listings = [(folder, listing) for folder, listing in listings if listing is not None]
            index.update_manifest(folders=tuple(folder for folder, _ in listings))
            for folder in gone:
                folder_record(index.path, folder).unlink(missing_ok=True)
        existing = index.files()
        items: dict[str, Item] = {}
        removed, absent = [], []
        for digest, file in existing.items():
            if not file.state.recipe:  # its rows were added as vectors
                continue
            if not is_gone(file):
                items[digest] = Item(file.kind, file.path, Recipe.parse(file.state.recipe))
            elif prune or not may_be_unmounted(file, listings):
                removed.append(digest)
            else:
                absent.append(file.path)
        tables = _Tables(index, work.on_error)
        for name in index.manifest.tables:
            tables.join_files(name, items)
        left_out = read_left_out(index.path)
        for folder, listing in listings:
            rows = tables.join_folder(folder, listing)
            for item in _items(folder, listing, rows):
                if item.digest in existing and item.digest in items:
                    tables.add_changes(items, item.digest, folder, rows.get(item.path, {}))
                elif (item.kind, item.path) not in left_out:
                    earlier = items[item.digest].metadata if item.digest in items else {}
                    items[item.digest] = replace(item, metadata={**earlier, **item.metadata})
        for start in range(0, len(removed), DELETE_STEP):
            index.delete_files(removed[start : start + DELETE_STEP])
        report = put_files(index, list(items.values()), work)
        tables.write(skipped_digests(report))
    report.removed, report.absent = len(removed), sorted(absent)
    problems = {
        place: reason
        for folder, listing in listings
        for place, reason in (listing.unreadable if listing else [(folder.path, "no such folder")])
    }
    report.skipped += [
        {"source": place, "modality": "", "reason": reason}
        for place, reason in {**problems, **tables.problems}.items()
    ]
    return report


class _Tables:
    """The metadata tables of an index, read once in an update.

    Attributes:
        problems: for tables that cannot be read, the reason.
    """

    def __init__(self, index: LanceIndex, on_error: str) -> None:
        self.problems: dict[str, str] = {}
        self._index = index
        self._on_error = on_error
        self._read: dict[str, MetadataFile] = {}
        self._joined: list[tuple[JoinedTable, dict[str, Changes]]] = []  # with the rows by digest now
        self._of_folder: dict[Path, JoinedTable] = {}

    def join_files(self, name: str, items: dict[str, Item]) -> None:
        """Add to items what a table has changed of the files that were added one by one with it."""
        joined = read_joined(table_record(self._index.path, name), name)
        digests = [digest for digest in joined.files if digest in items]
        rows = self._rows(joined, [items[digest].path for digest in digests])
        if rows is None:
            return
        by_digest = {digest: rows.get(items[digest].path, {}) for digest in digests}
        for digest, row in by_digest.items():
            _merge(items, digest, joined.changes(digest, row, {}))
        self._joined.append((joined, by_digest))

    def join_folder(self, folder: Folder, listing: Listing | None) -> Mapping[str, Changes]:
        """The rows of a folder's table by the paths of its files; none where there is no table."""
        if not folder.metadata_file or listing is None:
            return {}
        record = folder_record(self._index.path, folder)
        joined = read_joined(record, folder.metadata_file)
        rows = self._rows(joined, [path for _, path in listing.files], folder.path)
        if rows is None:
            return {}
        self._of_folder[record] = joined
        by_digest = {file_digest(path, kind): rows.get(path, {}) for kind, path in listing.files}
        self._joined.append((joined, by_digest))
        return rows

    def add_changes(self, items: dict[str, Item], digest: str, folder: Folder, row: Changes) -> None:
        """Add to items what the table of a folder has changed of a file that is in the index."""
        joined = self._of_folder.get(folder_record(self._index.path, folder))
        if joined is not None:
            _merge(items, digest, joined.changes(digest, row, folder.values))

    def write(self, skipped: Iterable[str]) -> None:
        """Keep what the tables gave to the files of the index; of those that were skipped it stays as it was."""
        if not self._joined:
            return
        files = self._index.files().keys()
        written = files - set(skipped)
        for joined, rows in self._joined:
            joined.files = {digest: row for digest, row in joined.files.items() if digest in files}
            with committing(self._index.path):
                joined.keep({digest: row for digest, row in rows.items() if digest in written})

    def _rows(self, joined: JoinedTable, paths: Sequence[str], *folders: str) -> dict[str, Changes] | None:
        """The rows of a table by the paths that they are of; None if it cannot be read.

        Raises:
            InputError: it cannot be read, where files that cannot be read are not to be left out.
        """
        name = joined.table
        try:
            if name not in self._read:
                self._read[name] = MetadataFile(name)
            return self._read[name].join(paths, folders, directory=joined.directory)[0]
        except InputError as error:
            if self._on_error == "raise":
                raise
            self.problems[name] = f"{error}. The rows keep their metadata"
            return None


def _merge(items: dict[str, Item], digest: str, changes: Changes) -> None:
    items[digest] = replace(items[digest], metadata={**items[digest].metadata, **changes})


def listed(folder: Folder) -> Listing | None:
    """What a folder holds now; None if it is not there."""
    if not Path(folder.path).is_dir():
        return None
    return list_folder(folder.path, folder.patterns, recursive=folder.recursive)


def _items(folder: Folder, listing: Listing | None, rows: Mapping[str, Changes]) -> Iterator[Item]:
    if listing is not None:
        recipes = {kind: Recipe.parse(text) for kind, text in folder.recipes.items()}
        yield from items_of(listing.files, recipes, rows, folder.values)


def is_gone(file: IndexedFile) -> bool:
    """Whether a file is no longer there; False of a sentence, and where the system does not tell."""
    if file.kind == TEXT:
        return False
    try:
        os.lstat(file.path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):
        return False
    return False


def may_be_unmounted(file: IndexedFile, listings: Sequence[tuple[Folder, Listing | None]]) -> bool:
    """Whether a file that is gone may come back with its disk: its whole folder is missing or empty."""
    own = [listing for folder, listing in listings if file.path.startswith(os.path.join(folder.path, ""))]  # noqa: PTH118
    if not own:
        return not Path(file.path).parent.is_dir()
    return all(listing is None or not listing.files for listing in own)
