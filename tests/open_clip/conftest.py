"""A six-tower model with random weights, registered as a plugin would register it, and pictures to show it."""

from __future__ import annotations

import sys
import types
from importlib.metadata import EntryPoint

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("open_clip")

from bindplug import hookimpl, plugins
from bindplug.cards import ModelCard
from bindplug.imagebind import ImageBind, ImageBindConfig, save_directory
from bindplug.modality import Modality
from bindplug.space import EmbeddingSpace

NAME = "imagebind_toy"
SPACE = EmbeddingSpace("bindplug:toy_test", 128)
CONFIG = ImageBindConfig.from_official(
    {
        "out_embed_dim": 128, "kernel_size": (2, 28, 28),
        "vision_embed_dim": 192, "vision_num_blocks": 3, "vision_num_heads": 3,
        "text_embed_dim": 96, "text_num_blocks": 3, "text_num_heads": 3,
        "audio_embed_dim": 64, "audio_num_blocks": 2, "audio_num_heads": 4, "audio_kernel_size": 16, "audio_stride": 16,
        "depth_embed_dim": 64, "depth_num_blocks": 2, "depth_num_heads": 4, "depth_kernel_size": 28,
        "thermal_embed_dim": 64, "thermal_num_blocks": 2, "thermal_num_heads": 4, "thermal_kernel_size": 28,
        "imu_embed_dim": 48, "imu_num_blocks": 2, "imu_num_heads": 3, "imu_kernel_size": 20,
    }
)  # fmt: skip


def random_imagebind(seed: int = 0, *, uneven_frames: bool = False) -> ImageBind:
    """A network whose every tensor matters: biases and norms are not at their initial 0 and 1."""
    torch.manual_seed(seed)
    model = ImageBind(CONFIG, space=SPACE)
    with torch.no_grad():
        for parameter in model.towers.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
        if not uneven_frames:
            weight = model.towers["vision"].stem.proj.weight
            weight.copy_(weight.mean(2, keepdim=True).expand_as(weight))
    return model.eval()


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    """A directory of weights, as BINDPLUG_HOME."""
    home = tmp_path_factory.mktemp("home")
    save_directory(random_imagebind(), home / NAME, license="Apache-2.0")
    save_directory(random_imagebind(uneven_frames=True), home / "imagebind_uneven", license="Apache-2.0")
    return home


@pytest.fixture(autouse=True)
def registered(home, monkeypatch):
    """The model and the open_clip plugin, and nothing else."""
    toys = types.ModuleType("open_clip_test_models")

    @hookimpl
    def register_models(register):
        for name in (NAME, "imagebind_uneven"):
            register(
                ModelCard(
                    name=name, modalities=tuple(m.value for m in Modality), space=SPACE, license="Apache-2.0",
                    url=f"http://127.0.0.1:9/{name}.pth",
                )
            )  # fmt: skip

    toys.register_models = register_models
    monkeypatch.setitem(sys.modules, "open_clip_test_models", toys)
    points = [
        EntryPoint("open_clip", "bindplug_open_clip.plugin", "bindplug"),
        EntryPoint("toys", "open_clip_test_models", "bindplug"),
    ]
    monkeypatch.setattr(plugins, "entry_points", lambda group: points)
    monkeypatch.setenv("BINDPLUG_HOME", str(home))
    monkeypatch.setenv("BINDPLUG_OFFLINE", "1")
    plugins.refresh()
    yield
    plugins.refresh()


@pytest.fixture
def official() -> ImageBind:
    """The same weights in bindplug's own class."""
    return random_imagebind()


@pytest.fixture
def model():
    import bindplug_open_clip as open_clip

    return open_clip.create_model(NAME).eval()


def picture(width: int = 320, height: int = 256, seed: int = 0) -> Image.Image:
    """Smooth random colors."""
    small = np.random.default_rng(seed).integers(0, 256, (9, 11, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def inputs(batch: int = 2, seed: int = 0) -> dict[str, torch.Tensor]:
    """A batch of every modality but text."""
    g = torch.Generator().manual_seed(seed)
    return {
        "image": torch.randn(batch, 3, 224, 224, generator=g),
        "video": torch.randn(batch, 3, 3, 2, 224, 224, generator=g),
        "audio": torch.randn(batch, 3, 1, 128, 204, generator=g),
        "depth": torch.rand(batch, 1, 224, 224, generator=g),
        "thermal": torch.rand(batch, 1, 224, 224, generator=g),
        "imu": torch.randn(batch, 6, 2000, generator=g),
    }
