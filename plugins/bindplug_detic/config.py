"""The shape of a detector, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

BACKBONES = ("resnet", "swin")
NORMS = ("frozen_batch", "batch", "group")

LARGEST = 1 << 20
"""Bound of every number, far above those of any detector."""
MOST_BLOCKS = 1000

Quadruple = tuple[float, float, float, float]


@dataclass(frozen=True)
class DeticConfig:
    """Every size and number of a detector; the defaults are those of the published ResNet-50 one.

    Args:
        backbone: ``"resnet"`` or ``"swin"``.
        norm: what follows the convolutions of a ResNet: ``"frozen_batch"`` (stored statistics, never
            trained), ``"batch"`` or ``"group"``. A Swin has layer norms only.
        norm_groups: groups of a group norm; where they do not divide the channels, as many as divide both.
        resnet_blocks: bottlenecks of each of the four layers.
        resnet_stem_width: channels of the stem, and of the first layer's inner convolutions.
        swin_width: channels of the first stage; they double from stage to stage.
        swin_depths: blocks of each of the four stages.
        swin_heads: attention heads of each stage.
        swin_window: tokens along an edge of an attention window.
        fpn_channels: channels of every pyramid level.
        tower_depth: convolutions before the proposal predictors.
        box_head_width: width of the box heads' hidden layers.
        embedding_width: length of a class vector.
        mask_channels: channels within the mask head.
        mask_convs: 3x3 convolutions of the mask head.
        box_resolution: cells along an edge of a region pooled for a box head.
        mask_resolution: the same for the mask head, whose output has twice as many.
        canonical_box_size: edge, in pixels, of a box that is pooled from p4.
        cascade_weights: divisors of (dx, dy, dw, dh), one row a cascade stage.
        cascade_ious: IoU from which on a box counts as a match in training, one a cascade stage.
        norm_temperature: factor from a cosine to a class logit.
        heatmap_threshold: probability below which a cell proposes nothing.
        pre_nms_top_k: most cells of one level that propose.
        proposal_nms_threshold: IoU above which a proposal suppresses a less probable one.
        post_nms_top_k: proposals of an image.
        score_threshold: score above which a box is a detection, where a caller gives none.
        nms_threshold: IoU above which a detection suppresses a lower one of its class.
        top_k: most detections of an image.
        short_edge: pixels that a picture's short edge is resized to.
        long_edge: most pixels of its long edge.

    Raises:
        ValueError: a number is out of range, or lists that go together differ in length.

    Source: the published configurations Detic_LCOCOI21k_CLIP_R5021k_640b32 and _SwinB_896b32; the matching
    IoUs: arXiv 2103.07461, section 5.
    """

    backbone: str = "resnet"
    norm: str = "frozen_batch"
    norm_groups: int = 32
    resnet_blocks: tuple[int, ...] = (3, 4, 6, 3)
    resnet_stem_width: int = 64
    swin_width: int = 128
    swin_depths: tuple[int, ...] = (2, 2, 18, 2)
    swin_heads: tuple[int, ...] = (4, 8, 16, 32)
    swin_window: int = 7
    fpn_channels: int = 256
    tower_depth: int = 4
    box_head_width: int = 1024
    embedding_width: int = 512
    mask_channels: int = 256
    mask_convs: int = 4
    box_resolution: int = 7
    mask_resolution: int = 14
    canonical_box_size: float = 224.0
    cascade_weights: tuple[Quadruple, ...] = (
        (10.0, 10.0, 5.0, 5.0),
        (20.0, 20.0, 10.0, 10.0),
        (30.0, 30.0, 15.0, 15.0),
    )
    cascade_ious: tuple[float, ...] = (0.6, 0.7, 0.8)
    norm_temperature: float = 50.0
    heatmap_threshold: float = 1e-4
    pre_nms_top_k: int = 1000
    proposal_nms_threshold: float = 0.9
    post_nms_top_k: int = 256
    score_threshold: float = 0.02
    nms_threshold: float = 0.5
    top_k: int = 300
    short_edge: int = 800
    long_edge: int = 1333

    def __post_init__(self) -> None:
        for name in ("resnet_blocks", "swin_depths", "swin_heads", "cascade_ious"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        weights = tuple(tuple(float(number) for number in row) for row in self.cascade_weights)
        object.__setattr__(self, "cascade_weights", weights)
        self._check_choices()
        self._check_numbers()

    def _check_choices(self) -> None:
        if self.backbone not in BACKBONES:
            raise ValueError(f"backbone must be one of {', '.join(BACKBONES)}, found {self.backbone!r}")
        if self.norm not in NORMS:
            raise ValueError(f"norm must be one of {', '.join(NORMS)}, found {self.norm!r}")
        for name in ("resnet_blocks", "swin_depths", "swin_heads"):
            numbers = getattr(self, name)
            if len(numbers) != 4 or not all(type(n) is int and 1 <= n <= MOST_BLOCKS for n in numbers):
                raise ValueError(
                    f"{name} must be four positive whole numbers up to {MOST_BLOCKS}, found {numbers}"
                )
        if any(self.swin_width * 2**stage % heads for stage, heads in enumerate(self.swin_heads)):
            raise ValueError(f"swin_heads {self.swin_heads} must divide the widths from {self.swin_width} on")

    def _check_numbers(self) -> None:
        zero_allowed = ("tower_depth", "mask_convs")
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type not in ("int", "float"):
                continue
            if isinstance(value, bool) or not isinstance(value, int if field.type == "int" else (int, float)):
                raise ValueError(f"{field.name} must be a number ({field.type}), found {value!r}")
            if not (value > 0 or (value == 0 and field.name in (*zero_allowed, "score_threshold"))):
                raise ValueError(f"{field.name} must be positive, found {value}")
            if not value <= LARGEST:
                raise ValueError(f"{field.name} must be at most {LARGEST}, found {value}")
        rows = self.cascade_weights
        if not rows or not all(len(row) == 4 and all(0 < n <= LARGEST for n in row) for row in rows):
            raise ValueError(f"cascade_weights must be rows of four positive numbers, found {rows}")
        for name in ("tower_depth", "mask_convs"):
            if getattr(self, name) > MOST_BLOCKS:
                raise ValueError(f"{name} must be at most {MOST_BLOCKS}, found {getattr(self, name)}")
        if not all(isinstance(iou, (int, float)) and 0 < iou <= 1 for iou in self.cascade_ious):
            raise ValueError(f"cascade_ious must be from 0 to 1, found {self.cascade_ious}")
        if len(self.cascade_ious) != len(rows):
            raise ValueError(f"{len(rows)} cascade stages need as many cascade_ious: {self.cascade_ious}")

    @classmethod
    def resnet50(cls) -> DeticConfig:
        """The published detector with a ResNet-50."""
        return cls()

    @classmethod
    def swin_b(cls) -> DeticConfig:
        """The published detector with a Swin-B."""
        return cls(backbone="swin")

    def to_dict(self) -> dict[str, Any]:
        """The config as plain JSON values."""
        return {
            name: [list(v) if isinstance(v, tuple) else v for v in value]
            if isinstance(value, tuple)
            else value
            for name, value in asdict(self).items()
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> DeticConfig:
        """The config of the values that :meth:`to_dict` returned.

        Raises:
            ValueError: a name is unknown, or a value is of the wrong type or out of range.
        """
        unknown = sorted(set(values) - {field.name for field in fields(cls)})
        if unknown:
            raise ValueError(f"unknown fields of a detector's config: {', '.join(unknown)}")
        try:
            return cls(**values)
        except TypeError as error:
            raise ValueError(f"a detector's config has a value of the wrong type: {error}") from error
