"""A tiny ImageBind with random weights, and files of every kind for it to read."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bindplug.imagebind import ImageBind, save_directory
from bindplug.space import EmbeddingSpace
from tests.command_line import bindplug  # noqa: F401 - a fixture
from tests.small import SMALL


@pytest.fixture(scope="session")
def model_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A converted directory of a small random ImageBind with all six towers."""
    torch.manual_seed(0)
    model = ImageBind(SMALL, space=EmbeddingSpace("test:small", 16))
    return save_directory(model.eval(), tmp_path_factory.mktemp("weights") / "small", license="Apache-2.0")


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One readable file of every sensor that needs no codec, and a broken picture."""
    directory = tmp_path_factory.mktemp("files")
    rng = np.random.default_rng(0)
    made = {name: directory / f"{name}.png" for name in ("image", "other", "depth", "broken")}
    made |= {
        "thermal": directory / "thermal.tiff",
        "audio": directory / "audio.wav",
        "imu": directory / "imu.csv",
    }
    Image.fromarray(rng.integers(0, 255, (48, 64, 3), dtype=np.uint8)).save(made["image"])
    Image.fromarray(rng.integers(0, 255, (64, 48, 3), dtype=np.uint8)).save(made["other"])
    Image.fromarray(rng.integers(500, 4000, (48, 64), dtype=np.uint16)).save(made["depth"])
    Image.fromarray(rng.integers(28000, 31000, (48, 64), dtype=np.uint16)).save(made["thermal"])
    made["broken"].write_bytes(b"this is no picture")
    _write_wav(made["audio"], rng.normal(0, 0.1, 16000))
    with made["imu"].open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["timestamp_s", "acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z"])
        rest = np.array([0, 0, 9.8, 0, 0, 0])
        writer.writerows([i / 200, *(rest + rng.normal(0, 1, 6)).round(4)] for i in range(1000))
    return made


def _write_wav(path: Path, samples: np.ndarray) -> None:
    import wave

    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
