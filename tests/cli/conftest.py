"""A tiny ImageBind with random weights, and files of every kind for it to read."""

from __future__ import annotations

import csv
import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from bindplug.cli.app import run
from bindplug.imagebind import ImageBind, save_directory
from bindplug.space import EmbeddingSpace
from tests.small import SMALL


@dataclass
class Ran:
    """What a command line printed, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def bindplug(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Runs a command line in this process: ``bindplug("models", "--json")``."""

    def call(*arguments: object) -> Ran:
        capsys.readouterr()
        with warnings.catch_warnings():  # what is shown to a person must not be raised by pytest
            warnings.simplefilter("always", UserWarning)
            code = run([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return Ran(code, printed.out, printed.err)

    return call


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
