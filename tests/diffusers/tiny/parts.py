"""Networks, tokenizers and encoders that pipelines are made of, of a few thousand random weights."""

from __future__ import annotations

import functools
import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    UNet2DConditionModel,
    VQModel,
)
from transformers import (
    CLIPImageProcessor,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

WIDTH = 16
"""Width of the fake encoder's space, and of the embeddings that the pipelines take."""
TEXT = 16
BLOCKS = {
    "sample_size": 8,
    "layers_per_block": 1,
    "block_out_channels": (8, 16),
    "norm_num_groups": 4,
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
}


def unet(**changed: Any) -> UNet2DConditionModel:
    settings = BLOCKS | {
        "in_channels": 4,
        "out_channels": 4,
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "cross_attention_dim": TEXT,
        "attention_head_dim": 2,
    }
    return seeded(UNet2DConditionModel, **settings | changed)


def vae() -> AutoencoderKL:
    return seeded(
        AutoencoderKL,
        block_out_channels=[8, 8],
        down_block_types=["DownEncoderBlock2D"] * 2,
        up_block_types=["UpDecoderBlock2D"] * 2,
        latent_channels=4,
        norm_num_groups=4,
    )


def seeded(kind: Any, *args: Any, **settings: Any) -> Any:
    """An instance with the same random weights each time, whatever was drawn before."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return kind(*args, **settings).eval()


@functools.cache
def tokenizer() -> CLIPTokenizer:
    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)]
    words = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    directory = Path(tempfile.mkdtemp())
    (directory / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (directory / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer.from_pretrained(str(directory), model_max_length=8)


def text_encoder(kind: Any = CLIPTextModel, **changed: Any) -> Any:
    settings = {
        "hidden_size": TEXT,
        "intermediate_size": 16,
        "num_attention_heads": 2,
        "num_hidden_layers": 1,
        "max_position_embeddings": 8,
        "vocab_size": 54,
        "bos_token_id": 52,
        "eos_token_id": 53,
        "projection_dim": TEXT,
    }
    return seeded(kind, CLIPTextConfig(**settings | changed))


def image_encoder(width: int = WIDTH, size: int = 16) -> CLIPVisionModelWithProjection:
    config = CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=16,
        num_attention_heads=2,
        num_hidden_layers=1,
        image_size=size,
        patch_size=size // 2,
        projection_dim=width,
    )
    return seeded(CLIPVisionModelWithProjection, config)


def feature_extractor() -> CLIPImageProcessor:
    return CLIPImageProcessor(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})


def movq() -> VQModel:
    return seeded(
        VQModel,
        block_out_channels=[32, 32],
        down_block_types=["DownEncoderBlock2D"] * 2,
        up_block_types=["UpDecoderBlock2D"] * 2,
        latent_channels=4,
        num_vq_embeddings=8,
        norm_num_groups=8,
        norm_type="spatial",
    )
