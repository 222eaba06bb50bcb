"""Names of files cut from YouTube's videos: each downloader has its own."""

from __future__ import annotations

from pathlib import Path

from bindplug_lab.datasets.folder import DataFolder, FileIndex, is_file

__all__ = ["index_folder", "segment_file"]


def segment_file(index: FileIndex, video: str, start: float, end: float) -> Path | None:
    """The file of a segment, None if there is none that is not empty.

    Its stem is the video's id, alone or after a ``Y``; with the start, or the start and end, in seconds (``_30``,
    ``_000030``, ``_30.000``) or milliseconds (``_30000``).
    """
    stems: list[str] = []
    for name in (video, f"Y{video}"):
        stems += [f"{name}_{int(start):06d}_{int(end):06d}", f"{name}_{int(start):06d}"]
        stems += [f"{name}_{start:.3f}_{end:.3f}", f"{name}_{start:.3f}", f"{name}_{start:.1f}_{end:.1f}"]
        stems += [f"{name}_{start:.1f}", f"{name}_{int(start)}_{int(end)}", f"{name}_{int(start)}"]
        stems += [f"{name}_{round(1000 * start)}_{round(1000 * end)}", f"{name}_{round(1000 * start)}", name]
    path = index.get(*stems)
    return path if path is not None and is_file(path) else None


def index_folder(folder: DataFolder, *names: str, suffixes: tuple[str, ...]) -> FileIndex:
    """An index of the first of several subfolders that exists beside the annotations; if none does, of all there."""
    return FileIndex(folder.find_optional(*(f"{name}/" for name in names)) or folder.base, suffixes)
