"""The folders that an index remembers, so that an update finds their new files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from bindplug.errors import BindplugError
from bindplug_search.manifest import Folder
from bindplug_search.store import LanceIndex


@contextmanager
def remembering(index: LanceIndex, folder: Folder) -> Iterator[None]:
    """Remember a folder while its files are added, in place of what was kept for the same patterns.

    It is remembered first, so that a run that is killed leaves nothing that updates do not find. Where an error ends
    the run before it wrote a row, what was remembered before is put back: a folder that was given with wrong patterns
    or metadata would make every update fail.
    """
    before, version = index.manifest.folders, index.version
    same = (folder.path, folder.patterns)
    folders = (*(other for other in before if (other.path, other.patterns) != same), folder)
    if folders != before:
        index.update_manifest(folders=folders)
    try:
        yield
    except BindplugError:
        if index.version == version and index.manifest.folders != before:
            index.update_manifest(folders=before)
        raise
