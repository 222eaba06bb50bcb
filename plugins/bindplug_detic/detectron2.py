"""detectron2's Detic with queries: its classifier is exchanged for the time of a call, see
:mod:`bindplug_detic.detectron2_heads`.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bindplug import EmbeddingSpace, Encoder
from bindplug.errors import InputError
from bindplug_detic.competition import competing_rows, own_classes, survivors
from bindplug_detic.detector import CLIP_SPACE
from bindplug_detic.detectron2_heads import (
    Selection,
    exchanged_classifier,
    lock_of,
    network_of,
    zero_shot_heads,
)
from bindplug_detic.pictures import read_picture
from bindplug_detic.prompted_detector import REGION_THRESHOLD, PromptedDetector
from bindplug_detic.prompts import DetectorClasses
from bindplug_detic.rescore import MOST_REGIONS, REGION_OVERLAP
from bindplug_detic.results import Detections
from bindplug_detic.routes import Bridges

CHAINED = ("to", "cpu", "cuda", "eval", "train", "half", "bfloat16", "float", "requires_grad_")
"""Methods of a model that return it, as in ``upgrade(model, encoder).to("cuda")``."""


class VocabularyMismatch(UserWarning):
    """The classes that a predictor names are not those of its classifier."""


class Detectron2WithQueries(PromptedDetector):
    """A detectron2 predictor, or the model itself, that also takes prompts.

    Without prompts it answers as the original does, ``{"instances": Instances}``, and with a list of pictures a list of
    such answers. With prompts it returns our Detections. A predictor takes BGR arrays, as the original does, and also
    paths and Pillow pictures; a model takes its own input.

    For a call with prompts the classifier of every stage is exchanged and then put back, also after an exception.
    Calls of all wrappers of one model wait for each other. Other threads should not call the original itself
    meanwhile: it would answer with the exchanged classifier.

    Args:
        original: ``DefaultPredictor``, or a ``GeneralizedRCNN`` in evaluation mode.
        model, bridge, route: as :class:`bindplug_detic.prompted_detector.PromptedDetector`.
        space: of ``zs_weight``; the published Detic's for None and a width of 512.
        names: of the classes in ``zs_weight``; those of the predictor's metadata for None.

    Raises:
        UnsupportedTarget: the model has no zero-shot classifier.
        InputError: the classifier's width is not the space's, or names and classes differ in number.

    Warns:
        VocabularyMismatch: the metadata names another number of classes than the classifier has.
    """

    def __init__(
        self,
        original: Any,
        model: Encoder,
        *,
        bridge: Bridges | None = None,
        route: str | None = None,
        space: EmbeddingSpace | None = None,
        names: Sequence[str] | None = None,
    ) -> None:
        self._network = network_of(original)
        width = int(zero_shot_heads(self._network)[0].zs_weight.shape[0])
        self._names = None if names is None else tuple(names)
        self._cached: tuple[Tensor, DetectorClasses] | None = None
        super().__init__(
            original,
            model,
            _checked_space(space, width),
            lambda: self._classes(),
            bridge=bridge,
            route=route,
        )
        self._classes()

    def __getattr__(self, name: str) -> Any:
        value = super().__getattr__(name)
        if name not in CHAINED or not callable(value):
            return value

        def call(*args: Any, **kwargs: Any) -> Any:
            result = value(*args, **kwargs)
            return self if result is self.original else result

        return call

    @property
    def _is_bare(self) -> bool:
        """Whether the original is the model itself, without a predictor."""
        return self._network is self.original

    def _call_original(self, images: Any, **options: Any) -> Any:
        with lock_of(self._network):
            if self._is_bare:
                is_single = isinstance(images, dict)
                results = self.original([images] if is_single else images, **options)
                return results[0] if is_single else results
            if isinstance(images, (list, tuple)):
                return [self.original(_to_bgr(image), **options) for image in images]
            return self.original(_to_bgr(images), **options)

    def _classes(self) -> DetectorClasses:
        with lock_of(self._network):  # another wrapper's call may have exchanged the classifier
            weight = zero_shot_heads(self._network)[0].zs_weight.detach()
            if self._cached is None or not _is_same(self._cached[0], weight):
                has_background = not weight[:, -1].any()
                count = weight.shape[1] - int(has_background)
                rows = weight[:, :count].T.float().cpu()  # (D, C + 1) -> (C, D)
                # a copy, so that an edit in place is noticed
                self._cached = (weight.clone(), DetectorClasses(self._names_of(count), rows))
            return self._cached[1]

    def _names_of(self, count: int) -> tuple[str, ...] | None:
        if self._names is not None and len(self._names) != count:
            problem = f"{len(self._names)} names for a classifier of {count} classes"
            raise InputError("upgrade()", found=problem, expected="the name of every class")
        if self._names is not None:
            return self._names
        names = getattr(getattr(self.original, "metadata", None), "thing_classes", None)
        if names is not None and len(names) != count:
            warnings.warn(
                f"the predictor's metadata names {len(names)} classes, and its classifier has {count}: the classes "
                f"count as unnamed, so that prompts cannot take the route 'vocabulary'. Set the classifier of these "
                f"names (Detic's reset_cls_test), or name its classes: upgrade(..., names=[...])",
                VocabularyMismatch,
                stacklevel=7,
            )
            return None
        return None if names is None else tuple(names)

    def _pictures(self, images: Any) -> tuple[list[Any], bool]:
        is_single = not isinstance(images, (list, tuple))
        pictures = [images] if is_single else list(images)
        if not self._is_bare:
            return [_to_bgr(picture) for picture in pictures], is_single
        for picture in pictures:
            if not (isinstance(picture, dict) and isinstance(picture.get("image"), Tensor)):
                problem = f"a {type(picture).__name__} for a bare model"
                expected = 'its own input, [{"image": tensor (3, H, W), "height": h, "width": w}]'
                raise InputError(
                    "detect()", found=problem, expected=expected, remedy="Or upgrade a DefaultPredictor"
                )
        return pictures, is_single

    def _detect(
        self,
        pictures: list[Any],
        rows: Tensor,
        limits: Tensor,
        suppress: float,
        with_masks: bool,
        **options: Any,
    ) -> list[Detections]:
        with lock_of(self._network):
            rivals = competing_rows(self._classes(), suppress)
            if rivals is None:
                return self._run(pictures, rows, Selection(limits), with_masks)
            count, own = len(rows), own_classes(rows, rivals)

            def compete(scores: Tensor) -> Tensor:
                prompt_scores, class_scores = scores[:, :count], scores[:, count:]  # (N, P), (N, V)
                return prompt_scores * survivors(prompt_scores, class_scores, own.to(scores.device), suppress)

            selection = Selection(limits, reduction=compete, own=own, suppress=suppress)
            return self._run(pictures, torch.cat([rows, rivals]), selection, with_masks)

    def _regions(self, pictures: list[Any], with_masks: bool, **options: Any) -> list[Detections]:
        with lock_of(self._network):
            rows = self._classes().unit()
            selection = Selection(
                torch.full((len(rows),), REGION_THRESHOLD),
                top_k=MOST_REGIONS,
                # one box of a proposal: how certain it is that it shows any class
                reduction=lambda scores: scores.amax(1, keepdim=True),
            )
            return self._run(
                pictures,
                rows,
                selection,
                with_masks,
                nms_threshold=REGION_OVERLAP,
                one_class_per_proposal=True,
            )

    def _run(
        self,
        pictures: list[Any],
        rows: Tensor,
        selection: Selection,
        with_masks: bool,
        **changes: Any,
    ) -> list[Detections]:
        """Detections of each picture by an exchanged classifier; the caller holds the model's lock."""
        if getattr(self._network, "training", False):
            raise InputError("detect()", found="a model in training mode", expected="model.eval()")
        with (
            torch.no_grad(),
            exchanged_classifier(self._network, rows, selection, with_masks=with_masks, **changes),
        ):
            answers = [
                self.original([picture])[0] if self._is_bare else self.original(picture)
                for picture in pictures
            ]
        results = []
        for picture, answer in zip(pictures, answers, strict=True):
            detections = self._detections(answer["instances"], picture, with_masks)
            if not selection.is_applied:
                detections = detections[
                    selection.rows(detections.boxes, detections.scores, detections.label_indices)
                ]
            results.append(detections)
        return results

    def _detections(self, instances: Any, picture: Any, with_masks: bool) -> Detections:
        instances = instances.to("cpu") if hasattr(instances, "to") else instances
        masks = getattr(instances, "pred_masks", None) if with_masks else None
        classes = torch.as_tensor(instances.pred_classes).long()
        size = tuple(instances.image_size)
        return Detections(
            instances.pred_boxes.tensor,
            instances.scores,
            [""] * len(classes),
            classes,
            size,
            masks=None if masks is None else torch.as_tensor(masks),
            picture=self._rgb_of(picture, size),
        )

    def _rgb_of(self, picture: Any, size: tuple[int, int]) -> Image.Image:
        """The picture in RGB, in the size of the result."""
        if isinstance(picture, np.ndarray):
            return Image.fromarray(np.ascontiguousarray(picture[:, :, ::-1]))
        pixels = picture["image"].detach().cpu().clamp(0, 255).to(torch.uint8)
        pixels = pixels.permute(1, 2, 0).numpy()  # (3, H, W) -> (H, W, 3)
        channels = getattr(self._network, "input_format", None) or "RGB"
        if channels not in ("RGB", "BGR"):
            raise InputError("detect()", found=f"input_format={channels!r}", expected='"RGB" or "BGR"')
        rgb = Image.fromarray(np.ascontiguousarray(pixels if channels == "RGB" else pixels[:, :, ::-1]))
        return rgb if rgb.size == size[::-1] else rgb.resize(size[::-1], Image.Resampling.BILINEAR)


def _is_same(copy: Tensor, weight: Tensor) -> bool:
    return copy.shape == weight.shape and torch.equal(copy.to(weight), weight)


def _checked_space(space: EmbeddingSpace | None, width: int) -> EmbeddingSpace:
    expected = space or CLIP_SPACE
    if expected.width != width:
        remedy = "Name the space of its class vectors: upgrade(..., space=EmbeddingSpace(name, width))"
        problem = f"a classifier of width {width}"
        raise InputError("upgrade()", found=problem, expected=str(expected), remedy="" if space else remedy)
    return expected


def _to_bgr(image: Any) -> np.ndarray:
    """(H, W, 3) uint8 BGR; an array already is, and is returned itself."""
    if isinstance(image, np.ndarray):
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
            problem = f"an array of {image.dtype} and shape {image.shape}"
            expected = "uint8 (H, W, 3) in BGR order, as the predictor takes it, a path, or a Pillow picture"
            raise InputError("detect()", found=problem, expected=expected)
        return image
    if not isinstance(image, (str, Path, bytes, Image.Image)) and not hasattr(image, "read"):
        expected = "a path, a Pillow picture, or an array (H, W, 3) in BGR order"
        raise InputError("detect()", found=f"a {type(image).__name__}", expected=expected)
    return np.ascontiguousarray(np.asarray(read_picture(image))[:, :, ::-1])
