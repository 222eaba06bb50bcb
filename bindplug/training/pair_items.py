"""Pairs of a picture and another sense as data: where each side lies, and what could not become a pair."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import torch

from bindplug.errors import InputError
from bindplug.training.pair_sources import PairSource, contents_of

PIXELS = frozenset(
    (
        ".jpg",
        ".jpeg",
        ".png",
        ".webp",
        ".bmp",
        ".gif",
        ".tif",
        ".tiff",
        ".ppm",
        ".heic",
        ".heif",
        ".avif",
        ".jp2",
    )
)
VIDEOS = frozenset((".mp4", ".mkv", ".webm", ".mov", ".avi", ".m4v", ".mpg", ".mpeg", ".ts", ".flv", ".3gp"))
SOUNDS = frozenset(
    (
        ".wav",
        ".flac",
        ".ogg",
        ".oga",
        ".opus",
        ".mp3",
        ".m4a",
        ".aac",
        ".aif",
        ".aiff",
        ".au",
        ".wma",
        ".wv",
        ".ac3",
    )
)
MAPS = frozenset((".npy", ".npz", ".exr", ".pfm", ".mat", ".tif", ".tiff", ".pgm", ".raw", ".h5"))
"""Endings of depth maps and heat pictures that are not an ordinary picture's."""
LOGS = frozenset((".csv", ".tsv", ".npy", ".npz", ".parquet", ".mat", ".zip"))
"""Endings of motion logs."""
ARRAYS = frozenset((".npy", ".npz"))
"""Endings of the samples of a sense of one's own."""

SUFFIXES_OF = {
    "audio": SOUNDS,
    "depth": MAPS | {".png"},
    "thermal": MAPS | {".png", ".jpg", ".jpeg"},
    "imu": LOGS,
}


def suffixes_of(sense: str) -> frozenset[str]:
    """File endings, with the dot, that may hold samples of a sense; those of arrays for a sense of one's own."""
    return frozenset(SUFFIXES_OF.get(sense, ARRAYS))


@dataclass(frozen=True)
class PairItem:
    """A picture, or a moment of a video, and what another sense recorded of it.

    Args:
        anchor: the picture or video.
        sample: what the other sense recorded; of a video its sound.
        name: for messages.
        group: of the recording; pairs of one group never fall on both sides of a split.
        moment_s: when the frame is taken, if the anchor is a video; its middle for None.
        start_s, end_s: the stretch of the sample that belongs to the anchor; all of it for None.
        is_video: whether the anchor is a video.
        label: class of the pair, if known; never trained on.
        caption: sentence on the pair, if known; never trained on.
    """

    anchor: PairSource
    sample: PairSource
    name: str
    group: str
    moment_s: float | None = None
    start_s: float | None = None
    end_s: float | None = None
    is_video: bool = False
    label: str = ""
    caption: str = ""


@dataclass(frozen=True)
class PairProblem:
    """Something that did not become a pair.

    Args:
        source: the file, row or member.
        reason: why.
        kind: ``"unpaired"``, which lacks its other side, or ``"bad"``, which cannot be read.
    """

    source: str
    reason: str
    kind: str = "bad"


def first_problems(problems: Sequence[PairProblem]) -> str:
    """The first three, for messages."""
    return "; ".join(f"{problem.source}: {problem.reason}" for problem in problems[:3])


@dataclass
class PairList:
    """Pairs in a fixed order, and what did not become one.

    Attributes:
        items: the pairs.
        problems: unpaired and unreadable items.
        format: what they were read from: ``"folder"``, ``"table"``, ``"shards"`` or ``"dataset"``.
        source: where from, as it was given.
        notes: remarks for a person, as that videos were cut into windows.
    """

    items: list[PairItem]
    problems: list[PairProblem] = field(default_factory=list)
    format: str = ""
    source: str = ""
    notes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[PairItem]:
        return iter(self.items)

    def __getitem__(self, index: int) -> PairItem:
        return self.items[index]

    def with_items(self, items: Iterable[PairItem]) -> PairList:
        """The same list with other pairs."""
        return PairList(list(items), self.problems, self.format, self.source, self.notes)

    def split(self, share: float, *, seed: int = 0) -> tuple[PairList, PairList]:
        """Pairs to train on and pairs to validate on; no recording and no file is on both sides.

        Args:
            share: of the groups that validate, from 0 to below 1; 0 leaves the second list empty.
            seed: of the draw.

        Raises:
            InputError: the share is out of range, or the pairs are one group only and cannot be divided.
        """
        if not 0 <= share < 1:
            raise InputError("validation share", found=f"{share:g}", expected="a share from 0 to below 1")
        if share == 0 or not self.items:
            return self.with_items(self.items), self.with_items([])
        groups = joined_groups(self.items)
        names = list(dict.fromkeys(groups))  # in the pairs' order, which is the same wherever the files lie
        if len(names) < 2:
            raise InputError(
                self.source or "pairs",
                found=f"{len(self.items)} pairs of one recording or picture",
                expected="at least two recordings, so that one can be held out",
                remedy="Say --validation 0 to train without",
            )
        order = torch.randperm(len(names), generator=torch.Generator().manual_seed(seed)).tolist()
        count = min(len(names) - 1, max(1, round(share * len(names))))
        held = {names[place] for place in order[:count]}
        train = [item for item, group in zip(self.items, groups, strict=True) if group not in held]
        validation = [item for item, group in zip(self.items, groups, strict=True) if group in held]
        return self.with_items(train), self.with_items(validation)


def joined_groups(items: Sequence[PairItem]) -> list[str]:
    """For each pair a group; pairs that share a recording, a picture or a sample are in one, copies of files too."""
    parents: dict[str, str] = {}

    def root(key: str) -> str:
        parents.setdefault(key, key)
        while parents[key] != key:
            parents[key] = parents[parents[key]]
            key = parents[key]
        return key

    content_of = contents_of({source.name: source for item in items for source in (item.anchor, item.sample)})
    for item in items:
        first = root(f"group {item.group}")
        for other in (f"file {content_of[item.anchor.name]}", f"file {content_of[item.sample.name]}"):
            joined, second = sorted((root(other), first))
            parents[second] = joined
            first = joined
    return [root(f"group {item.group}") for item in items]
