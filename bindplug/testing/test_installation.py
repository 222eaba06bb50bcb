"""A smoke test of an installed bindplug: ``pytest --pyargs bindplug.testing``.

It needs pytest and the extras ``audio`` and ``cli``; no checkout, no network and no weights but the bundled ones.
"""

from __future__ import annotations

import json
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest
import torch

import bindplug
from bindplug import Encoder, Query

MODEL = "imagebind_tiny"
SENSES = ("image", "text", "audio", "depth", "thermal", "imu")


@pytest.fixture(scope="module")
def model() -> Encoder:
    return bindplug.load(MODEL)


@pytest.fixture(scope="module")
def queries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Query]:
    """A query for each sense, of random content."""
    rng = np.random.default_rng(0)
    sound = tmp_path_factory.mktemp("files") / "noise.wav"
    with wave.open(str(sound), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(rng.integers(-3000, 3000, 48000).astype("<i2").tobytes())
    return {
        "image": bindplug.image(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)),
        "text": bindplug.text("a dog"),
        "audio": bindplug.audio(sound),
        "depth": bindplug.depth(rng.uniform(0.5, 5.0, (64, 64)).astype(np.float32), unit="m"),
        "thermal": bindplug.thermal(rng.uniform(10.0, 40.0, (64, 64)).astype(np.float32)),
        "imu": bindplug.imu(rng.normal(0.0, 1.0, (6, 2000)).astype(np.float32), sample_rate=200.0),
    }


@pytest.mark.parametrize("sense", SENSES)
def test_every_sense_is_embedded(model: Encoder, queries: dict[str, Query], sense: str) -> None:
    row = model.embed([queries[sense]])
    assert row.shape == (1, model.embedding_space.width)
    torch.testing.assert_close(row.norm(dim=1), torch.ones(1), atol=1e-5, rtol=0.0)


def test_queries_of_two_senses_add_up(model: Encoder, queries: dict[str, Query]) -> None:
    total = model.embed([queries["image"] + 0.5 * queries["audio"]])
    parts = model.embed([queries["image"], queries["audio"]])
    expected = torch.nn.functional.normalize(parts[0] + 0.5 * parts[1], dim=0)
    torch.testing.assert_close(total[0], expected, atol=1e-5, rtol=0.0)


def test_bundled_plugins_are_ready_or_name_what_they_lack() -> None:
    plugins = {plugin.name: plugin for plugin in bindplug.list_plugins()}
    assert {"imagebind", "toyworld", "detic", "diffusers", "open_clip", "transformers"} <= set(plugins)
    assert {plugin.status for plugin in plugins.values()} <= {"ready", "unavailable"}


def test_the_command_line_compares(queries: dict[str, Query], tmp_path: Path) -> None:
    command = ["compare", "--text", "a dog", "--text", "a train", "--json", "--model", MODEL]
    process = subprocess.run(
        [sys.executable, "-m", "bindplug.cli", *command],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=True,
    )
    assert len(json.loads(process.stdout)["cosines"]) == 2
