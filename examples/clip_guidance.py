"""Steer a pipeline that has no entrance for embeddings: at every step, uphill in similarity to a query. Slow.

At each step the clean picture that the UNet expects is decoded by the VAE and embedded by the image tower; the gradient
of its cosine with the query moves that expectation. Every step costs passes forward and back through VAE and tower, and
results are cruder than an entrance's. Offline it steers the toy unCLIP, run without its condition.

python examples/clip_guidance.py [--output clip_guidance.png]
python examples/clip_guidance.py --audio waves.wav --prompt "a beach" --pipeline ID --model imagebind_huge --device cuda
"""

import argparse
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

import bindplug
from bindplug.inputs.image import normalise_rgb
from bindplug_diffusers import hushed, open_pipeline
from bindplug_toyworld import Scene

MOST = 10.0
"""Cap of the guidance's weight, which grows without bound towards pure noise."""


def guided(
    pipe: Any,
    model: Any,
    target: Tensor,
    *,
    steps: int,
    strength: float,
    views: int,
    seed: int,
    prompt: str = "",
) -> Tensor:
    """A picture (1, 3, H, W) in 0..1 by a latent diffusion pipeline, pulled towards ``target`` (D,), a unit row.

    Args:
        pipe: has ``vae``, ``unet``, ``encode_prompt`` and a DDIM or DDPM scheduler, which tells the clean picture.
        model: its ``encode_image`` compares pictures with ``target``.
        steps: of the scheduler.
        strength: how far a step moves the expected latents, as a share of their length, beside the weight that
            classifier guidance (arXiv 2105.05233) gives the step; 0 guides nothing.
        views: random crops compared at a time; the whole alone invites noise that only looks right to the model.
        seed: of the first latents and of the crops.
        prompt: words for the UNet, if it hears them.
    """
    scheduler, unet, device = pipe.scheduler, pipe.unet.requires_grad_(False), pipe.unet.device
    told = {"encoder_hidden_states": pipe.encode_prompt(prompt, device, 1, False)[0]}
    if unet.config.class_embed_type == "projection":  # an unCLIP: zeros mean that no picture is asked for
        told["class_labels"] = torch.zeros(1, unet.config.projection_class_embeddings_input_dim).to(device)
    generator, side = torch.Generator().manual_seed(seed), unet.config.sample_size
    latents = torch.randn(1, unet.config.in_channels, side, side, generator=generator).to(device)
    scheduler.set_timesteps(steps, device=device)
    latents = latents * scheduler.init_noise_sigma
    # how much of the clean picture is in the latents after each step
    kept = [*scheduler.alphas_cumprod[scheduler.timesteps[1:].cpu()].sqrt().tolist(), 1.0]
    for t, share in zip(scheduler.timesteps, kept, strict=True):
        with torch.no_grad():
            output = unet(scheduler.scale_model_input(latents, t), t, **told).sample
        step = scheduler.step(output, t, latents)
        latents, clean = step.prev_sample, step.pred_original_sample
        if strength:
            signal = float(scheduler.alphas_cumprod[int(t)])
            weight = min(MOST, (1 - signal) / max(signal, 1e-6) ** 0.5)  # what a thing is, is settled early
            uphill = _uphill(pipe.vae, model, target, clean, views, generator)
            latents = latents + share * weight * strength * clean.norm() * uphill
    with torch.no_grad():
        return _decoded(pipe.vae, latents)


def _uphill(
    vae: Any, model: Any, target: Tensor, clean: Tensor, views: int, generator: torch.Generator
) -> Tensor:
    """The direction, of length 1, in which latents become more similar to ``target``."""
    clean, crops = clean.detach().requires_grad_(), []
    picture = _decoded(vae, clean)
    for part in (0.7 + 0.3 * torch.rand(views, generator=generator)).tolist():
        height, width = (round(part * edge) for edge in picture.shape[2:])
        y, x = (
            int(torch.randint(picture.shape[k] - n + 1, (), generator=generator))
            for k, n in ((2, height), (3, width))
        )
        crops.append(F.interpolate(picture[..., y : y + height, x : x + width], (224, 224), mode="bilinear"))
    cosines = model.encode_image(normalise_rgb(255 * torch.cat(crops)), normalize=True) @ target
    (gradient,) = torch.autograd.grad(cosines.mean(), clean)
    return gradient / gradient.norm().clamp(min=1e-12)


def _decoded(vae: Any, latents: Tensor) -> Tensor:
    return (vae.decode(latents / vae.config.scaling_factor).sample / 2 + 0.5).clamp(0, 1)


def main() -> None:
    """One picture of the same seed without guidance, one with it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--audio", help="a sound of your own")
    parser.add_argument("--prompt", default="", help="words for the UNet")
    parser.add_argument("--pipeline", default="toy_unclip", help="a name, a directory, or an id of the hub")
    parser.add_argument("--model", default="imagebind_tiny", help="a model's name, or a path to weights")
    parser.add_argument("--device", default="cpu", help="where everything runs, as cuda")
    parser.add_argument("--steps", type=int, default=50, help="of the scheduler")
    parser.add_argument("--strength", type=float, default=0.4, help="of the guidance")
    parser.add_argument("--views", type=int, default=6, help="random crops compared at every step")
    parser.add_argument("--seed", type=int, default=2, help="of the first latents")
    parser.add_argument("--output", default="clip_guidance.png", help="where both go, the unguided one first")
    options = parser.parse_args()

    fire = Scene(740, "eval", labels=["fire"])
    sound = bindplug.audio(fire.audio, sample_rate=fire.sample_rate_hz)
    model = bindplug.load(options.model, device=options.device)
    recentre = "image" if {"audio", "image"} <= model.centres.keys() else None
    (target,) = model.embed([bindplug.audio(options.audio) if options.audio else sound], recentre=recentre)
    with hushed(True):
        pipe, _ = open_pipeline(options.pipeline, options.device, None)
    shared = {"steps": options.steps, "views": options.views, "seed": options.seed, "prompt": options.prompt}
    pictures = [
        guided(pipe, model, target, strength=strength, **shared) for strength in (0.0, options.strength)
    ]
    shown = [(255 * picture[0]).round().byte().permute(1, 2, 0).cpu().numpy() for picture in pictures]
    rows = model.embed([bindplug.image(picture) for picture in shown])
    print("similarity to the sound: unguided {:.3f}, guided {:.3f}".format(*(rows @ target).tolist()))
    pair = Image.fromarray(np.concatenate(shown, axis=1))
    pair.resize((pair.width * 224 // pair.height, 224) if pair.height < 224 else pair.size).save(
        options.output
    )
    print(f"the pictures: {options.output}")


if __name__ == "__main__":
    main()
