"""Pipelines of a few thousand random weights."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLTemporalDecoder,
    ControlNetModel,
    DDIMScheduler,
    DDPMPipeline,
    DDPMScheduler,
    EulerDiscreteScheduler,
    KandinskyV22Pipeline,
    StableDiffusionControlNetPipeline,
    StableDiffusionImageVariationPipeline,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    StableUnCLIPImg2ImgPipeline,
    StableVideoDiffusionPipeline,
    UNet2DModel,
    UNetSpatioTemporalConditionModel,
)
from diffusers.pipelines.stable_diffusion.stable_unclip_image_normalizer import StableUnCLIPImageNormalizer
from transformers import (
    CLIPTextModelWithProjection,
)

from tests.diffusers.tiny.adapters import with_adapters
from tests.diffusers.tiny.parts import (
    TEXT,
    WIDTH,
    feature_extractor,
    image_encoder,
    movq,
    seeded,
    text_encoder,
    tokenizer,
    unet,
    vae,
)


def unclip(width: int = WIDTH, encoder: bool = True) -> StableUnCLIPImg2ImgPipeline:
    normalizer = seeded(StableUnCLIPImageNormalizer, width)
    normalizer.mean.data = torch.linspace(-1.0, 1.0, width)[None]
    normalizer.std.data = torch.linspace(0.5, 1.5, width)[None]
    network = unet(class_embed_type="projection", projection_class_embeddings_input_dim=2 * width)
    return quiet(
        StableUnCLIPImg2ImgPipeline(
            feature_extractor=feature_extractor(),
            image_encoder=image_encoder(width) if encoder else None,
            image_normalizer=normalizer,
            image_noising_scheduler=DDPMScheduler(beta_schedule="squaredcos_cap_v2"),
            tokenizer=tokenizer(),
            text_encoder=text_encoder(),
            unet=network,
            scheduler=DDIMScheduler(clip_sample=False, steps_offset=1),
            vae=vae(),
        )
    )


def stable_diffusion(
    kind: Any = StableDiffusionPipeline,
    adapters: tuple[str, ...] = ("pooled",),
    width: int = WIDTH,
    **more: Any,
) -> Any:
    inpainting = kind is StableDiffusionInpaintPipeline
    pipe = kind(
        vae=vae(),
        text_encoder=text_encoder(),
        tokenizer=tokenizer(),
        unet=unet(in_channels=9) if inpainting else unet(),
        scheduler=DDIMScheduler(clip_sample=False, steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
        **more,
    )
    return quiet(with_adapters(pipe, adapters, width))


def controlnet() -> Any:
    network = seeded(
        ControlNetModel,
        in_channels=4,
        layers_per_block=1,
        block_out_channels=(8, 16),
        norm_num_groups=4,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        cross_attention_dim=TEXT,
        attention_head_dim=2,
        conditioning_embedding_out_channels=(4, 8),
    )
    return stable_diffusion(StableDiffusionControlNetPipeline, controlnet=network)


def sdxl(adapters: tuple[str, ...] = ("pooled",)) -> StableDiffusionXLPipeline:
    network = unet(
        cross_attention_dim=2 * TEXT,
        addition_embed_type="text_time",
        addition_time_embed_dim=4,
        projection_class_embeddings_input_dim=6 * 4 + TEXT,
        transformer_layers_per_block=1,
    )
    pipe = StableDiffusionXLPipeline(
        vae=vae(),
        text_encoder=text_encoder(),
        text_encoder_2=text_encoder(CLIPTextModelWithProjection),
        tokenizer=tokenizer(),
        tokenizer_2=tokenizer(),
        unet=network,
        scheduler=EulerDiscreteScheduler(),
        add_watermarker=False,
    )
    return quiet(with_adapters(pipe, adapters))


def video() -> StableVideoDiffusionPipeline:
    network = seeded(
        UNetSpatioTemporalConditionModel,
        sample_size=8,
        in_channels=8,
        out_channels=4,
        block_out_channels=(32, 64),
        down_block_types=("CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"),
        up_block_types=("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"),
        layers_per_block=1,
        cross_attention_dim=WIDTH,
        num_attention_heads=2,
        addition_time_embed_dim=4,
        projection_class_embeddings_input_dim=12,
        num_frames=2,
    )
    decoder = seeded(
        AutoencoderKLTemporalDecoder,
        block_out_channels=[32, 32],
        down_block_types=["DownEncoderBlock2D"] * 2,
        latent_channels=4,
    )
    return quiet(
        StableVideoDiffusionPipeline(
            vae=decoder,
            image_encoder=image_encoder(size=224),
            unet=network,
            scheduler=EulerDiscreteScheduler(prediction_type="v_prediction"),
            feature_extractor=feature_extractor(),
        )
    )


def image_variation() -> StableDiffusionImageVariationPipeline:
    return quiet(
        StableDiffusionImageVariationPipeline(
            vae=vae(),
            image_encoder=image_encoder(),
            unet=unet(),
            scheduler=DDIMScheduler(clip_sample=False, steps_offset=1),
            safety_checker=None,
            feature_extractor=feature_extractor(),
            requires_safety_checker=False,
        )
    )


def pixels_alone() -> DDPMPipeline:
    """A pipeline that knows neither latents nor words nor embeddings."""
    network = UNet2DModel(
        sample_size=8,
        block_out_channels=(8, 8),
        down_block_types=("DownBlock2D",) * 2,
        up_block_types=("UpBlock2D",) * 2,
        layers_per_block=1,
        norm_num_groups=4,
    )
    return DDPMPipeline(network, DDPMScheduler())


def kandinsky() -> KandinskyV22Pipeline:
    network = unet(
        out_channels=8,
        encoder_hid_dim=WIDTH,
        encoder_hid_dim_type="image_proj",
        addition_embed_type="image",
        down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
        up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        resnet_time_scale_shift="scale_shift",
        class_embed_type=None,
    )
    return quiet(
        KandinskyV22Pipeline(
            unet=network, scheduler=DDIMScheduler(clip_sample=False, steps_offset=1), movq=movq()
        )
    )


def quiet(pipe: Any) -> Any:
    pipe.set_progress_bar_config(disable=True)
    return pipe


IMG2IMG, INPAINT = StableDiffusionImg2ImgPipeline, StableDiffusionInpaintPipeline


def kandinsky_2_1() -> Any:
    """Kandinsky 2.1, which attends to the text and to the image embedding."""
    from diffusers import KandinskyPipeline
    from diffusers.pipelines.kandinsky.text_encoder import MCLIPConfig, MultilingualCLIP

    network = unet(
        out_channels=8,
        cross_attention_dim=WIDTH,
        encoder_hid_dim=TEXT,
        encoder_hid_dim_type="text_image_proj",
        addition_embed_type="text_image",
        down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
        up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        resnet_time_scale_shift="scale_shift",
        class_embed_type=None,
    )
    config = MCLIPConfig(
        numDims=TEXT,
        transformerDimensions=TEXT,
        hidden_size=TEXT,
        intermediate_size=16,
        num_attention_heads=2,
        num_hidden_layers=1,
        vocab_size=54,
        max_position_embeddings=82,
    )
    config.transformerDimensions = config.numDims = TEXT
    return quiet(
        KandinskyPipeline(
            text_encoder=seeded(MultilingualCLIP, config),
            tokenizer=tokenizer(),
            unet=network,
            scheduler=DDIMScheduler(clip_sample=False, steps_offset=1),
            movq=movq(),
        )
    )


def cascade_prior() -> Any:
    from diffusers import DDPMWuerstchenScheduler, StableCascadePriorPipeline
    from diffusers.models import StableCascadeUNet

    network = seeded(
        StableCascadeUNet,
        conditioning_dim=16,
        block_out_channels=(16,),
        num_attention_heads=(2,),
        down_num_layers_per_block=(1,),
        up_num_layers_per_block=(1,),
        down_blocks_repeat_mappers=(1,),
        up_blocks_repeat_mappers=(1,),
        block_types_per_layer=(("SDCascadeResBlock", "SDCascadeTimestepBlock", "SDCascadeAttnBlock"),),
        switch_level=(False,),
        clip_image_in_channels=WIDTH,
        clip_text_in_channels=TEXT,
        clip_text_pooled_in_channels=TEXT,
        dropout=(0.0,),
        self_attn=True,
    )
    return quiet(
        StableCascadePriorPipeline(
            tokenizer=tokenizer(),
            text_encoder=text_encoder(CLIPTextModelWithProjection),
            prior=network,
            scheduler=DDPMWuerstchenScheduler(),
        )
    )


def unclip_variation() -> Any:
    """Karlo's image variations: a decoder and two networks that enlarge its pictures."""
    from diffusers import UnCLIPImageVariationPipeline, UnCLIPScheduler
    from diffusers.pipelines.deprecated.unclip.text_proj import UnCLIPTextProjModel

    decoder = unet(
        sample_size=8,
        in_channels=3,
        out_channels=6,
        class_embed_type="identity",
        down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
        up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        resnet_time_scale_shift="scale_shift",
    )
    enlarger = {
        "sample_size": 16,
        "layers_per_block": 1,
        "down_block_types": ("ResnetDownsampleBlock2D",) * 2,
        "up_block_types": ("ResnetUpsampleBlock2D",) * 2,
        "block_out_channels": (8, 16),
        "norm_num_groups": 4,
        "in_channels": 6,
        "out_channels": 3,
    }
    return quiet(
        UnCLIPImageVariationPipeline(
            decoder=decoder,
            text_encoder=text_encoder(CLIPTextModelWithProjection),
            tokenizer=tokenizer(),
            text_proj=seeded(
                UnCLIPTextProjModel, clip_embeddings_dim=WIDTH, time_embed_dim=32, cross_attention_dim=TEXT
            ),
            feature_extractor=feature_extractor(),
            image_encoder=None,
            super_res_first=seeded(UNet2DModel, **enlarger),
            super_res_last=seeded(UNet2DModel, **enlarger),
            decoder_scheduler=UnCLIPScheduler(
                variance_type="learned_range", prediction_type="epsilon", num_train_timesteps=1000
            ),
            super_res_scheduler=UnCLIPScheduler(
                variance_type="fixed_small_log", prediction_type="epsilon", num_train_timesteps=1000
            ),
        )
    )


def flux(adapters: int = 1, width: int = WIDTH) -> Any:
    """Flux without text encoders, so that it takes prompt embeddings; with IP-Adapters of random weights."""
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel

    network = seeded(
        FluxTransformer2DModel,
        patch_size=1,
        in_channels=4,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        pooled_projection_dim=32,
        axes_dims_rope=[4, 4, 8],
    )
    decoder = seeded(
        AutoencoderKL,
        block_out_channels=(4,),
        layers_per_block=1,
        latent_channels=1,
        norm_num_groups=1,
        use_quant_conv=False,
        use_post_quant_conv=False,
        shift_factor=0.06,
        scaling_factor=1.5,
    )
    generator = torch.Generator().manual_seed(7)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator) * 0.3

    cross = network.config.num_attention_heads * network.config.attention_head_dim
    states = []
    for _ in range(adapters):
        attention = {f"0.{part}_ip.{kind}": drawn(cross, cross) if kind == "weight" else drawn(cross)
                     for part in ("to_k", "to_v") for kind in ("weight", "bias")}  # fmt: skip
        projection = {"proj.weight": drawn(4 * cross, width), "proj.bias": drawn(4 * cross),
                      "norm.weight": torch.ones(cross), "norm.bias": torch.zeros(cross)}  # fmt: skip
        states.append({"image_proj": projection, "ip_adapter": attention})
    if states:
        network._load_ip_adapter_weights(states, low_cpu_mem_usage=False)
    return quiet(
        FluxPipeline(
            scheduler=FlowMatchEulerDiscreteScheduler(),
            vae=decoder,
            text_encoder=None,
            tokenizer=None,
            text_encoder_2=None,
            tokenizer_2=None,
            transformer=network,
        )
    )
