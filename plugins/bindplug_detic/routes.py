"""Routes: how a query becomes a row in the space of a detector's classifier.

``direct`` where the encoder lives in that space, ``linear`` over a fitted bridge, ``vocabulary`` over a bridge made
from the detector's own class names and vectors. ``rescore`` (see :mod:`bindplug_detic.rescore`) makes no row: it
ranks crops by the query.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bindplug import EmbeddingSpace, Encoder, Query, text
from bindplug.bridges import VocabularyBridge, load_bridge
from bindplug.errors import InputError, NoDirection, SpaceMismatch
from bindplug.modality import Modality
from bindplug.models import list_models
from bindplug.plugins import registry
from bindplug.query import CANCELLED, AnyLeaf, VectorLeaf
from bindplug_detic.prompts import DetectorClasses

ROUTES = ("direct", "linear", "vocabulary", "rescore")
"""In the order in which they are preferred."""
CLASS_PROMPT = "a {}"
"""The sentence of a class name for the encoder. Source: the prompt behind Detic's own class vectors."""
FEWEST_FOR_A_MEAN = 20
"""Least number of a detector's class vectors whose mean estimates the mean of its space."""
VANISHED = 1e-6
"""A weighted sum shorter than this is float noise and has no direction."""


class Router:
    """Chooses a route for each query and makes its row in the detector's space.

    Args:
        model: embeds the queries.
        space: of the detector's classifier.
        classes: returns the detector's present vocabulary, or None; called at every use, as it may change.
        bridge: a map from the model's space to ``space``, or the path of one; without it a registered one is used.
        text_encoder: N texts to (N, D) rows in ``space``, if the detector has one; its texts then go direct.

    Raises:
        SpaceMismatch: the bridge leads from or to another space.
        InputError: ``bridge`` is not a bridge.
    """

    def __init__(
        self,
        model: Encoder,
        space: EmbeddingSpace,
        classes: Callable[[], DetectorClasses | None],
        *,
        bridge: Any = None,
        text_encoder: Callable[[list[str]], Tensor] | None = None,
    ) -> None:
        if not isinstance(model, Encoder):
            remedy = 'upgrade(detector, bindplug.load("imagebind_tiny"))'
            problem = "no model" if model is None else f"a {type(model).__name__} as model"
            raise InputError(
                "upgrade()", found=problem, expected="the encoder that embeds queries", remedy=remedy
            )
        self.model, self.space, self._classes, self.text_encoder = model, space, classes, text_encoder
        self.bridge = None if bridge is None else _checked_bridge(bridge, model, space)
        self._registered: Any = None
        self._vocabulary_bridge: tuple[DetectorClasses, Any] | None = None
        self._text_rows: tuple[tuple[str, ...], Tensor] | None = None

    @property
    def classes(self) -> DetectorClasses | None:
        """The detector's present vocabulary."""
        return self._classes()

    def choose(self, query: Query) -> str:
        """The route of a query without one: the first possible one of :data:`ROUTES`.

        Raises:
            SpaceMismatch: none is possible; the message gives the reason for each.
        """
        if self._is_native(query) or self.space.matches(self.model.embedding_space):
            return "direct"
        if self.bridge is not None:
            return "vocabulary" if getattr(self.bridge, "kind", "") == "vocabulary" else "linear"
        if self._registered_bridge() is not None:
            return "linear"
        classes = self.classes
        has_names = classes is not None and classes.names is not None and len(classes.names) > 1
        if "text" in self.model.modalities and has_names:
            return "vocabulary"
        if "image" in self.model.modalities:
            return "rescore"
        raise SpaceMismatch(
            f"this detector takes vectors of {self.space}, and the model makes vectors of "
            f"{self.model.embedding_space}. No bridge between them is given or registered "
            f"({fit_command(self.model, self.space)}); the vocabulary route needs a model with text and a detector "
            f"with class names; the rescore route needs a model with image"
        )

    def routes(self, queries: Sequence[Query], route: str | Sequence[str] | None) -> list[str]:
        """One route for each query: those of ``route``, or chosen.

        Raises:
            InputError: an unknown route, or not one for each query.
            SpaceMismatch: as :meth:`choose`.
        """
        if route is None:
            return [self.choose(query) for query in queries]
        names = [route] * len(queries) if isinstance(route, str) else list(route)
        unknown = [name for name in ([route] if isinstance(route, str) else names) if name not in ROUTES]
        if unknown or len(names) != len(queries):
            problem = repr(unknown[0]) if unknown else f"{len(names)} for {len(queries)} prompts"
            expected = f"one of {ROUTES}, for all or one for each prompt"
            raise InputError("route", found=problem, expected=expected)
        return names

    def rows(self, queries: Sequence[Query], routes: Sequence[str]) -> Tensor:
        """Rows in the detector's space.

        A query of several leaves is mapped leaf by leaf, each with the center of its own modality. Every mapped
        leaf is a unit row ``y = m + d``, m the mean that all text of the detector's space shares. The mean is
        taken out before the weighted sum and put back after it, so that a difference of two leaves keeps the mean
        on which the classifier's scale rests: ``normalize(m + r * D / |D|)`` with ``D = sum(w d)`` and r the mean
        length of the d, weighted by ``|w|``. A single leaf of positive weight is the bridge's own row.

        Args:
            queries: P of them.
            routes: of each, none of them ``"rescore"``.

        Returns:
            (P, D) float32 unit rows on the CPU.

        Raises:
            SpaceMismatch: direct between two spaces, or linear without a bridge.
            InputError: vocabulary for a detector without classes or without their names.
            ModalityNotLoaded: a tower that a query or a route needs is not loaded.
            NoDirection: the terms of a query cancel.
        """
        rows: list[Tensor | None] = [None] * len(queries)
        for route in dict.fromkeys(routes):
            positions = [index for index, name in enumerate(routes) if name == route]
            mapped = self._rows_by(route, [queries[index] for index in positions])
            for index, row in zip(positions, mapped, strict=True):
                rows[index] = row
        return torch.stack([row for row in rows if row is not None])

    def class_name_rows(self, names: Sequence[str]) -> Tensor:
        """(V, D_model) unit rows of class names, each in :data:`CLASS_PROMPT`, in the model's own space.

        Raises:
            ModalityNotLoaded: the model has no text tower.
        """
        return self.text_rows(tuple(CLASS_PROMPT.format(name.replace("_", " ")) for name in names))

    def text_rows(self, texts: tuple[str, ...]) -> Tensor:
        """(V, D_model) unit rows of texts in the model's own space; those of the last call are cached.

        Raises:
            ModalityNotLoaded: the model has no text tower.
        """
        if self._text_rows is None or self._text_rows[0] != texts:
            rows = self.model.embed([text(sentence) for sentence in texts], batch_size=256)
            self._text_rows = (texts, rows.detach().float().cpu())
        return self._text_rows[1]

    def vocabulary_bridge(self) -> Any:
        """The upgrade's vocabulary bridge, or one made of the detector's present classes; made once for each.

        Raises:
            InputError: the detector has no vocabulary, or does not name its classes.
            ModalityNotLoaded: the model has no text tower.

        Warns:
            BridgeQuality: it maps words poorly, or there are too few to tell.
        """
        if getattr(self.bridge, "kind", "") == "vocabulary":
            return self.bridge
        classes = self.classes
        if classes is None or classes.names is None or len(classes.names) < 2:
            raise InputError(
                "route='vocabulary'",
                found="a detector without a vocabulary"
                if classes is None
                else "a detector with too few named classes",
                expected="at least two class names with their vectors",
                remedy="Set some: detector.set_vocabulary(names, embeddings)",
            )
        if self._vocabulary_bridge is None or not _are_equal(self._vocabulary_bridge[0], classes):
            bridge = VocabularyBridge.fit(
                self.class_name_rows(classes.names),
                classes.unit(),
                source=self.model.embedding_space,
                target=self.space,
                names=classes.names,
                provenance={"corpus": "the detector's own vocabulary", "source_prompt": CLASS_PROMPT},
            )
            # a copy, so that a change of the vectors in place is noticed
            self._vocabulary_bridge = (
                DetectorClasses(classes.names, classes.embeddings.detach().clone()),
                bridge,
            )
        return self._vocabulary_bridge[1]

    def linear_bridge(self) -> Any:
        """The upgrade's bridge, or a registered one between the two spaces.

        Raises:
            SpaceMismatch: there is none; the message has the command that fits one.
        """
        own = None if getattr(self.bridge, "kind", "") == "vocabulary" else self.bridge
        bridge = own if own is not None else self._registered_bridge()
        if bridge is None:
            raise SpaceMismatch(
                f"no bridge leads from {self.model.embedding_space} to {self.space}. Fit one: "
                f"{fit_command(self.model, self.space)}, then upgrade(detector, model, bridge='my-bridge')"
            )
        return bridge

    def _rows_by(self, route: str, queries: list[Query]) -> list[Tensor]:
        if route == "direct":
            return [self._direct(query) for query in queries]
        bridge = self.linear_bridge() if route == "linear" else self.vocabulary_bridge()
        leaves = list(dict.fromkeys(leaf for query in queries for _, leaf in query.terms))
        rows = dict(zip(leaves, mapped_leaves(bridge, self.model, leaves), strict=True))
        mean = getattr(bridge, "target_mean", None)
        return [compose(query, rows, mean) for query in queries]

    def _direct(self, query: Query) -> Tensor:
        if self._is_native(query):
            rows = {leaf: self._native_row(leaf) for _, leaf in query.terms}
        else:
            self.space.ensure(self.model.embedding_space, doing="the route 'direct'")
            leaves = [leaf for _, leaf in query.terms]
            rows = dict(zip(leaves, embed_leaves(self.model, leaves), strict=True))
        return compose(query, rows, self._mean())

    def _mean(self) -> Tensor | None:
        """The mean of text in the detector's space, or None where it cannot be estimated."""
        if self.space.matches(self.model.embedding_space) and "text" in self.model.centers:
            return torch.as_tensor(self.model.centers["text"], dtype=torch.float32)
        classes = self.classes
        if classes is None or len(classes.embeddings) < FEWEST_FOR_A_MEAN:
            return None
        return classes.unit().mean(0)

    def _is_native(self, query: Query) -> bool:
        """Whether every leaf is a vector of the detector's space, or text for its own text encoder."""
        return all(self._has_native_row(leaf) for _, leaf in query.terms)

    def _has_native_row(self, leaf: AnyLeaf) -> bool:
        if isinstance(leaf, VectorLeaf):
            return self.space.matches(leaf.space)
        return leaf.modality is Modality.TEXT and self.text_encoder is not None and not leaf.options

    def _native_row(self, leaf: AnyLeaf) -> Tensor:
        if isinstance(leaf, VectorLeaf):
            row = torch.from_numpy(leaf.vector.copy())
        else:
            assert self.text_encoder is not None
            row = self.text_encoder([str(leaf.source)])[0].detach().float().cpu()
        return torch.nn.functional.normalize(row, dim=0)

    def _registered_bridge(self) -> Any:
        if self._registered is None:
            for entry in registry().bridges.values():
                card = entry.card
                if card.source.matches(self.model.embedding_space) and card.destination.matches(self.space):
                    self._registered = entry.load(card.target)()
                    break
        return self._registered


def fit_command(model: Encoder, space: EmbeddingSpace) -> str:
    """The command line that fits a bridge from a model to a space."""
    names = [card.name for card in list_models() if card.space.matches(model.embedding_space)]
    return f"bindplug bridge fit --source {names[0] if names else 'YOUR_MODEL'} --target {space.name} -o my-bridge"


def mapped_leaves(bridge: Any, model: Encoder, leaves: Sequence[AnyLeaf]) -> Tensor:
    """Leaves embedded by the model and mapped, each by the center of its own modality.

    A modality for which the bridge has no center is first moved to the center of the model's text, if the model has
    both centers, and then mapped as text.

    Args:
        bridge: called as ``bridge(rows, modality=[...])``.
        model: of the bridge's source space.
        leaves: L of them.

    Returns:
        (L, D_target) float32 unit rows on the CPU.
    """
    towers = {Modality.parse(name).tower for name in getattr(bridge, "modalities", ())} | {
        Modality.TEXT.tower
    }
    as_text = [leaf.modality is None or leaf.modality.tower not in towers for leaf in leaves]
    rows = embed_leaves(model, leaves, recentered=as_text)
    names = [
        "text" if is_text or leaf.modality is None else leaf.modality.value
        for is_text, leaf in zip(as_text, leaves, strict=True)
    ]
    return bridge(rows, modality=names).detach().float().cpu()


def embed_leaves(
    model: Encoder, leaves: Sequence[AnyLeaf], recentered: Sequence[bool] | None = None
) -> Tensor:
    """(L, D) unit rows of leaves on the CPU, moved to the center of text where both centers are known.

    Args:
        model: embeds them.
        leaves: L of them.
        recentered: for each, whether to move it; all of them for None.
    """
    moves = [
        move and is_movable(model, leaf)
        for move, leaf in zip(recentered or [True] * len(leaves), leaves, strict=True)
    ]
    rows: list[Tensor | None] = [None] * len(leaves)
    for move in (False, True):
        positions = [index for index, is_moved in enumerate(moves) if is_moved is move]
        if positions:
            queries = [Query([(1.0, leaves[index])]) for index in positions]
            embedded = model.embed(queries, recenter="text" if move else None)
            for index, row in zip(positions, embedded.detach().float().cpu(), strict=True):
                rows[index] = row
    return torch.stack([row for row in rows if row is not None])


def compose(query: Query, rows: Mapping[AnyLeaf, Tensor], mean: Tensor | None) -> Tensor:
    """The unit row (D,) of a query from the unit rows of its leaves; see :meth:`Router.rows`.

    Args:
        query: the leaves and their weights.
        rows: (D,) for each leaf.
        mean: (D,) that the rows of the space share; None for none.

    Raises:
        NoDirection: the terms cancel.
    """
    if len(query.terms) == 1 and query.terms[0][0] > 0:
        return rows[query.terms[0][1]]
    weights = torch.tensor([weight for weight, _ in query.terms])
    weights = weights / weights.abs().max()
    stacked = torch.stack([rows[leaf] for _, leaf in query.terms])  # (L, D)
    offsets = stacked if mean is None else stacked - mean.to(stacked)
    total = weights @ offsets  # (L,) @ (L, D) -> (D,)
    if not total.norm() > VANISHED:
        raise NoDirection(f"{query!r}: {CANCELLED}")
    if mean is None:
        return torch.nn.functional.normalize(total, dim=0)
    reach = (weights.abs() @ offsets.norm(dim=1)) / weights.abs().sum()
    return torch.nn.functional.normalize(mean.to(total) + reach * total / total.norm(), dim=0)


def is_movable(model: Encoder, leaf: AnyLeaf) -> bool:
    """Whether the model has the centers of text and of the leaf's modality, so that the leaf can be moved."""
    if leaf.modality is None or leaf.modality is Modality.TEXT or "text" not in model.centers:
        return False
    names = ("video", "image") if leaf.modality is Modality.VIDEO else (leaf.modality.value,)
    return any(name in model.centers for name in names)


def _are_equal(one: DetectorClasses, other: DetectorClasses) -> bool:
    return one.names == other.names and torch.equal(one.embeddings, other.embeddings.to(one.embeddings))


def _checked_bridge(bridge: Any, model: Encoder, space: EmbeddingSpace) -> Any:
    if isinstance(bridge, (str, Path)):
        bridge = load_bridge(bridge)
    if not (callable(bridge) and hasattr(bridge, "source") and hasattr(bridge, "target")):
        expected = "a bindplug.bridges.Bridge, or its path"
        raise InputError("upgrade()", found=f"bridge={type(bridge).__name__}", expected=expected)
    bridge.source.ensure(model.embedding_space, doing=f"the bridge to {bridge.target.name!r}")
    space.ensure(bridge.target, doing="this detector")
    return bridge
