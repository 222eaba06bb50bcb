"""Outputs of the models: CLIP's fields first, then the sensors'."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import transformers
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.utils import ModelOutput

TRANSFORMERS_4 = int(transformers.__version__.partition(".")[0]) < 5
"""Up to version 4 ``get_*_features`` return a tensor, from version 5 on an output object."""


@dataclass
class ImageBindOutput(ModelOutput):
    """Unit embeddings of what was given, and their logits.

    The *anchors* are the texts if texts were given, else the images; A counts them. For each modality of N
    items, ``logits_per_...`` (N, A) are cosines times the factor the pair was trained at; a softmax over
    them gives probabilities of the anchors.

    Args:
        loss: symmetric contrastive loss of matching rows, the mean over the pairs with the anchors.
        logits_per_image: (images, texts).
        logits_per_text: (texts, images), its transpose.
        text_embeds, image_embeds: (N, D), rows of unit length.
        text_model_output, vision_model_output: with transformers 5, ``pooler_output`` holds the rows before
            they were normalized.
        video_embeds, audio_embeds, depth_embeds, thermal_embeds, imu_embeds: as ``image_embeds``.
        logits_per_video, logits_per_audio, logits_per_depth, logits_per_thermal, logits_per_imu: (N, A).
    """

    loss: Tensor | None = None
    logits_per_image: Tensor | None = None
    logits_per_text: Tensor | None = None
    text_embeds: Tensor | None = None
    image_embeds: Tensor | None = None
    text_model_output: BaseModelOutputWithPooling | None = None
    vision_model_output: BaseModelOutputWithPooling | None = None
    video_embeds: Tensor | None = None
    audio_embeds: Tensor | None = None
    depth_embeds: Tensor | None = None
    thermal_embeds: Tensor | None = None
    imu_embeds: Tensor | None = None
    logits_per_video: Tensor | None = None
    logits_per_audio: Tensor | None = None
    logits_per_depth: Tensor | None = None
    logits_per_thermal: Tensor | None = None
    logits_per_imu: Tensor | None = None

    def to_tuple(self) -> tuple[Any, ...]:
        """The fields that are not None, outputs among them as tuples; CLIP's come first, in CLIP's order."""
        return tuple(value.to_tuple() if isinstance(value, ModelOutput) else value for value in self.values())


def pooled(
    rows: Tensor,
    states: tuple[Tensor, ...] | None = None,
    last: Tensor | None = None,
    attentions: tuple[Tensor, ...] | None = None,
) -> Any:
    """Raw rows (B, D) as the output that transformers 5 returns for features."""
    return BaseModelOutputWithPooling(
        last_hidden_state=last, pooler_output=rows, hidden_states=states, attentions=attentions
    )
