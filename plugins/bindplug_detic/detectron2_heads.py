"""The zero-shot heads of a detectron2 model, and their exchange for the time of a call.

The heads are recognized by their attributes; detectron2 is never imported. ``model.roi_heads.box_predictor`` is a list
with a predictor for each stage of a cascade, or a single one (a C4 head). Each has ``cls_score.zs_weight`` (D, C + 1):
unit columns, the last one zero for the background, and ``predict_probs``, which returns the probabilities of every
proposal and class.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torchvision.ops import box_iou

from bindplug.errors import UnsupportedTarget
from bindplug_detic.competition import survivors

SAME_PLACE = 0.7
"""IoU from which two boxes count as one place, for a detector whose probabilities cannot be read."""
NO_LIMIT = 1_000_000
"""Detections of a picture before the selection; more than any head has pairs of proposal and class."""

Reduction = Callable[[Tensor], Tensor]
"""Scores of N proposals for all C classes of the exchanged classifier, (N, C), to those to report, (N, P)."""

_locks: WeakKeyDictionary[Any, threading.RLock] = WeakKeyDictionary()
_locks_guard = threading.Lock()
_ABSENT = object()
"""Stands for an attribute that was the class's and not the instance's."""


def network_of(target: Any) -> Any:
    """The model of a predictor, or the model itself.

    Raises:
        UnsupportedTarget: it has no zero-shot classifier.
    """
    network = target if hasattr(target, "roi_heads") else getattr(target, "model", None)
    if not zero_shot_heads(network):
        kind = f"{type(target).__module__}.{type(target).__qualname__}"
        raise UnsupportedTarget(
            f"this detectron2 model has no zero-shot classifier ({kind}): its predictors, "
            f"roi_heads.box_predictor[k].cls_score, have no zs_weight that prompts could replace. Prompts need a "
            f"detector such as Detic, which classifies by text vectors"
        )
    return network


def predictors_of(network: Any) -> list[Any]:
    """The box predictor of every stage, in order; a head without a cascade has one."""
    predictor = getattr(getattr(network, "roi_heads", None), "box_predictor", None)
    if predictor is None:
        return []
    return list(predictor) if hasattr(predictor, "__iter__") else [predictor]


def zero_shot_heads(network: Any) -> list[Any]:
    """``cls_score`` of every stage, each once; empty unless every one has ``zs_weight``."""
    heads = [getattr(predictor, "cls_score", None) for predictor in predictors_of(network)]
    if not all(isinstance(getattr(head, "zs_weight", None), Tensor) for head in heads):
        return []
    return list({id(head): head for head in heads}.values())


def lock_of(network: Any) -> threading.RLock:
    """The lock that all wrappers of one model share."""
    with _locks_guard:
        return _locks.setdefault(network, threading.RLock())


class Selection:
    """What a call reports: reduced scores, a limit for each label, and a number of detections.

    Scores are reduced where the model computes them, before it suppresses overlapping boxes and computes masks. A model
    without ``predict_probs`` leaves that to :meth:`rows`, which sees its final boxes.

    Args:
        limits: (P,) scores have to be above the one of their label.
        top_k: most detections of a picture; None for the model's own number.
        reduction: from the scores of the C classes of the classifier to those of the P labels; None where they are the
            same.
        own: (P, V) bool, the last V of the C classes that count for a label; for the competition of final boxes.
        suppress: as :func:`bindplug_detic.competition.survivors`.
    """

    def __init__(
        self,
        limits: Tensor,
        *,
        top_k: int | None = None,
        reduction: Reduction | None = None,
        own: Tensor | None = None,
        suppress: float = 0.0,
    ) -> None:
        self.limits, self.top_k, self.reduction, self.own, self.suppress = (
            limits,
            top_k,
            reduction,
            own,
            suppress,
        )
        self.is_reduced = self.is_applied = False

    def rows(self, boxes: Tensor, scores: Tensor, labels: Tensor) -> Tensor:
        """Indices of the detections to report, best first: boxes (N, 4), scores (N,) and labels (N,) of a picture."""
        rows = torch.arange(len(labels), device=labels.device)
        if not self.is_reduced and self.own is not None:
            rows = surviving_boxes(boxes, scores, labels, self.own.to(labels.device), self.suppress)
        rows = rows[scores[rows] > self.limits.to(scores)[labels[rows]]]
        rows = rows[scores[rows].argsort(descending=True, stable=True)]
        return rows if self.top_k is None else rows[: self.top_k]

    def of_instances(self, instances: Any) -> Any:
        """The instances to report, of one picture."""
        self.is_applied = True
        return instances[self.rows(instances.pred_boxes.tensor, instances.scores, instances.pred_classes)]


@contextmanager
def exchanged_classifier(
    network: Any,
    rows: Tensor,
    selection: Selection,
    *,
    with_masks: bool = True,
    nms_threshold: float | None = None,
    one_class_per_proposal: bool = False,
) -> Iterator[None]:
    """For the time of the block, a model classifies by ``rows`` and reports a selection; then it is as before.

    In every stage ``zs_weight`` becomes the unit rows as columns and a zero column for the background, and
    ``test_score_thresh`` the lowest limit; ``test_topk_per_image`` is lifted, as the selection comes after it.
    ``roi_heads.num_classes`` becomes the number of rows, and ``mask_on`` False without masks. ``predict_probs`` and
    ``_forward_box`` (``inference`` of a C4 head) are wrapped. What is a buffer or a parameter stays one.

    Args:
        network: with zero-shot heads; the caller holds its lock.
        rows: (C, D) of any length but 0.
        selection: what is reported; its ``top_k`` of None becomes the model's.
        with_masks: whether masks are computed, if the model has them.
        nms_threshold: IoU above which a box suppresses a lower one of its class; None for the model's.
        one_class_per_proposal: whether a proposal has its best class only; False for prompts, of which several may
            mean one thing.
    """
    heads, predictors = zero_shot_heads(network), predictors_of(network)
    roi_heads, last = network.roi_heads, predictors[-1]
    if selection.top_k is None:
        model_top_k = getattr(last, "test_topk_per_image", -1)
        selection.top_k = model_top_k if isinstance(model_top_k, int) and model_top_k >= 0 else None
    columns = torch.nn.functional.normalize(rows.float(), dim=1).T  # (C, D) -> (D, C)
    weight = torch.cat([columns, columns.new_zeros(len(columns), 1)], dim=1)  # (D, C + 1)
    changes: list[tuple[Any, str, Any]] = [(head, "zs_weight", weight.to(head.zs_weight)) for head in heads]
    changes.append((roi_heads, "num_classes", len(rows)))
    if hasattr(roi_heads, "one_class_per_proposal"):
        changes.append((roi_heads, "one_class_per_proposal", one_class_per_proposal))
    if getattr(roi_heads, "mask_on", False) and not with_masks:
        changes.append((roi_heads, "mask_on", False))
    settings = {
        "test_score_thresh": float(selection.limits.min()) if len(selection.limits) else 1.0,
        "test_topk_per_image": NO_LIMIT,
        "test_nms_thresh": nms_threshold,
    }
    for predictor in {id(predictor): predictor for predictor in predictors}.values():
        changes += [
            (predictor, name, value)
            for name, value in settings.items()
            if value is not None and hasattr(predictor, name)
        ]
    changes += _method_changes(roi_heads, predictors, selection)
    with _changed(changes):
        yield


def surviving_boxes(boxes: Tensor, scores: Tensor, labels: Tensor, own: Tensor, suppress: float) -> Tensor:
    """As :func:`bindplug_detic.competition.survivors` for final boxes.

    Boxes of IoU :data:`SAME_PLACE` or more count as one place. Labels below P are prompts, P + v is class v.

    Args:
        boxes: (N, 4) xyxy.
        scores: (N,).
        labels: (N,) int64.
        own: (P, V) bool.
        suppress: as there.

    Returns:
        (M,) int64 indices of the prompts' boxes that survive, in their order.
    """
    prompts = len(own)
    prompt_rows = (labels < prompts).nonzero()[:, 0]  # (A,) indices of the prompts' boxes
    class_rows = (labels >= prompts).nonzero()[:, 0]  # (B,) indices of the classes' boxes
    is_here = box_iou(boxes[prompt_rows], boxes[class_rows]) >= SAME_PLACE  # (A, B)
    scores_here = scores[class_rows][None] * is_here
    # (A, B) -> (A, V): the best score of each class at each box
    class_scores = scores_here.new_zeros(len(prompt_rows), own.shape[1])
    class_scores.scatter_reduce_(
        1, (labels[class_rows] - prompts)[None].expand(len(prompt_rows), -1), scores_here, "amax"
    )
    passes = [
        bool(survivors(scores[box][None, None], class_scores[i : i + 1], own[labels[box]][None], suppress))
        for i, box in enumerate(prompt_rows)
    ]
    return prompt_rows[torch.tensor(passes, dtype=torch.bool, device=prompt_rows.device)]


def _method_changes(
    roi_heads: Any, predictors: Sequence[Any], selection: Selection
) -> list[tuple[Any, str, Callable[..., Any]]]:
    """Wrapped methods, where the model has them."""
    changes: list[tuple[Any, str, Callable[..., Any]]] = []
    distinct = list({id(predictor): predictor for predictor in predictors}.values())
    reducer = _Reducer(roi_heads, predictors, selection)
    if selection.reduction is not None and all(hasattr(predictor, "predict_probs") for predictor in distinct):
        changes += [(p, "predict_probs", reducer.wrap(p.predict_probs)) for p in distinct]
    if hasattr(roi_heads, "_forward_box"):
        forward_box = roi_heads._forward_box

        def select_boxes(*arguments: Any, **options: Any) -> Any:
            reducer.reset()
            return [selection.of_instances(one) for one in forward_box(*arguments, **options)]

        changes.append((roi_heads, "_forward_box", select_boxes))
    elif len(predictors) == 1 and hasattr(predictors[0], "inference"):
        inference = predictors[0].inference

        def select_instances(*arguments: Any, **options: Any) -> Any:
            reducer.reset()
            instances, *others = inference(*arguments, **options)
            return ([selection.of_instances(one) for one in instances], *others)

        changes.append((predictors[0], "inference", select_instances))
    return changes


class _Reducer:
    """Wraps ``predict_probs`` of every stage: reports few classes, decided by the mean over all stages.

    The model averages the probabilities of its stages. All stages but the last report zeros, and the last one as many
    times the reduced mean as there are stages. A model may combine them with the proposals' own scores by a geometric
    mean; the scores of one proposal are then proportional to the square roots.
    """

    def __init__(self, roi_heads: Any, predictors: Sequence[Any], selection: Selection) -> None:
        self.selection, self.stages = selection, len(predictors)
        owners = (roi_heads, *predictors)
        self.is_geometric = any(getattr(owner, "mult_proposal_score", False) for owner in owners)
        self.reset()

    def reset(self) -> None:
        """Before the first stage of a batch."""
        self.calls = 0
        self.totals: tuple[Tensor, ...] = ()

    def wrap(self, predict_probs: Callable[..., Any]) -> Callable[..., Any]:
        def reduced(*arguments: Any, **options: Any) -> tuple[Tensor, ...]:
            probabilities = predict_probs(*arguments, **options)  # of each picture (N, C + 1)
            if self.calls == self.stages:  # the next batch of a model without a method that resets
                self.reset()
            self.totals = tuple(
                scores if not self.calls else scores + total
                for scores, total in zip(probabilities, self.totals or probabilities, strict=True)
            )
            self.calls += 1
            return tuple(self._reported(total) for total in self.totals)

        return reduced

    def _reported(self, total: Tensor) -> Tensor:
        mean = total[:, :-1] / self.stages  # without the background
        scores = self._reduced(mean)  # (N, C) -> (N, P)
        background = scores.new_zeros(len(scores), 1)
        if self.calls < self.stages:
            return torch.cat([torch.zeros_like(scores), background], dim=1)
        self.selection.is_reduced = True
        return torch.cat([scores * self.stages, background], dim=1)

    def _reduced(self, mean: Tensor) -> Tensor:
        assert self.selection.reduction is not None
        if not self.is_geometric:
            return self.selection.reduction(mean)
        return self.selection.reduction(mean.sqrt()).square()


@contextmanager
def _changed(changes: Sequence[tuple[Any, str, Any]]) -> Iterator[None]:
    """Sets attributes, and restores them after the block, after an exception too."""
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


def _slot(owner: Any, name: str) -> dict[str, Any]:
    """The dictionary in which an object holds an attribute: its buffers, its parameters or its own attributes."""
    if isinstance(owner, nn.Module):
        for attributes in (owner._buffers, owner._parameters):
            if name in attributes:
                return attributes
    return vars(owner)
