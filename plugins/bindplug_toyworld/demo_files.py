"""The demo's scenes as files, and queries for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import bindplug
from bindplug.modality import Modality
from bindplug.progress import iterate_with_progress
from bindplug.query import Query
from bindplug_toyworld.scene import Scene
from bindplug_toyworld.things import CLASSNAMES, label_of

PICTURES_PER_PAIR = 3
"""Pictures of every pair of things, among which a sum is to find one."""

GalleryPicture = tuple[Path, tuple[str, ...]]
"""A file, and the things that it shows."""


@dataclass(frozen=True)
class Exhibit:
    """One scene and its files by modality; ``text`` is the file with the caption."""

    thing: str
    classname: str
    caption: str
    files: dict[str, Path]


def write_exhibit(scene: Scene, directory: Path) -> Exhibit:
    """Every sensor of a scene as a file."""
    files = scene.write(directory / scene.label)
    return Exhibit(scene.label, CLASSNAMES[label_of(scene.label)], scene.caption, files)


def write_gallery(directory: Path, things: Sequence[str], first: int, quiet: bool) -> list[GalleryPicture]:
    """Pictures to search: some of every pair of the things, and one of each thing alone."""
    directory.mkdir(parents=True, exist_ok=True)
    pairs = [pair for pair in combinations(things, 2) for _ in range(PICTURES_PER_PAIR)]
    groups = [*pairs, *((thing,) for thing in things)]
    gallery = []
    for index, group in enumerate(
        iterate_with_progress(groups, label="painting scenes", quiet=quiet or None)
    ):
        path = directory / f"{index:03d}_{'_'.join(group)}.png"
        Scene(first + index, "eval", labels=group).image.save(path)
        gallery.append((path, tuple(group)))
    return gallery


def query_for(exhibit: Exhibit, modality: str) -> Query:
    """The query for one file of a scene; for text, for the sentence in the file."""
    path = exhibit.files[modality]
    if modality == "text":
        return bindplug.text(path.read_text(encoding="utf-8").strip())
    makers = {m.value: getattr(bindplug, m.value) for m in Modality}
    query: Query = makers[modality](path)
    return query
