"""The tiny network of the golden numbers."""

from __future__ import annotations

import json

import pytest
import torch

from bindplug.imagebind import ImageBind, ImageBindConfig
from tests.imagebind.synthetic import GOLDEN, state_by_name


@pytest.fixture(scope="session")
def tiny_config() -> ImageBindConfig:
    return ImageBindConfig.from_official(json.loads((GOLDEN / "golden_tiny.json").read_text())["config"])


@pytest.fixture(scope="session")
def tiny_state() -> dict[str, torch.Tensor]:
    return state_by_name("keys_tiny.json")


@pytest.fixture
def tiny(tiny_config: ImageBindConfig, tiny_state: dict[str, torch.Tensor]) -> ImageBind:
    return ImageBind.from_official({k: v.clone() for k, v in tiny_state.items()}, tiny_config)
