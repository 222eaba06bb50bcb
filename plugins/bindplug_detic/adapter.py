"""``bindplug.upgrade(detector, model)``: a Detic, ours or detectron2's, that also takes prompts of any modality."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from PIL import Image
from torch import Tensor

from bindplug import Encoder, text
from bindplug.cards import is_instance_by_name
from bindplug.errors import InputError, UnsupportedTarget
from bindplug_detic.competition import competing_rows, own_classes, survivors
from bindplug_detic.detector import Detic
from bindplug_detic.network import CascadeOutput, DeticNetwork
from bindplug_detic.options import check_count, check_fraction, checked_edges
from bindplug_detic.pictures import as_sources, read_picture, to_tensor
from bindplug_detic.plugin import is_demo, is_upgraded
from bindplug_detic.postprocess import RawDetections, select_detections
from bindplug_detic.prompted_detector import REGION_THRESHOLD, PromptedDetector
from bindplug_detic.prompts import DetectorClasses
from bindplug_detic.rescore import MOST_REGIONS, REGION_OVERLAP
from bindplug_detic.results import Detections
from bindplug_detic.routes import Bridges

__all__ = ["DeticWithQueries", "upgrade"]


def upgrade(
    original: Any,
    model: Encoder | None = None,
    *,
    bridge: Bridges | None = None,
    route: str | None = None,
    **options: Any,
) -> PromptedDetector:
    """A detector that also takes prompts; called without any, it is the original.

    Args:
        original: a :class:`bindplug_detic.Detic`, or detectron2's ``DefaultPredictor`` or ``GeneralizedRCNN`` with
            Detic's zero-shot classifier. It is shared, never copied or changed.
        model: embeds the prompts.
        bridge: a map from the model's space to the detector's, its path, or the name of a registered one. Without it
            a registered bridge between the two spaces is used, otherwise one is made of the detector's own classes
            when it is needed.
        route: for every prompt; None for the first possible one.
        options: for detectron2's ``space`` and ``names``, see
            :class:`bindplug_detic.detectron2.Detectron2WithQueries`.

    Raises:
        InputError: no model, ``bridge`` is not a bridge, or the detector is upgraded already.
        SpaceMismatch: the bridge leads from or to another space.
        UnsupportedTarget: a detectron2 model without a zero-shot classifier, or a demo that holds a predictor.
    """
    if is_upgraded(original):
        raise InputError(
            "upgrade()",
            found="a detector that takes prompts already",
            expected="the original detector",
            remedy="Call it with prompts, or upgrade its original: upgrade(detector.original, model)",
        )
    if is_demo(original):
        raise UnsupportedTarget(
            f"a {type(original).__name__} draws what its predictor returns: upgrade demo.predictor instead (made "
            f"without parallel=True), and call the result with prompts"
        )
    if is_instance_by_name(original, "bindplug_detic.Detic"):
        return DeticWithQueries(original, model, bridge=bridge, route=route, **options)  # type: ignore[arg-type]
    from bindplug_detic.detectron2 import Detectron2WithQueries

    return Detectron2WithQueries(original, model, bridge=bridge, route=route, **options)  # type: ignore[arg-type]


class DeticWithQueries(PromptedDetector):
    """A :class:`bindplug_detic.Detic` that also takes prompts; see :meth:`detect`.

    Several threads may call it at once: a call changes nothing of the detector. A call with prompts also takes
    ``nms_threshold``, ``top_k`` and ``resize``, as the detector's own does.

    Args:
        original: the detector.
        model, bridge, route: as :func:`upgrade`.
    """

    RUN_OPTIONS: ClassVar[tuple[str, ...]] = ("nms_threshold", "top_k", "resize")

    def __init__(
        self, original: Detic, model: Encoder, *, bridge: Bridges | None = None, route: str | None = None
    ) -> None:
        super().__init__(
            original,
            model,
            original.embedding_space,
            lambda: classes_of(original),
            bridge=bridge,
            route=route,
            text_encoder=text_embedder(original.text_encoder),
        )

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> DeticWithQueries:
        """Move the detector's weights; returns this object."""
        self.original.to(device, dtype)
        return self

    def _pictures(self, images: Any) -> tuple[list[Any], bool]:
        return as_sources(images)

    @torch.no_grad()
    def _detect(
        self,
        pictures: list[Any],
        rows: Tensor,
        limits: Tensor,
        suppress: float,
        with_masks: bool,
        **options: Any,
    ) -> list[Detections]:
        nms_threshold, top_k = self._selection_options(options)
        rivals = competing_rows(classes_of(self.original), suppress)
        classifier = rows if rivals is None else torch.cat([rows, rivals])  # (P + V, D)
        own = None if rivals is None else own_classes(rows, rivals).to(self.original.device)
        results = []
        for picture in pictures:
            output = self._run(picture, classifier, options)
            scores = output.cascade.scores[:, : len(rows)]  # (N, P + V) -> (N, P)
            if own is not None:
                scores = scores * survivors(scores, output.cascade.scores[:, len(rows) :], own, suppress)
            raw = select_detections(
                output.cascade.boxes,
                scores,
                output.input_size,
                score_threshold=limits.to(scores),
                nms_threshold=nms_threshold,
                top_k=top_k,
            )
            results.append(output.detections(raw, with_masks))
        return results

    @torch.no_grad()
    def _regions(self, pictures: list[Any], with_masks: bool, **options: Any) -> list[Detections]:
        classes = classes_of(self.original)
        # the boxes of the cascade do not depend on the classes, so that without classes any vector will do
        classifier = torch.ones(1, self.router.space.width) if classes is None else classes.unit()
        results = []
        for picture in pictures:
            output = self._run(picture, classifier, options)
            certainty = output.proposal_scores if classes is None else output.cascade.scores.amax(1)
            raw = select_detections(
                output.cascade.boxes,
                certainty[:, None],
                output.input_size,
                score_threshold=REGION_THRESHOLD,
                nms_threshold=REGION_OVERLAP,
                top_k=MOST_REGIONS,
            )
            results.append(output.detections(raw, with_masks))
        return results

    def _run(self, source: Any, classifier: Tensor, options: Mapping[str, Any]) -> _NetworkOutput:
        network = self.original.network
        picture = read_picture(source)
        edges = checked_edges(options.get("resize"), (network.config.short_edge, network.config.long_edge))
        x, sizes = network.batch([to_tensor(picture, edges)])
        features = network.features(x)
        proposals = network.propose(features, sizes)
        cascade = network.cascade(features, proposals, sizes, classifier.to(network.device))[0]
        return _NetworkOutput(network, picture, sizes[0], features, proposals[0].scores, cascade)

    def _selection_options(self, options: Mapping[str, Any]) -> tuple[float, int]:
        """``nms_threshold`` and ``top_k`` of a call, by default those of the configuration."""
        config = self.original.network.config
        nms_threshold, top_k = options.get("nms_threshold"), options.get("top_k")
        check_fraction("nms_threshold", nms_threshold)
        check_count("top_k", top_k)
        return (
            config.nms_threshold if nms_threshold is None else nms_threshold,
            config.top_k if top_k is None else top_k,
        )


@dataclass(frozen=True, eq=False)
class _NetworkOutput:
    """Output of the network for one picture, before the selection of detections.

    Attributes:
        network: computes the masks.
        picture: RGB.
        input_size: height and width of the network input, before padding.
        features: pyramid levels.
        proposal_scores: (N,).
        cascade: boxes and scores of the N proposals.
    """

    network: DeticNetwork
    picture: Image.Image
    input_size: tuple[int, int]
    features: dict[str, Tensor]
    proposal_scores: Tensor
    cascade: CascadeOutput

    def detections(self, raw: RawDetections, with_masks: bool) -> Detections:
        """The selected detections in pixels of the picture."""
        logits = self.network.predict_masks(self.features, [raw.boxes])[0] if with_masks else None
        return Detections.from_raw(replace(raw, mask_logits=logits), self.picture, self.input_size)


def classes_of(detector: Detic) -> DetectorClasses | None:
    """The present vocabulary of a detector; without names if it was set from rows alone."""
    vocabulary = detector.vocabulary
    if vocabulary is None:
        return None
    is_unnamed = all(name == f"class {row}" for row, name in enumerate(vocabulary.names))
    return DetectorClasses(None if is_unnamed else tuple(vocabulary.names), vocabulary.embeddings)


def text_embedder(encoder: Any) -> Callable[[list[str]], Tensor] | None:
    """A function from N texts to (N, D) rows in the detector's own space, or None."""
    if isinstance(encoder, Encoder):
        return lambda texts: encoder.embed([text(sentence) for sentence in texts])
    return encoder
