"""The network of every image encoder: a vision transformer of one of three sizes, and CLIP's text tower beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bindplug.errors import InputError
from bindplug.imagebind import (
    TEXT_LOG_SCALE,
    ImageBindConfig,
    PatchTower,
    TextTower,
    TowerConfig,
    initialize_tower,
)
from bindplug.inputs import MEAN, STD, Tokenizer

SIDE = 64
"""Height and width in pixels of the images that the encoders see."""
PATCH = 8
"""Height and width in pixels of a patch: 64 patches an image, as the toy world's shipped towers have."""
TEXT_WIDTH, TEXT_BLOCKS, TEXT_HEADS = 96, 2, 3
BATCH = 256


@dataclass(frozen=True)
class EncoderSize:
    """The shape of an image encoder.

    Attributes:
        width: channels of a token, and the length of the encoder's rows.
        blocks: transformer blocks.
        heads: attention heads.
    """

    width: int
    blocks: int
    heads: int


SIZES = MappingProxyType(
    {"small": EncoderSize(48, 2, 3), "base": EncoderSize(96, 4, 3), "large": EncoderSize(160, 6, 5)}
)
"""Image encoders by size: about 0.1, 0.5 and 1.9 million parameters."""


def _config(size: EncoderSize) -> ImageBindConfig:
    vision = TowerConfig(size.width, size.blocks, size.heads, kernel=(1, PATCH, PATCH))
    text = TowerConfig(TEXT_WIDTH, TEXT_BLOCKS, TEXT_HEADS)
    unused = TowerConfig(size.width, 1, 1, kernel=(PATCH, PATCH))
    return ImageBindConfig(
        vision=vision, text=text, audio=unused, depth=unused, thermal=unused,
        imu=TowerConfig(size.width, 1, 1, kernel=(PATCH,)), embed_dim=size.width,
    )  # fmt: skip


@torch.no_grad()
def initialize_narrow_tower(tower: PatchTower | TextTower, generator: torch.Generator) -> None:
    """Fill a tower as the core does, but with blocks whose linear layers keep the variance of their inputs.

    The core's deviation of 0.02 is for widths of 384 and more. At a width of 96 every layer makes its inputs five
    times smaller, the class token hardly differs between pictures, and training spends hundreds of steps on growth.
    """
    initialize_tower(tower, generator)
    for layer in tower.blocks.modules():
        if isinstance(layer, nn.Linear):
            std = layer.in_features**-0.5
            nn.init.trunc_normal_(layer.weight, std=std, a=-2 * std, b=2 * std, generator=generator)


def _vision_tower(config: ImageBindConfig) -> PatchTower:
    tower = PatchTower("vision", config)
    # The core's towers have positions for 224 pixels. These images are smaller, and so is their grid.
    side = SIDE // PATCH
    tower.grid = (1, side, side)
    tower.pos_embed = nn.Parameter(torch.empty(1, 1 + side * side, config.vision.width))
    return tower


class ImageEncoder(nn.Module):
    """A small image encoder, with a text tower where it was trained on captions.

    Args:
        method: how it was trained, one of :data:`~bindplug_lab.encoders.METHODS`.
        size: a name in :data:`SIZES`.
        seed: of the initial weights.
        narrow: whether the initial weights suit narrow towers (:func:`initialize_narrow_tower`); False takes the
            core's, which are for wide ones.

    Attributes:
        width: D, the length of its rows.
        visual: the image tower.
        text: the text tower of ``"clip"``, otherwise None.
        log_scale: the logarithm of the inverse temperature of ``"clip"``.
    """

    def __init__(self, method: str, size: str, seed: int = 0, *, narrow: bool = True) -> None:
        super().__init__()
        initialize = initialize_narrow_tower if narrow else initialize_tower
        config = _config(SIZES[size])
        self.method, self.size, self.seed = method, size, seed
        self.width = config.embed_dim
        generator = torch.Generator().manual_seed(seed)
        self.visual = _vision_tower(config)
        initialize(self.visual, generator)
        self.text: TextTower | None = None
        self.log_scale = nn.Parameter(torch.tensor(TEXT_LOG_SCALE), requires_grad=method == "clip")
        if method == "clip":
            self.text = TextTower("text", config)
            initialize(self.text, generator)

    def forward(self, images: Tensor) -> Tensor:
        """Normalized images (B, 3, H, W) -> raw rows (B, D)."""
        rows: Tensor = self.visual(images)
        return rows

    @torch.inference_mode()
    def embed(self, pixels: Tensor) -> Tensor:
        """Unit rows of images.

        Args:
            pixels: (B, 3, H, W) uint8 RGB; other sizes than 64 pixels are resized.

        Returns:
            (B, D) float32 on the CPU.

        Raises:
            InputError: the tensor has another shape or dtype.
        """
        if pixels.ndim != 4 or pixels.shape[1] != 3 or pixels.dtype != torch.uint8:
            raise InputError(
                "pixels",
                found=f"a tensor of {tuple(pixels.shape)} {str(pixels.dtype).removeprefix('torch.')}",
                expected="(B, 3, H, W) uint8",
            )
        parts = [F.normalize(self(normalize(resize(part))), dim=-1) for part in pixels.split(BATCH)]
        return torch.cat(parts).float().clone() if parts else torch.zeros(0, self.width)

    @torch.inference_mode()
    def embed_text(self, texts: Sequence[str]) -> Tensor:
        """(B, D) unit rows of texts.

        Raises:
            InputError: the encoder was trained without captions.
        """
        if self.text is None:
            raise InputError(
                f"the {self.method} encoder",
                found="no text tower",
                expected="an encoder trained on captions",
                remedy="use the method 'clip', or compare with prototypes of its image rows",
            )
        rows = [F.normalize(self.text(tokens), dim=-1) for tokens in Tokenizer()(list(texts)).split(BATCH)]
        return torch.cat(rows).float().clone()


def resize(pixels: Tensor, side: int = SIDE) -> Tensor:
    """(B, 3, H, W) uint8 -> (B, 3, side, side) float32 of the same range, antialiased."""
    images = pixels.float()
    if images.shape[-2:] == (side, side):
        return images
    return F.interpolate(images, size=(side, side), mode="bilinear", antialias=True)


def normalize(images: Tensor) -> Tensor:
    """(B, 3, H, W) of 0 to 255 -> CLIP's mean and standard deviation."""
    mean, std = torch.tensor(MEAN)[:, None, None], torch.tensor(STD)[:, None, None]
    return (images / 255 - mean) / std
