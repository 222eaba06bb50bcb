"""The baseline is ImageBind: it gives the original's golden numbers, under the official names."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.naive.model import NaiveImageBind
from benchmarks.naive.shape import HUGE, SMOKE, TOWERS, Shape
from benchmarks.networks import naive_network, synthetic_state

GOLDEN = Path(__file__).parents[1] / "golden" / "imagebind"
INPUTS = {
    "vision": (2, 3, 224, 224),
    "audio": (2, 3, 1, 128, 204),
    "depth": (2, 1, 224, 224),
    "thermal": (2, 1, 224, 224),
    "imu": (2, 6, 2000),
}


@pytest.fixture(scope="module")
def tiny() -> Shape:
    config = json.loads((GOLDEN / "golden_tiny.json").read_text())["config"]
    sizes = ("embed_dim", "num_blocks", "num_heads")
    return Shape(config["out_embed_dim"], {t: tuple(config[f"{t}_{s}"] for s in sizes) for t in TOWERS})


@pytest.mark.parametrize("tower", TOWERS)
def test_baseline_gives_the_golden_numbers(tiny: Shape, tower: str) -> None:
    with np.load(GOLDEN / "golden_tiny.npz") as golden:
        tokens, expected = torch.from_numpy(golden["text_tokens"]), torch.from_numpy(golden[tower])
    generator = torch.Generator().manual_seed(zlib.crc32(f"input.{tower}".encode()))
    x = tokens if tower == "text" else torch.randn(INPUTS[tower], generator=generator)
    network = naive_network(synthetic_state(tiny, [tower]), tiny, [tower])
    with torch.inference_mode():
        torch.testing.assert_close(network({tower: x})[tower], expected, rtol=1e-4, atol=1e-4)


def test_names_and_shapes_are_the_official_checkpoints() -> None:
    with torch.device("meta"):
        state = NaiveImageBind(HUGE).state_dict()
    official = {
        name: shape for name, (shape, _) in json.loads((GOLDEN / "keys_huge.json").read_text()).items()
    }
    assert {name: list(tensor.shape) for name, tensor in state.items()} == official


def test_construction_initializes_every_weight_at_random() -> None:
    network = NaiveImageBind(SMOKE)
    matrices = [p.detach() for p in network.parameters() if p.ndim >= 2]
    assert len(matrices) > 50
    assert all(float(matrix.std()) > 0 for matrix in matrices)
