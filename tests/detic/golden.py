"""The published detectors with weights from a rule, and what the original computed with them."""

from __future__ import annotations

import json
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

GOLDEN = Path(__file__).parents[1] / "golden" / "detic"
REFERENCE = "BINDPLUG_REFERENCE"
"""Environment variable: the folder that holds ``detic/`` with the complete reference arrays."""

SPREAD = {
    "r50": {
        "bottom_up": 3.3e-5,
        "fpn": 3.3e-5,
        "maps": 1.8e-5,
        "proposal_boxes": 7.3e-4,
        "proposal_scores": 1.7e-6,
        "deltas": 2.7e-4,
        "class_logits": 8.7e-5,
        "boxes": 3.2e-3,
        "scores": 2.1e-6,
        "mask_logits": 3.1e-4,
        "mask_area": 10,
    },
    "swinb": {
        "bottom_up": 1.8e-5,
        "fpn": 1.8e-5,
        "maps": 1.7e-5,
        "proposal_boxes": 1.0e-3,
        "proposal_scores": 2.5e-6,
        "deltas": 3.7e-5,
        "class_logits": 3.1e-5,
        "boxes": 5.2e-4,
        "scores": 1.0e-6,
        "mask_logits": 1.8e-4,
        "mask_area": 8,
    },
}
"""How far the original moves between two sets of CPU kernels."""


@dataclass
class Golden:
    """Arrays and settings of one published detector.

    Args:
        variant: ``"r50"`` or ``"swinb"``.
        arrays: by name.
        facts: settings of the runs and statistics of large tensors.
        vocabularies: class vectors of each run that the arrays cover.
    """

    variant: str
    arrays: dict[str, np.ndarray]
    facts: dict[str, Any]
    vocabularies: dict[str, Tensor]

    def limit(self, quantity: str) -> float:
        return 10 * SPREAD[self.variant][quantity]

    def tensor(self, name: str) -> Tensor:
        return torch.from_numpy(self.arrays[name])

    def close(self, name: str, result: Tensor, quantity: str) -> None:
        """Fails unless ``found`` is the array of that name within ten times its spread."""
        expected = self.tensor(name)
        assert result.shape == expected.shape, name
        deviation = float((result.float() - expected.float()).abs().max())
        report = os.environ.get("BINDPLUG_DEVIATIONS")
        if report:
            with Path(report).open("a") as file:
                file.write(f"{self.variant} {quantity} {name} {deviation:.2e}\n")
        assert deviation <= self.limit(quantity), f"{name} deviates by {deviation}"


def keys(variant: str) -> dict[str, dict[str, Any]]:
    """Official names -> shape, and fill (a, b, whether of |n|) with a check value where the rule has one."""
    return json.loads((GOLDEN / f"keys_{variant}.json").read_text())


def filled(name: str, shape: list[int], a: float, b: float, absolute: bool) -> Tensor:
    """The tensor that the rule gives for a name and shape."""
    generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    noise = torch.randn(shape, generator=generator)
    return (noise.abs() if absolute else noise).mul_(b).add_(a)


def official_state(variant: str) -> dict[str, Tensor]:
    """Every tensor that the rule fills; class vectors and counters are left out."""
    return {
        name: filled(name, entry["shape"], *entry["fill"])
        for name, entry in keys(variant).items()
        if "fill" in entry
    }


def golden_image(size: tuple[int, int] | None = None) -> Tensor:
    """The picture, (3, H, W) uint8, resized to (height, width) where given."""
    with Image.open(GOLDEN / "input_256x320.png") as file:
        picture = file.convert("RGB")
    if size is not None:
        picture = picture.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)


def load_golden() -> Golden:
    """The part of the ResNet-50's arrays that is kept with the tests."""
    with np.load(GOLDEN / "golden_r50.npz") as file:
        arrays = dict(file)
    facts = json.loads((GOLDEN / "golden_r50.json").read_text())
    custom = torch.from_numpy(arrays["custom_embeddings"])
    vocabularies = {"custom_all": custom, "single": custom[2:3], "custom_resized": custom}
    return Golden("r50", arrays, facts, vocabularies)


def load_reference(variant: str) -> Golden:
    """All arrays of a detector, from the folder that :data:`REFERENCE` names; skips where it is unset."""
    if not os.environ.get(REFERENCE):
        pytest.skip(f"{REFERENCE} does not name the folder of reference arrays")
    folder = Path(os.environ[REFERENCE]) / "detic"
    with np.load(folder / f"golden_{variant}.npz") as file:
        arrays = dict(file)
    facts = json.loads((folder / f"golden_{variant}.json").read_text())
    custom = torch.from_numpy(arrays["custom_embeddings"])
    lvis = torch.from_numpy(np.load(folder / "lvis_v1_clip_a+cname.npy")).float()
    vocabularies = {
        "custom_all": custom,
        "single": custom[2:3],
        "custom_resized": custom,
        "lvis_all": lvis,
        "lvis_one": lvis,
    }
    return Golden(variant, arrays, facts, vocabularies)
