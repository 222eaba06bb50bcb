"""Routes: how a query becomes a row in the space of a detector's classifier.

``direct`` where the encoder lives in that space, ``linear`` over a fitted bridge, ``vocabulary`` over a bridge made
from the detector's own class names and vectors. ``rescore`` (see :mod:`bindplug_detic.rescore`) makes no row: it
ranks crops by the query.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from bindplug import EmbeddingSpace, Encoder, Query, text
from bindplug.bridges import (
    AnyBridge,
    VocabularyBridge,
    as_bridge,
    can_recenter,
    compose,
    distinct_leaves,
    embed_leaves,
    fit_command,
    map_leaves,
    registered_bridge,
)
from bindplug.centers import shift_between
from bindplug.errors import InputError, SpaceMismatch
from bindplug.modality import Modality
from bindplug.query import AnyLeaf, VectorLeaf
from bindplug_detic.competition import stands_out
from bindplug_detic.prompts import DetectorClasses

ROUTES = ("direct", "linear", "vocabulary", "rescore")
"""In the order in which they are preferred."""
CLASS_PROMPT = "a {}"
"""The sentence of a class name for the encoder. Source: the prompt behind Detic's own class vectors."""
FEWEST_FOR_A_MEAN = 20
"""Least number of a detector's class vectors whose mean estimates the mean of its space."""
MOST_NAMES_ON_CPU = 256
"""Class names that are embedded on a CPU only to judge a prompt; a large text tower takes minutes for a thousand."""

Bridges = AnyBridge | str | os.PathLike[str]
"""A bridge, its path, or the name of a registered one."""


class Router:
    """Chooses a route for each query and makes its row in the detector's space.

    Args:
        model: embeds the queries.
        space: of the detector's classifier.
        classes: returns the detector's present vocabulary, or None; called at every use, as it may change.
        bridge: a map from the model's space to ``space``, its path, or the name of a registered one; without it a
            registered bridge between the two spaces is used.
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
        bridge: Bridges | None = None,
        text_encoder: Callable[[list[str]], Tensor] | None = None,
    ) -> None:
        if not isinstance(model, Encoder):
            remedy = 'upgrade(detector, bindplug.load("imagebind_tiny"))'
            problem = "no model" if model is None else f"a {type(model).__name__} as model"
            raise InputError(
                "upgrade()", found=problem, expected="the encoder that embeds queries", remedy=remedy
            )
        self.model, self.space, self._classes, self.text_encoder = model, space, classes, text_encoder
        self.bridge = (
            None
            if bridge is None
            else as_bridge(bridge, source=model.embedding_space, target=space, doing="this detector")
        )
        self._registered: AnyBridge | None = None
        self._vocabulary_bridge: tuple[DetectorClasses, AnyBridge] | None = None
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
            return "vocabulary" if self.bridge.kind == "vocabulary" else "linear"
        if self._registered_bridge() is not None:
            return "linear"
        classes = self.classes
        has_names = classes is not None and classes.names is not None and len(classes.names) > 1
        if "text" in self.model.modalities and has_names:
            return "vocabulary"
        if "image" in self.model.modalities:
            return "rescore"
        source = self.model.embedding_space
        raise SpaceMismatch(
            f"this detector takes vectors of {self.space}, and the model makes vectors of {source}. No bridge "
            f"between them is given or registered ({fit_command(source, self.space)}); the vocabulary route needs a "
            f"model with text and a detector with class names; the rescore route needs a model with image"
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
        """Rows in the detector's space; a query of several leaves is mapped leaf by leaf, see
        :func:`bindplug.bridges.map_queries`.

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
        return self.map_prompts(queries, routes)[0]

    def map_prompts(self, queries: Sequence[Query], routes: Sequence[str]) -> tuple[Tensor, list[bool]]:
        """Rows in the detector's space, and which queries the detector's classes give a meaning.

        Silence, noise or an unknown word lies about as far from all classes. The vocabulary route, which expresses
        every query by the classes, judges all queries; the linear route sounds, pictures and the like, as text may
        mean more than the classes, and none where embedding the class names would take long; the direct route none.

        Args, Raises: as :meth:`rows`.
        """
        rows: list[Tensor | None] = [None] * len(queries)
        is_meaningful = [True] * len(queries)
        for route in dict.fromkeys(routes):
            positions = [index for index, name in enumerate(routes) if name == route]
            group = [queries[index] for index in positions]
            mapped, meanings = self._map_by(route, group)
            for index, row, meaning in zip(positions, mapped, meanings, strict=True):
                rows[index], is_meaningful[index] = row, meaning
        return torch.stack([row for row in rows if row is not None]), is_meaningful

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

    def vocabulary_bridge(self) -> AnyBridge:
        """The upgrade's vocabulary bridge, or one made of the detector's present classes; made once for each.

        Raises:
            InputError: the detector has no vocabulary, or does not name its classes.
            ModalityNotLoaded: the model has no text tower.

        Warns:
            BridgeQuality: it maps words poorly, or there are too few to tell.
        """
        if self.bridge is not None and self.bridge.kind == "vocabulary":
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

    def linear_bridge(self) -> AnyBridge:
        """The upgrade's bridge, or a registered one between the two spaces.

        Raises:
            SpaceMismatch: there is none; the message has the command that fits one.
        """
        is_linear = self.bridge is not None and self.bridge.kind != "vocabulary"
        bridge = self.bridge if is_linear else self._registered_bridge()
        if bridge is None:
            source = self.model.embedding_space
            raise SpaceMismatch(
                f"no bridge leads from {source} to {self.space}. Fit one: {fit_command(source, self.space)}, "
                f"then upgrade(detector, model, bridge='my-bridge')"
            )
        return bridge

    def meanings(
        self, queries: Sequence[Query], rows: Mapping[AnyLeaf, Tensor], *, judge_text: bool
    ) -> list[bool]:
        """Which queries the detector's classes give a meaning, see :func:`bindplug_detic.competition.stands_out`.

        A query has a meaning if one of its leaves of positive weight has. What cannot be compared with the class names
        has one: vectors of unknown modality, and everything where the model has no text tower or the detector no names.

        Args:
            queries: P of them.
            rows: of each comparable leaf (D_model,) moved to the center of text.
            judge_text: whether texts are judged too; where a text can express more than the classes it is not.
        """
        classes = self.classes
        if classes is None or classes.names is None or "text" not in self.model.modalities:
            return [True] * len(queries)
        judged = [leaf for leaf in rows if judge_text or leaf.modality is not Modality.TEXT]
        if not judged:
            return [True] * len(queries)
        names = self.class_name_rows(classes.names)
        meaningless = {leaf for leaf in judged if not stands_out(rows[leaf], names)}
        return [
            any(leaf not in meaningless for weight, leaf in query.terms if weight > 0) for query in queries
        ]

    def _map_by(self, route: str, queries: list[Query]) -> tuple[list[Tensor], list[bool]]:
        if route == "direct":
            return [self._direct(query) for query in queries], [True] * len(queries)
        bridge = self.linear_bridge() if route == "linear" else self.vocabulary_bridge()
        leaves = distinct_leaves(queries)
        rows, modalities = embed_leaves(self.model, bridge, leaves)
        mapped = map_leaves(bridge, leaves, rows, modalities)
        composed = [compose(query, mapped, bridge.target_mean).cpu() for query in queries]
        if route == "linear" and not self._has_cheap_names():
            return composed, [True] * len(queries)
        comparable = self._moved_to_text(leaves, rows.cpu(), modalities)
        return composed, self.meanings(queries, comparable, judge_text=route == "vocabulary")

    def _has_cheap_names(self) -> bool:
        classes = self.classes
        is_few = classes is None or classes.names is None or len(classes.names) <= MOST_NAMES_ON_CPU
        return is_few or self.model.device.type != "cpu"

    def _moved_to_text(
        self, leaves: Sequence[AnyLeaf], rows: Tensor, modalities: Sequence[str]
    ) -> dict[AnyLeaf, Tensor]:
        """Rows of the leaves that can be compared with text, moved to its center if a bridge maps them otherwise."""
        moved = {}
        for leaf, row, modality in zip(leaves, rows, modalities, strict=True):
            if leaf.modality is Modality.TEXT:
                moved[leaf] = row
            elif can_recenter(self.model, leaf, "text"):
                shift = shift_between(self.model.centers, leaf.modality, "text")
                shifted = row if modality == "text" else row + shift.to(row)
                moved[leaf] = torch.nn.functional.normalize(shifted, dim=0)
        return moved

    def _direct(self, query: Query) -> Tensor:
        leaves = distinct_leaves([query])
        if self._is_native(query):
            rows = {leaf: self._native_row(leaf) for leaf in leaves}
        else:
            self.space.ensure(self.model.embedding_space, doing="the route 'direct'")
            rows = text_centered_rows(self.model, leaves)
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

    def _registered_bridge(self) -> AnyBridge | None:
        if self._registered is None:  # loaded once
            self._registered = registered_bridge(self.model.embedding_space, self.space)
        return self._registered


def text_centered_rows(model: Encoder, leaves: Sequence[AnyLeaf]) -> dict[AnyLeaf, Tensor]:
    """For each leaf its unit row (D,) on the CPU, moved to the center of the model's text where both are known."""
    rows: dict[AnyLeaf, Tensor] = {}
    for moves in (False, True):
        group = [leaf for leaf in leaves if can_recenter(model, leaf, "text") is moves]
        if group:
            embedded = model.embed(
                [Query([(1.0, leaf)]) for leaf in group], recenter="text" if moves else None
            )
            rows.update(zip(group, embedded.detach().float().cpu(), strict=True))
    return rows


def _are_equal(one: DetectorClasses, other: DetectorClasses) -> bool:
    return one.names == other.names and torch.equal(one.embeddings, other.embeddings.to(one.embeddings))
