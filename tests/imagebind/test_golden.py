"""The original's numbers, reproduced from synthetic weights."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from bindplug.imagebind import ImageBind, ImageBindConfig
from tests.imagebind.synthetic import GOLDEN, golden_input, load_golden, state_by_name

OUTPUTS = {
    "vision": "vision",
    "text": "text",
    "audio": "audio",
    "audio_single_clip": "audio",
    "depth": "depth",
    "thermal": "thermal",
    "imu": "imu",
    "video": "vision",
}
TOLERANCE = 1e-4


def relative_deviation(rows: torch.Tensor, golden: np.ndarray) -> float:
    """The largest deviation, relative to the largest number of the golden row."""
    gap = np.abs(rows.numpy() - golden).max(axis=1)
    return float((gap / np.abs(golden).max(axis=1)).max())


@pytest.mark.parametrize("name", OUTPUTS)
def test_tiny_gives_the_original_numbers(tiny: ImageBind, name: str) -> None:
    golden = load_golden("golden_tiny.npz")
    key = OUTPUTS[name]
    with torch.inference_mode():
        rows = tiny({key: golden_input(name, golden)})[key]
    np.testing.assert_allclose(
        rows.numpy(), golden[name], rtol=TOLERANCE, atol=TOLERANCE * np.abs(golden[name]).mean()
    )
    assert relative_deviation(rows, golden[name]) < TOLERANCE


def test_tiny_takes_every_modality_at_once(tiny: ImageBind) -> None:
    golden = load_golden("golden_tiny.npz")
    names = ["vision", "text", "audio", "depth", "thermal", "imu"]
    with torch.inference_mode():
        rows = tiny({name: golden_input(name, golden) for name in names})
    assert list(rows) == names
    assert max(relative_deviation(rows[name], golden[name]) for name in names) < TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize("tower", ["vision", "text", "audio", "depth", "thermal", "imu"])
def test_huge_gives_the_original_numbers(tower: str) -> None:
    golden = load_golden("golden_huge.npz")
    state = state_by_name("keys_huge.json", {tower})
    model = ImageBind.from_official(state, ImageBindConfig.huge(), modalities={tower})
    del state
    for name in (name for name, key in OUTPUTS.items() if key == tower):
        with torch.inference_mode():
            rows = model({tower: golden_input(name, golden)})[tower]
        deviation = relative_deviation(rows, golden[name])
        print(f"{name}: {deviation:.2e}")
        assert deviation < TOLERANCE


def test_golden_texts_and_tokens_agree_in_number() -> None:
    description = json.loads((GOLDEN / "golden_tiny.json").read_text())
    assert len(description["texts"]) == len(load_golden("golden_tiny.npz")["text_tokens"]) == 7
