"""CLIP guidance: lead a pipeline that has no entrance for embeddings to a query, by gradients. Slow.

At each step the clean picture that the UNet expects is decoded by the VAE and embedded by the image tower; the
gradient of its cosine with the query moves that expectation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from bindplug.errors import InputError, ModalityNotLoaded, UnsupportedTarget
from bindplug.inputs.image import normalize_rgb
from bindplug.progress import iterate_with_progress
from bindplug_diffusers.directions import Directions
from bindplug_diffusers.inspection import device_of
from bindplug_diffusers.prototypes import Prototypes

if TYPE_CHECKING:
    from PIL.Image import Image

    from bindplug.encoder import Encoder
    from bindplug.query import Query

MOST = 10.0
"""Cap of the guidance's weight, which grows without bound towards pure noise."""
SMALLEST_VIEW = 0.7
"""Shortest side of a random crop, as a share of the picture's."""


def guided(
    pipe: Any,
    model: Encoder,
    query: Query,
    *,
    prompt: str = "",
    negative_prompt: str = "",
    guidance_scale: float = 7.5,
    steps: int = 50,
    strength: float = 0.4,
    views: int = 6,
    seed: int = 0,
    recenter: bool | None = None,
    prototypes: Prototypes | None = None,
    quiet: bool | None = None,
) -> Image:
    """A picture by a latent diffusion pipeline that knows of no embeddings, pulled towards a query.

    Every step costs ``views`` passes forward and back through the image tower and one through the VAE's decoder, and
    pictures are cruder than those of an entrance (:func:`bindplug.upgrade`): take that where there is one. The
    pipeline is not changed; steps are DDIM's over the noise schedule of the pipeline's own scheduler.

    Args:
        pipe: has ``vae``, ``unet`` and ``encode_prompt``, as Stable Diffusion's and an unCLIP's, which is run without
            its condition.
        model: its image tower compares pictures with the query.
        query: what the picture is to resemble, in any modality the model was loaded with.
        prompt: words for the UNet.
        negative_prompt: words to lead away from.
        guidance_scale: of prompt over negative prompt, as in diffusers; 1 asks the UNet once a step, and so do two
            prompts that are the same.
        steps: of the sampler.
        strength: how far a step moves the expected latents, as a share of their length, beside the weight that
            classifier guidance gives the step; 0 guides nothing and makes the pipeline's own picture.
        views: random crops compared at a time; the whole alone invites noise that only looks right to the model.
        seed: of the first latents and of the crops.
        recenter: as in :func:`bindplug_diffusers.upgrade`.
        prototypes: images to lead the query to; None for none.
        quiet: True shows no progress, None asks the environment.

    Raises:
        UnsupportedTarget: the pipeline lacks one of these parts, or its UNet asks for more than noise and words.
        ModalityNotLoaded: the model has no image tower, or none for the query.
        InputError: a setting out of its range, or the query's embedding is not finite.

    Source: classifier guidance (Dhariwal and Nichol, arXiv 2105.05233), with the gradient taken at the predicted clean
    picture as in Universal Guidance (arXiv 2302.07121), in the latents of an open VAE.
    """
    if steps < 1 or views < 1 or not strength >= 0:
        found = f"steps={steps}, views={views}, strength={strength}"
        raise InputError(
            "guided", found=found, expected="steps and views of at least 1, strength of at least 0"
        )
    told = _conditions(pipe, prompt, negative_prompt, guidance_scale)
    if "image" not in model.modalities:
        raise ModalityNotLoaded("image", model.modalities)
    (target,) = Directions(model, None, recenter, prototypes).of([query])
    generator = torch.Generator().manual_seed(seed)
    latents = _first_latents(pipe, generator)
    sampler = _sampler(pipe, steps)
    # how much of the clean picture is in the latents after each step
    kept = [*sampler.alphas_cumprod[sampler.timesteps[1:].cpu()].sqrt().tolist(), 1.0]
    walk = list(zip(sampler.timesteps, kept, strict=True))
    for t, share in iterate_with_progress(walk, total=steps, label="guided", quiet=quiet):
        step = sampler.step(_noise(pipe.unet, latents, t, told, guidance_scale), t, latents)
        latents, clean = step.prev_sample, step.pred_original_sample
        if strength:
            signal = float(sampler.alphas_cumprod[int(t)])
            weight = min(MOST, (1 - signal) / max(signal, 1e-6) ** 0.5)  # what a thing is, is settled early
            uphill = _uphill(pipe.vae, model, target, clean, views, generator)
            latents = latents + share * weight * strength * clean.norm() * uphill
    with torch.no_grad():
        picture = _decoded(pipe.vae, latents)
    return pipe.image_processor.postprocess(picture)[0]


def _conditions(pipe: Any, prompt: str, negative: str, guidance_scale: float) -> dict[str, Tensor]:
    """What the UNet is told beside latents and time: for the prompt alone, or for negative prompt and prompt."""
    _ensure_steerable(pipe)
    twice = guidance_scale > 1 and prompt != negative
    device, unet = device_of(pipe), pipe.unet
    with torch.no_grad():
        wanted, unwanted = pipe.encode_prompt(prompt, device, 1, twice, negative_prompt=negative)[:2]
    told = {"encoder_hidden_states": torch.cat([unwanted, wanted]) if twice else wanted}
    if unet.config.class_embed_type == "projection":  # an unCLIP: zeros mean that no picture is asked for
        width = unet.config.projection_class_embeddings_input_dim
        told["class_labels"] = wanted.new_zeros(1 + twice, width)
    return told


def _ensure_steerable(pipe: Any) -> None:
    name = type(pipe).__name__
    absent = [
        part
        for part in ("vae", "unet", "encode_prompt", "scheduler", "image_processor")
        if getattr(pipe, part, None) is None
    ]
    if absent:
        raise UnsupportedTarget(f"this {name} cannot be guided: it has no {' and no '.join(absent)}")
    config = pipe.unet.config
    reason = ""
    if not hasattr(pipe.scheduler, "alphas_cumprod"):
        reason = f"its {type(pipe.scheduler).__name__} does not mix clean latents and noise as DDIM does"
    elif config.in_channels != pipe.vae.config.latent_channels:
        reason = f"its UNet takes {config.in_channels} channels and its VAE makes {pipe.vae.config.latent_channels}"
    elif config.addition_embed_type or config.encoder_hid_dim_type:
        asked = config.addition_embed_type or config.encoder_hid_dim_type
        reason = (
            f"its UNet asks for {asked!r} beside noise and words. bindplug.upgrade finds an entrance there"
        )
    elif config.class_embed_type not in (None, "projection"):
        reason = f"its UNet asks for a class ({config.class_embed_type!r}) beside noise and words"
    if reason:
        raise UnsupportedTarget(f"this {name} cannot be guided: {reason}")


def _first_latents(pipe: Any, generator: torch.Generator) -> Tensor:
    from diffusers.utils.torch_utils import randn_tensor

    side = pipe.unet.config.sample_size
    height, width = (side, side) if isinstance(side, int) else side
    shape = (1, pipe.unet.config.in_channels, height, width)
    return randn_tensor(shape, generator, device_of(pipe), pipe.unet.dtype)


def _sampler(pipe: Any, steps: int) -> Any:
    from diffusers import DDIMScheduler

    sampler = DDIMScheduler.from_config(pipe.scheduler.config)
    sampler.set_timesteps(steps, device=device_of(pipe))
    return sampler


@torch.no_grad()
def _noise(unet: Any, latents: Tensor, t: Tensor, told: dict[str, Tensor], guidance_scale: float) -> Tensor:
    count = len(told["encoder_hidden_states"])
    noise = unet(latents.expand(count, -1, -1, -1), t, **told).sample
    if count == 1:
        return noise
    unwanted, wanted = noise.chunk(2)
    return unwanted + guidance_scale * (wanted - unwanted)


def _uphill(
    vae: Any, model: Encoder, target: Tensor, clean: Tensor, views: int, generator: torch.Generator
) -> Tensor:
    """The direction, of length 1, in which latents become more similar to ``target``."""
    clean = clean.detach().requires_grad_()
    picture = (_decoded(vae, clean) / 2 + 0.5).clamp(0, 1).to(model.device, torch.float32)
    size = getattr(model.preprocess["image"], "image_size", 224)
    crops = [F.interpolate(part, (size, size), mode="bilinear") for part in _crops(picture, views, generator)]
    rows = model.encode_image(normalize_rgb(255 * torch.cat(crops)).to(model.dtype), normalize=True)
    (gradient,) = torch.autograd.grad((rows.float() @ target).mean(), clean)
    return gradient / gradient.norm().clamp(min=1e-12)


def _crops(picture: Tensor, count: int, generator: torch.Generator) -> list[Tensor]:
    """Parts of a picture (1, 3, H, W), in its own proportions."""
    crops = []
    shares = SMALLEST_VIEW + (1 - SMALLEST_VIEW) * torch.rand(count, generator=generator)
    for share in shares.tolist():
        height, width = (round(share * edge) for edge in picture.shape[2:])
        y = int(torch.randint(picture.shape[2] - height + 1, (), generator=generator))
        x = int(torch.randint(picture.shape[3] - width + 1, (), generator=generator))
        crops.append(picture[..., y : y + height, x : x + width])
    return crops


def _decoded(vae: Any, latents: Tensor) -> Tensor:
    """(1, 4, h, w) latents -> (1, 3, H, W) pictures in -1..1."""
    return vae.decode(latents / vae.config.scaling_factor).sample
