"""Model inputs of the right shape, made of noise."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bindplug.embed import CLIPS_OF
from bindplug.encoder import Encoder
from bindplug.imagebind import ImageBind, ImageBindConfig
from bindplug.modality import Modality

PROMPT = "a photo of a {} in the rain at night"
WORDS = ("dog", "cat", "car", "horse", "train", "bird", "boat", "clock", "fire", "house", "tree", "man")
"""Single tokens of CLIP's vocabulary, so that all prompts are equally long."""


def clips_of(modality: str) -> int:
    """Clips that an item of a modality is usually cut into."""
    return CLIPS_OF.get(Modality.parse(modality), 1)


def synthetic(model: Encoder, modality: str, items: int, seed: int = 0) -> Tensor:
    """A batch as ``model.encode`` takes it, on the model's device and, but for token ids, in its dtype.

    Args:
        model: the encoder.
        modality: one of its modalities.
        items: B; a sound has 3 clips, a video 15, as the readers cut them.
        seed: of the noise.

    Returns:
        Noise of the shape (B, ...) that the encoder's reader makes; for text, ids of prompts of 12 tokens.
    """
    if modality == "text":
        prompts = [PROMPT.format(WORDS[index % len(WORDS)]) for index in range(items)]
        return torch.as_tensor(model.tokenizer(prompts)).to(model.device)
    shape = (items, *_item_shape(model, modality))
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return noise.to(model.device, model.dtype)


def _item_shape(model: Encoder, modality: str) -> tuple[int, ...]:
    config = model.config if isinstance(model, ImageBind) else ImageBindConfig.huge()
    side, clips = config.image_size, clips_of(modality)
    if modality in ("image", "video") and not isinstance(model, ImageBind):
        picture = Image.fromarray(np.zeros((64, 64, 3), dtype=np.uint8))
        side = int(model.preprocess["image"](picture).shape[-1])
    return {
        "image": (3, side, side),
        "video": (clips, 3, config.video_frames, side, side),
        "audio": (clips, 1, config.mel_bins, config.audio_frames),
        "depth": (1, side, side),
        "thermal": (1, side, side),
        "imu": (6, config.imu_steps),
    }[modality]
