"""Contrastive image-text pre-training of the toy CLIP, with open_clip's own CLIP class."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from bindplug.progress import iterate_with_progress
from bindplug.training import parameter_groups, symmetric_info_nce, warmup_cosine
from recipes.rendered import Rendered
from recipes.sizes import ClipSize, ClipStage

logger = logging.getLogger(__name__)

MAX_SCALE = 100.0
"""Largest inverse temperature. Source: CLIP (arXiv 2103.00020), section 2.5."""

COARSE_SIDE = 64
"""Height and width in pixels of the toy unCLIP's pictures."""

PIXEL_MEAN = (0.48145466, 0.4578275, 0.40821073)
PIXEL_STD = (0.26862954, 0.26130258, 0.27577711)


def clip_config(name: str = "toy_clip") -> dict[str, Any]:
    """The architecture of a toy CLIP, as an open_clip model configuration."""
    return json.loads((files("recipes") / "configs" / f"{name}.json").read_text())


def build_clip(config: dict[str, Any], seed: int, patch_dropout: float = 0.0) -> nn.Module:
    """open_clip's CLIP of that configuration, with its own random initialization.

    Args:
        config: its constructor's keywords.
        seed: of the initialization.
        patch_dropout: fraction of patches hidden in training (FLIP, arXiv 2212.00794); faster, and a model used
            to occlusion.
    """
    from open_clip.model import CLIP

    torch.manual_seed(seed)
    return CLIP(**config | {"vision_cfg": config["vision_cfg"] | {"patch_dropout": patch_dropout}})


def pretrain(
    model: Any, scenes: Rendered, size: ClipSize, stage: ClipStage, *, quiet: bool | None = None
) -> dict[str, Any]:
    """Train ``model`` through one stage on (image, caption) pairs; returns the figures for its card.

    Args:
        model: an open_clip CLIP, trained in place.
        scenes: the stage's rendered scenes with tokenised captions.
        size: batch, weight decay, seed.
        stage: steps, learning rate, patch dropout.
        quiet: True shows no progress, None asks the environment.
    """
    seed = size.seed + stage.first_scene
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    for parameter in _text_tower(model):
        parameter.requires_grad_(not stage.locked_text)
    learned = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    groups = parameter_groups(learned, size.weight_decay)
    optimizer = torch.optim.AdamW(groups, lr=stage.learning_rate, betas=(0.9, 0.98), fused=True)
    model.train()
    model.visual.patch_dropout.prob = stage.patch_dropout
    losses: list[float] = []
    start_s = time.perf_counter()
    order = torch.empty(0, dtype=torch.long)
    for step in iterate_with_progress(range(stage.steps), total=stage.steps, label="toy CLIP", quiet=quiet):
        if len(order) < size.batch_size:
            order = torch.randperm(len(scenes), generator=generator)
        indices, order = order[: size.batch_size], order[size.batch_size :]
        if step == round(stage.steps * (1 - stage.whole_images)):
            model.visual.patch_dropout.prob = 0.0
        factor = warmup_cosine(step, total_steps=stage.steps, warmup_steps=stage.warmup_steps)
        for group in optimizer.param_groups:
            group["lr"] = stage.learning_rate * factor
        pixels = coarsened(scenes.pixels(indices), stage.coarse, generator)
        loss = _loss(model, jitter(pixels, generator), scenes.captions(indices, generator))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, math.log(MAX_SCALE))
        losses.append(float(loss.detach()))
        if (step + 1) % 50 == 0:
            rate = (step + 1) * size.batch_size / (time.perf_counter() - start_s)
            logger.info("step %d loss %.4f images/s %.0f", step + 1, sum(losses[-50:]) / 50, rate)
    model.eval()
    return {
        "seconds": round(time.perf_counter() - start_s, 1),
        "samples_seen": stage.steps * size.batch_size,
        "final_loss": round(sum(losses[-50:]) / len(losses[-50:]), 4),
        "logit_scale": round(float(model.logit_scale.detach().exp()), 3),
    }


def _loss(model: Any, pixels: Tensor, tokens: Tensor) -> Tensor:
    # on short sequences plain attention is a third faster in bf16 on CPUs than the fused kernel
    with torch.autocast("cpu", torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
        image = model.encode_image(pixels)
        text = encode_short_text(model, tokens)
    return symmetric_info_nce(image, text, model.logit_scale.exp())


def _text_tower(model: Any) -> Iterator[nn.Parameter]:
    """Every parameter of an open_clip CLIP that its text rows depend on."""
    return (
        p for name, p in model.named_parameters() if not name.startswith("visual.") and name != "logit_scale"
    )


def coarsened(pixels: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """The images, some of them in the detail of :data:`COARSE_SIDE` pixels.

    Args:
        pixels: (B, 3, H, W) uint8.
        share: of the images that lose detail.
        generator: of the choice.

    Returns:
        (B, 3, H, W) uint8; what is not chosen, unchanged.
    """
    if not share:
        return pixels
    indices = torch.rand(len(pixels), generator=generator) < share
    small = F.interpolate(pixels[indices].float(), size=(COARSE_SIDE, COARSE_SIDE), mode="area")
    large = F.interpolate(small, size=pixels.shape[-2:], mode="bicubic", align_corners=False)
    pixels = pixels.clone()
    pixels[indices] = large.round().clamp(0, 255).to(torch.uint8)
    return pixels


def encode_short_text(model: Any, tokens: Tensor) -> Tensor:
    """What ``model.encode_text(tokens)`` gives, without the positions behind the longest caption's end.

    Under a causal mask they cannot influence the end-of-text token; captions use a quarter of the 77.
    """
    end = tokens.argmax(dim=-1)
    length = int(end.max()) + 1
    x = model.token_embedding(tokens[:, :length]) + model.positional_embedding[:length]
    x = model.ln_final(model.transformer(x, attn_mask=model.attn_mask[:length, :length]))
    return x[torch.arange(len(x)), end] @ model.text_projection


def jitter(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Random brightness and contrast of each image, then CLIP's normalization.

    Args:
        pixels: (B, 3, H, W) uint8.
        generator: of the jitter.

    Returns:
        (B, 3, H, W) float32, normalized.
    """
    count = len(pixels)
    # brightness and contrast may change by 10 and 15 % of the range
    contrast = 1 + 0.3 * (torch.rand(count, 1, 1, 1, generator=generator) - 0.5)
    brightness = 0.2 * (torch.rand(count, 1, 1, 1, generator=generator) - 0.5)
    mean, std = torch.tensor(PIXEL_MEAN)[:, None, None], torch.tensor(PIXEL_STD)[:, None, None]
    # one fused multiply-add on the whole batch: ((x/255 - .5) c + .5 + b - mean) / std
    factor = contrast / 255 / std
    offset = (0.5 - 0.5 * contrast + brightness - mean) / std
    return torch.addcmul(offset, pixels.float(), factor)


def jitter_free(pixels: Tensor) -> Tensor:
    """CLIP's normalization alone: (B, 3, H, W) uint8 -> float32."""
    mean, std = torch.tensor(PIXEL_MEAN)[:, None, None], torch.tensor(PIXEL_STD)[:, None, None]
    return (pixels.float() / 255 - mean) / std
