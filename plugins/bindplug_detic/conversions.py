"""Detections in the forms that other libraries read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np
from torch import Tensor

from bindplug.errors import InputError, MissingDependency
from bindplug_detic.masks import Crop, compress, run_lengths

DETECTRON2 = '"detectron2 @ git+https://github.com/facebookresearch/detectron2.git"'
"""What pip installs detectron2 from; it is not on PyPI. Source: its INSTALL.md."""


class Convertible(ABC):
    """The conversions of :class:`bindplug_detic.Detections`, which has the fields."""

    boxes: Tensor
    scores: Tensor
    labels: list[str]
    label_indices: Tensor
    image_size: tuple[int, int]

    @property
    @abstractmethod
    def masks(self) -> Tensor | None:
        """(N, H, W) bool; None without masks."""

    @property
    @abstractmethod
    def has_masks(self) -> bool:
        """Whether there are masks."""

    @property
    @abstractmethod
    def prompts(self) -> list[Any] | None:
        """The prompt of each detection."""

    @property
    @abstractmethod
    def routes(self) -> list[Any] | None:
        """The route of each detection's prompt."""

    @abstractmethod
    def mask_crop(self, index: int) -> Crop:
        """The mask of one detection."""

    def to_detectron2(self) -> Any:
        """As detectron2's ``Instances``: pred_boxes, scores, pred_classes, and pred_masks if there are masks.

        Raises:
            MissingDependency: detectron2 is not installed.
        """
        structures = _library("detectron2.structures", "to_detectron2", DETECTRON2)
        instances = structures.Instances(self.image_size)
        instances.pred_boxes = structures.Boxes(self.boxes)
        instances.scores, instances.pred_classes = self.scores, self.label_indices
        if self.has_masks:
            instances.pred_masks = self.masks
        return instances

    def to_torchvision(self) -> dict[str, Tensor]:
        """As torchvision's detectors answer: boxes, labels, scores, and masks (N, 1, H, W) uint8 if any."""
        fields = {"boxes": self.boxes, "labels": self.label_indices, "scores": self.scores}
        masks = self.masks
        return fields if masks is None else {**fields, "masks": masks[:, None].byte()}

    def to_coco(
        self, image_id: int | str = 0, *, category_ids: Sequence[int] | None = None
    ) -> list[dict[str, Any]]:
        """As entries of COCO's results file, ready for JSON; masks are compressed run lengths.

        Args:
            image_id: of the picture.
            category_ids: of each row of the vocabulary; by default 1, 2, … in its order, as LVIS numbers them.

        Raises:
            InputError: ``category_ids`` is too short.
        """
        entries = []
        for index, (row, (x1, y1, x2, y2), score) in enumerate(self._table()):
            if category_ids is not None and row >= len(category_ids):
                expected = f"one for each row of the vocabulary, at least {row + 1}"
                raise InputError("to_coco", found=f"{len(category_ids)} category_ids", expected=expected)
            entry: dict[str, Any] = {
                "image_id": image_id,
                "category_id": row + 1 if category_ids is None else int(category_ids[row]),
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "score": score,
            }
            if self.has_masks:
                entry["segmentation"] = self._run_lengths(index)
            entries.append(entry)
        return entries

    def to_supervision(self) -> Any:
        """As ``supervision.Detections``, class names in ``data["class_name"]``.

        Raises:
            MissingDependency: supervision is not installed.
        """
        return _library("supervision", "to_supervision", "supervision").Detections(
            xyxy=self.boxes.numpy(),
            mask=None if self.masks is None else self.masks.numpy(),
            confidence=self.scores.numpy(),
            class_id=self.label_indices.numpy(),
            data={"class_name": np.array(self.labels, dtype=str)},
        )

    def to_dict(self, *, masks: bool = True) -> dict[str, Any]:
        """Ready for JSON: image_size, and a list of detections with label, label_index, score, box and mask."""
        entries = []
        for index, (row, box, score) in enumerate(self._table()):
            entry = {"label": self.labels[index], "label_index": row, "score": score, "box": box}
            for name, values in (("prompt", self.prompts), ("route", self.routes)):
                if values is not None:
                    value = values[index]
                    entry[name] = value if isinstance(value, str) else repr(value)
            if masks and self.has_masks:
                entry["mask"] = self._run_lengths(index)
            entries.append(entry)
        return {"image_size": list(self.image_size), "detections": entries}

    def _table(self) -> list[tuple[int, list[float], float]]:
        columns = (self.label_indices.tolist(), self.boxes.tolist(), self.scores.tolist())
        return list(zip(*columns, strict=True))

    def _run_lengths(self, index: int) -> dict[str, Any]:
        mask, top, left = self.mask_crop(index)
        counts = run_lengths(mask.numpy(), size=self.image_size, top=top, left=left)
        return {"size": list(self.image_size), "counts": compress(counts)}


def _library(module: str, method: str, distribution: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        is_absent = isinstance(error, ModuleNotFoundError) and error.name == package
        reason = "absent" if is_absent else str(error)
        raise MissingDependency(f"Detections.{method}", distribution, "", reason) from error
