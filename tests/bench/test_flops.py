"""Operations counted from a config are those that PyTorch counts while the network runs."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from bindplug.bench import tower_flops, tower_products
from bindplug.imagebind import ImageBind, ImageBindConfig
from bindplug.imagebind.config import TowerConfig
from bindplug.modality import TOWERS

CONFIG = ImageBindConfig(
    vision=TowerConfig(32, 2, 2, kernel=(2, 16, 16)),
    text=TowerConfig(24, 3, 2),
    audio=TowerConfig(16, 2, 4, kernel=(16, 16), stride=(10, 10)),
    depth=TowerConfig(16, 1, 2, kernel=(32, 32), head="mlp"),
    thermal=TowerConfig(16, 2, 2, kernel=(32, 32)),
    imu=TowerConfig(16, 3, 2, kernel=(8,)),
    embed_dim=12,
    image_size=64,
    imu_steps=80,
    vocab_size=100,
)
CLIPS, LENGTH = 3, 9


def ids() -> torch.Tensor:
    tokens = torch.randint(1, 99, (CLIPS, CONFIG.context_length))
    tokens[:, LENGTH - 1], tokens[:, LENGTH:] = 99, 0
    return tokens


INPUTS = {
    "image": ("vision", (CLIPS, 3, 64, 64)),
    "video": ("vision", (1, CLIPS, 3, 2, 64, 64)),
    "text": ("text", ()),
    "audio": ("audio", (1, CLIPS, 1, 128, 204)),
    "depth": ("depth", (CLIPS, 1, 64, 64)),
    "thermal": ("thermal", (CLIPS, 1, 64, 64)),
    "imu": ("imu", (CLIPS, 6, 80)),
}


@pytest.mark.parametrize("modality", INPUTS)
def test_formulas_agree_with_torchs_counter(modality: str) -> None:
    tower, shape = INPUTS[modality]
    model = ImageBind(CONFIG, [modality]).eval()
    x = torch.randn(shape) if shape else ids()
    # the counter knows attention only where it is made of matrix products
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        model.encode(modality, x)
    length = LENGTH if tower == "text" else None
    counted = tower_flops(CONFIG, tower, clips=CLIPS, length=length, still=modality != "video")
    assert counted == counter.get_total_flops() > 0


@pytest.mark.parametrize("tower", TOWERS)
def test_work_grows_in_proportion_to_clips(tower: str) -> None:
    assert tower_flops(CONFIG, tower, clips=6) == 6 * tower_flops(CONFIG, tower)


def test_published_image_tower_takes_about_320_gflop() -> None:
    """32 blocks of 24 L D^2 + 4 L^2 D, less what the last one saves."""
    length, width = 257, 1280
    block = 24 * length * width**2 + 4 * length**2 * width
    assert 31 * block < tower_flops(ImageBindConfig.huge(), "vision") < 32 * block


def test_products_of_one_block_are_the_last_ones() -> None:
    one = replace(CONFIG, text=TowerConfig(24, 1, 2))
    assert {product.part for product in tower_products(one, "text")} == {"last", "head"}


@pytest.mark.parametrize(("tower", "length"), [("text", 78), ("text", 0), ("audio", 12)])
def test_impossible_lengths_are_refused(tower: str, length: int) -> None:
    with pytest.raises(ValueError, match="texts have 1 to 77"):
        tower_flops(CONFIG, tower, length=length)
