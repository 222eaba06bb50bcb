"""An index brought up to date with its files: changed ones read anew, new ones added, removed ones dropped."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from bindplug_search.adding import TEXT, Item, Work, items_of, put_files
from bindplug_search.listing import Listing, list_folder
from bindplug_search.manifest import Folder
from bindplug_search.metadata import Changes, MetadataFile
from bindplug_search.recipe import Recipe
from bindplug_search.report import AddReport
from bindplug_search.store import LanceIndex
from bindplug_search.table import IndexedFile

DELETE_STEP = 1000
"""Files whose rows are deleted in one commit."""


def update(index: LanceIndex, work: Work, *, prune: bool = False) -> AddReport:
    """Bring an index up to date.

    Rows of a file that is no longer there are deleted. Where the folder that it was in is missing too, or has no file
    left, the disk may not be mounted: then its rows stay and are reported, unless ``prune``.

    Args:
        index: to change.
        work: how files are read.
        prune: delete the rows of such files too, and forget folders that are not there.

    Raises:
        InputError, SpaceMismatch: as :func:`bindplug_search.adding.put_files`.
    """
    with index.writing():
        listings = [(folder, _listed(folder)) for folder in index.manifest.folders]
        if prune and any(listing is None for _, listing in listings):
            listings = [(folder, listing) for folder, listing in listings if listing is not None]
            index.update_manifest(folders=tuple(folder for folder, _ in listings))
        items: dict[str, Item] = {}
        removed, absent = [], []
        for digest, file in index.files().items():
            if not file.state.recipe:  # its rows were added as vectors
                continue
            if file.kind == TEXT or os.path.lexists(file.path):
                items[digest] = Item(file.kind, file.path, Recipe.parse(file.state.recipe))
            elif prune or not _may_be_unmounted(file, listings):
                removed.append(digest)
            else:
                absent.append(file.path)
        for folder, listing in listings:
            for item in _new_items(folder, listing):
                items.setdefault(item.digest, item)
        for start in range(0, len(removed), DELETE_STEP):
            index.delete_files(removed[start : start + DELETE_STEP])
        report = put_files(index, list(items.values()), work)
    report.removed, report.absent = len(removed), sorted(absent)
    problems = {
        place: reason
        for folder, listing in listings
        for place, reason in (listing.unreadable if listing else [(folder.path, "no such folder")])
    }
    report.skipped += [
        {"source": place, "modality": "", "reason": reason} for place, reason in problems.items()
    ]
    return report


def _listed(folder: Folder) -> Listing | None:
    """What a folder holds now; None if it is not there."""
    if not Path(folder.path).is_dir():
        return None
    return list_folder(folder.path, folder.patterns, recursive=folder.recursive)


def _new_items(folder: Folder, listing: Listing | None) -> Sequence[Item]:
    if listing is None:
        return []
    recipes = {kind: Recipe.parse(text) for kind, text in folder.recipes.items()}
    paths = [path for _, path in listing.files]
    joined: dict[str, Changes] = {}
    if folder.metadata_file and Path(folder.metadata_file).exists():
        joined, _ = MetadataFile(folder.metadata_file).join(paths, [folder.path])
    return list(items_of(listing.files, recipes, joined, folder.values))


def _may_be_unmounted(file: IndexedFile, listings: Sequence[tuple[Folder, Listing | None]]) -> bool:
    own = [listing for folder, listing in listings if file.path.startswith(os.path.join(folder.path, ""))]  # noqa: PTH118
    if not own:
        return not Path(file.path).parent.is_dir()
    return all(listing is None or not listing.files for listing in own)
