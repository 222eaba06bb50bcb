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


def write_card(directory: Path, card: Mapping[str, Any]) -> None:
    """Put a card into the directory that it describes."""
    (directory / CARD).write_text(json.dumps(card, indent=1) + "\n")
