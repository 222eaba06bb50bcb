"""Why a pipeline takes no query: the truth about every class of diffusers with an image embedding or encoder."""

from __future__ import annotations

from typing import Any

from bindplug_diffusers.pipeline_info import accepts, has_component, is_kind

PATCHES = "its {argument} are the patch tokens of an image encoder (hidden states), and a query is one pooled embedding"

REASONS: dict[tuple[str, ...], str] = {
    (
        "WanImageToVideoPipeline",
        "WanAnimatePipeline",
        "ChronoEditPipeline",
        "SkyReelsV2ImageToVideoPipeline",
        "SkyReelsV2DiffusionForcingImageToVideoPipeline",
    ): PATCHES.format(argument="image_embeds"),
    (
        "StableDiffusion3Pipeline",
        "StableDiffusion3Img2ImgPipeline",
        "StableDiffusion3InpaintPipeline",
        "StableDiffusion3ControlNetPipeline",
        "StableDiffusion3ControlNetInpaintingPipeline",
    ): PATCHES.format(argument="ip_adapter_image_embeds"),
    ("StableCascadeDecoderPipeline",): (
        "its image_embeddings are latents that StableCascadePriorPipeline makes: upgrade that prior, and pass its "
        "image_embeddings on"
    ),
    ("WuerstchenDecoderPipeline",): (
        "its image_embeddings are latents that WuerstchenPriorPipeline makes of words alone"
    ),
    (
        "KandinskyPriorPipeline",
        "KandinskyV22PriorPipeline",
        "KandinskyV22PriorEmb2EmbPipeline",
    ): "it makes image embeddings and takes none: upgrade the decoder, which takes them",
    ("AltDiffusionPipeline", "AltDiffusionImg2ImgPipeline"): (
        "its ip_adapter_image is a picture, and its call has no argument for an embedding"
    ),
    ("UniDiffuserPipeline",): (
        "its transformer reads the picture's latents beside its embedding, so an embedding alone cannot enter"
    ),
    (
        "FluxPriorReduxPipeline",
        "HunyuanVideoFramepackPipeline",
        "HunyuanVideo15ImageToVideoPipeline",
        "VersatileDiffusionPipeline",
        "VersatileDiffusionImageVariationPipeline",
        "VersatileDiffusionDualGuidedPipeline",
        "ShapEImg2ImgPipeline",
    ): "it attends to the patch tokens of its image encoder (hidden states), and a query is one pooled embedding",
}
"""Reasons by class name, read from the classes of diffusers 0.42."""

ARGUMENTS = ("image_embeds", "image_embeddings", "ip_adapter_image_embeds")


def refusal(pipe: Any) -> str:
    """Why no entrance fits a pipeline, as a clause after its name."""
    for names, reason in REASONS.items():
        if is_kind(pipe, *names):
            return reason
    arguments = [name for name in ARGUMENTS if accepts(pipe, name)]
    if arguments:
        return f"its call has {arguments[0]}, but nothing tells whether that is a pooled CLIP embedding"
    if has_component(pipe, "image_encoder"):
        return (
            "it embeds pictures itself, with its image_encoder, and its call has no argument for an embedding"
        )
    return "its call has no argument for an image embedding"
