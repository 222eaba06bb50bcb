"""Put the toy unCLIP's parts together as diffusers' own pipeline, and write it as a directory."""

from __future__ import annotations

import json
import string
import tempfile
from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler, DDPMScheduler, StableUnCLIPImg2ImgPipeline
from diffusers.pipelines.stable_diffusion.stable_unclip_image_normalizer import StableUnCLIPImageNormalizer
from torch import nn
from transformers import (
    CLIPImageProcessor,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

from bindplug.directories import staged
from bindplug.imagebind import ImageBind
from recipes.generator_size import noising_config, scheduler_config
from recipes.generator_unet import Conditioning

MAX_TOKENS = 77
TEXT_WIDTH = 8
TOWER_SIDE = 224
"""Side in pixels that the encoder's image tower sees."""
PLACEHOLDER_SIDE = 2
FROM_TRANSFORMERS = ("text_encoder", "image_encoder")


def assemble(
    vae: Any, unet: Any, conditioning: Conditioning, encoder: ImageBind
) -> StableUnCLIPImg2ImgPipeline:
    """The pipeline, in float32.

    Args:
        vae, unet: trained.
        conditioning: the statistics of the embeddings they were trained with.
        encoder: what made these embeddings.
    """
    width = len(conditioning.mean)
    normalizer = StableUnCLIPImageNormalizer(width)
    normalizer.mean = nn.Parameter(conditioning.mean[None].clone())
    normalizer.std = nn.Parameter(conditioning.std[None].clone())
    tokenizer = build_tokenizer()
    return StableUnCLIPImg2ImgPipeline(
        feature_extractor=CLIPImageProcessor(
            size={"shortest_edge": TOWER_SIDE}, crop_size={"height": TOWER_SIDE, "width": TOWER_SIDE}
        ),
        image_encoder=placeholder_encoder(encoder),
        image_normalizer=normalizer.eval(),
        image_noising_scheduler=DDPMScheduler(**noising_config()),
        tokenizer=tokenizer,
        text_encoder=build_text_encoder(len(tokenizer)),
        unet=unet,
        scheduler=DDIMScheduler(**scheduler_config()),
        vae=vae,
    )


def build_tokenizer() -> CLIPTokenizer:
    """A tokenizer of letters: the pipeline asks for one, and its UNet does not look at the prompt."""
    letters = [*string.ascii_lowercase, *(letter + "</w>" for letter in string.ascii_lowercase)]
    words = [*letters, "<|startoftext|>", "<|endoftext|>"]
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "vocab.json").write_text(
            json.dumps({word: number for number, word in enumerate(words)})
        )
        (Path(place) / "merges.txt").write_text("#version: 0.2\n")
        return CLIPTokenizer.from_pretrained(place, model_max_length=MAX_TOKENS)


def build_text_encoder(vocabulary: int) -> CLIPTextModel:
    """A text encoder that says zeros of every prompt."""
    config = CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=TEXT_WIDTH,
        intermediate_size=TEXT_WIDTH,
        num_hidden_layers=1,
        num_attention_heads=1,
        max_position_embeddings=MAX_TOKENS,
        projection_dim=TEXT_WIDTH,
        bos_token_id=vocabulary - 2,
        eos_token_id=vocabulary - 1,
        pad_token_id=vocabulary - 1,
    )
    return _zeroed(CLIPTextModel(config))


def placeholder_encoder(encoder: ImageBind) -> CLIPVisionModelWithProjection:
    """What stands for the image tower, which would be as large as all the rest: its last layer alone.

    It tells the pipeline the precision of embeddings, and whoever compares the layer whose space they are of. It
    refuses pictures: it takes 2 x 2 pixels, and the pipeline's feature extractor makes 224 x 224 of each.
    """
    layer = encoder.official_state_dict()["modality_heads.vision.2.weight"]
    config = CLIPVisionConfig(
        hidden_size=layer.shape[1],
        intermediate_size=8,
        projection_dim=layer.shape[0],
        num_hidden_layers=0,
        num_attention_heads=1,
        image_size=PLACEHOLDER_SIDE,
        patch_size=PLACEHOLDER_SIDE,
    )
    placeholder = _zeroed(CLIPVisionModelWithProjection(config))
    placeholder.visual_projection.weight = nn.Parameter(layer.detach().float().clone())
    return placeholder


def write_pipeline(pipe: Any, directory: Path) -> Path:
    """Write the pipeline, its trained networks as float16 safetensors, in place of what stood at ``directory``.

    ``pipe`` is rounded in the doing.
    """
    for name, part in pipe.components.items():
        if isinstance(part, nn.Module):
            # transformers opens what is half as half, and then a pipeline opened in float32 is of two precisions
            dtype = torch.float32 if name in FROM_TRANSFORMERS else torch.float16
            for parameter in part.parameters():
                parameter.data = parameter.data.to(dtype).contiguous()
    with staged(directory, overwrite=True) as partial:
        pipe.save_pretrained(partial, safe_serialization=True)
    return directory


def _zeroed(network: Any) -> Any:
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    return network.eval()
