"""What every bridge can do: center rows by modality, map them, tell its spaces, measure itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import torch
from torch import Tensor

from bindplug.bridges.mapping import map_queries
from bindplug.bridges.pairs import unit_rows
from bindplug.bridges.quality import BridgeReport, Retrieval, retrieval, warn_of
from bindplug.bridges.storage import CARD, read_card, read_tensors, write_bridge
from bindplug.directories import damage_named
from bindplug.errors import CheckpointError, InputError, NoDirection
from bindplug.modality import Modality
from bindplug.space import EmbeddingSpace

if TYPE_CHECKING:
    from bindplug.encoder import Encoder
    from bindplug.query import Query

B = TypeVar("B", bound="Bridge")
KINDS: dict[str, type[Bridge]] = {}
"""Classes of bridges by their ``kind``, as it stands on the cards of stored ones."""

CENTER = "center."
"""Prefix of the stored tensors with the mean of a modality's rows."""

FEWEST_TO_RECENTER = 2
VANISHED = 1e-6
"""A mapped row shorter than this is rounding noise and no direction."""


class Bridge(ABC):
    """A map from unit rows of one space to unit rows of another.

    Args:
        source: the space it maps from.
        target: the space it maps to.
        centers: for each modality, ``"text"`` among them, the mean of its unit rows and their spread (root mean
            square distance from that mean) in the source space.
        target_mean: (D_target,) mean of the target's unit text rows.
        report: how it was fitted and how well.
        provenance: what it was made from, JSON-ready.
    """

    kind: ClassVar[str]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "kind" in cls.__dict__:
            KINDS[cls.kind] = cls

    def __init__(
        self,
        source: EmbeddingSpace,
        target: EmbeddingSpace,
        *,
        centers: Mapping[str, tuple[Tensor, float]],
        target_mean: Tensor,
        report: BridgeReport,
        provenance: Mapping[str, Any] | None = None,
    ) -> None:
        self.source, self.target = source, target
        self.centers = {Modality.parse(name).value: center for name, center in centers.items()}
        if "text" not in self.centers:
            raise ValueError("a bridge needs the center of text")
        self.target_mean = target_mean
        self.report = report
        self.provenance = dict(provenance or {})

    @abstractmethod
    def _map(self, centered: Tensor) -> Tensor:
        """Centered source rows (N, D_source) to target rows (N, D_target) of any length."""

    def _map_as(self, centered: Tensor, modality: str | Modality | Sequence[str | Modality]) -> Tensor:
        """:meth:`_map`, for bridges that map some modalities in a way of their own."""
        return self._map(centered)

    def __call__(self, rows: Any, modality: str | Modality | Sequence[str | Modality] = "text") -> Tensor:
        """Map rows into the target space.

        Args:
            rows: (N, D_source) tensor or array; lengths carry no meaning.
            modality: what the rows embed: one for all, or one for each. A modality that :meth:`recenter` was
                not given is centered as another of the same tower, else as text.

        Returns:
            (N, D_target) float32 rows of unit length, on the device of ``rows``; gradients pass.

        Raises:
            InputError: rows of another width, NaN, infinity or zeros, or not one modality for each row.
            UnknownModality: no such modality.
            NoDirection: a row maps to nothing.
        """
        unit = unit_rows(rows, self.source.width, f"rows for a bridge from {self.source.name!r}")
        target_rows = self._map_as(self._centered(unit, modality), modality)
        lengths = target_rows.norm(dim=1)
        if not (lengths > VANISHED).all():
            row = int((~(lengths > VANISHED)).nonzero()[0])
            raise NoDirection(
                f"row {row} maps to no direction in {self.target}: it lies where the bridge is blind"
            )
        return torch.nn.functional.normalize(target_rows, dim=1)

    def embed(self, model: Encoder, queries: Query | Sequence[Query], **options: Any) -> Tensor:
        """Embed queries with ``model`` and map them; see :func:`bindplug.bridges.map_queries`.

        Args:
            model: an encoder of the source space.
            queries: N queries, or one.
            options: of :func:`bindplug.bridges.map_queries`.

        Returns:
            (N, D_target) float32 unit rows.

        Raises:
            SpaceMismatch: the model lives in another space than this bridge starts from.
        """
        return map_queries(model, self, queries, **options)

    def recenter(self: B, modality: str | Modality, rows: Any, *, match_spread: bool = True) -> B:
        """Learn where a modality's rows lie, so that they are centered as they are and not as text is.

        Rows of different modalities sit around different means (the modality gap); centered on the text's,
        what they have in common is mistaken for meaning.

        Args:
            modality: what the rows embed.
            rows: (N, D_source) embeddings of a varied sample of it, N of at least 2, better hundreds.
            match_spread: also stretch the centered rows to spread as widely as text does.

        Returns:
            This bridge, changed.

        Raises:
            InputError: rows as in a call, or fewer than two.
        """
        name = Modality.parse(modality).value
        unit = unit_rows(rows, self.source.width, f"{name} rows to recenter with", dtype=torch.float64)
        if len(unit) < FEWEST_TO_RECENTER:
            problem = f"{len(unit)} rows"
            raise InputError(
                "recenter()", found=problem, expected="at least 2 rows, better hundreds, of all kinds"
            )
        mean, spread = center_of(unit.detach().cpu())
        self.centers[name] = (mean, spread if match_spread else self.centers["text"][1])
        return self

    @property
    def modalities(self) -> tuple[str, ...]:
        """Modalities with a center of their own."""
        return tuple(self.centers)

    def ensure(self, source: EmbeddingSpace | None = None, target: EmbeddingSpace | None = None) -> None:
        """Return if the bridge leads from ``source`` to ``target``; None is not asked about.

        Raises:
            SpaceMismatch: it does not.
        """
        if source is not None:
            self.source.ensure(source, doing=f"a bridge to {self.target.name!r}")
        if target is not None:
            target.ensure(self.target, doing="what comes after this bridge")

    def evaluate(self, source_rows: Any, target_rows: Any, modality: str | Modality = "text") -> Retrieval:
        """Retrieval across the bridge for N pairs of rows.

        Args:
            source_rows: (N, D_source); lengths carry no meaning.
            target_rows: (N, D_target); row ``i`` is the partner of source row ``i``.
            modality: of the source rows.

        Returns:
            Shares of mapped rows whose partner is nearest, or among the nearest.

        Raises:
            InputError: rows as in a call, or the sides differ in number.
        """
        predictions = self(source_rows, modality)
        target = unit_rows(target_rows, self.target.width, "target rows")
        if len(predictions) != len(target) or not len(target):
            problem = f"{len(predictions)} source rows and {len(target)} target rows"
            raise InputError("evaluating a bridge", found=problem, expected="as many of one as of the other")
        return retrieval(predictions.detach().cpu(), target.detach().cpu(), self.target_mean)

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write a directory of ``card.json`` and ``bridge.safetensors``; all of it or nothing.

        Args:
            path: the directory to make; it may exist if it is empty.
            overwrite: whether to replace a bridge that is there.

        Returns:
            The directory.

        Raises:
            CheckpointError: ``path`` is occupied.
        """
        tensors = {**self.tensors(), "target_mean": self.target_mean}
        tensors |= {CENTER + name: mean for name, (mean, _) in self.centers.items()}
        card = {
            "kind": self.kind,
            "source": asdict(self.source),
            "target": asdict(self.target),
            "report": self.report.to_dict(),
            "provenance": self.provenance,
            "spread": {name: spread for name, (_, spread) in self.centers.items()},
            "parameters": self.parameters(),
        }
        return write_bridge(path, card, tensors, overwrite=overwrite)

    @classmethod
    def load(cls: type[B], path: str | Path) -> B:
        """The bridge of a directory that :meth:`save` wrote; a poor one warns as it did when fitted.

        Raises:
            WeightsNotFound: there is no bridge.
            CheckpointError: it is damaged, or of another kind.
        """
        path = Path(path).expanduser()
        card = read_card(path)
        kind = KINDS.get(card["kind"])
        if kind is None:
            kinds = ", ".join(KINDS)
            raise CheckpointError(
                f"{path / CARD.file} is damaged: unknown kind {card['kind']!r} (known: {kinds})"
            )
        if not issubclass(kind, cls):
            raise CheckpointError(f"{path} holds a {kind.__name__}, not a {cls.__name__}; use load_bridge()")
        tensors = read_tensors(path, card)
        with damage_named(path / CARD.file):
            spread = {name: float(value) for name, value in card["spread"].items()}
            bridge = kind.restore(
                {name: tensor for name, tensor in tensors.items() if not name.startswith(CENTER)},
                card["parameters"],
                source=EmbeddingSpace.from_dict(card["source"]),
                target=EmbeddingSpace.from_dict(card["target"]),
                centers={name: (tensors[CENTER + name], value) for name, value in spread.items()},
                target_mean=tensors["target_mean"],
                report=BridgeReport.from_dict(card["report"]),
                provenance=card["provenance"],
            )
            bridge.check()
        warn_of(bridge.report, f"the bridge at {path}", stacklevel=3)
        return bridge

    def check(self) -> None:
        """Return if centers and the target's mean fit the spaces.

        Raises:
            ValueError: they do not.
        """
        for name, (mean, spread) in self.centers.items():
            if mean.shape != (self.source.width,) or not 0.0 <= spread < float("inf"):
                raise ValueError(f"the center of {name} does not fit {self.source}")
        if self.target_mean.shape != (self.target.width,):
            raise ValueError(f"the target's mean does not fit {self.target}")

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """What it has learned beside its centers, by name; float32."""

    @abstractmethod
    def parameters(self) -> dict[str, Any]:
        """Its settings, JSON-ready."""

    @classmethod
    @abstractmethod
    def restore(
        cls: type[B], tensors: Mapping[str, Tensor], parameters: Mapping[str, Any], **common: Any
    ) -> B:
        """A bridge from :meth:`tensors`, :meth:`parameters` and the arguments of :class:`Bridge`.

        Raises:
            KeyError, TypeError, ValueError: something is missing or does not fit.
        """

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.source.name!r} -> {self.target.name!r}, {self.report.method})"

    def _centered(self, unit: Tensor, modality: str | Modality | Sequence[str | Modality]) -> Tensor:
        if isinstance(modality, str):
            mean, gain = self._center(Modality.parse(modality))
            return (unit - mean.to(unit)) * gain
        names = [Modality.parse(name) for name in modality]
        if len(names) != len(unit):
            problem = f"{len(names)} modalities for {len(unit)} rows"
            raise InputError("a bridge", found=problem, expected="one modality for all rows, or one for each")
        if not names:
            return unit
        centers = [self._center(name) for name in names]
        means = torch.stack([mean for mean, _ in centers]).to(unit)
        return (unit - means) * torch.tensor([[gain] for _, gain in centers]).to(unit)

    def _center(self, modality: Modality) -> tuple[Tensor, float]:
        """The mean to subtract and the factor that makes the modality spread as text does."""
        mean, spread = self.centers[self._center_name(modality)]
        text_spread = self.centers["text"][1]
        return mean, text_spread / spread if spread > 0.0 and text_spread > 0.0 else 1.0

    def _center_name(self, modality: Modality) -> str:
        """The modality as which one is centered: itself, another of its tower, or text."""
        same_tower = [m.value for m in Modality if m.tower == modality.tower]
        return next((n for n in (modality.value, *same_tower) if n in self.centers), "text")


def load_bridge(path: str | Path) -> Bridge:
    """The bridge of a directory that ``save`` or ``bindplug bridge fit`` wrote, of whichever kind.

    Raises:
        WeightsNotFound: there is no bridge.
        CheckpointError: it is damaged.

    Warns:
        BridgeQuality: it maps poorly, or how well is unknown.
    """
    return Bridge.load(path)


def center_of(unit: Tensor) -> tuple[Tensor, float]:
    """Mean (D,) float32 of unit rows (N, D), and their root mean square distance from it."""
    mean = unit.mean(0)
    freedom = max(len(unit) - 1, 1)
    return mean.float(), float(((unit - mean).square().sum() / freedom).sqrt())
