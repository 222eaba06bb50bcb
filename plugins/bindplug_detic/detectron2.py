"""detectron2's Detic with queries: its zero-shot classifier is lent for one call and put back.

Known by its shape; detectron2 itself is never imported. ``model.roi_heads.box_predictor`` has a stage for each step
of the cascade, each with ``cls_score.zs_weight`` (D, C + 1): unit columns, the last one zero for the background.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.ops import box_iou

from bindplug.encoder import Encoder
from bindplug.errors import InputError, UnsupportedTarget
from bindplug.space import EmbeddingSpace
from bindplug_detic.competition import competing_rows, own_classes, survivors
from bindplug_detic.pictures import read_picture
from bindplug_detic.prompted_detector import REGION_THRESHOLD, PromptedDetector
from bindplug_detic.prompts import DetectorClasses
from bindplug_detic.results import Detections

CLIP_SPACE = EmbeddingSpace("open_clip:ViT-B-32:openai", 512)
"""Where the class vectors of the published Detic live. Source: Detic's README and configurations."""

_locks: WeakKeyDictionary[Any, threading.RLock] = WeakKeyDictionary()
_locks_guard = threading.Lock()


class Detectron2WithQueries(PromptedDetector):
    """A detectron2 predictor, or the model itself, that also takes prompts.

    Without prompts it answers as the original does, ``{"instances": Instances}``. With prompts it takes what the
    original takes, a predictor also paths and Pillow pictures, and returns our Detections. Arrays are BGR, as the
    predictor wants them.

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
    """

    def __init__(
        self,
        original: Any,
        model: Encoder,
        *,
        bridge: Any = None,
        route: str | None = None,
        space: EmbeddingSpace | None = None,
        names: Sequence[str] | None = None,
    ) -> None:
        self._network = network_of(original)
        width = int(zero_shot_heads(self._network)[0].zs_weight.shape[0])
        self._names = None if names is None else tuple(names)
        self._seen: tuple[Tensor, DetectorClasses] | None = None
        super().__init__(
            original, model, _checked_space(space, width), lambda: self._words(), bridge=bridge, route=route
        )
        self._words()

    def _call_original(self, images: Any, **options: Any) -> Any:
        with lock_of(self._network):
            return self.original(images, **options)

    def _words(self) -> DetectorClasses:
        with lock_of(self._network):  # else a call of another wrapper might have lent the classifier
            weight = zero_shot_heads(self._network)[0].zs_weight
            if self._seen is None or self._seen[0] is not weight:
                count = weight.shape[1] - (0 if weight[:, -1].any() else 1)
                rows = weight.detach()[:, :count].T.float().cpu()
                self._seen = (weight, DetectorClasses(self._names_of(count), rows))
            return self._seen[1]

    def _names_of(self, count: int) -> tuple[str, ...] | None:
        if self._names is not None and len(self._names) != count:
            found = f"{len(self._names)} names for a classifier of {count}"
            raise InputError("upgrade()", found=found, expected="the name of every class")
        if self._names is not None:
            return self._names
        known = getattr(getattr(self.original, "metadata", None), "thing_classes", None)
        return tuple(known) if known is not None and len(known) == count else None

    def _pictures(self, images: Any) -> tuple[list[Any], bool]:
        several = isinstance(images, (list, tuple))
        listed = list(images) if several else [images]
        if self._network is not self.original:
            return [_to_bgr(image) for image in listed], not several
        for image in listed:
            if not (isinstance(image, dict) and isinstance(image.get("image"), Tensor)):
                found = f"a {type(image).__name__} for a bare model"
                expected = 'its own input, [{"image": tensor (3, H, W), "height": h, "width": w}]'
                raise InputError(
                    "detect()", found=found, expected=expected, remedy="Or upgrade a DefaultPredictor"
                )
        return listed, not several

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
            words = competing_rows(self._words(), suppress)
            columns = rows if words is None else torch.cat([rows, words])
            own = torch.zeros(len(rows), 0, dtype=torch.bool) if words is None else own_classes(rows, words)
            with lent_classifier(self._network, columns, float(limits.min())):
                instances = [self._run(picture) for picture in pictures]
        found = []
        for picture, one in zip(pictures, instances, strict=True):
            everything = _detections(one, picture, with_masks)
            kept = surviving_boxes(
                everything.boxes, everything.scores, everything.label_indices, own, suppress
            )
            passing = everything[kept]
            found.append(passing[passing.scores > limits[passing.label_indices]])
        return found

    def _regions(self, pictures: list[Any], with_masks: bool, **options: Any) -> list[Detections]:
        with lock_of(self._network), lent_classifier(self._network, self._words().unit(), REGION_THRESHOLD):
            instances = [self._run(picture) for picture in pictures]
        return [_detections(one, p, with_masks) for one, p in zip(instances, pictures, strict=True)]

    def _run(self, picture: Any) -> Any:
        if self._network is self.original:
            if getattr(self._network, "training", False):
                raise InputError("detect()", found="a model in training mode", expected="model.eval()")
            with torch.no_grad():
                return self.original([picture])[0]["instances"]
        return self.original(picture)["instances"]


def network_of(target: Any) -> Any:
    """The model behind a predictor, or the model itself.

    Raises:
        UnsupportedTarget: it has no zero-shot classifier.
    """
    network = target if hasattr(target, "roi_heads") else getattr(target, "model", None)
    if not zero_shot_heads(network):
        kind = f"{type(target).__module__}.{type(target).__qualname__}"
        raise UnsupportedTarget(
            f"this detectron2 model has no zero-shot classifier ({kind}): its stages, "
            f"roi_heads.box_predictor[k].cls_score, hold no zs_weight that prompts could take the place of"
        )
    return network


def zero_shot_heads(network: Any) -> list[Any]:
    """``cls_score`` of every stage, each once; empty unless every one has ``zs_weight``."""
    stages = getattr(getattr(network, "roi_heads", None), "box_predictor", None)
    try:
        heads = [getattr(stage, "cls_score", None) for stage in stages or ()]
    except TypeError:  # one predictor, as of a detector without a cascade
        return []
    if not all(isinstance(getattr(head, "zs_weight", None), Tensor) for head in heads):
        return []
    return list({id(head): head for head in heads}.values())


def lock_of(network: Any) -> threading.RLock:
    """The lock that all wrappers of one model share."""
    with _locks_guard:
        return _locks.setdefault(network, threading.RLock())


@contextmanager
def lent_classifier(network: Any, rows: Tensor, threshold: float) -> Iterator[None]:
    """For the time of the block, a model classifies by ``rows``; then everything is as it was.

    In every stage ``zs_weight`` becomes the unit rows as columns and a zero column for the background, and
    ``test_score_thresh`` the threshold; ``roi_heads.num_classes`` becomes their number, and
    ``one_class_per_proposal`` False, as several prompts may mean one thing. What is a buffer stays one.

    Args:
        network: with zero-shot heads; the caller holds its lock.
        rows: (C, D) of any length but 0.
        threshold: of scores.
    """
    heads, roi_heads = zero_shot_heads(network), network.roi_heads
    changes: list[tuple[Any, str, Any]] = [(roi_heads, "num_classes", len(rows))]
    if hasattr(roi_heads, "one_class_per_proposal"):
        changes.append((roi_heads, "one_class_per_proposal", False))
    for stage in {id(stage): stage for stage in roi_heads.box_predictor}.values():
        if hasattr(stage, "test_score_thresh"):
            changes.append((stage, "test_score_thresh", threshold))
    columns = torch.nn.functional.normalize(rows.float(), dim=1).T
    weight = torch.cat([columns, columns.new_zeros(len(columns), 1)], dim=1)
    changes += [(head, "zs_weight", weight.to(head.zs_weight)) for head in heads]
    undo: list[tuple[dict[str, Any], str, Any]] = []
    try:
        for owner, name, value in changes:
            slot = _slot(owner, name)
            undo.append((slot, name, slot.get(name, _ABSENT)))
            slot[name] = value
        yield
    finally:
        for slot, name, before in reversed(undo):
            if before is _ABSENT:
                del slot[name]
            else:
                slot[name] = before


_ABSENT = object()
"""Stands for an attribute that was the class's and not the instance's."""


def _slot(owner: Any, name: str) -> dict[str, Any]:
    """The dictionary in which an object holds an attribute: its buffers, its parameters or its own attributes."""
    if isinstance(owner, nn.Module):
        for held in (owner._buffers, owner._parameters):
            if name in held:
                return held
    return vars(owner)


def _checked_space(space: EmbeddingSpace | None, width: int) -> EmbeddingSpace:
    chosen = space or CLIP_SPACE
    if chosen.width != width:
        remedy = "Say where its class vectors live: upgrade(..., space=EmbeddingSpace(name, width))"
        found = f"a classifier of width {width}"
        raise InputError("upgrade()", found=found, expected=str(chosen), remedy="" if space else remedy)
    return chosen


def _to_bgr(image: Any) -> np.ndarray:
    """(H, W, 3) uint8 BGR, contiguous; an array is taken to be that."""
    if isinstance(image, np.ndarray):
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
            found = f"an array of {image.dtype} and shape {image.shape}"
            expected = "uint8 (H, W, 3) in BGR order, as the predictor takes it, a path, or a Pillow picture"
            raise InputError("detect()", found=found, expected=expected)
        return image
    if not isinstance(image, (str, Path, bytes, Image.Image)) and not hasattr(image, "read"):
        expected = "a path, a Pillow picture, or an array (H, W, 3) in BGR order"
        raise InputError("detect()", found=f"a {type(image).__name__}", expected=expected)
    return np.ascontiguousarray(np.asarray(read_picture(image))[:, :, ::-1])


def _detections(instances: Any, picture: Any, with_masks: bool) -> Detections:
    instances = instances.to("cpu") if hasattr(instances, "to") else instances
    masks = getattr(instances, "pred_masks", None) if with_masks else None
    classes = torch.as_tensor(instances.pred_classes).long()
    return Detections(
        instances.pred_boxes.tensor,
        instances.scores,
        [""] * len(classes),
        classes,
        tuple(instances.image_size),
        masks=None if masks is None else torch.as_tensor(masks),
        picture=_drawn_on(picture, tuple(instances.image_size)),
    )


def _drawn_on(picture: Any, size: tuple[int, int]) -> Image.Image:
    if isinstance(picture, np.ndarray):
        return Image.fromarray(np.ascontiguousarray(picture[:, :, ::-1]))
    pixels = picture["image"].detach().cpu().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()
    shown = Image.fromarray(np.ascontiguousarray(pixels))
    return shown if shown.size == size[::-1] else shown.resize(size[::-1], Image.Resampling.BILINEAR)


SAME_PLACE = 0.7
"""IoU from which two boxes count as one place."""


def surviving_boxes(boxes: Tensor, scores: Tensor, labels: Tensor, own: Tensor, suppress: float) -> Tensor:
    """As :func:`survivors` for final boxes."""
    count = len(own)
    mine = (labels < count).nonzero()[:, 0]
    theirs = (labels >= count).nonzero()[:, 0]
    here = box_iou(boxes[mine], boxes[theirs]) >= SAME_PLACE
    seen = scores[theirs][None].expand(len(mine), -1) * here
    word_scores = seen.new_zeros(len(mine), own.shape[1])
    word_scores.scatter_reduce_(1, (labels[theirs] - count)[None].expand(len(mine), -1), seen, "amax")
    kept = [
        bool(survivors(scores[m][None, None], word_scores[i : i + 1], own[labels[m]][None], suppress))
        for i, m in enumerate(mine)
    ]
    return mine[torch.tensor(kept, dtype=torch.bool)]
