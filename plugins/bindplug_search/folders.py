"""The folders that an index remembers, so that an update finds their new files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from bindplug.errors import BindplugError
from bindplug_search.manifest import Folder
from bindplug_search.store import LanceIndex


@contextmanager
def remembering(index: LanceIndex, folder: Folder) -> Iterator[Folder]:
    """Remember a folder while its files are added, in place of what was kept for the same patterns.

    Metadata that rows have already stays when their folder is added again, so that the values and the table of before
    count for new files as well, where this time there are none.

    It is remembered first, so that a run that is killed leaves nothing that updates do not find. Where an error ends
    the run before it wrote a row, what was remembered before is put back: a folder that was given with wrong patterns
    or metadata would make every update fail.

    Yields:
        The folder as it is remembered, with the values of before.
    """
    before, version = index.manifest.folders, index.version
    same = [other for other in before if (other.path, other.patterns) == (folder.path, folder.patterns)]
    for other in same:
        values = {**other.values, **folder.values}
        folder = replace(folder, metadata_file=folder.metadata_file or other.metadata_file, values=values)
    folders = (*(other for other in before if other not in same), folder)
    if folders != before:
        index.update_manifest(folders=folders)
    try:
        yield folder
    except BindplugError:
        if index.version == version and index.manifest.folders != before:
            index.update_manifest(folders=before)
        raise
