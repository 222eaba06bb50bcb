"""The toy detector's recipe as data: how much of everything, and the network's shape."""

from __future__ import annotations

from dataclasses import dataclass

from bindplug_detic.config import DeticConfig


@dataclass(frozen=True)
class DetectorSize:
    """How much of everything.

    Attributes:
        scenes: training scenes rendered.
        steps: optimizer steps.
        batch_size: scenes a step.
        learning_rate: peak of its schedule.
        warmup_steps: steps of linear warm-up.
        weight_decay: AdamW's, on matrices and kernels.
        clip_norm: largest norm of a step's gradient.
        regions: boxes a scene that the cascade learns from.
        things: largest share of them that are things.
        masks: regions a scene that the mask head learns from.
        vector_noise: length of the random vector that each step adds to every class vector, which has length 1: what
            comes over a bridge never lands on a class vector exactly.
        side: height and width of the pictures in pixels.
        evaluation_scenes: scenes of the evaluation.
        seed: of initialization, order and augmentation.
    """

    scenes: int
    steps: int
    batch_size: int = 16
    learning_rate: float = 2e-3
    warmup_steps: int = 100
    weight_decay: float = 0.05
    clip_norm: float = 5.0
    regions: int = 48
    things: float = 0.4
    masks: int = 3
    vector_noise: float = 0.2
    side: int = 256
    evaluation_scenes: int = 400
    seed: int = 0


FULL = DetectorSize(scenes=20_000, steps=2400)
SMOKE = DetectorSize(scenes=16, steps=3, batch_size=4, warmup_steps=1, regions=16, evaluation_scenes=4)


def detector_config(width: int) -> DeticConfig:
    """The toy detector's shape, for class vectors of ``width``: the published one at a hundredth of its size."""
    return DeticConfig(
        norm="batch",
        norm_groups=16,
        resnet_blocks=(1, 2, 2, 1),
        resnet_stem_width=16,
        fpn_channels=64,
        tower_depth=2,
        box_head_width=128,
        embedding_width=width,
        mask_channels=32,
        mask_convs=2,
        canonical_box_size=96.0,
        pre_nms_top_k=200,
        post_nms_top_k=64,
        top_k=100,
        short_edge=256,
        long_edge=448,
    )
