"""The linear bridge: center, rotate or regress, move to the target's mean."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
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
)
from bindplug.bridges.quality import BridgeReport, warn_of
from bindplug.bridges.solve import Solution, procrustes, ridge
from bindplug.errors import InputError
from bindplug.modality import Modality
from bindplug.space import EmbeddingSpace

METHODS = ("procrustes", "ridge")
ADJUSTMENT = "adjustment."
"""Prefix of the stored tensors that are added to the weight for a modality."""


class LinearBridge(Bridge):
    """Maps ``x -> normalize((x - mean_source[modality]) @ weight + mean_target)``.

    A classifier tuned to text vectors is tuned to their mean as well, on which CLIP's text vectors largely
    agree; giving a mapped row the target's mean puts it on the scale the classifier knows.

    Args:
        source, target, common: as :class:`Bridge`.
        weight: (D_source, D_target) float32.
        adjustments: for modalities that were refined with pairs, what is added to the weight, of its shape.
    """

    kind: ClassVar[str] = "linear"

    def __init__(
        self,
        source: EmbeddingSpace,
        target: EmbeddingSpace,
        *,
        weight: Tensor,
        adjustments: Mapping[str, Tensor] | None = None,
        **common: Any,
    ) -> None:
        super().__init__(source, target, **common)
        self.weight = weight
        self.adjustments = {Modality.parse(name).value: added for name, added in (adjustments or {}).items()}
        for matrix in (weight, *self.adjustments.values()):
            if matrix.shape != (source.width, target.width):
                raise ValueError(f"weight of shape {tuple(matrix.shape)} for {source} to {target}")

    @classmethod
    def fit(
        cls,
        source_rows: Any,
        target_rows: Any,
        *,
        source: EmbeddingSpace,
        target: EmbeddingSpace,
        method: str = "procrustes",
        strength: float | None = None,
        match_spread: bool = True,
        held_out: float = 0.1,
        groups: Sequence[Hashable] | None = None,
        seed: int = 0,
        provenance: Mapping[str, Any] | None = None,
    ) -> LinearBridge:
        """Learn the map from the same N texts embedded in both spaces.

        Args:
            source_rows: (N, D_source) tensor or array.
            target_rows: (N, D_target), row i of the text of source row i.
            source, target: the spaces of the rows.
            method: ``"procrustes"`` keeps angles and needs few pairs; ``"ridge"`` can stretch directions and
                wants several times as many pairs as dimensions.
            strength: of the ridge, relative to the mean eigenvalue of the source's scatter; cross-validated
                for None.
            match_spread: stretch mapped rows to spread around the mean as widely as the target's do. Noise
                shrinks a fit; without this, prompts would crowd around the mean.
            held_out: share of the pairs that the report's retrieval is measured on; a first fit leaves them
                out, the bridge returned uses all pairs.
            groups: for each pair, what it is a variant of; variants are held out together, as are
                near-copies, whose rows are alike in both spaces and of which one is measured.
            seed: of the choice of held-out pairs and folds.
            provenance: JSON-ready words on where the rows come from, kept on the card.

        Raises:
            InputError: rows that do not pair, are too few or not finite, or an argument out of range.

        Warns:
            BridgeQuality: held-out retrieval is poor or unknown, or the pairs do not span the source.
        """
        _check(method, strength)
        x, y = paired_rows(source_rows, target_rows, source.width, target.width)
        copies = near_copies(x, y)
        ids = joined_groups(group_ids(groups, len(x)).tolist(), copies.tolist())

        def build(x: Tensor, y: Tensor, ids: Tensor) -> LinearBridge:
            solution = _solution(x - x.mean(0), y - y.mean(0), ids, method, strength, seed)
            gain = solution.gain if match_spread else 1.0
            return cls(
                source,
                target,
                weight=(solution.weight * gain).float().contiguous(),
                centers={"text": center_of(x)},
                target_mean=y.mean(0).float(),
                report=BridgeReport(method, len(x), source.width, target.width, strength=solution.strength),
                provenance=provenance,
            )

        bridge = build(x, y, ids)
        bridge.report = replace(bridge.report, groups=int(ids.max()) + 1)
        is_held_out = held_out_mask(ids, copies, held_out, seed)
        if is_held_out is not None:
            trial = build(x[~is_held_out], y[~is_held_out], regrouped(ids[~is_held_out]))
            is_measured = is_held_out & first_mask(copies)
            across = trial.evaluate(x[is_measured], y[is_measured])
            bridge.report = replace(bridge.report, retrieval=across)
        warn_of(bridge.report, repr(bridge))
        return bridge

    def _map(self, centered: Tensor) -> Tensor:
        return centered @ self.weight.to(centered) + self.target_mean.to(centered)

    def _map_as(self, centered: Tensor, modality: str | Modality | Sequence[str | Modality]) -> Tensor:
        mapped = self._map(centered)
        if not self.adjustments:
            return mapped
        if isinstance(modality, str):
            added = self.adjustments.get(self._adjusted_name(Modality.parse(modality)))
            return mapped if added is None else mapped + centered @ added.to(centered)
        names = [self._adjusted_name(Modality.parse(name)) for name in modality]
        for name, added in self.adjustments.items():
            places = torch.tensor(
                [place == name for place in names], dtype=torch.bool, device=centered.device
            )
            mapped = mapped + places[:, None] * (centered @ added.to(centered))
        return mapped

    def _adjusted_name(self, modality: Modality) -> str:
        return modality.value if modality.value in self.adjustments else self._center_name(modality)

    def weight_for(self, modality: str | Modality) -> Tensor:
        """(D_source, D_target) with which a modality is mapped."""
        added = self.adjustments.get(self._adjusted_name(Modality.parse(modality)))
        return self.weight if added is None else self.weight + added

    def center_for(self, modality: str | Modality) -> tuple[Tensor, float]:
        """The mean (D_source,) that is subtracted from a modality's rows, and the factor that stretches them."""
        return self._center(Modality.parse(modality))

    def copy(self) -> LinearBridge:
        """A bridge that can be refined without changing this one."""
        return LinearBridge(
            self.source,
            self.target,
            weight=self.weight.clone(),
            adjustments={name: added.clone() for name, added in self.adjustments.items()},
            centers=dict(self.centers),
            target_mean=self.target_mean.clone(),
            report=self.report,
            provenance=self.provenance,
        )

    def tensors(self) -> dict[str, Tensor]:
        """The weight (D_source, D_target), and what is added to it for some modalities, each of the same shape."""
        return {"weight": self.weight} | {
            ADJUSTMENT + name: added for name, added in self.adjustments.items()
        }

    def parameters(self) -> dict[str, Any]:
        """None: the report tells method and strength."""
        return {}

    @classmethod
    def restore(
        cls, tensors: Mapping[str, Tensor], parameters: Mapping[str, Any], **common: Any
    ) -> LinearBridge:
        """See :meth:`Bridge.restore`."""
        added = {
            name.removeprefix(ADJUSTMENT): tensor
            for name, tensor in tensors.items()
            if name.startswith(ADJUSTMENT)
        }
        return cls(weight=tensors["weight"], adjustments=added, **common)


def _solution(x: Tensor, y: Tensor, ids: Tensor, method: str, strength: float | None, seed: int) -> Solution:
    return procrustes(x, y) if method == "procrustes" else ridge(x, y, ids, strength, seed)


def _check(method: str, strength: float | None) -> None:
    if method not in METHODS:
        raise InputError("LinearBridge.fit()", found=f"method={method!r}", expected=f"one of {METHODS}")
    if strength is None:
        return
    if method != "ridge":
        problem = f"strength={strength} for {method!r}"
        raise InputError("LinearBridge.fit()", found=problem, expected="a strength for method='ridge' only")
    if not 0.0 <= strength < float("inf"):
        raise InputError("LinearBridge.fit()", found=f"strength={strength}", expected="a number >= 0")
