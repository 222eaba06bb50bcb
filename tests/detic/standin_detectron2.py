"""detectron2's and Detic's classes as they are documented, around our own small network.

Names, attributes, signatures and the order of calls are those of detectron2's public interface and of Detic's heads, as
far as a detector's inference goes; what is computed in between (backbone, proposals, box head, pooling, masks) is our
own network's. The classes pretend to live where the real ones do, so that they are recognized in the same way.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.ops import batched_nms

from bindplug_detic.boxes import clip_boxes, decode_boxes
from bindplug_detic.masks import paste_masks
from bindplug_detic.network import DeticNetwork


class Boxes:
    """Boxes (N, 4) in ``tensor``."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor.reshape(-1, 4).to(torch.float32)

    def __len__(self) -> int:
        return self.tensor.shape[0]

    def __getitem__(self, item: Any) -> Boxes:
        return Boxes(self.tensor[item])

    def to(self, device: Any) -> Boxes:
        return Boxes(self.tensor.to(device))

    def scale(self, scale_x: float, scale_y: float) -> None:
        self.tensor[:, 0::2] *= scale_x
        self.tensor[:, 1::2] *= scale_y

    def clip(self, size: tuple[int, int]) -> None:
        self.tensor = clip_boxes(self.tensor, size)

    def nonempty(self) -> Tensor:
        return (self.tensor[:, 2] > self.tensor[:, 0]) & (self.tensor[:, 3] > self.tensor[:, 1])


class Instances:
    """Fields of one length, set as attributes."""

    def __init__(self, image_size: tuple[int, int], **fields: Any) -> None:
        self._image_size, self._fields = image_size, {}
        for name, value in fields.items():
            self.set(name, value)

    @property
    def image_size(self) -> tuple[int, int]:
        return self._image_size

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            super().__setattr__(name, value)
        else:
            self.set(name, value)

    def __getattr__(self, name: str) -> Any:
        if name == "_fields" or name not in self._fields:
            raise AttributeError(f"Cannot find field '{name}' in the given Instances!")
        return self._fields[name]

    def set(self, name: str, value: Any) -> None:
        if self._fields:
            assert len(self) == len(value), f"field {name} of length {len(value)} among fields of {len(self)}"
        self._fields[name] = value

    def has(self, name: str) -> bool:
        return name in self._fields

    def get(self, name: str) -> Any:
        return self._fields[name]

    def get_fields(self) -> dict[str, Any]:
        return self._fields

    def to(self, device: Any) -> Instances:
        return Instances(self._image_size, **{name: value.to(device) for name, value in self._fields.items()})

    def __getitem__(self, item: Any) -> Instances:
        return Instances(self._image_size, **{name: value[item] for name, value in self._fields.items()})

    def __len__(self) -> int:
        return next((len(value) for value in self._fields.values()), 0)


def fast_rcnn_inference(
    boxes: tuple[Tensor, ...],
    scores: tuple[Tensor, ...],
    image_shapes: list[tuple[int, int]],
    score_thresh: float,
    nms_thresh: float,
    topk_per_image: int,
) -> tuple[list[Instances], list[Tensor]]:
    """Threshold, suppression of each class, and the best of every image; the last column is the background."""
    results = []
    for image_boxes, image_scores, shape in zip(boxes, scores, image_shapes, strict=True):
        valid = torch.isfinite(image_boxes).all(dim=1) & torch.isfinite(image_scores).all(dim=1)
        image_boxes, image_scores = image_boxes[valid], image_scores[valid][:, :-1]
        image_boxes = clip_boxes(image_boxes, shape)
        mask = image_scores > score_thresh
        rows, classes = mask.nonzero(as_tuple=True)
        candidates = image_scores[rows, classes]
        keep = batched_nms(image_boxes[rows].double(), candidates.double(), classes, nms_thresh)
        if topk_per_image >= 0:
            keep = keep[:topk_per_image]
        instances = Instances(shape)
        instances.pred_boxes = Boxes(image_boxes[rows][keep])
        instances.scores = candidates[keep]
        instances.pred_classes = classes[keep]
        results.append((instances, rows[keep]))
    return [pair[0] for pair in results], [pair[1] for pair in results]


class ZeroShotClassifier(nn.Module):
    """Detic's: a projection, and the cosine with the columns of ``zs_weight``."""

    def __init__(self, linear: nn.Linear, rows: Tensor, kind: str, temperature: float) -> None:
        super().__init__()
        self.linear, self.norm_weight, self.norm_temperature = linear, True, temperature
        columns = nn.functional.normalize(rows.float(), dim=1).T
        weight = torch.cat([columns, columns.new_zeros(len(columns), 1)], dim=1).contiguous()
        if kind == "buffer":
            self.register_buffer("zs_weight", weight)
        elif kind == "parameter":  # ZEROSHOT_WEIGHT_PATH = 'rand'
            self.zs_weight = nn.Parameter(weight)
        else:  # after reset_cls_test
            self.zs_weight = weight

    def forward(self, x: Tensor, classifier: Tensor | None = None) -> Tensor:
        x = self.norm_temperature * nn.functional.normalize(self.linear(x), p=2, dim=1)
        return torch.mm(x, self.zs_weight)


class DeticFastRCNNOutputLayers(nn.Module):
    """One box predictor."""

    def __init__(self, ours: Any, config: Any, stage: int, rows: Tensor, kind: str) -> None:
        super().__init__()
        self.cls_score = ZeroShotClassifier(ours.cls_score.linear, rows, kind, config.norm_temperature)
        self.bbox_pred = ours.bbox_pred
        self.register_buffer("freq_weight", torch.ones(len(rows)))
        self.num_classes, self.use_sigmoid_ce, self.mult_proposal_score = len(rows), True, False
        self.box2box_weights = config.cascade_weights[stage]
        self.test_score_thresh, self.test_nms_thresh, self.test_topk_per_image = 0.02, 0.5, 300

    def forward(
        self, x: Tensor, classifier_info: tuple[Any, ...] = (None, None, None)
    ) -> tuple[Tensor, Tensor]:
        return self.cls_score(x), self.bbox_pred(x)

    def predict_boxes(
        self, predictions: tuple[Tensor, Tensor], proposals: list[Instances]
    ) -> tuple[Tensor, ...]:
        boxes = torch.cat([p.proposal_boxes.tensor for p in proposals])
        return decode_boxes(predictions[1], boxes, self.box2box_weights).split([len(p) for p in proposals])

    def predict_probs(
        self, predictions: tuple[Tensor, Tensor], proposals: list[Instances]
    ) -> tuple[Tensor, ...]:
        return predictions[0].sigmoid().split([len(p) for p in proposals], dim=0)

    def inference(
        self, predictions: tuple[Tensor, Tensor], proposals: list[Instances]
    ) -> tuple[list[Instances], list[Tensor]]:
        boxes = self.predict_boxes(predictions, proposals)
        scores = self.predict_probs(predictions, proposals)
        if self.mult_proposal_score:
            scores = [(s * p.get("scores")[:, None]) ** 0.5 for s, p in zip(scores, proposals, strict=True)]
        shapes = [p.image_size for p in proposals]
        return fast_rcnn_inference(
            boxes, scores, shapes, self.test_score_thresh, self.test_nms_thresh, self.test_topk_per_image
        )


class _Heads(nn.Module):
    def __init__(self, network: DeticNetwork, rows: Tensor) -> None:
        super().__init__()
        self.__dict__["ours"] = network  # not a child: its parameters are the heads'
        self.num_classes, self.mask_on, self.masked = len(rows), True, 0

    def forward_with_given_boxes(self, features: Any, instances: list[Instances]) -> list[Instances]:
        assert not self.training
        if not self.mask_on:
            return instances
        for one in instances:
            self.masked += len(one)
            logits = self.ours.predict_masks(features, [one.pred_boxes.tensor])[0]
            one.pred_masks = logits[:, None].sigmoid()
        return instances


class DeticCascadeROIHeads(_Heads):
    """Three stages; Detic's CustomCascadeROIHeads."""

    def __init__(self, network: DeticNetwork, rows: Tensor, kind: str) -> None:
        super().__init__(network, rows)
        self.num_cascade_stages = len(network.config.cascade_weights)
        self.box_predictor = nn.ModuleList(
            DeticFastRCNNOutputLayers(ours, network.config, stage, rows, kind)
            for stage, ours in enumerate(network.roi_heads.box_predictor)
        )
        self.one_class_per_proposal, self.mult_proposal_score = True, True

    def forward(
        self, images: Any, features: Any, proposals: list[Instances], targets: Any = None
    ) -> tuple[list[Instances], dict[str, Tensor]]:
        instances = self._forward_box(features, proposals, classifier_info=(None, None, None))
        return self.forward_with_given_boxes(features, instances), {}

    def _run_stage(self, features: Any, proposals: list[Instances], stage: int) -> tuple[Tensor, Tensor]:
        output = self.ours.box_stage(stage, features, [p.proposal_boxes.tensor for p in proposals])
        return self.box_predictor[stage](output.features)

    def _forward_box(
        self, features: Any, proposals: list[Instances], targets: Any = None, classifier_info: Any = None
    ) -> list[Instances]:
        proposal_scores = [p.get("scores") for p in proposals]
        image_sizes = [p.image_size for p in proposals]
        head_outputs, previous = [], None
        for k in range(self.num_cascade_stages):
            if previous is not None:
                proposals = [
                    Instances(size, proposal_boxes=Boxes(clip_boxes(boxes, size)))
                    for boxes, size in zip(previous, image_sizes, strict=True)
                ]
            predictions = self._run_stage(features, proposals, k)
            previous = self.box_predictor[k].predict_boxes(predictions, proposals)
            head_outputs.append((self.box_predictor[k], predictions, proposals))
        per_stage = [predictor.predict_probs(p, boxes) for predictor, p, boxes in head_outputs]
        scores = [
            sum(list(stages)) * (1.0 / self.num_cascade_stages) for stages in zip(*per_stage, strict=True)
        ]
        if self.mult_proposal_score:
            scores = [(s * ps[:, None]) ** 0.5 for s, ps in zip(scores, proposal_scores, strict=True)]
        if self.one_class_per_proposal:
            scores = [s * (s == s[:, :-1].max(dim=1)[0][:, None]).float() for s in scores]
        predictor, predictions, proposals = head_outputs[-1]
        boxes = predictor.predict_boxes(predictions, proposals)
        instances, _ = fast_rcnn_inference(
            boxes, scores, image_sizes,
            predictor.test_score_thresh, predictor.test_nms_thresh, predictor.test_topk_per_image,
        )  # fmt: skip
        return instances


class CustomRes5ROIHeads(_Heads):
    """A C4 head: one predictor, which itself makes the instances."""

    def __init__(self, network: DeticNetwork, rows: Tensor, kind: str) -> None:
        super().__init__(network, rows)
        self.box_predictor = DeticFastRCNNOutputLayers(
            network.roi_heads.box_predictor[0], network.config, 0, rows, kind
        )
        self.mask_on = False

    def forward(
        self, images: Any, features: Any, proposals: list[Instances], targets: Any = None
    ) -> tuple[list[Instances], dict[str, Tensor]]:
        output = self.ours.box_stage(0, features, [p.proposal_boxes.tensor for p in proposals])
        instances, _ = self.box_predictor.inference(self.box_predictor(output.features), proposals)
        return self.forward_with_given_boxes(features, instances), {}


class GeneralizedRCNN(nn.Module):
    """Takes ``[{"image": (3, H, W), "height": h, "width": w}]`` in the order of ``input_format``."""

    def __init__(self, network: DeticNetwork, roi_heads: nn.Module, input_format: str = "RGB") -> None:
        super().__init__()
        self.__dict__["ours"] = network
        self.roi_heads, self.input_format = roi_heads, input_format

    def forward(self, batched_inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return self.inference(batched_inputs)

    def inference(
        self,
        batched_inputs: list[dict[str, Any]],
        detected_instances: Any = None,
        do_postprocess: bool = True,
    ) -> list[dict[str, Any]]:
        assert not self.training
        pixels = [
            one["image"] if self.input_format == "RGB" else one["image"].flip(0) for one in batched_inputs
        ]
        x, sizes = self.ours.batch(pixels)
        features = self.ours.features(x)
        proposals = [
            Instances(size, proposal_boxes=Boxes(p.boxes), scores=p.scores)
            for p, size in zip(self.ours.propose(features, sizes), sizes, strict=True)
        ]
        results, _ = self.roi_heads(x, features, proposals)
        return [
            {"instances": detector_postprocess(one, given["height"], given["width"])}
            for one, given in zip(results, batched_inputs, strict=True)
        ]


def detector_postprocess(results: Instances, output_height: int, output_width: int) -> Instances:
    """Boxes and masks in the size of the picture; empty boxes are dropped."""
    height, width = results.image_size
    results = Instances((output_height, output_width), **results.get_fields())
    boxes = results.pred_boxes
    boxes.scale(output_width / width, output_height / height)
    boxes.clip(results.image_size)
    results = results[boxes.nonempty()]
    if results.has("pred_masks"):
        logits = torch.logit(results.pred_masks[:, 0])
        results.pred_masks = paste_masks(logits, results.pred_boxes.tensor, results.image_size)
    return results


class DefaultPredictor:
    """One BGR picture in, the model's answer for it out; no resizing, so that numbers can be compared."""

    def __init__(self, model: GeneralizedRCNN, names: list[str] | None = None) -> None:
        self.model, self.input_format = model.eval(), model.input_format
        self.metadata = SimpleNamespace() if names is None else SimpleNamespace(thing_classes=list(names))
        self.pictures: list[np.ndarray] = []

    def __call__(self, original_image: np.ndarray) -> dict[str, Any]:
        self.pictures.append(original_image)
        with torch.no_grad():
            image = original_image[:, :, ::-1] if self.input_format == "RGB" else original_image
            height, width = image.shape[:2]
            pixels = torch.as_tensor(image.astype("float32").transpose(2, 0, 1))
            return self.model([{"image": pixels, "height": height, "width": width}])[0]


class VisualizationDemo:
    """Detic's demo: draws what its predictor returns."""

    def __init__(self, predictor: Any) -> None:
        self.metadata, self.cpu_device, self.instance_mode, self.parallel = (
            None,
            torch.device("cpu"),
            0,
            False,
        )
        self.predictor = predictor


class AsyncPredictor:
    """What a demo with ``parallel=True`` holds."""


for _class, _home in (
    (Instances, "detectron2.structures.instances"),
    (GeneralizedRCNN, "detectron2.modeling.meta_arch.rcnn"),
    (DefaultPredictor, "detectron2.engine.defaults"),
    (VisualizationDemo, "detic.predictor"),
    (AsyncPredictor, "detic.predictor"),
):
    _class.__module__ = _home


def cascade_predictor(
    network: DeticNetwork, rows: Tensor, names: list[str], kind: str = "buffer", input_format: str = "RGB"
) -> DefaultPredictor:
    """A predictor with Detic's three stages over the network."""
    return DefaultPredictor(
        GeneralizedRCNN(network, DeticCascadeROIHeads(network, rows, kind), input_format), names
    )


def c4_predictor(
    network: DeticNetwork, rows: Tensor, names: list[str], kind: str = "buffer"
) -> DefaultPredictor:
    """A predictor with a C4 head, as Detic's for OVCOCO."""
    return DefaultPredictor(GeneralizedRCNN(network, CustomRes5ROIHeads(network, rows, kind)), names)
