"""The toy unCLIP's recipe as data: how much of everything, and the shapes of its networks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class GeneratorSize:
    """How much of everything.

    Attributes:
        scenes: training scenes rendered, of each a portrait.
        side: height and width of the pictures in pixels.
        vae_channels: of the autoencoder's levels; each but the first halves the picture.
        latent_channels: of a latent pixel.
        vae_steps, vae_batch, vae_learning_rate: of the autoencoder's training.
        crop: side in pixels of the pieces of pictures that it is trained on.
        kl_weight: pull of the latents to a standard normal distribution, as mean over latents, beside L1 over pixels.
        edge_weight: of the L1 between differences of neighbouring pixels.
        decoder_steps: of the decoder's second training, on latents with noise.
        decoder_noise: most of that noise, in standard deviations of the latents.
        unet_channels: of the denoiser's levels; each but the last halves the latents.
        attention: for each level, whether its pixels attend to each other.
        layers: residual blocks of a level on the way down; one more on the way up.
        steps, batch_size, learning_rate, warmup_steps, weight_decay: of the denoiser's training.
        average: decay a step of the running mean of weights, which is what ships.
        dropped: fraction of embeddings replaced by zeros, for guidance.
        noised: fraction with noise added, the pipeline's ``noise_level`` drawn up to ``most_noise``.
        most_noise: highest level of that noise, of 1000.
        led: fraction led some way to the mean of their ``neighbours`` nearest, as rows of other sensors lie.
        neighbours: how many.
        guidance: guidance scale that the pipeline's default of 10 is to act as; see ``generator_guidance``.
        guidance_steps, guidance_learning_rate: of teaching it that.
        evaluated: pictures generated for each line of the evaluation.
        prototypes: image rows that ship with it.
        prototypes_weight: their share in a query led to them, chosen on scenes that the evaluation does not ask about.
        seed: of everything.
    """

    scenes: int
    vae_steps: int
    vae_batch: int
    decoder_steps: int
    steps: int
    batch_size: int
    guidance_steps: int
    evaluated: int
    warmup_steps: int = 200
    side: int = 64
    vae_channels: tuple[int, ...] = (16, 32, 48)
    latent_channels: int = 4
    vae_learning_rate: float = 1e-3
    crop: int = 32
    kl_weight: float = 3e-4
    edge_weight: float = 0.5
    decoder_noise: float = 0.6
    unet_channels: tuple[int, ...] = (32, 64, 128)
    attention: tuple[bool, ...] = (False, True, True)
    layers: int = 1
    learning_rate: float = 6e-4
    weight_decay: float = 0.01
    average: float = 0.999
    dropped: float = 0.1
    noised: float = 0.4
    most_noise: int = 400
    led: float = 0.3
    neighbours: int = 12
    guidance: float = 3.0
    guidance_learning_rate: float = 2e-4
    prototypes: int = 1000
    prototypes_weight: float = 0.65
    seed: int = 0

    @property
    def latent_side(self) -> int:
        """Height and width of the latents."""
        return self.side >> (len(self.vae_channels) - 1)


FULL = GeneratorSize(
    scenes=18_000,
    vae_steps=1300,
    vae_batch=64,
    decoder_steps=500,
    steps=4000,
    batch_size=128,
    guidance_steps=240,
    evaluated=500,
)

SMOKE = GeneratorSize(
    scenes=40,
    vae_steps=3,
    vae_batch=8,
    decoder_steps=3,
    steps=4,
    batch_size=8,
    guidance_steps=2,
    evaluated=2,
    warmup_steps=2,
    vae_channels=(16, 24, 32),
    unet_channels=(16, 32),
    attention=(False, True),
    average=0.5,
    neighbours=3,
    prototypes=20,
)

TRAINING_TIMESTEPS = 1000
DEFAULT_GUIDANCE = 10.0
"""The guidance scale of a call that names none. Source: diffusers, ``StableUnCLIPImg2ImgPipeline.__call__``."""
GROUPS = 8
"""Groups of every normalization in the denoiser."""
VAE_GROUPS = 4
"""And in the autoencoder: three that colors pass through at the start, and one."""


def vae_config(size: GeneratorSize) -> dict[str, Any]:
    """Keywords of diffusers' ``AutoencoderKL``."""
    levels = len(size.vae_channels)
    return {
        "block_out_channels": size.vae_channels,
        "down_block_types": ("DownEncoderBlock2D",) * levels,
        "up_block_types": ("UpDecoderBlock2D",) * levels,
        "latent_channels": size.latent_channels,
        "norm_num_groups": VAE_GROUPS,
        "sample_size": size.side,
        "scaling_factor": 1.0,  # the latents themselves are brought to unit variance
        "mid_block_add_attention": False,  # so that pieces of pictures teach it all about whole ones
    }


def unet_config(size: GeneratorSize, width: int) -> dict[str, Any]:
    """Keywords of diffusers' ``UNet2DConditionModel``.

    No level looks at the prompt: the image embedding, as class label, is its only condition.

    Args:
        size: the recipe.
        width: of the image embeddings, half of the class label's; the other half tells its noise level.
    """
    return {
        "sample_size": size.latent_side,
        "in_channels": size.latent_channels,
        "out_channels": size.latent_channels,
        "block_out_channels": size.unet_channels,
        "layers_per_block": size.layers,
        "down_block_types": tuple("AttnDownBlock2D" if a else "DownBlock2D" for a in size.attention),
        "up_block_types": tuple("AttnUpBlock2D" if a else "UpBlock2D" for a in reversed(size.attention)),
        "mid_block_type": "UNetMidBlock2D",
        "norm_num_groups": GROUPS,
        "attention_head_dim": 16,
        "cross_attention_dim": 8,
        "class_embed_type": "projection",
        "projection_class_embeddings_input_dim": 2 * width,
    }


def scheduler_config() -> dict[str, Any]:
    """Keywords of diffusers' ``DDIMScheduler``, in training and in the pipeline.

    Source: cosine schedule, arXiv 2102.09672; velocity, arXiv 2202.00512; zero terminal SNR and trailing steps, arXiv
    2305.08891.
    """
    return {
        "num_train_timesteps": TRAINING_TIMESTEPS,
        "beta_schedule": "squaredcos_cap_v2",
        "prediction_type": "v_prediction",
        "rescale_betas_zero_snr": True,
        "timestep_spacing": "trailing",
        "clip_sample": False,
    }


def noising_config() -> dict[str, Any]:
    """Keywords of diffusers' ``DDPMScheduler`` that noises image embeddings. Source: stable unCLIP's own."""
    return {"num_train_timesteps": TRAINING_TIMESTEPS, "beta_schedule": "squaredcos_cap_v2"}
