"""What every upgraded detector does with prompts: choose routes, detect, rescore, and put the results together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from bindplug.adapters import Upgraded
from bindplug.encoder import Encoder
from bindplug.errors import InputError
from bindplug.query import AnyLeaf, Query
from bindplug.space import EmbeddingSpace
from bindplug_detic.competition import checked_suppression
from bindplug_detic.prompts import Words, as_queries, label_of
from bindplug_detic.rescore import DISTRACTORS, best_boxes, chances, contest, distinct, leaf_rows
from bindplug_detic.results import Detections
from bindplug_detic.routes import Router

DEFAULT_THRESHOLD = 0.3
"""Lower than Detic's 0.5 for its own classes: a vector that comes over a bridge scores lower than the text it means."""
REGION_THRESHOLD = 0.1
"""Score from which a box under the detector's own classes is a region to be rescored."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """Prompts that need not be embedded again; made by :meth:`WithQueries.prepare`, for that detector.

    Attributes:
        queries: P of them.
        routes: of each.
        rows: (R, D) in the detector's space, of those not rescored; None where there are none.
        leaves: rows in the model's space, for each leaf of those rescored; None where there are none.
    """

    queries: tuple[Query, ...]
    routes: tuple[str, ...]
    rows: Tensor | None
    leaves: Mapping[AnyLeaf, Tensor] | None

    def places(self, by_crop: bool) -> list[int]:
        """Indices of the prompts that are rescored, or of those that are not."""
        return [i for i, name in enumerate(self.routes) if (name == "rescore") is by_crop]

    def __len__(self) -> int:
        return len(self.queries)


class WithQueries(Upgraded):
    """A detector that also takes prompts: sounds, pictures, depth maps, texts, and sums of them.

    Called without prompts it is the original. A subclass says how its detector reads a picture, detects rows and
    finds regions.

    Args:
        original: the detector.
        model: embeds the prompts.
        space: of the detector's classifier.
        words: gives the detector's present vocabulary.
        bridge: a map from the model's space to the detector's, or its path; None to look for a registered one.
        route: for prompts that do not say; None for the best that is possible.
        text_encoder: of the detector's own space, from N texts to (N, D) rows, if it has one.
    """

    RUN_OPTIONS: ClassVar[tuple[str, ...]] = ()
    """Further options of a call with prompts."""

    def __init__(
        self,
        original: Any,
        model: Encoder,
        space: EmbeddingSpace,
        words: Callable[[], Words | None],
        *,
        bridge: Any = None,
        route: str | None = None,
        text_encoder: Callable[[list[str]], Tensor] | None = None,
    ) -> None:
        super().__init__(original, model)
        self.router = Router(model, space, words, bridge=bridge, text_encoder=text_encoder)
        self.route = route
        if route is not None:
            self.router.routes([], route)

    def __call__(self, images: Any, prompts: Any = None, **options: Any) -> Any:
        """:meth:`detect` with prompts; without them, the original's own answer to ``images`` and ``options``."""
        if prompts is None:
            return self._as_original(images, **options)
        return self.detect(images, prompts, **options)

    def detect(
        self,
        images: Any,
        prompts: Any,
        *,
        threshold: float | Sequence[float] | None = None,
        route: str | Sequence[str] | None = None,
        with_masks: bool = True,
        suppress: float | bool = True,
        distractors: Sequence[str] | None = None,
        **options: Any,
    ) -> Any:
        """Find what prompts point at.

        Args:
            images: one picture, or a list.
            prompts: P queries or strings (a string is text), a single one counts as a list of one; or what
                :meth:`prepare` made of them.
            threshold: scores have to be above it; a number, or one for each prompt. :data:`DEFAULT_THRESHOLD` for
                None; :func:`bindplug_detic.calibration.calibrate` finds better ones.
            route: ``"direct"``, ``"linear"``, ``"vocabulary"`` or ``"rescore"``, for all or one for each prompt;
                None for the one the upgrade was made with, or the best that is possible.
            with_masks: whether masks are computed.
            suppress: how near a prompt must come to the best of the detector's own classes that mean something else,
                on the same proposal (see :func:`bindplug_detic.competition.survivors`). True for
                :data:`~bindplug_detic.competition.DEFAULT_SUPPRESSION`; False or 0 lets every box stand. The rescore
                route has distractors instead.
            distractors: texts a crop may show instead of what is asked, for the rescore route; the names of the
                detector's classes by default, or a short list where it has none.
            options: further ones of this detector (``RUN_OPTIONS``).

        Returns:
            Detections, or a list of them for a list of pictures. ``label_indices`` count the prompts, and ``info``
            has ``"prompts"`` and ``"routes"``, one entry for each prompt.

        Raises:
            InputError: no prompts, something that is none, thresholds or routes that do not match them in number, or
                a picture that cannot be read.
            SpaceMismatch: no route, or not the one asked for, leads to the detector's space.
            NoDirection: the terms of a prompt cancel.
            ModalityNotLoaded: the model has no tower for a prompt.
        """
        self._check_options(options)
        ready = prompts if isinstance(prompts, Prepared) else self.prepare(prompts, route)
        if ready is prompts and route is not None:
            given = f"route={route!r} for prepared prompts"
            raise InputError("detect()", found=given, expected="none: it was chosen by prepare()")
        strength = checked_suppression(suppress)
        limits = checked_thresholds(threshold, len(ready.queries))
        pictures, single = self._pictures(images)
        parts: list[list[Detections]] = [[] for _ in pictures]
        if ready.rows is not None:
            places = ready.places(by_crop=False)
            found = self._detect(pictures, ready.rows, limits[places], strength, with_masks, **options)
            _add(parts, found, places)
        if ready.leaves is not None:
            places = ready.places(by_crop=True)
            found = self._rescored(pictures, ready, limits[places], distractors, with_masks, **options)
            _add(parts, found, places)
        labels = [label_of(query) for query in ready.queries]
        info = {"prompts": [repr(query) for query in ready.queries], "routes": list(ready.routes)}
        together = [joined(part, labels, info) for part in parts]
        return together[0] if single else together

    def prepare(self, prompts: Any, route: str | Sequence[str] | None = None) -> Prepared:
        """Prompts read, embedded and mapped once, to be used in many calls: ``detector(frame, prepared)``.

        Args:
            prompts, route: as :meth:`detect`.

        Raises:
            InputError, SpaceMismatch, NoDirection, ModalityNotLoaded: as :meth:`detect`.
        """
        queries = as_queries(prompts)
        routes = tuple(self.router.routes(queries, self.route if route is None else route))
        named = list(zip(queries, routes, strict=True))
        by_row = [(query, name) for query, name in named if name != "rescore"]
        by_crop = [query for query, name in named if name == "rescore"]
        rows = self.router.rows(*zip(*by_row, strict=True)) if by_row else None
        return Prepared(tuple(queries), routes, rows, leaf_rows(self.model, by_crop) if by_crop else None)

    def prompt_vectors(self, prompts: Any, route: str | Sequence[str] | None = None) -> Tensor:
        """(P, D) float32 unit rows of prompts in the detector's space, on the CPU.

        Raises:
            InputError: the route is ``"rescore"``, which makes none.
            SpaceMismatch, ModalityNotLoaded, NoDirection: as :meth:`detect`.
        """
        queries = as_queries(prompts)
        routes = self.router.routes(queries, self.route if route is None else route)
        if "rescore" in routes:
            found = f"{label_of(queries[routes.index('rescore')])!r} on the route 'rescore'"
            expected = "a route to the detector's space: direct, linear or vocabulary"
            raise InputError("prompt_vectors()", found=found, expected=expected)
        return self.router.rows(queries, routes)

    def _as_original(self, images: Any, **options: Any) -> Any:
        return self.original(images, **options)

    def _pictures(self, images: Any) -> tuple[list[Any], bool]:
        """Pictures as this detector holds them, and whether one alone was given."""
        raise NotImplementedError

    def _detect(
        self,
        pictures: list[Any],
        rows: Tensor,
        limits: Tensor,
        suppress: float,
        with_masks: bool,
        **options: Any,
    ) -> list[Detections]:
        """Detections of each picture for rows (P, D), above ``limits`` (P,), after the competition."""
        raise NotImplementedError

    def _regions(self, pictures: list[Any], with_masks: bool, **options: Any) -> list[Detections]:
        """Boxes of anything in each picture, each with its picture; scores say how certain they are."""
        raise NotImplementedError

    def _check_options(self, options: Mapping[str, Any]) -> None:
        unknown = sorted(set(options) - set(self.RUN_OPTIONS))
        if unknown:
            raise TypeError(
                f"a call with prompts has no option {unknown[0]!r}; further ones: {self.RUN_OPTIONS}"
            )

    def _rescored(
        self,
        pictures: list[Any],
        ready: Prepared,
        limits: Tensor,
        distractors: Sequence[str] | None,
        with_masks: bool,
        **options: Any,
    ) -> list[Detections]:
        assert ready.leaves is not None
        queries = [ready.queries[i] for i in ready.places(by_crop=True)]
        asked = contest(self.model, queries, ready.leaves, self._distractor_rows(distractors))
        found = []
        for regions in self._regions(pictures, with_masks, **options):
            regions = regions[distinct(regions.boxes, regions.scores)]
            assert regions.picture is not None
            scores = chances(self.model, regions.picture, regions.boxes, asked) * regions.scores[:, None]
            chosen = [best_boxes(regions.boxes, scores[:, p], float(limits[p])) for p in range(len(queries))]
            rows = torch.cat(chosen)
            prompts = torch.repeat_interleave(torch.tensor([len(c) for c in chosen]))
            found.append(_relabelled(regions[rows], prompts, scores[rows, prompts]))
        return found

    def _distractor_rows(self, distractors: Sequence[str] | None) -> Tensor:
        if distractors is not None:
            if isinstance(distractors, str) or not len(distractors):
                found = "one string" if distractors else "none"
                raise InputError("distractors", found=found, expected='some texts, as ["a wall", "the sky"]')
            return self.router.text_rows(tuple(distractors))
        words = self.router.words
        if words is not None and words.names is not None:
            return self.router.word_rows(words.names)
        return self.router.text_rows(DISTRACTORS)


def checked_thresholds(threshold: Any, count: int) -> Tensor:
    """(count,) float32 from a number, one for each prompt, or None.

    Raises:
        InputError: another number of them, or one is not in [0, 1].
    """
    given = DEFAULT_THRESHOLD if threshold is None else threshold
    expected = f"a number in [0, 1], or {count} of them"
    try:
        limits = torch.as_tensor(given, dtype=torch.float32).cpu()
    except (TypeError, ValueError, RuntimeError):
        raise InputError("threshold", found=repr(threshold), expected=expected) from None
    if limits.ndim > 1 or (limits.ndim == 1 and len(limits) != count):
        raise InputError("threshold", found=f"{limits.numel()} for {count} prompts", expected=expected)
    if not ((limits >= 0) & (limits <= 1)).all():
        raise InputError("threshold", found=repr(threshold), expected=expected)
    return limits.expand(count).clone()


def joined(parts: Sequence[Detections], labels: Sequence[str], info: Mapping[str, Any]) -> Detections:
    """Detections of one picture by several routes as one, best first; masks only if every part has them."""
    first = parts[0]
    scores = torch.cat([part.scores for part in parts])
    order = scores.argsort(descending=True, stable=True)
    indices = torch.cat([part.label_indices for part in parts])[order]
    masks: dict[str, Tensor] = {}
    logits = [part.mask_logits for part in parts if part.mask_logits is not None]
    if len(logits) == len(parts) and len({one.shape[1:] for one in logits}) == 1:
        masks = {"mask_logits": torch.cat(logits)[order]}
    elif all(part.has_masks for part in parts):
        masks = {"masks": torch.cat([part.masks for part in parts if part.masks is not None])[order]}
    return Detections(
        torch.cat([part.boxes for part in parts])[order],
        scores[order],
        [labels[i] for i in indices.tolist()],
        indices,
        first.image_size,
        picture=first.picture,
        info=info,
        **masks,
    )


def _add(parts: list[list[Detections]], found: Sequence[Detections], places: Sequence[int]) -> None:
    """Results of a route, their prompts counted among all prompts."""
    among_all = torch.tensor(places)
    for part, one in zip(parts, found, strict=True):
        part.append(_relabelled(one, among_all[one.label_indices], one.scores))


def _relabelled(found: Detections, indices: Tensor, scores: Tensor) -> Detections:
    return Detections(
        found.boxes,
        scores,
        [""] * len(found),
        indices,
        found.image_size,
        mask_logits=found.mask_logits,
        masks=None if found.mask_logits is not None else found.masks,
        picture=found.picture,
    )
