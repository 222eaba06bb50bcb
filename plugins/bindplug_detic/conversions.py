"""Detections in the forms that other libraries read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from bindplug.errors import InputError, MissingDependency
from bindplug_detic.instances import Boxes, Instances
from bindplug_detic.rle import compress, run_lengths

if TYPE_CHECKING:
    from bindplug_detic.results import Detections


def to_detectron2(found: Detections) -> Instances:
    """See :meth:`Detections.to_detectron2`."""
    fields: dict[str, Any] = {
        "pred_boxes": Boxes(found.boxes),
        "scores": found.scores,
        "pred_classes": found.label_indices,
    }
    if found.has_masks:
        fields["pred_masks"] = found.masks
    return Instances(found.image_size, **fields)


def to_torchvision(found: Detections) -> dict[str, Tensor]:
    """See :meth:`Detections.to_torchvision`."""
    fields = {"boxes": found.boxes, "labels": found.label_indices, "scores": found.scores}
    masks = found.masks
    return fields if masks is None else {**fields, "masks": masks[:, None].byte()}


def to_coco(
    found: Detections, image_id: int | str, category_ids: Sequence[int] | None
) -> list[dict[str, Any]]:
    """See :meth:`Detections.to_coco`."""
    entries = []
    for index, (row, (x1, y1, x2, y2), score) in enumerate(_plain_rows(found)):
        if category_ids is not None and row >= len(category_ids):
            needed = f"one for each row of the vocabulary, at least {row + 1}"
            raise InputError("to_coco", found=f"{len(category_ids)} category_ids", expected=needed)
        entry: dict[str, Any] = {
            "image_id": image_id,
            "category_id": row + 1 if category_ids is None else int(category_ids[row]),
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "score": score,
        }
        if found.has_masks:
            entry["segmentation"] = _segmentation(found, index)
        entries.append(entry)
    return entries


def to_supervision(found: Detections) -> Any:
    """See :meth:`Detections.to_supervision`."""
    try:
        import supervision
    except ImportError as error:
        absent = isinstance(error, ModuleNotFoundError) and error.name == "supervision"
        reason = "absent" if absent else str(error)
        raise MissingDependency("Detections.to_supervision", "supervision", "", reason) from error
    return supervision.Detections(
        xyxy=found.boxes.numpy(),
        mask=None if found.masks is None else found.masks.numpy(),
        confidence=found.scores.numpy(),
        class_id=found.label_indices.numpy(),
        data={"class_name": np.array(found.labels, dtype=str)},
    )


def to_dict(found: Detections, masks: bool) -> dict[str, Any]:
    """See :meth:`Detections.to_dict`."""
    entries = []
    for index, (row, box, score) in enumerate(_plain_rows(found)):
        entry = {"label": found.labels[index], "label_index": row, "score": score, "box": box}
        for name, of_each in (("prompt", found.prompts), ("route", found.routes)):
            if of_each is not None:
                value = of_each[index]
                entry[name] = value if isinstance(value, str) else repr(value)
        if masks and found.has_masks:
            entry["mask"] = _segmentation(found, index)
        entries.append(entry)
    return {"image_size": list(found.image_size), "detections": entries}


def _plain_rows(found: Detections) -> list[tuple[int, list[float], float]]:
    columns = (found.label_indices.tolist(), found.boxes.tolist(), found.scores.tolist())
    return list(zip(*columns, strict=True))


def _segmentation(found: Detections, index: int) -> dict[str, Any]:
    mask, top, left = found.mask_crop(index)
    counts = run_lengths(mask.numpy(), size=found.image_size, top=top, left=left)
    return {"size": list(found.image_size), "counts": compress(counts)}
