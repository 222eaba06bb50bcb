"""How well a bridge carries meaning across, measured on pairs it was not fitted on."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import Tensor

from bindplug.bridges.pairs_report import PairsReport, in_groups

POOR_TOP1, POOR_TOP10 = 0.25, 0.5
"""Below either share of held-out items retrieved across a bridge, it is called poor."""
MOST = 1e12
"""Larger than any figure of a report."""


class BridgeQuality(UserWarning):
    """A bridge maps poorly, or there is too little to tell whether it does."""


@dataclass(frozen=True)
class Retrieval:
    """Held-out items mapped across, each looked up among the target rows of all of them.

    Attributes:
        candidates: number of items, which is also the number of rows to choose from; near-copies count once.
        top1: share whose own target row is nearest, in [0, 1].
        top10: share whose own target row is among the ten nearest.
        cosine: mean cosine of a mapped row and its target row.
        centered_cosine: the same after subtracting the target mean, so that a shared direction earns nothing.
    """

    candidates: int
    top1: float
    top10: float
    cosine: float
    centered_cosine: float


@dataclass(frozen=True)
class BridgeReport:
    """What a bridge was fitted with, and whether to trust it.

    Attributes:
        method: ``"procrustes"``, ``"ridge"`` or ``"vocabulary"``.
        corpus_size: pairs the bridge was fitted on.
        source_width, target_width: of its spaces.
        strength: ridge strength, relative to the mean eigenvalue; None for the other methods.
        scale: factor on cosines of a vocabulary bridge; None for the others.
        retrieval: of a bridge fitted without the held-out pairs; the bridge itself then used all. None where
            nothing was held out.
        pairs: what paired items added, a report for each modality that was refined.
        groups: sets of pairs held out together, as variants or near-copies of one another; None in the reports of
            earlier releases.
    """

    method: str
    corpus_size: int
    source_width: int
    target_width: int
    strength: float | None = None
    scale: float | None = None
    retrieval: Retrieval | None = None
    pairs: tuple[PairsReport, ...] = ()
    groups: int | None = None

    @property
    def concerns(self) -> tuple[str, ...]:
        """What speaks against trusting the bridge, in sentences; empty where nothing does."""
        concerns = []
        across = self.retrieval
        if across is None:
            together = in_groups(self.corpus_size, self.groups)
            why = f" ({self.corpus_size} pairs{together} of variants and near-copies)" if together else ""
            concerns.append(f"its quality is unknown: no pairs were held out to measure it{why}")
        elif across.top1 < POOR_TOP1 or across.top10 < POOR_TOP10:
            concerns.append(
                f"it maps poorly: of {across.candidates} held-out items {across.top1:.0%} are found first and "
                f"{across.top10:.0%} among ten; check that both sides embed the same words in the same order, "
                "and that the texts differ"
            )
        if self.method != "vocabulary" and self.corpus_size <= self.source_width:
            concerns.append(
                f"{self.corpus_size} pairs do not span the {self.source_width} directions of its source; what "
                f"lies outside them is lost. Use a larger corpus, such as the built-in one"
            )
        return tuple(concerns)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready fields, the concerns among them."""
        return {**asdict(self), "concerns": list(self.concerns)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> BridgeReport:
        """The report of :meth:`to_dict`.

        Raises:
            KeyError, TypeError, ValueError: fields are missing or of the wrong kind.
        """
        arguments = {
            field.name: values[field.name] for field in fields(cls) if field.name not in ("pairs", "groups")
        }
        # Bridges of earlier releases know neither pairs nor groups.
        arguments["groups"] = values.get("groups")
        arguments["pairs"] = tuple(PairsReport.from_dict(one) for one in values.get("pairs", ()))
        if arguments["retrieval"] is not None:
            arguments["retrieval"] = Retrieval(**arguments["retrieval"])
            _check_numbers(arguments["retrieval"], optional=())
        report = cls(**arguments)
        _check_numbers(report, optional=("strength", "scale", "groups"))
        return report

    def __str__(self) -> str:
        parameter = f", strength {self.strength:g}" if self.strength is not None else ""
        parameter += f", scale {self.scale:g}" if self.scale is not None else ""
        lines = [
            f"{self.method}{parameter}: {self.source_width} -> {self.target_width} dimensions, "
            f"{self.corpus_size} pairs{in_groups(self.corpus_size, self.groups)}"
        ]
        if self.retrieval is not None:
            r = self.retrieval
            lines.append(
                f"held out {r.candidates}: top-1 {r.top1:.1%}, top-10 {r.top10:.1%}, "
                f"cosine {r.cosine:.3f}, centered {r.centered_cosine:.3f}"
            )
        lines += [str(one) for one in self.pairs]
        return "\n".join([*lines, *(f"caution: {concern}" for concern in self.concerns)])


def retrieval(mapped: Tensor, target: Tensor, target_mean: Tensor) -> Retrieval:
    """Look every mapped row up among all target rows.

    A tie counts half, so that a map that makes all rows alike earns no hit.

    Args:
        mapped: (N, D) unit rows.
        target: (N, D) unit rows, row i the truth for row i of ``mapped``.
        target_mean: (D,) mean of the target's text.
    """
    target = target.to(mapped)
    cosines = mapped @ target.T
    own = cosines.diagonal()[:, None]
    ahead = (cosines > own).sum(1) + 0.5 * ((cosines == own).sum(1) - 1)
    mean = target_mean.to(mapped)
    centered = torch.nn.functional.cosine_similarity(mapped - mean, target - mean, dim=1)
    return Retrieval(
        candidates=len(mapped),
        top1=float((ahead < 1).float().mean()),
        top10=float((ahead < 10).float().mean()),
        cosine=float(own.mean()),
        centered_cosine=float(centered.mean()),
    )


def _check_numbers(values: Any, optional: tuple[str, ...]) -> None:
    """Raise a ValueError for a field of a report that is no finite number, or for a method that is no text."""
    for field in fields(values):
        if field.name == "pairs":
            continue
        value = getattr(values, field.name)
        if field.name in ("method", "retrieval"):
            sound = field.name == "retrieval" or isinstance(value, str)
        else:
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            sound = (number and abs(value) < MOST) or (value is None and field.name in optional)
        if not sound:
            raise ValueError(f"{field.name} cannot be {str(value)[:40]!r}")


def warn_of(report: BridgeReport, name: str, stacklevel: int = 3) -> None:
    """A :class:`BridgeQuality` warning if anything speaks against the bridge."""
    if report.concerns:
        warnings.warn(f"{name}: {'; '.join(report.concerns)}", BridgeQuality, stacklevel=stacklevel)
