"""The base of upgraded detectors: prompts are prepared, sent by their routes, and the results put together."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from bindplug import EmbeddingSpace, Encoder, Query
from bindplug.adapters import Upgraded
from bindplug.errors import InputError
from bindplug.query import AnyLeaf
from bindplug.thresholds import Cutoffs, space_of
from bindplug_detic.competition import checked_suppression
from bindplug_detic.options import checked_thresholds
from bindplug_detic.prompts import DetectorClasses, as_queries, label_of
from bindplug_detic.rescore import DISTRACTORS, Alternatives, leaf_rows, rescore_regions
from bindplug_detic.results import Detections
from bindplug_detic.routes import Bridges, Router

DEFAULT_THRESHOLD = 0.3
"""Lower than Detic's 0.5 for its own classes: a vector mapped by a bridge scores lower than the text of its meaning."""
SCORE_FLOOR = 0.02
"""Scores below it count as 0 for cut-offs. Source: Detic's threshold in evaluation."""
REGION_THRESHOLD = 0.1
"""Score from which a box under the detector's own classes is a region for the rescore route."""


class MeaninglessPrompt(UserWarning):
    """A prompt is no nearer to one of the detector's classes than to the others, so that its boxes are dropped."""


@dataclass(frozen=True, eq=False)
class PreparedPrompts:
    """Prompts that need not be embedded again; made by :meth:`PromptedDetector.prepare`, for that detector.

    Attributes:
        queries: P of them.
        routes: of each.
        rows: (R, D) in the detector's space, of those with another route than rescore; None where there are none.
        leaves: rows in the model's space, for each leaf of those with the route rescore; None where there are none.
        is_meaningful: for each prompt, whether the detector's classes can express it, see
            :meth:`bindplug_detic.routes.Router.map_prompts`.
    """

    queries: tuple[Query, ...]
    routes: tuple[str, ...]
    rows: Tensor | None
    leaves: Mapping[AnyLeaf, Tensor] | None
    is_meaningful: tuple[bool, ...]

    def positions(self, *, rescored: bool) -> list[int]:
        """Indices of the prompts with the route rescore, or of the others."""
        return [index for index, name in enumerate(self.routes) if (name == "rescore") is rescored]

    def __len__(self) -> int:
        return len(self.queries)


class PromptedDetector(Upgraded, ABC):
    """A detector that also takes prompts: sounds, pictures, depth maps, texts, and sums of them.

    Called without prompts it is the original. A subclass defines how its detector reads a picture, detects rows and
    proposes regions.

    Args:
        original: the detector.
        model: embeds the prompts.
        space: of the detector's classifier.
        classes: returns the detector's present vocabulary.
        bridge: a map from the model's space to the detector's, its path, or the name of a registered one; None for a
            registered one between the two spaces.
        route: for prompts of calls without ``route``; None for the first possible one.
        text_encoder: of the detector's own space, from N texts to (N, D) rows, if it has one.
    """

    RUN_OPTIONS: ClassVar[tuple[str, ...]] = ()
    """Further options of a call with prompts."""

    OWN: ClassVar[tuple[str, ...]] = ("original", "model", "router", "route")
    """Attributes that are no settings of the detector."""

    def __init__(
        self,
        original: Any,
        model: Encoder,
        space: EmbeddingSpace,
        classes: Callable[[], DetectorClasses | None],
        *,
        bridge: Bridges | None = None,
        route: str | None = None,
        text_encoder: Callable[[list[str]], Tensor] | None = None,
    ) -> None:
        super().__init__(original, model)
        self.router = Router(model, space, classes, bridge=bridge, text_encoder=text_encoder)
        self.route = route
        if route is not None:
            self.router.routes([], route)

    def __setattr__(self, name: str, value: Any) -> None:
        """Settings of the detector, as its vocabulary, are set on the detector: calls read them there."""
        is_own = name in (*self.OWN, *vars(self)) or name.startswith("_")
        if is_own or "original" not in vars(self) or not hasattr(self.original, name):
            super().__setattr__(name, value)
        else:
            setattr(self.original, name, value)

    def __call__(self, images: Any, prompts: Any = None, **options: Any) -> Any:
        """:meth:`detect` with prompts; without them, the original's own answer to ``images`` and ``options``."""
        if prompts is None:
            return self._call_original(images, **options)
        return self.detect(images, prompts, **options)

    def detect(
        self,
        images: Any,
        prompts: Any,
        *,
        threshold: float | Sequence[float] | Cutoffs | None = None,
        route: str | Sequence[str] | None = None,
        with_masks: bool = True,
        suppress: float | bool = True,
        distractors: Sequence[str] | None = None,
        **options: Any,
    ) -> Any:
        """Detect what the prompts mean.

        Args:
            images: one picture, or a list.
            prompts: P queries or strings (a string is text), a single one counts as a list of one; or the result of
                :meth:`prepare`.
            threshold: scores have to be above it; a number, or one for each prompt. :data:`DEFAULT_THRESHOLD` for
                None; :func:`bindplug_detic.calibration.calibrate` computes better ones. Cut-offs that
                ``bindplug.cutoffs(detector, prompts, pictures)`` made give each prompt that of its modality.
            route: ``"direct"``, ``"linear"``, ``"vocabulary"`` or ``"rescore"``, for all or one for each prompt;
                None for the upgrade's, otherwise the first possible one.
            with_masks: whether masks are computed.
            suppress: the least share of the score of the best class of another meaning, on the same proposal, that a
                prompt needs (see :func:`bindplug_detic.competition.survivors`). True for
                :data:`~bindplug_detic.competition.DEFAULT_SUPPRESSION`; False or 0 keeps every box. The rescore
                route has distractors instead. Prompts without a meaning among the classes are dropped, see
                :meth:`bindplug_detic.routes.Router.map_prompts`.
            distractors: texts that a crop may show instead of the prompts, for the rescore route; the names of the
                detector's classes by default, or a short list where it has none.
            options: further ones of this detector (``RUN_OPTIONS``).

        Returns:
            Detections, or a list of them for a list of pictures. ``label_indices`` count the prompts, and ``info``
            has ``"prompts"`` and ``"routes"``, one entry for each prompt.

        Raises:
            InputError: no prompts, an entry that is not a prompt, another number of thresholds or routes than of
                prompts, a picture that cannot be read, or no cut-off for a prompt's modality.
            SpaceMismatch: no route, or not the one of ``route``, leads to the detector's space; or the cut-offs are
                of another model.
            NoDirection: the terms of a prompt cancel.
            ModalityNotLoaded: the model has no tower for a prompt.

        Warns:
            MeaninglessPrompt: a prompt is dropped.
        """
        self._check_options(options)
        prepared = prompts if isinstance(prompts, PreparedPrompts) else self.prepare(prompts, route)
        if prepared is prompts and route is not None:
            problem = f"route={route!r} for prepared prompts"
            raise InputError("detect()", found=problem, expected="no route: prepare() has set it")
        share = checked_suppression(suppress)
        if isinstance(threshold, Cutoffs):
            threshold = self._cutoff_of_each(threshold, prepared.queries)
        limits = checked_thresholds(DEFAULT_THRESHOLD if threshold is None else threshold, len(prepared))
        if share > 0:
            limits = _without_meaningless(limits, prepared)
        pictures, is_single = self._pictures(images)
        parts: list[list[Detections]] = [[] for _ in pictures]
        if prepared.rows is not None:
            positions = prepared.positions(rescored=False)
            results = self._detect(pictures, prepared.rows, limits[positions], share, with_masks, **options)
            _append(parts, results, positions)
        if prepared.leaves is not None:
            positions = prepared.positions(rescored=True)
            queries = [prepared.queries[index] for index in positions]
            texts = self._distractor_rows(distractors)
            alternatives = Alternatives.of(self.model, queries, prepared.leaves, texts)
            regions = self._regions(pictures, with_masks, **options)
            results = [rescore_regions(self.model, r, alternatives, limits[positions]) for r in regions]
            _append(parts, results, positions)
        labels = [label_of(query) for query in prepared.queries]
        info = {"prompts": [repr(query) for query in prepared.queries], "routes": list(prepared.routes)}
        merged = [Detections.merged(part, labels, info) for part in parts]
        return merged[0] if is_single else merged

    def prepare(self, prompts: Any, route: str | Sequence[str] | None = None) -> PreparedPrompts:
        """Prompts read, embedded and mapped once, for use in many calls: ``detector(frame, prepared)``.

        Args:
            prompts, route: as :meth:`detect`.

        Raises:
            InputError, SpaceMismatch, NoDirection, ModalityNotLoaded: as :meth:`detect`.
        """
        queries = as_queries(prompts)
        routes = self.router.routes(queries, self.route if route is None else route)
        mapped = [(q, name) for q, name in zip(queries, routes, strict=True) if name != "rescore"]
        rescored = [query for query, name in zip(queries, routes, strict=True) if name == "rescore"]
        rows, meanings = self.router.map_prompts(*zip(*mapped, strict=True)) if mapped else (None, [])
        leaves = leaf_rows(self.model, rescored) if rescored else None
        crop_meanings = self.router.meanings(rescored, leaves, judge_text=False) if leaves else []
        remaining = {"rescore": iter(crop_meanings), "mapped": iter(meanings)}
        return PreparedPrompts(
            tuple(queries),
            tuple(routes),
            rows,
            leaves,
            tuple(next(remaining["rescore" if name == "rescore" else "mapped"]) for name in routes),
        )

    score_name: ClassVar[str] = "detection"
    """Of the scores that cut-offs are made of, see :class:`bindplug.thresholds.Scorer`."""

    @property
    def score_space(self) -> EmbeddingSpace:
        """The space of the prompts, with the fingerprint of the model's weights."""
        return space_of(self.model)

    def match_scores(self, known: Sequence[Query], items: Sequence[Any]) -> tuple[Tensor, list[str]]:
        """For :func:`bindplug.cutoffs`: the best score of each prompt in each picture.

        Args:
            known: C prompts.
            items: N pictures in any form that the detector reads.

        Returns:
            (N, C) float32 scores, 0 where no box scores above :data:`SCORE_FLOOR`, and ``"image"`` N times.
        """
        prepared = self.prepare(list(known))
        scores = torch.zeros(len(items), len(prepared))
        for index, item in enumerate(items):
            detections = self.detect(item, prepared, threshold=SCORE_FLOOR, with_masks=False)
            places = torch.as_tensor(detections.label_indices, dtype=torch.int64).cpu()
            best = torch.as_tensor(detections.scores, dtype=torch.float32).cpu()
            scores[index].scatter_reduce_(0, places, best, "amax")
        return scores, ["image"] * len(items)

    def _cutoff_of_each(self, limits: Cutoffs, queries: Sequence[Query]) -> list[float]:
        limits.ensure(self.score_space, score=self.score_name)
        thresholds = []
        for query in queries:
            if query.modality is None:
                problem = f"{label_of(query)!r}, whose modality is not known"
                raise InputError(
                    "detect()", found=problem, expected="prompts that tell it, for their cut-offs"
                )
            thresholds.append(max(SCORE_FLOOR, limits.threshold(query.modality, "image")))
        return thresholds

    def prompt_vectors(self, prompts: Any, route: str | Sequence[str] | None = None) -> Tensor:
        """(P, D) float32 unit rows of prompts in the detector's space, on the CPU.

        Raises:
            InputError: the route is ``"rescore"``, which has no such rows.
            SpaceMismatch, ModalityNotLoaded, NoDirection: as :meth:`detect`.
        """
        queries = as_queries(prompts)
        routes = self.router.routes(queries, self.route if route is None else route)
        if "rescore" in routes:
            problem = f"{label_of(queries[routes.index('rescore')])!r} on the route 'rescore'"
            expected = "a route to the detector's space: direct, linear or vocabulary"
            raise InputError("prompt_vectors()", found=problem, expected=expected)
        return self.router.rows(queries, routes)

    def _call_original(self, images: Any, **options: Any) -> Any:
        return self.original(images, **options)

    @abstractmethod
    def _pictures(self, images: Any) -> tuple[list[Any], bool]:
        """Pictures in this detector's form, and whether ``images`` is a single one."""

    @abstractmethod
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

    @abstractmethod
    def _regions(self, pictures: list[Any], with_masks: bool, **options: Any) -> list[Detections]:
        """Boxes of any class in each picture, each with its picture; scores are the certainty of each."""

    def _check_options(self, options: Mapping[str, Any]) -> None:
        unknown = sorted(set(options) - set(self.RUN_OPTIONS))
        if unknown:
            raise TypeError(
                f"a call with prompts has no option {unknown[0]!r}; further ones: {self.RUN_OPTIONS}"
            )

    def _distractor_rows(self, distractors: Sequence[str] | None) -> Tensor:
        if distractors is not None:
            if isinstance(distractors, str) or not len(distractors):
                problem = "one string" if distractors else "none"
                raise InputError(
                    "distractors", found=problem, expected='some texts, as ["a wall", "the sky"]'
                )
            return self.router.text_rows(tuple(distractors))
        classes = self.router.classes
        if classes is not None and classes.names is not None:
            return self.router.class_name_rows(classes.names)
        return self.router.text_rows(DISTRACTORS)


def _without_meaningless(limits: Tensor, prepared: PreparedPrompts) -> Tensor:
    """Limits that no score exceeds for prompts that the detector's classes cannot express."""
    meaningless = [i for i, is_meaningful in enumerate(prepared.is_meaningful) if not is_meaningful]
    if not meaningless:
        return limits
    labels = ", ".join(repr(label_of(prepared.queries[index])) for index in meaningless)
    warnings.warn(
        f"{labels}: no nearer to one of the detector's classes than to the others, as silence, noise or an unknown "
        f"word; the boxes are dropped. suppress=False keeps them",
        MeaninglessPrompt,
        stacklevel=4,
    )
    limits = limits.clone()
    limits[meaningless] = float("inf")
    return limits


def _append(parts: list[list[Detections]], results: Sequence[Detections], positions: Sequence[int]) -> None:
    """Add the results of some prompts to those of each picture, counted among all prompts."""
    among_all = torch.tensor(positions)
    for part, detections in zip(parts, results, strict=True):
        indices = among_all[detections.label_indices]
        part.append(detections.with_labels(indices, [""] * len(detections), detections.scores))
