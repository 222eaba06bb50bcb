"""A small ImageBind with random weights, and one thing of each modality."""

from __future__ import annotations

import os
import wave
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import pytest
import torch

pytest.importorskip("transformers")

import transformers

from bindplug.imagebind import ImageBind
from bindplug_transformers import ImageBindConfig, ImageBindModel, ImageBindProcessor
from tests.transformers.tiny import small_network

# The small models that these tests write have tokenizers of transformers 5.
if int(transformers.__version__.split(".")[0]) < 5:
    collect_ignore = [f"test_sources_{name}.py" for name in ("classes", "clip_clap", "errors")]


@pytest.fixture(scope="session")
def network() -> ImageBind:
    torch.manual_seed(0)
    return ImageBind(small_network()).eval()


@pytest.fixture(scope="session")
def model(network) -> ImageBindModel:
    return ImageBindModel.from_bindplug(network)


@pytest.fixture
def fresh() -> ImageBindModel:
    torch.manual_seed(1)
    return ImageBindModel(ImageBindConfig(small_network())).eval()


@pytest.fixture(scope="session")
def processor(model) -> ImageBindProcessor:
    return ImageBindProcessor.from_bindplug(model)


@pytest.fixture(scope="session")
def sources() -> dict[str, object]:
    rng = np.random.default_rng(3)
    return {
        "text": "a dog & rain!",
        "image": rng.integers(0, 256, (60, 80, 3), dtype=np.uint8),
        "video": rng.integers(0, 256, (8, 56, 70, 3), dtype=np.uint8),
        "audio": (rng.normal(size=24000) * 0.1).astype(np.float32),
        "depth": rng.random((60, 80)).astype(np.float32) + 1,
        "thermal": rng.random((60, 80)).astype(np.float32) * 30,
        "imu": rng.normal(size=(6, 1000)).astype(np.float32),
    }


@pytest.fixture(scope="session")
def options() -> dict[str, dict[str, object]]:
    return {"audio": {"sample_rate": 16000}, "imu": {"sample_rate": 200}, "video": {"fps": 4}}


@pytest.fixture(scope="session")
def inputs(processor, sources, options):
    """Two texts and images, one of everything else."""
    return processor(
        text=[sources["text"], "a photo of a cat"],
        images=[sources["image"], sources["image"][::-1]],
        videos=sources["video"],
        audio=sources["audio"],
        depth=sources["depth"],
        thermal=sources["thermal"],
        imu=sources["imu"],
        sampling_rate=16000,
        videos_kwargs=options["video"],
        imu_kwargs=options["imu"],
        return_tensors="pt",
    )


@pytest.fixture
def wav(tmp_path, sources) -> Path:
    path = tmp_path / "sound.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes((sources["audio"] * 32767).astype("<i2").tobytes())
    return path
