"""Pairs of files as what a binding run reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bindplug.encoder import Encoder
from bindplug.errors import InputError
from bindplug.inputs.base import ModelInput, Preprocess
from bindplug.training.pair_anchors import (
    PictureCrops,
    RowCache,
    embed_anchors,
    encode_pictures,
    ensure_different,
)
from bindplug.training.pair_items import PairItem, PairList, PairProblem, first_problems
from bindplug.training.pair_samples import (
    CACHE_BYTES,
    SampleReader,
    StoredSamples,
    content_of,
    identity_of,
    read_picture,
    store_samples,
)

MAPS = ("depth", "thermal")
"""Senses whose samples are maps of the picture's own view, so that both sides are cropped alike."""


class FilePairs:
    """Pairs of files by index: a :class:`bindplug.training.PairDataset`.

    Each sample is one clip, drawn anew each time where there are several. With augmentation the picture is embedded
    anew each time, from a crop; a depth map or heat picture gets the same crop and flip.

    Args:
        items: the pairs, all of which can be read.
        rows: (N, D) rows of their pictures.
        reader: of their samples.
        stored: the samples' model input, in the order of the pairs; read anew each time for None.
        identity: what decides on the pairs' numbers, by name, so that a checkpoint of other pairs is refused.
        anchor: embeds augmented pictures; None without augmentation.
        crops: of the pictures.
        places: for each pair its place in ``rows`` and ``stored``; its own index for None.
    """

    def __init__(
        self,
        items: Sequence[PairItem],
        rows: np.ndarray | Tensor,
        reader: SampleReader,
        stored: StoredSamples | None = None,
        *,
        identity: Mapping[str, str] | None = None,
        anchor: Encoder | None = None,
        crops: PictureCrops | None = None,
        places: Sequence[int] | None = None,
    ) -> None:
        self.items, self.rows, self.reader, self.stored = list(items), torch.as_tensor(rows), reader, stored
        self.identity, self.anchor, self.crops = dict(identity or {}), anchor, crops
        self.places = list(range(len(self.items))) if places is None else list(places)

    def __len__(self) -> int:
        return len(self.items)

    def anchors(self, indices: Tensor, generator: torch.Generator) -> Tensor:
        """(B, D) float32 rows of the pictures, of unit length."""
        if self.crops is None or self.anchor is None:
            return self.rows[[self.places[index] for index in indices.tolist()]].float()
        draws = self.crops.draw(len(indices), generator)
        reader = self.anchor.preprocess["image"]
        pictures = [
            self._cropped(read_picture(self.items[index], reader), draw)
            for index, draw in zip(indices.tolist(), draws, strict=True)
        ]
        return encode_pictures(self.anchor, pictures)

    def samples(self, indices: Tensor, generator: torch.Generator) -> Tensor:
        """(B, ...) float32 inputs of the sense's tower, one clip each."""
        # The crops are drawn before anything else, as in anchors(), so that both sides get the same.
        draws = None if self.crops is None else self.crops.draw(len(indices), generator)
        chance = torch.rand(len(indices), generator=generator).tolist()
        samples = [self._sample(index, at) for index, at in zip(indices.tolist(), chance, strict=True)]
        if draws is not None and self.crops is not None and self.reader.sense in MAPS:
            samples = [
                self.crops.apply(sample, draw, light=False)
                for sample, draw in zip(samples, draws, strict=True)
            ]
        return torch.stack(samples)

    def without_augmentation(self) -> FilePairs:
        """The same pairs with their pictures as they are, for validation."""
        return FilePairs(
            self.items, self.rows, self.reader, self.stored, identity=self.identity, places=self.places
        )

    def part(self, indices: Sequence[int]) -> FilePairs:
        """Some of the pairs; nothing is copied."""
        return FilePairs(
            [self.items[index] for index in indices],
            self.rows,
            self.reader,
            self.stored,
            identity=self.identity | {"part": identity_of([], list(indices))[:16]},
            anchor=self.anchor,
            crops=self.crops,
            places=[self.places[index] for index in indices],
        )

    def _sample(self, index: int, at: float) -> Tensor:
        if self.stored is not None:
            return self.stored.read(
                self.places[index], min(int(at * self.stored.clips), self.stored.clips - 1)
            )
        recorded = self.reader.is_recorded
        return self.reader.read(self.items[index], at=at if recorded else None)[0]

    def _cropped(self, picture: ModelInput, draw: Tensor) -> ModelInput:
        assert self.crops is not None
        if isinstance(picture, Tensor):
            return self.crops.apply(picture, draw, light=True)
        return {
            name: self.crops.apply(part, draw, light=True) if part.ndim == 3 else part
            for name, part in picture.items()
        }


@dataclass
class PreparedPairs:
    """Pairs that were read once and found sound, and what was left out.

    Attributes:
        pairs: to train on.
        listed: pairs that were listed.
        problems: what was left out, from listing and from reading.
        notes: remarks for a person.
    """

    pairs: FilePairs
    listed: int
    problems: list[PairProblem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def split(self, share: float, *, seed: int = 0) -> tuple[FilePairs, FilePairs | None]:
        """Pairs to train on and, without augmentation, those held out; see :meth:`PairList.split`."""
        if share == 0:
            return self.pairs, None
        items = self.pairs.items
        places = {id(item): index for index, item in enumerate(items)}
        train, held = PairList(items, source="pairs").split(share, seed=seed)
        first, second = ([places[id(item)] for item in part] for part in (train, held))
        return self.pairs.part(first), self.pairs.part(second).without_augmentation()


def prepare_pairs(
    pairs: PairList,
    sense: str,
    anchor: Encoder,
    directory: Path,
    *,
    preprocess: Preprocess | None,
    options: Mapping[str, Any] | None = None,
    augment: str = "none",
    clips: int | None = None,
    row_cache: RowCache | None = None,
    most_bytes: int = CACHE_BYTES,
    batch_size: int = 32,
    workers: int | None = None,
    quiet: bool | None = None,
    strict: bool = False,
) -> PreparedPairs:
    """Read every pair once: embed its picture, and keep its sample on disk if all fit.

    Args:
        pairs: as :func:`bindplug.training.open_pairs` lists them.
        sense: of the samples.
        anchor: whose image tower embeds the pictures.
        directory: of the run, for the samples; a later call with the same pairs uses them again.
        preprocess: the sense's reader; None for a sense of one's own.
        options: of that reader.
        augment: ``"none"``, ``"basic"`` (crops and flips) or ``"strong"`` (and changes of light).
        clips: of each recording that are kept.
        row_cache: of rows of pictures of earlier runs.
        most_bytes: of samples on disk; if they need more, they are read anew each time.
        batch_size: pictures in one pass of the anchor.
        workers: threads that read; None for one a core, at most four.
        quiet: True shows no progress.
        strict: stop at the first item that is unpaired or cannot be read.

    Raises:
        InputError: ``strict`` and something is bad; no pair is left; the pictures are all alike; the anchor embeds no
            pictures.
    """
    if strict and pairs.problems:
        problem = pairs.problems[0]
        raise InputError(problem.source, found=problem.reason, expected="pairs without a fault, for --strict")
    reader = SampleReader(sense, preprocess, options)
    crops = None if augment == "none" else PictureCrops(augment)
    common: dict[str, Any] = {"workers": workers, "quiet": quiet, "strict": strict}
    good, bad_pictures, rows = embed_anchors(
        pairs.items, anchor, cache=row_cache, batch_size=batch_size, **common
    )
    seen = [pairs[index] for index in good]
    identity = identity_of(seen, sense, str(reader.options), clips, str(anchor.fingerprint))
    sound, bad_samples, stored = store_samples(
        seen, reader, directory, identity=identity, most_bytes=most_bytes, clips=clips, **common
    )
    problems = [*pairs.problems, *bad_pictures, *bad_samples]
    if not sound:
        raise InputError(
            pairs.source or "pairs",
            found=f"no pair that can be read ({first_problems(problems)})",
            expected=f"pictures, each with a {sense} sample",
        )
    rows = rows[sound]
    ensure_different(rows, pairs.source or "pairs")
    items = [replace(seen[index]) for index in sound]
    ready = FilePairs(
        items,
        rows,
        reader,
        stored,
        identity={
            "files": content_of(items)[:16],
            "reader": str(reader.options),
            "anchor": str(anchor.fingerprint),
            "augment": augment,
            "samples": "read anew each time" if stored is None else f"kept, {stored.clips} clips",
        },
        anchor=anchor if crops else None,
        crops=crops,
    )
    notes = list(pairs.notes)
    if stored is None and most_bytes > 0:
        notes.append(
            f"samples are not kept on disk, where they need more than {most_bytes / 2**30:g} GB or have no room; they "
            f"are read anew each time"
        )
    labels = {item.label for item in items if item.label}
    if len(labels) == 1:
        notes.append(
            f"all labeled pairs are of one class, {next(iter(labels))!r}: the sense learns differences within it only"
        )
    distinct = len({(item.anchor.name, item.moment_s) for item in items})
    if distinct < len(items) / 2:
        notes.append(
            f"{len(items)} pairs have {distinct} different pictures; pairs of one picture count as each other's "
            f"negatives, which weakens what is learned"
        )
    return PreparedPairs(ready, len(pairs), problems, notes)
