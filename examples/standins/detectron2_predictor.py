"""A predictor of detectron2's documented shape around the bundled toy Detic, for machines without detectron2.

It has the parts of detectron2's DefaultPredictor with a Detic model that a script uses: called with a BGR array it
returns ``{"instances": Instances}``; ``predictor.model.roi_heads.box_predictor[k].cls_score.zs_weight`` is the
classifier, (D, C + 1) with a zero column for the background; ``predictor.metadata.thing_classes`` names the classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from bindplug_detic import Detections, Detic


@dataclass
class Instances:
    """The fields of detectron2's that a script reads."""

    image_size: tuple[int, int]
    pred_boxes: Any
    scores: Tensor
    pred_classes: Tensor
    pred_masks: Tensor | None

    @classmethod
    def of(cls, detections: Detections) -> Instances:
        """The same detections."""
        boxes = SimpleNamespace(tensor=detections.boxes)
        return cls(
            detections.image_size, boxes, detections.scores, detections.label_indices, detections.masks
        )

    def __len__(self) -> int:
        return len(self.scores)


class ZeroShotClassifier(nn.Module):
    """One stage's classifier: unit columns, the last of them zero."""

    def __init__(self, rows: Tensor) -> None:
        super().__init__()
        self.register_buffer("zs_weight", torch.cat([rows, rows.new_zeros(1, rows.shape[1])]).T.contiguous())


class GeneralizedRCNN(nn.Module):
    """Takes ``[{"image": (3, H, W), "height": h, "width": w}]``, answers ``[{"instances": Instances}]``."""

    def __init__(self, detic: Detic, threshold: float) -> None:
        super().__init__()
        rows = nn.functional.normalize(detic.vocabulary.embeddings, dim=1)
        stage = nn.Module()
        stage.cls_score, stage.test_score_thresh = ZeroShotClassifier(rows), threshold
        self.roi_heads = nn.Module()
        self.roi_heads.box_predictor = nn.ModuleList([stage])
        self.roi_heads.num_classes = len(rows)
        self.detic = detic  # no nn.Module: its weights are not this network's parameters

    def forward(self, batched_inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Detections of the classes that ``zs_weight`` holds now."""
        (stage,) = self.roi_heads.box_predictor
        classes = stage.cls_score.zs_weight[:, :-1].T
        pictures = [
            Image.fromarray(one["image"].permute(1, 2, 0).byte().cpu().numpy()).resize(
                (one["width"], one["height"])
            )
            for one in batched_inputs
        ]
        results = self.detic(pictures, vocabulary=classes, threshold=stage.test_score_thresh)
        return [{"instances": Instances.of(detections)} for detections in results]


class DefaultPredictor:
    """As detectron2's: one BGR picture in, the model's answer for it out."""

    input_format = "BGR"

    def __init__(self, name: str = "toy_detic", threshold: float = 0.5) -> None:
        detic = Detic.from_pretrained(name)
        self.model = GeneralizedRCNN(detic, threshold).eval()
        self.metadata = SimpleNamespace(thing_classes=list(detic.vocabulary.names))
        self.space = detic.embedding_space

    def __call__(self, original_image: np.ndarray) -> dict[str, Any]:
        height, width = original_image.shape[:2]
        pixels = torch.as_tensor(np.ascontiguousarray(original_image[:, :, ::-1].transpose(2, 0, 1)))
        with torch.no_grad():
            return self.model([{"image": pixels, "height": height, "width": width}])[0]


# bindplug knows detectron2's classes by these names, without importing detectron2
GeneralizedRCNN.__module__ = "detectron2.modeling.meta_arch.rcnn"
DefaultPredictor.__module__ = "detectron2.engine.defaults"
