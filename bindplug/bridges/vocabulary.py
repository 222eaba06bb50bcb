"""The vocabulary bridge: describe a vector by words of its own space, say the words in the other."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from bindplug.bridges.base import Bridge, center_of
from bindplug.bridges.pairs import (
    first_mask,
    group_ids,
    held_out_mask,
    joined_groups,
    near_copies,
    paired_rows,
    regrouped,
    unit_rows,
)
from bindplug.bridges.quality import BridgeReport, warn_of
from bindplug.errors import InputError
from bindplug.space import EmbeddingSpace

DEFAULT_SCALE = 100.0
"""Where too few words exist to choose one: the scale CLIP's own softmax ends training with.
Source: arXiv 2103.00020, section 2.5 (clipped at 100)."""
SCALES = (5.0, 10.0, 20.0, 30.0, 50.0, 75.0, 100.0, 150.0, 200.0, 300.0, 500.0)
"""Scales that are tried."""
MOST_SCALE = 1e6
"""Above it the softmax picks one word whatever comes in; only a damaged card has such a scale."""
MOST_TRIED = 300
"""Words looked up for each scale at most."""


class VocabularyBridge(Bridge):
    """Maps x to the mixture of target vectors ``softmax(scale * cos(x, source vocabulary))``.

    It needs no encoder of the target space, only the vectors of some words in it, such as a detector's class
    vectors. Whatever it maps lies among those words.

    Args:
        source, target, common: as :class:`Bridge`.
        source_words: (V, D_source) float32 unit rows, one a word.
        target_words: (V, D_target) float32 unit rows of the same words.
        scale: factor on cosines; a large one picks the nearest word, a small one blends many.
        center: whether cosines are taken between centered rows, so that no word is near to everything.
        names: the V words, if known.
    """

    kind: ClassVar[str] = "vocabulary"

    def __init__(
        self,
        source: EmbeddingSpace,
        target: EmbeddingSpace,
        *,
        source_words: Tensor,
        target_words: Tensor,
        scale: float,
        center: bool = True,
        names: Sequence[str] | None = None,
        **common: Any,
    ) -> None:
        super().__init__(source, target, **common)
        count = len(source_words)
        if source_words.shape != (count, source.width) or target_words.shape != (count, target.width):
            shapes = f"{tuple(source_words.shape)} and {tuple(target_words.shape)}"
            raise ValueError(f"vocabulary of shapes {shapes} for {source} to {target}")
        if isinstance(scale, bool) or not isinstance(scale, (int, float)) or not 0.0 < scale < MOST_SCALE:
            raise ValueError(f"a scale of {scale!r}")
        if names is not None and len(names) != count:
            raise ValueError(f"{len(names)} names for {count} words")
        self.source_words, self.target_words = source_words, target_words
        self.scale, self.center = float(scale), bool(center)
        self.names = None if names is None else tuple(names)
        self._keys = self._compared(source_words - self._origin(source_words))

    @classmethod
    def fit(
        cls,
        source_rows: Any,
        target_rows: Any,
        *,
        source: EmbeddingSpace,
        target: EmbeddingSpace,
        scale: float | None = None,
        center: bool = True,
        names: Sequence[str] | None = None,
        held_out: float = 0.1,
        groups: Sequence[Hashable] | None = None,
        seed: int = 0,
        provenance: Mapping[str, Any] | None = None,
    ) -> VocabularyBridge:
        """Take N texts embedded in both spaces as the vocabulary, and choose the scale.

        Args:
            source_rows: (N, D_source) tensor or array.
            target_rows: (N, D_target), row i of the text of source row i.
            source, target: the spaces of the rows.
            scale: factor on cosines; None chooses the one at which words left out, and words of the vocabulary,
                come nearest to their target.
            center: take cosines between centered rows.
            names: the texts, kept on the bridge so that :meth:`explain` can say them.
            held_out, groups, seed, provenance: as :meth:`LinearBridge.fit`.

        Raises:
            InputError: rows that do not pair, are too few or not finite, or an argument out of range.

        Warns:
            BridgeQuality: held-out retrieval is poor or unknown.
        """
        if scale is not None and not 0.0 < scale < float("inf"):
            raise InputError("VocabularyBridge.fit()", found=f"scale={scale}", expected="a number above 0")
        x, y = paired_rows(source_rows, target_rows, source.width, target.width)
        if names is not None and len(names) != len(x):
            problem = f"{len(names)} names for {len(x)} pairs"
            raise InputError("VocabularyBridge.fit()", found=problem, expected="one name for every pair")
        copies = near_copies(x, y)
        ids = joined_groups(group_ids(groups, len(x)).tolist(), copies.tolist())

        def build(x: Tensor, y: Tensor, scale: float, names: Sequence[str] | None = None) -> VocabularyBridge:
            return cls(
                source,
                target,
                source_words=x.float().contiguous(),
                target_words=y.float().contiguous(),
                scale=scale,
                center=center,
                names=names,
                centers={"text": center_of(x)},
                target_mean=y.mean(0).float(),
                report=BridgeReport("vocabulary", len(x), source.width, target.width, scale=scale),
                provenance=provenance,
            )

        is_held_out = held_out_mask(ids, copies, held_out, seed)
        if scale is None:
            # Chosen among the pairs that are not held out, so that the report stays honest.
            part = slice(None) if is_held_out is None else ~is_held_out
            scale = _choose_scale(build, x[part], y[part], regrouped(ids[part]), seed)
        bridge = build(x, y, scale, names)
        bridge.report = replace(bridge.report, groups=int(ids.max()) + 1)
        if is_held_out is not None:
            trial = build(x[~is_held_out], y[~is_held_out], scale)
            is_measured = is_held_out & first_mask(copies)
            across = trial.evaluate(x[is_measured], y[is_measured])
            bridge.report = replace(bridge.report, retrieval=across)
        warn_of(bridge.report, repr(bridge))
        return bridge

    def explain(self, rows: Any, modality: str = "text", top_k: int = 5) -> list[list[tuple[str, float]]]:
        """The words each row is described by, and their shares, largest first.

        Args:
            rows: (N, D_source) tensor or array; lengths carry no meaning.
            modality: what they embed.
            top_k: words for each row, or all there are.

        Returns:
            For each row pairs of a word and its share, in [0, 1].

        Raises:
            InputError: rows as in a call, ``top_k`` below 1, or a bridge without names.
        """
        if self.names is None or top_k < 1:
            problem = f"top_k={top_k}" if self.names is not None else "a bridge fitted without names"
            raise InputError("explain()", found=problem, expected="names, and top_k of at least 1")
        unit = unit_rows(rows, self.source.width, f"rows for a bridge from {self.source.name!r}")
        shares, words = self._shares(self._centered(unit, modality)).topk(min(top_k, len(self.names)), dim=1)
        return [
            [(self.names[word], share) for word, share in zip(words_of, shares_of, strict=True)]
            for words_of, shares_of in zip(words.tolist(), shares.tolist(), strict=True)
        ]

    def _map(self, centered: Tensor) -> Tensor:
        return self._shares(centered) @ self.target_words.to(centered)

    def _shares(self, centered: Tensor) -> Tensor:
        query_rows = self._compared(centered + (0.0 if self.center else self._text_mean(centered)))
        return (self.scale * query_rows @ self._keys.to(centered).T).softmax(dim=1)

    def _origin(self, like: Tensor) -> Tensor:
        return self._text_mean(like) if self.center else torch.zeros_like(like[0])

    def _text_mean(self, like: Tensor) -> Tensor:
        return self.centers["text"][0].to(like)

    @staticmethod
    def _compared(rows: Tensor) -> Tensor:
        return torch.nn.functional.normalize(rows, dim=1)

    def tensors(self) -> dict[str, Tensor]:
        """The unit rows of W words in both spaces: (W, D_source) and (W, D_target)."""
        return {"source_words": self.source_words, "target_words": self.target_words}

    def parameters(self) -> dict[str, Any]:
        """Scale, centering and names."""
        names = None if self.names is None else list(self.names)
        return {"scale": self.scale, "center": self.center, "names": names}

    @classmethod
    def restore(
        cls, tensors: Mapping[str, Tensor], parameters: Mapping[str, Any], **common: Any
    ) -> VocabularyBridge:
        """See :meth:`Bridge.restore`."""
        return cls(
            source_words=tensors["source_words"],
            target_words=tensors["target_words"],
            scale=parameters["scale"],
            center=parameters["center"],
            names=parameters["names"],
            **common,
        )


def _choose_scale(
    fit: Callable[[Tensor, Tensor, float], VocabularyBridge], x: Tensor, y: Tensor, ids: Tensor, seed: int
) -> float:
    """The scale that brings words left out, and words of the vocabulary itself, nearest to their targets."""
    left_out = held_out_mask(ids, torch.arange(len(ids)), 0.2, seed + 1)
    if left_out is None:
        return DEFAULT_SCALE
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    new = order[left_out[order]][:MOST_TRIED]
    old = order[~left_out[order]][:MOST_TRIED]

    def nearness(scale: float) -> float:
        trial = fit(x[~left_out], y[~left_out], scale)
        return sum(trial.evaluate(x[part], y[part]).centered_cosine for part in (new, old))

    return max(SCALES, key=nearness)
