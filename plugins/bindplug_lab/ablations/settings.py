"""What one run of an ablation does, as data."""

from __future__ import annotations

import hashlib
import json
import math
import types
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, get_args, get_origin, get_type_hints

from bindplug.errors import InputError

SENSES = ("depth", "audio")
AUGMENTATIONS = ("none", "basic", "strong")
"""Of pictures, weakest first."""
IMAGE_ENCODERS = ("imagebind_tiny", "clip-small", "clip-base", "clip-large")
VERSION = 1
"""Raised when a run of the same settings would give other numbers, so that old results are not taken for new."""


@dataclass(frozen=True)
class RunSettings:
    """Everything that a run depends on.

    Attributes:
        sense: what is bound to pictures: ``"depth"`` or ``"audio"``.
        scenes: training scenes.
        things: things in a training scene, 1 to 5.
        moments: recordings of a training scene; its things may change between them.
        change: probability, 0 to 1, that a later moment shows another thing.
        views: random crops of each picture that are embedded once.
        image_augmentation: of pictures: ``"none"``, ``"basic"`` (large crops, mirrored) or ``"strong"`` (crops of
            any size, mirrored, colors and light changed, a part erased).
        spatial_alignment: whether a depth map is cropped as its picture is, or at a place of its own.
        temporal_alignment: whether a sound is of the picture's moment, or of any moment of its scene.
        image_encoder: the frozen encoder of pictures and class names: ``"imagebind_tiny"``, or ``"clip-small"``,
            ``"clip-base"`` or ``"clip-large"``, which are trained on the toy world when they are first used.
        encoder_scenes: pictures that a ``"clip-"`` encoder is trained on.
        encoder_steps: steps that it is trained for.
        input_noise: standard deviation of noise on training inputs.
        epochs: passes over the training scenes.
        batch_size: pairs in a step.
        learning_rate: peak of the schedule.
        weight_decay: AdamW's.
        warmup_epochs: of linear warm-up.
        temperature: of InfoNCE, or ``"learned"`` from 0.07.
        drop_path: stochastic depth.
        head: ``"linear"`` or ``"mlp"``.
        frequency_mask: widest hidden band in mel bins (audio), 0 for none.
        random_erase: probability that a rectangle of a depth map is erased.
        width: channels of a token of the tower.
        blocks: transformer blocks of the tower.
        evaluation_scenes: scenes of one thing that the tower is evaluated on.
        evaluation_holes: fraction of a depth map's area that the evaluation's sensor fails to measure.
        evaluation_deaf: fraction of the mel bins that the evaluation's microphone does not hear.
        evaluation_noise: standard deviation of noise on inputs of the evaluation.
        seed: of parameters, order and augmentation in training; scenes and views are the same for all seeds.
    """

    sense: str = "depth"
    scenes: int = 600
    things: int = 1
    moments: int = 1
    change: float = 0.0
    views: int = 8
    image_augmentation: str = "basic"
    spatial_alignment: bool = True
    temporal_alignment: bool = True
    image_encoder: str = "imagebind_tiny"
    encoder_scenes: int = 10_000
    encoder_steps: int = 1500
    input_noise: float = 0.0
    epochs: float = 16.0
    batch_size: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 0.2
    warmup_epochs: float = 2.0
    temperature: float | str = 0.1
    drop_path: float = 0.0
    head: str = "linear"
    frequency_mask: int = 0
    random_erase: float = 0.0
    width: int = 64
    blocks: int = 2
    evaluation_scenes: int = 2000
    evaluation_holes: float = 0.0
    evaluation_deaf: float = 0.0
    evaluation_noise: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        positive = (
            "scenes",
            "moments",
            "views",
            "epochs",
            "batch_size",
            "learning_rate",
            "width",
            "blocks",
            "encoder_scenes",
            "encoder_steps",
        )
        fractions = ("change", "random_erase", "evaluation_holes", "evaluation_deaf")
        limits = {name: (getattr(self, name) > 0, "a positive number") for name in positive}
        limits |= {name: (0 <= getattr(self, name) <= 1, "a fraction from 0 to 1") for name in fractions}
        not_negative = (
            "input_noise",
            "weight_decay",
            "warmup_epochs",
            "frequency_mask",
            "evaluation_noise",
            "seed",
        )
        limits |= {name: (getattr(self, name) >= 0, "0 or more") for name in not_negative}
        is_learned = self.temperature == "learned"
        limits |= {
            "sense": (self.sense in SENSES, f"one of {', '.join(SENSES)}"),
            "things": (1 <= self.things <= 5, "1 to 5"),
            "image_augmentation": (self.image_augmentation in AUGMENTATIONS, f"one of {', '.join(AUGMENTATIONS)}"),
            "temperature": (
                is_learned or (not isinstance(self.temperature, str) and self.temperature > 0),
                'a positive number or "learned"',
            ),
            "image_encoder": (self.image_encoder in IMAGE_ENCODERS, f"one of {', '.join(IMAGE_ENCODERS)}"),
            "head": (self.head in ("linear", "mlp"), "linear or mlp"),
            "drop_path": (0 <= self.drop_path < 1, "0 or more, below 1"),
            "width": (self.width > 0 and self.width % 32 == 0, "a multiple of 32"),
            "evaluation_scenes": (self.evaluation_scenes >= 20, "20 or more"),
            "batch_size": (2 <= self.batch_size <= self.scenes * self.moments * self.views,
                           f"2 to {self.scenes * self.moments * self.views}, the number of pairs"),
        }  # fmt: skip
        for name, (holds, expected) in limits.items():
            if not holds:
                raise InputError(f"ablation: {name}", found=repr(getattr(self, name)), expected=expected)

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], where: str = "ablation") -> RunSettings:
        """Settings of the given values, all others at their defaults.

        Raises:
            InputError: a key is none of the settings, or a value is of another type or out of range.
        """
        return cls(**check_values(values, where))

    def but(self, **changes: Any) -> RunSettings:
        """A copy with some settings changed."""
        return replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @property
    def key(self) -> str:
        """A name for its result: equal settings have equal keys."""
        text = json.dumps({"version": VERSION} | self.to_dict(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


KEYS = tuple(field.name for field in fields(RunSettings))
"""Names of all settings."""


def check_values(values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The values, numbers as the settings' types have them.

    Raises:
        InputError: a key is none of the settings, or a value is of another type.
    """
    hints = get_type_hints(RunSettings)
    settings = {}
    for name, value in values.items():
        if name not in hints:
            raise InputError(
                f"{where}: unknown setting", found=repr(name), expected=f"one of {', '.join(KEYS)}"
            )
        union = get_origin(hints[name]) in (types.UnionType,)
        kinds = get_args(hints[name]) if union else (hints[name],)
        if float in kinds and type(value) is int:
            value = float(value)
        if type(value) not in kinds:
            expected = " or ".join(kind.__name__ for kind in kinds)
            raise InputError(f"{where}: {name}", found=repr(value), expected=expected)
        if isinstance(value, float) and not math.isfinite(value):
            raise InputError(f"{where}: {name}", found=repr(value), expected="a finite number")
        settings[name] = value
    return settings
