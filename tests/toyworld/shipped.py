"""What the cards of the shipped weights tell."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any


def evaluation_of(name: str) -> dict[str, Any]:
    """The ``evaluation`` on the card of bundled weights, measure by measure."""
    card = files("bindplug_toyworld") / "weights" / name / "card.json"
    evaluation: dict[str, Any] = json.loads(card.read_text())["evaluation"]
    return evaluation
