"""Rows taken out of an index on purpose: by path, by sentence, by kind, by metadata, or because files are gone.

A file that is still in a remembered folder is left out by later updates, until it is added again; a folder whose path
is given whole is forgotten. Both are written before the first row goes, so that after a kill the same command goes on
where it stopped, and no update brings rows back meanwhile.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from bindplug.errors import InputError, OptionError
from bindplug.indexes import Condition
from bindplug_search.adding import TEXT
from bindplug_search.guards import committing
from bindplug_search.joined_tables import folder_record, forget_files
from bindplug_search.left_out import leave_out
from bindplug_search.listing import WILD, kind_in_folder
from bindplug_search.manifest import Folder
from bindplug_search.report import RemoveReport, absolute
from bindplug_search.store import LanceIndex
from bindplug_search.table import IndexedFile
from bindplug_search.updating import DELETE_STEP, is_gone, listed, may_be_unmounted


@dataclass(frozen=True)
class Selection:
    """Which files to remove: those that meet all that is given.

    Args:
        paths: files, folders with all that is below them, and patterns of names or, with ``/``, of paths.
        texts: sentences.
        kinds: names of modalities.
        conditions: on metadata.
        missing: only files that are no longer there.

    Raises:
        OptionError: nothing is given.
    """

    paths: Sequence[str] = ()
    texts: Sequence[str] = ()
    kinds: Sequence[str] = ()
    conditions: Sequence[Condition] = ()
    missing: bool = False

    def __post_init__(self) -> None:
        if not (self.paths or self.texts or self.kinds or self.conditions or self.missing):
            raise OptionError(
                "remove needs to know what: paths, sentences, a kind, a condition on metadata, or missing files"
            )

    @property
    def is_whole(self) -> bool:
        """Whether all files of its paths are meant."""
        return not (self.kinds or self.conditions or self.missing)


def remove_files(index: LanceIndex, selection: Selection, *, dry_run: bool = False) -> RemoveReport:
    """Remove files from an index; nothing where an error is raised before the first row goes.

    With ``missing``, files whose whole folder is missing or empty stay and are reported, as their disk may not be
    mounted, unless a path of the selection covers them.

    Args:
        index: to change.
        selection: which files.
        dry_run: change nothing.

    Raises:
        InputError: a path or sentence is not in the index, no row has the metadata of a condition, or the index cannot
            be written.
    """
    if dry_run:
        return _Removal(index, selection).report(dry_run=True)
    with index.writing():
        removal = _Removal(index, selection)
        report = removal.report(dry_run=False)
        removal.apply()
    return report


class _Removal:
    """What a selection removes from an index as it is now.

    Attributes:
        files: that go, by their digests.
        folders: that are forgotten.
        absent: files that are gone and stay in the index.
    """

    def __init__(self, index: LanceIndex, selection: Selection) -> None:
        self._index = index
        every = index.files()
        self.folders = [
            folder
            for folder in index.manifest.folders
            if selection.is_whole and any(_covers(path, folder.path) for path in selection.paths)
        ]
        digests = _digests_of_names(index, every, selection, self.folders)
        files = {digest: file for digest, file in every.items() if digest in digests}
        if selection.kinds:
            files = {digest: file for digest, file in files.items() if file.kind in selection.kinds}
        if selection.conditions:
            meeting = index.files_where(selection.conditions)
            files = {digest: file for digest, file in files.items() if digest in meeting}
        self.absent: list[str] = []
        if selection.missing:
            files = {digest: file for digest, file in files.items() if is_gone(file)}
            if not selection.paths:
                listings = [(folder, listed(folder)) for folder in index.manifest.folders]
                absent = {digest for digest, file in files.items() if may_be_unmounted(file, listings)}
                self.absent = sorted(files[digest].path for digest in absent)
                files = {digest: file for digest, file in files.items() if digest not in absent}
        self.files = files

    @property
    def returning(self) -> list[IndexedFile]:
        """Files that the next update would add again."""
        folders = [folder for folder in self._index.manifest.folders if folder not in self.folders]
        return [
            file
            for file in self.files.values()
            if file.kind != TEXT
            and any(kind_in_folder(file.path, folder) == file.kind for folder in folders)
            and not is_gone(file)
        ]

    def report(self, *, dry_run: bool) -> RemoveReport:
        files = sorted(self.files.values(), key=lambda file: (file.path, file.kind))
        return RemoveReport(
            removed=[{"path": file.path, "kind": file.kind, "rows": file.rows} for file in files],
            rows=sum(file.rows for file in files),
            absent=self.absent,
            folders=list(dict.fromkeys(folder.path for folder in self.folders)),
            left_out=len(self.returning),
            dry_run=dry_run,
        )

    def apply(self) -> None:
        index = self._index
        leave_out(index.path, [(file.kind, file.path) for file in self.returning])
        if self.folders:
            index.update_manifest(
                folders=tuple(folder for folder in index.manifest.folders if folder not in self.folders)
            )
        digests = list(self.files)
        with committing(index.path):
            for folder in self.folders:
                folder_record(index.path, folder).unlink(missing_ok=True)
            forget_files(index.path, digests)
        for start in range(0, len(digests), DELETE_STEP):
            index.delete_files(digests[start : start + DELETE_STEP])
        index.drop_empty_columns(index.metadata_keys)


def _digests_of_names(
    index: LanceIndex, files: dict[str, IndexedFile], selection: Selection, folders: Sequence[Folder]
) -> set[str]:
    """Digests of the files that paths and sentences name; of all files where there are neither.

    Raises:
        InputError: a path or sentence names none.
    """
    if not selection.paths and not selection.texts:
        return set(files)
    digests: set[str] = set()
    for sentence in selection.texts:
        matches = {d for d, file in files.items() if file.kind == TEXT and file.path == sentence}
        if not matches:
            raise InputError(
                f"{index.path}: {sentence!r}", found="no such sentence", expected="one of the index"
            )
        digests |= matches
    for path in selection.paths:
        matches = _at(path, files)
        if not matches and not any(_covers(path, folder.path) for folder in folders):
            raise InputError(
                f"{index.path}: {path}",
                found="no file of the index there",
                expected="a file, a folder or a pattern of the index's files",
                remedy=f"See what is there: bindplug index remove {index.path} --path '*' --dry-run",
            )
        digests |= matches
    return digests


def _at(path: str, files: dict[str, IndexedFile]) -> set[str]:
    """Digests of the files that a path, a folder or a pattern stands for; a literal name goes before a pattern."""
    stored = [(digest, file.path) for digest, file in files.items() if file.kind != TEXT]
    literal = {digest for digest, name in stored if _covers(path, name)}
    if literal or not any(character in path for character in WILD):
        return literal
    if "/" not in path and os.sep not in path:
        return {digest for digest, name in stored if fnmatch(Path(name).name, path)}
    pattern = absolute(path)
    return {digest for digest, name in stored if fnmatch(name, pattern)}


def _covers(path: str, name: str) -> bool:
    """Whether a path is a file or folder, or a folder above it."""
    place = absolute(path)
    return name == place or _is_below(name, place)


def _is_below(name: str, folder: str) -> bool:
    return name.startswith(os.path.join(folder, ""))  # noqa: PTH118 (keeps what is not UTF-8)
