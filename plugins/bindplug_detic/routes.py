"""Routes: how a query becomes a row in the space of a detector's classifier.

``direct`` where the encoder lives in that space, ``linear`` over a fitted bridge, ``vocabulary`` over a bridge made
from the detector's own class names and vectors. ``rescore`` (see :mod:`bindplug_detic.rescore`) makes no row: it
ranks crops by the query.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bindplug.bridges import VocabularyBridge, load_bridge
from bindplug.encoder import Encoder
from bindplug.errors import InputError, SpaceMismatch
from bindplug.modality import Modality
from bindplug.models import list_models
from bindplug.plugins import registry
from bindplug.query import AnyLeaf, Query, VectorLeaf, text
from bindplug.space import EmbeddingSpace
from bindplug_detic.mapping import compose, embedded_leaves, mapped_leaves
from bindplug_detic.prompts import Words

ROUTES = ("direct", "linear", "vocabulary", "rescore")
"""In the order in which they are preferred."""
WORD_PROMPT = "a {}"
"""What a class name is put into for the encoder. Source: the prompt behind Detic's own class vectors."""
FEWEST_FOR_A_MEAN = 20
"""Class vectors of a detector from which a mean of its space may be taken; fewer tell more of themselves."""


class Router:
    """Chooses a route for each query and makes its row in the detector's space.

    Args:
        model: embeds the queries.
        space: of the detector's classifier.
        words: gives the detector's present vocabulary, or None; asked at every use, as it may be changed.
        bridge: a map from the model's space to ``space``, or the path of one; without it a registered one is
            looked for.
        text_encoder: N texts to (N, D) rows in ``space``, if the detector has one; its texts then go direct.

    Raises:
        SpaceMismatch: the bridge leads from or to another space.
        InputError: ``bridge`` is no bridge.
    """

    def __init__(
        self,
        model: Encoder,
        space: EmbeddingSpace,
        words: Callable[[], Words | None],
        *,
        bridge: Any = None,
        text_encoder: Callable[[list[str]], Tensor] | None = None,
    ) -> None:
        if not isinstance(model, Encoder):
            remedy = 'upgrade(detector, bindplug.load("imagebind_tiny"))'
            found = "no model" if model is None else f"a {type(model).__name__} as model"
            raise InputError(
                "upgrade()", found=found, expected="the encoder that embeds queries", remedy=remedy
            )
        self.model, self.space, self._words, self.text_encoder = model, space, words, text_encoder
        self.given = None if bridge is None else _checked_bridge(bridge, model, space)
        self._registered: Any = None
        self._built: tuple[Tensor, Any] | None = None
        self._text_rows: tuple[tuple[str, ...], Tensor] | None = None

    @property
    def words(self) -> Words | None:
        """The detector's vocabulary as it is now."""
        return self._words()

    def choose(self, query: Query) -> str:
        """The route a query takes if nobody says: the first possible one of :data:`ROUTES`.

        Raises:
            SpaceMismatch: none is possible; the message says why each is not.
        """
        if self._is_native(query) or self.space.matches(self.model.embedding_space):
            return "direct"
        if self.given is not None:
            return "vocabulary" if getattr(self.given, "kind", "") == "vocabulary" else "linear"
        if self._registered_bridge() is not None:
            return "linear"
        words = self.words
        named = words is not None and words.names is not None and len(words.names) > 1
        if "text" in self.model.modalities and named:
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
        """One route for each query: as asked, or chosen.

        Raises:
            InputError: an unknown route, or not one for each query.
            SpaceMismatch: as :meth:`choose`.
        """
        if route is None:
            return [self.choose(query) for query in queries]
        asked = [route] * len(queries) if isinstance(route, str) else list(route)
        unknown = [name for name in ([route] if isinstance(route, str) else asked) if name not in ROUTES]
        if unknown or len(asked) != len(queries):
            found = repr(unknown[0]) if unknown else f"{len(asked)} for {len(queries)} prompts"
            raise InputError(
                "route", found=found, expected=f"one of {ROUTES}, for all or one for each prompt"
            )
        return asked

    def rows(self, queries: Sequence[Query], routes: Sequence[str]) -> Tensor:
        """Rows in the detector's space.

        A query of several leaves is mapped leaf by leaf, each with the center of its own modality. Every mapped
        leaf is a unit row ``y = m + d``, m the mean that all text of the detector's space shares. The mean is
        taken out before the weighted sum and put back after it, so that a difference of two leaves keeps the mean
        on which the classifier's scale rests: ``normalize(m + r * D / |D|)`` with ``D = sum(w d)`` and r the mean
        length of the d, weighted by ``|w|``. One leaf of positive weight comes out as it went in.

        Args:
            queries: P of them.
            routes: of each, none of them ``"rescore"``.

        Returns:
            (P, D) float32 unit rows on the CPU.

        Raises:
            SpaceMismatch: direct between two spaces, or linear without a bridge.
            InputError: vocabulary, and the detector has none or does not name its classes.
            ModalityNotLoaded: a tower is not loaded that a query or a route needs.
            NoDirection: the terms of a query cancel.
        """
        made: list[Tensor | None] = [None] * len(queries)
        for route in dict.fromkeys(routes):
            chosen = [i for i, name in enumerate(routes) if name == route]
            for i, row in zip(chosen, self._of_route(route, [queries[i] for i in chosen]), strict=True):
                made[i] = row
        return torch.stack([row for row in made if row is not None])

    def word_rows(self, names: Sequence[str]) -> Tensor:
        """(V, D_model) unit rows of class names, each in :data:`WORD_PROMPT`, in the model's own space.

        Raises:
            ModalityNotLoaded: the model has no text tower.
        """
        return self.text_rows(tuple(WORD_PROMPT.format(name.replace("_", " ")) for name in names))

    def text_rows(self, texts: tuple[str, ...]) -> Tensor:
        """(V, D_model) unit rows of texts in the model's own space; the last ones asked for are remembered.

        Raises:
            ModalityNotLoaded: the model has no text tower.
        """
        if self._text_rows is None or self._text_rows[0] != texts:
            rows = self.model.embed([text(one) for one in texts], batch_size=256)
            self._text_rows = (texts, rows.detach().float().cpu())
        return self._text_rows[1]

    def vocabulary_bridge(self) -> Any:
        """The given vocabulary bridge, or one made of the detector's present classes; made once for each.

        Raises:
            InputError: the detector has no vocabulary, or does not name its classes.
            ModalityNotLoaded: the model has no text tower.

        Warns:
            BridgeQuality: it maps words poorly, or there are too few to tell.
        """
        if getattr(self.given, "kind", "") == "vocabulary":
            return self.given
        words = self.words
        if words is None or words.names is None or len(words.names) < 2:
            raise InputError(
                "route='vocabulary'",
                found="a detector without a vocabulary" if words is None else "a detector with too few named classes",
                expected="at least two class names with their vectors",
                remedy="Give it some: detector.set_vocabulary(names, embeddings)",
            )  # fmt: skip
        if self._built is None or self._built[0] is not words.embeddings:
            bridge = VocabularyBridge.fit(
                self.word_rows(words.names),
                words.unit(),
                source=self.model.embedding_space,
                target=self.space,
                names=words.names,
                provenance={"corpus": "the detector's own vocabulary", "source_prompt": WORD_PROMPT},
            )
            self._built = (words.embeddings, bridge)
        return self._built[1]

    def linear_bridge(self) -> Any:
        """The bridge given, or a registered one between the two spaces.

        Raises:
            SpaceMismatch: there is none; the message has the command that fits one.
        """
        given = None if getattr(self.given, "kind", "") == "vocabulary" else self.given
        bridge = given if given is not None else self._registered_bridge()
        if bridge is None:
            raise SpaceMismatch(
                f"no bridge leads from {self.model.embedding_space} to {self.space}. Fit one: "
                f"{fit_command(self.model, self.space)}, then upgrade(detector, model, bridge='my-bridge')"
            )
        return bridge

    def _of_route(self, route: str, queries: list[Query]) -> list[Tensor]:
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
            rows = dict(zip(leaves, embedded_leaves(self.model, leaves), strict=True))
        return compose(query, rows, self._mean())

    def _mean(self) -> Tensor | None:
        """The mean of text in the detector's space, where enough is known of it."""
        if self.space.matches(self.model.embedding_space) and "text" in self.model.centers:
            return torch.as_tensor(self.model.centers["text"], dtype=torch.float32)
        words = self.words
        return (
            words.unit().mean(0) if words is not None and len(words.embeddings) >= FEWEST_FOR_A_MEAN else None
        )

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


def _checked_bridge(bridge: Any, model: Encoder, space: EmbeddingSpace) -> Any:
    if isinstance(bridge, (str, Path)):
        bridge = load_bridge(bridge)
    if not (callable(bridge) and hasattr(bridge, "source") and hasattr(bridge, "target")):
        expected = "a bindplug.bridges.Bridge, or its path"
        raise InputError("upgrade()", found=f"bridge={type(bridge).__name__}", expected=expected)
    bridge.source.ensure(model.embedding_space, doing=f"the bridge to {bridge.target.name!r}")
    space.ensure(bridge.target, doing="this detector")
    return bridge
