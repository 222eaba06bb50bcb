"""``card.json`` of what a recipe ships: recipe, circumstances and figures."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

CARD = "card.json"
NORMAL_95 = 1.96
"""Standard deviations around the mean that hold 95 % of a normal distribution."""


def begin_card(size: Any, command: str) -> dict[str, Any]:
    """What every card starts with.

    Args:
        size: the recipe, a dataclass.
        command: that runs it again.
    """
    return {
        "recipe": asdict(size),
        "command": command,
        "torch": torch.__version__,
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
    }


def interval(value: float, count: int) -> tuple[float, float]:
    """The 95 % interval of a fraction that was measured on ``count`` queries.

    Source: Wilson, Probable Inference, the Law of Succession, and Statistical Inference (1927).
    """
    z = NORMAL_95
    middle = (value + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * (value * (1 - value) / count + z * z / (4 * count * count)) ** 0.5
    return max(0.0, middle - half), min(1.0, middle + half)


def write_card(directory: Path, card: Mapping[str, Any]) -> None:
    """Put a card into the directory that it describes."""
    (directory / CARD).write_text(json.dumps(card, indent=1) + "\n")
