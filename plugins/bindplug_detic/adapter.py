"""``bindplug.upgrade(detector, model)``: a Detic, ours or detectron2's, that looks for sounds and whatever else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

import torch
from PIL import Image
from torch import Tensor

from bindplug.cards import is_instance_by_name
from bindplug.encoder import Encoder
from bindplug.errors import InputError
from bindplug_detic.competition import own_words, rivals, survivors
from bindplug_detic.detector import Detic
from bindplug_detic.network import CascadeOutput, DeticNetwork
from bindplug_detic.pictures import as_sources, checked_edges, read_picture, to_tensor
from bindplug_detic.postprocess import RawDetections, select_detections
from bindplug_detic.prompts import Words
from bindplug_detic.querying import REGION_THRESHOLD, WithQueries
from bindplug_detic.rescore import MOST_REGIONS, REGION_OVERLAP
from bindplug_detic.results import Detections
from bindplug_detic.scaling import in_picture

__all__ = ["DeticWithQueries", "upgrade"]


def upgrade(
    original: Any,
    model: Encoder | None = None,
    *,
    bridge: Any = None,
    route: str | None = None,
    **options: Any,
) -> WithQueries:
    """A detector that also takes prompts; called without any, it is the original.

    Args:
        original: a :class:`bindplug_detic.Detic`, or detectron2's ``DefaultPredictor`` or ``GeneralizedRCNN`` with
            Detic's zero-shot classifier. It is shared, never copied or changed.
        model: embeds the prompts.
        bridge: a map from the model's space to the detector's, or the path of one. Without it a registered one is
            looked for, else one is made of the detector's own classes when it is needed.
        route: for every prompt; None for the best that is possible.
        options: for detectron2's ``space`` and ``names``, see
            :class:`bindplug_detic.detectron2.Detectron2WithQueries`.

    Raises:
        InputError: no model, or ``bridge`` is no bridge.
        SpaceMismatch: the bridge leads from or to another space.
        UnsupportedTarget: a detectron2 model without a zero-shot classifier.
    """
    if is_instance_by_name(original, "bindplug_detic.Detic"):
        return DeticWithQueries(original, model, bridge=bridge, route=route, **options)  # type: ignore[arg-type]
    from bindplug_detic.detectron2 import Detectron2WithQueries

    return Detectron2WithQueries(original, model, bridge=bridge, route=route, **options)  # type: ignore[arg-type]


class DeticWithQueries(WithQueries):
    """A :class:`bindplug_detic.Detic` that also takes prompts; see :meth:`detect`.

    Several threads may call it at once: a call changes nothing of the detector. A call with prompts also takes
    ``nms_threshold``, ``top_k`` and ``resize``, as the detector's own does.

    Args:
        original: the detector.
        model, bridge, route: as :func:`upgrade`.
    """

    RUN_OPTIONS: ClassVar[tuple[str, ...]] = ("nms_threshold", "top_k", "resize")

    def __init__(
        self, original: Detic, model: Encoder, *, bridge: Any = None, route: str | None = None
    ) -> None:
        super().__init__(
            original,
            model,
            original.embedding_space,
            lambda: words_of(original),
            bridge=bridge,
            route=route,
            text_encoder=text_embedder(original.text_encoder),
        )

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
        config = self.original.network.config
        nms_threshold = _given(options, "nms_threshold", config.nms_threshold, least=0, most=1)
        top_k = _given(options, "top_k", config.top_k, least=1)
        words = rivals(words_of(self.original), suppress)
        columns = rows if words is None else torch.cat([rows, words])
        own = None if words is None else own_words(rows, words).to(self.original.device)
        found = []
        for picture in pictures:
            seen = self._look(picture, columns, options)
            scores = seen.output.scores[:, : len(rows)]
            if own is not None:
                scores = scores * survivors(scores, seen.output.scores[:, len(rows) :], own, suppress)
            raw = select_detections(
                seen.output.boxes,
                scores,
                seen.size,
                score_threshold=limits.to(scores),
                nms_threshold=nms_threshold,
                top_k=top_k,
            )
            found.append(seen.detections(raw, with_masks))
        return found

    @torch.no_grad()
    def _regions(self, pictures: list[Any], with_masks: bool, **options: Any) -> list[Detections]:
        words = words_of(self.original)
        # The cascade's boxes do not depend on the classes: where there are none, any vector will do.
        columns = torch.ones(1, self.router.space.width) if words is None else words.unit()
        found = []
        for picture in pictures:
            seen = self._look(picture, columns, options)
            certainty = seen.proposal_scores if words is None else seen.output.scores.amax(1)
            raw = select_detections(
                seen.output.boxes,
                certainty[:, None],
                seen.size,
                score_threshold=REGION_THRESHOLD,
                nms_threshold=REGION_OVERLAP,
                top_k=MOST_REGIONS,
            )
            found.append(seen.detections(raw, with_masks))
        return found

    def _look(self, source: Any, classifier: Tensor, options: Mapping[str, Any]) -> _Seen:
        network = self.original.network
        picture = read_picture(source)
        edges = checked_edges(options.get("resize"), (network.config.short_edge, network.config.long_edge))
        x, sizes = network.batch([to_tensor(picture, edges)])
        features = network.features(x)
        proposals = network.propose(features, sizes)
        output = network.cascade(features, proposals, sizes, classifier.to(network.device))[0]
        return _Seen(network, picture, sizes[0], features, proposals[0].scores, output)


class _Seen:
    """What the network makes of one picture, before anything is selected."""

    def __init__(
        self,
        network: DeticNetwork,
        picture: Image.Image,
        size: tuple[int, int],
        features: dict[str, Tensor],
        proposal_scores: Tensor,
        output: CascadeOutput,
    ) -> None:
        self.network, self.picture, self.size, self.features = network, picture, size, features
        self.proposal_scores, self.output = proposal_scores, output

    def detections(self, raw: RawDetections, with_masks: bool) -> Detections:
        """What was selected, in pixels of the picture."""
        logits = self.network.predict_masks(self.features, [raw.boxes])[0] if with_masks else None
        return in_picture(replace(raw, mask_logits=logits), self.picture, self.size)


def _given(
    options: Mapping[str, Any], name: str, default: Any, least: float, most: float | None = None
) -> Any:
    value = options.get(name)
    if value is None:
        return default
    whole = isinstance(default, int)
    fitting = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
    if not fitting or value < least or (most is not None and value > most):
        kind = "a whole number" if whole else "a number"
        expected = f"{kind} from {least}" + ("" if most is None else f" to {most}")
        raise InputError(name, found=repr(value), expected=expected)
    return value


def words_of(detector: Detic) -> Words | None:
    """The present vocabulary of a detector; its names are none if they are only numbers of rows."""
    vocabulary = detector.vocabulary
    if vocabulary is None:
        return None
    numbered = all(name == f"class {row}" for row, name in enumerate(vocabulary.names))
    return Words(None if numbered else tuple(vocabulary.names), vocabulary.embeddings)


def text_embedder(encoder: Any) -> Callable[[list[str]], Tensor] | None:
    """What makes rows of texts in the detector's own space, or None."""
    if isinstance(encoder, Encoder):
        from bindplug.query import text

        return lambda texts: encoder.embed([text(one) for one in texts])
    return encoder
