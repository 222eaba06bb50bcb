"""The detector's network: pictures and class vectors in, boxes, classes and masks out.

Shapes: B images, N boxes, C classes, D the length of a class vector.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from bindplug.errors import InputError
from bindplug_detic.boxes import clip_boxes, decode_boxes
from bindplug_detic.config import DeticConfig
from bindplug_detic.postprocess import RawDetections, combine_scores, keep_best_class, select_detections
from bindplug_detic.proposals import ProposalGenerator, ProposalMaps, Proposals
from bindplug_detic.pyramid import PADDING_UNIT, Pyramid
from bindplug_detic.roi_heads import RoiHeads, StageOutput, class_logits, pool, split

PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)
"""Mean and standard deviation of ImageNet's pixels in 0..255, RGB. Source: torchvision's pretrained models."""

MASK_CHUNK = 64
"""Boxes whose masks are computed at a time, which bounds the memory of the mask head's maps."""

Size = tuple[int, int]


class CascadeOutput(NamedTuple):
    """Proposals of one image after all cascade stages; row i is proposal i.

    Args:
        boxes: (N, 4) float32 xyxy in pixels, not clipped.
        probabilities: (N, C) float32, each class's mean over the stages.
        scores: (N, C) float32, combined with the proposals' own.
    """

    boxes: Tensor
    probabilities: Tensor
    scores: Tensor


class DeticNetwork(nn.Module):
    """An open-vocabulary detector whose classes are vectors, an argument of each call.

    Every step of a call is a separate method, differentiable and free of state, for use in training and
    tools. Parameters have the published names.

    Args:
        config: the shape of the network.
    """

    def __init__(self, config: DeticConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = Pyramid(config)
        self.proposal_generator = ProposalGenerator(config)
        self.roi_heads = RoiHeads(config)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.proposal_generator.centernet_head.agn_hm.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """The weights' dtype."""
        return self.proposal_generator.centernet_head.agn_hm.weight.dtype

    def batch(self, images: Sequence[Tensor]) -> tuple[Tensor, list[Size]]:
        """Images as one network input, normalized, then padded right and below.

        Args:
            images: (3, H, W) each, RGB, uint8 or floating point in 0..255, of any sizes.

        Returns:
            (B, 3, H', W') on the network's device and in its dtype, H' and W' the least multiples of 32 that
            hold every image; and each image's own (height, width).

        Raises:
            InputError: there is no image, or one has another shape or dtype.
        """
        if not images:
            raise InputError("<images>", found="no image", expected="at least one")
        for index, image in enumerate(images):
            _check_image(index, image)
        sizes = [(int(image.shape[1]), int(image.shape[2])) for image in images]
        height, width = (max(_padded(size)[axis] for size in sizes) for axis in (0, 1))
        mean = torch.tensor(PIXEL_MEAN, device=self.device).view(3, 1, 1)
        std = torch.tensor(PIXEL_STD, device=self.device).view(3, 1, 1)
        x = torch.zeros(len(images), 3, height, width, device=self.device)
        for row, image, (h, w) in zip(x, images, sizes, strict=True):
            row[:, :h, :w] = (image.to(self.device, torch.float32) - mean) / std
        # convolutions, and the transformer's tokens, take the channels of a pixel together
        return x.to(self.dtype, memory_format=torch.channels_last), sizes

    def features(self, x: Tensor) -> dict[str, Tensor]:
        """Pyramid levels of a batch.

        Args:
            x: (B, 3, H, W) from :meth:`batch`.

        Returns:
            ``"p3"`` .. ``"p7"``, of strides 8, 16, 32, 64, 128: (B, fpn_channels, ceil(H / stride), ...).
        """
        return self.backbone(x)

    def proposal_maps(self, features: Mapping[str, Tensor]) -> list[ProposalMaps]:
        """The proposal head's maps of levels p3..p7, before any selection."""
        return self.proposal_generator.centernet_head(features)

    def propose(self, features: Mapping[str, Tensor], sizes: Sequence[Size] | None = None) -> list[Proposals]:
        """Class-agnostic boxes of each image, best first.

        Args:
            features: levels p3..p7.
            sizes: each image's (height, width) before padding; needed where a batch mixes sizes.

        Returns:
            For each image (boxes, scores), both float32; boxes are not clipped to the image, which the first
            cascade stage relies on.
        """
        return self.proposal_generator(features, sizes)

    def box_stage(self, stage: int, features: Mapping[str, Tensor], boxes: Sequence[Tensor]) -> StageOutput:
        """One cascade stage on boxes.

        Args:
            stage: its index, from 0.
            features: levels; p3..p5 are read.
            boxes: for each image (n, 4) xyxy in pixels.
        """
        config = self.config
        pooled = pool(features, boxes, config.box_resolution, config.canonical_box_size)
        return self.roi_heads.box_predictor[stage](self.roi_heads.box_head[stage](pooled))

    def classify(self, embeddings: Tensor, classifier: Tensor) -> Tensor:
        """Class logits (N, C) float32 of embeddings (N, D) under class vectors (C, D) of any length."""
        return class_logits(embeddings, classifier, self.config.norm_temperature)

    def refine(
        self, stage: int, output: StageOutput, boxes: Sequence[Tensor], sizes: Sequence[Size] | None = None
    ) -> list[Tensor]:
        """Boxes of each image after a stage's correction; clipped to the images where ``sizes`` are given."""
        weights = self.config.cascade_weights[stage]
        refined = split(decode_boxes(output.deltas, torch.cat(list(boxes)), weights), boxes)
        if sizes is None:
            return refined
        return [clip_boxes(image_boxes, size) for image_boxes, size in zip(refined, sizes, strict=True)]

    def cascade(
        self,
        features: Mapping[str, Tensor],
        proposals: Sequence[Proposals],
        sizes: Sequence[Size],
        classifier: Tensor,
    ) -> list[CascadeOutput]:
        """All stages, each on the boxes of the one before.

        Args:
            features: levels; p3..p5 are read.
            proposals: of each image, from :meth:`propose`.
            sizes: each image's (height, width) before padding.
            classifier: (C, D) class vectors of any length, on the network's device.
        """
        boxes = [image.boxes for image in proposals]
        last = len(self.config.cascade_weights) - 1
        total: Tensor | None = None  # (N, C), the sum over stages
        for stage in range(last + 1):
            output = self.box_stage(stage, features, boxes)
            probabilities = self.classify(output.embeddings, classifier).sigmoid()
            total = probabilities if total is None else total + probabilities
            boxes = self.refine(stage, output, boxes, None if stage == last else sizes)
        assert total is not None
        means = split(total / (last + 1), boxes)
        return [
            CascadeOutput(image_boxes, mean, combine_scores(mean, image.scores))
            for image_boxes, mean, image in zip(boxes, means, proposals, strict=True)
        ]

    def predict_masks(self, features: Mapping[str, Tensor], boxes: Sequence[Tensor]) -> list[Tensor]:
        """Mask logits of boxes.

        Args:
            features: levels; p3..p5 are read.
            boxes: for each image (n, 4) xyxy in pixels.

        Returns:
            For each image (n, 28, 28) float32, twice ``mask_resolution`` along each edge.
        """
        config = self.config
        pooled = pool(features, boxes, config.mask_resolution, config.canonical_box_size)
        edge = 2 * config.mask_resolution
        chunks = [self.roi_heads.mask_head(chunk).float() for chunk in pooled.split(MASK_CHUNK) if len(chunk)]
        return split(torch.cat(chunks) if chunks else pooled.new_zeros(0, edge, edge).float(), boxes)

    def forward(
        self,
        images: Sequence[Tensor],
        classifier: Tensor,
        *,
        score_threshold: float | Tensor | None = None,
        nms_threshold: float | None = None,
        top_k: int | None = None,
        one_class_per_proposal: bool = False,
        with_masks: bool = True,
    ) -> list[RawDetections]:
        """Detect.

        Images that pad to one size run together; a batch gives what each image gives alone.

        Args:
            images: (3, H, W) each, RGB, uint8 or floating point in 0..255, already resized.
            classifier: (C, D) class vectors of any length, D = ``embedding_width``.
            score_threshold: scores must exceed it; one number, or one a class (C,). The config's for None.
            nms_threshold: IoU above which a detection suppresses a lower one of its class; the config's for
                None.
            top_k: most detections of an image; the config's for None.
            one_class_per_proposal: whether only a box's best class may be detected.
            with_masks: whether to predict masks.

        Returns:
            Detections of each image, in the order of ``images``.

        Raises:
            InputError: an image or the classifier has the wrong shape, dtype or content.
        """
        classifier = self._check_classifier(classifier).to(self.device, torch.float32)
        threshold = self._check_threshold(score_threshold, len(classifier))
        for index, image in enumerate(images):
            _check_image(index, image)
        groups: dict[Size, list[int]] = {}
        for index, image in enumerate(images):
            groups.setdefault(_padded((image.shape[1], image.shape[2])), []).append(index)
        results: dict[int, RawDetections] = {}
        for members in groups.values():
            x, sizes = self.batch([images[index] for index in members])
            features = self.features(x)
            outputs = self.cascade(features, self.propose(features, sizes), sizes, classifier)
            detections = [
                select_detections(
                    output.boxes,
                    keep_best_class(output.scores) if one_class_per_proposal else output.scores,
                    size,
                    score_threshold=threshold,
                    nms_threshold=self.config.nms_threshold if nms_threshold is None else nms_threshold,
                    top_k=self.config.top_k if top_k is None else top_k,
                )
                for output, size in zip(outputs, sizes, strict=True)
            ]
            if with_masks:
                self._add_masks(features, detections)
            results |= dict(zip(members, detections, strict=True))
        return [results[index] for index in range(len(images))]

    def _add_masks(self, features: Mapping[str, Tensor], detections: Sequence[RawDetections]) -> None:
        """Masks do not depend on the class, so each proposal's is computed once."""
        boxes, positions = [], []
        for image in detections:
            unique, position = image.proposal_index.unique(return_inverse=True)
            # a row of the image's boxes for each distinct proposal
            first = torch.zeros_like(unique).scatter(0, position, torch.arange(len(position)).to(position))
            boxes.append(image.boxes[first])
            positions.append(position)
        logits = self.predict_masks(features, boxes)
        for image, rows, position in zip(detections, logits, positions, strict=True):
            image.mask_logits = rows[position]  # (distinct, 28, 28) -> (N, 28, 28)

    def _check_classifier(self, classifier: Tensor) -> Tensor:
        width = self.config.embedding_width
        expected = f"class vectors (C, {width}), C at least 1, finite and none of them zero"
        if classifier.ndim != 2 or classifier.shape[1] != width or not len(classifier):
            problem = f"a tensor of shape {tuple(classifier.shape)}"
        elif not classifier.isfinite().all():
            problem = "numbers that are not finite"
        elif not classifier.ne(0).any(1).all():
            problem = f"a zero vector in row {int(classifier.ne(0).any(1).int().argmin())}"
        else:
            return classifier
        raise InputError("<classifier>", found=problem, expected=expected)

    def _check_threshold(self, threshold: float | Tensor | None, classes: int) -> float | Tensor:
        if threshold is None:
            return self.config.score_threshold
        if isinstance(threshold, Tensor) and tuple(threshold.shape) not in ((), (classes,)):
            raise InputError(
                "<score_threshold>",
                found=f"a tensor of shape {tuple(threshold.shape)}",
                expected=f"one number, or one for each of {classes} classes",
            )
        return threshold


def _padded(size: Size) -> Size:
    height, width = (int(edge) + -int(edge) % PADDING_UNIT for edge in size)
    return height, width


def _check_image(index: int, image: Tensor) -> None:
    expected = "(3, H, W), RGB, uint8 or floating point in 0..255"
    if image.ndim != 3 or image.shape[0] != 3 or not image.numel():
        raise InputError(
            f"<image {index}>", found=f"a tensor of shape {tuple(image.shape)}", expected=expected
        )
    if image.dtype != torch.uint8 and not image.is_floating_point():
        raise InputError(f"<image {index}>", found=f"a tensor of {image.dtype}", expected=expected)
