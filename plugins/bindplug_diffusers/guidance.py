"""CLIP guidance: steer a pipeline without an entrance for embeddings by gradients. Slow.

At each step the VAE decodes the clean picture that the UNet predicts, and the image tower embeds it. The gradient of
its cosine with the query moves the prediction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from bindplug.errors import InputError, ModalityNotLoaded, UnsupportedTarget
from bindplug.inputs import normalize_rgb
from bindplug.progress import iterate_with_progress
from bindplug_diffusers.pipeline_info import device_of
from bindplug_diffusers.prototypes import Prototypes
from bindplug_diffusers.query_embedder import QueryEmbedder

if TYPE_CHECKING:
    from PIL.Image import Image

    from bindplug.encoder import Encoder
    from bindplug.query import Query

MAX_WEIGHT = 10.0
"""Cap of the guidance weight, which grows without bound towards pure noise."""
MIN_CROP = 0.7
"""Smallest side of a random crop, as a share of the picture's."""


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
    """A picture by a latent diffusion pipeline that takes no embeddings, steered towards a query.

    Every step costs ``views`` passes forward and back through the image tower and one through the VAE's decoder, and
    pictures are cruder than those of an entrance. Use :func:`bindplug.upgrade` if the pipeline has one. The pipeline is
    not changed. Steps are DDIM's over the noise schedule of the pipeline's own scheduler.

    Args:
        pipe: has ``vae``, ``unet`` and ``encode_prompt``, as Stable Diffusion's and an unCLIP's, which is run without
            its condition.
        model: its image tower compares pictures with the query.
        query: in any modality the model was loaded with.
        prompt: text for the UNet.
        negative_prompt: text to lead away from.
        guidance_scale: of prompt over negative prompt, as in diffusers. The UNet runs once a step if it is 1 or if the
            two prompts are equal.
        steps: of the sampler.
        strength: how far a step moves the predicted latents, as a share of their length, times the weight that
            classifier guidance gives the step. 0 makes the pipeline's own picture.
        views: random crops compared in a step. The whole picture alone would invite adversarial noise.
        seed: of the first latents and of the crops.
        recenter: as in :func:`bindplug_diffusers.upgrade`.
        prototypes: images to blend the query with; None for none.
        quiet: True hides the progress bar; None decides by the environment.

    Raises:
        UnsupportedTarget: the pipeline lacks one of these parts, or its UNet needs more than latents and text.
        ModalityNotLoaded: the model has no image tower, or none for the query.
        InputError: a setting out of its range, or the query's embedding is not finite.

    Source: classifier guidance (Dhariwal and Nichol, arXiv 2105.05233), with the gradient taken at the predicted clean
    picture as in Universal Guidance (arXiv 2302.07121), in the latents of an open VAE.
    """
    if steps < 1 or views < 1 or not strength >= 0:
        detail = f"steps={steps}, views={views}, strength={strength}"
        raise InputError(
            "guided", found=detail, expected="steps and views of at least 1, strength of at least 0"
        )
    conditions = _conditions(pipe, prompt, negative_prompt, guidance_scale)
    if "image" not in model.modalities:
        raise ModalityNotLoaded("image", model.modalities)
    (target,) = QueryEmbedder(model, None, recenter, prototypes).embed([query])
    generator = torch.Generator().manual_seed(seed)
    latents = _first_latents(pipe, generator)
    sampler = _sampler(pipe, steps)
    # the share of the clean picture in the latents after each step
    shares = [*sampler.alphas_cumprod[sampler.timesteps[1:].cpu()].sqrt().tolist(), 1.0]
    schedule = list(zip(sampler.timesteps, shares, strict=True))
    for t, share in iterate_with_progress(schedule, total=steps, label="guided", quiet=quiet):
        step = sampler.step(_noise(pipe.unet, latents, t, conditions, guidance_scale), t, latents)
        latents, clean = step.prev_sample, step.pred_original_sample
        if strength:
            signal = float(sampler.alphas_cumprod[int(t)])
            weight = min(
                MAX_WEIGHT, (1 - signal) / max(signal, 1e-6) ** 0.5
            )  # early steps settle the content
            gradient = _unit_gradient(pipe.vae, model, target, clean, views, generator)
            latents = latents + share * weight * strength * clean.norm() * gradient
    with torch.no_grad():
        picture = _decoded(pipe.vae, latents)
    return pipe.image_processor.postprocess(picture)[0]


def _conditions(pipe: Any, prompt: str, negative: str, guidance_scale: float) -> dict[str, Tensor]:
    """Arguments of the UNet beside latents and time: for the prompt alone, or for negative prompt and prompt."""
    _ensure_steerable(pipe)
    is_guided = guidance_scale > 1 and prompt != negative
    device, unet = device_of(pipe), pipe.unet
    with torch.no_grad():
        text, negative_text = pipe.encode_prompt(prompt, device, 1, is_guided, negative_prompt=negative)[:2]
    conditions = {"encoder_hidden_states": torch.cat([negative_text, text]) if is_guided else text}
    if unet.config.class_embed_type == "projection":  # an unCLIP: zeros are no image
        width = unet.config.projection_class_embeddings_input_dim
        conditions["class_labels"] = text.new_zeros(1 + is_guided, width)
    return conditions


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
        condition = config.addition_embed_type or config.encoder_hid_dim_type
        reason = f"its UNet needs {condition!r} beside latents and text; use bindplug.upgrade for an entrance there"
    elif config.class_embed_type not in (None, "projection"):
        reason = f"its UNet needs a class ({config.class_embed_type!r}) beside latents and text"
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
def _noise(
    unet: Any, latents: Tensor, t: Tensor, conditions: dict[str, Tensor], guidance_scale: float
) -> Tensor:
    count = len(conditions["encoder_hidden_states"])
    noise = unet(latents.expand(count, -1, -1, -1), t, **conditions).sample  # (count, 4, h, w)
    if count == 1:
        return noise
    negative, positive = noise.chunk(2)
    return negative + guidance_scale * (positive - negative)


def _unit_gradient(
    vae: Any, model: Encoder, target: Tensor, clean: Tensor, views: int, generator: torch.Generator
) -> Tensor:
    """The gradient of the cosine of the decoded latents with ``target``, of length 1."""
    clean = clean.detach().requires_grad_()
    picture = (_decoded(vae, clean) / 2 + 0.5).clamp(0, 1).to(model.device, torch.float32)
    size = getattr(model.preprocess["image"], "image_size", 224)
    crops = [F.interpolate(part, (size, size), mode="bilinear") for part in _crops(picture, views, generator)]
    rows = model.encode_image(normalize_rgb(255 * torch.cat(crops)).to(model.dtype), normalize=True)
    (gradient,) = torch.autograd.grad((rows.float() @ target).mean(), clean)
    return gradient / gradient.norm().clamp(min=1e-12)


def _crops(picture: Tensor, count: int, generator: torch.Generator) -> list[Tensor]:
    """Random crops of a picture (1, 3, H, W), in its own proportions."""
    crops = []
    shares = MIN_CROP + (1 - MIN_CROP) * torch.rand(count, generator=generator)
    for share in shares.tolist():
        height, width = (round(share * edge) for edge in picture.shape[2:])
        y = int(torch.randint(picture.shape[2] - height + 1, (), generator=generator))
        x = int(torch.randint(picture.shape[3] - width + 1, (), generator=generator))
        crops.append(picture[..., y : y + height, x : x + width])
    return crops


def _decoded(vae: Any, latents: Tensor) -> Tensor:
    """(1, 4, h, w) latents -> (1, 3, H, W) pictures in -1..1."""
    return vae.decode(latents / vae.config.scaling_factor).sample
