"""Stages of a recipe: what one has made is kept, so that a rerun takes it up."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

logger = logging.getLogger(__name__)


def run_stage(
    place: Path,
    network: nn.Module,
    settings: Mapping[str, Any],
    train: Callable[[], tuple[nn.Module, dict[str, Any]]],
    *,
    title: str = "",
) -> dict[str, Any]:
    """Fill ``network`` with what the stage made, now or in an earlier run, and put it into evaluation mode.

    Args:
        place: where the stage is kept, as ``.pt`` and ``.json`` of that name.
        network: of the stage's architecture.
        wanted: all that the stage depends on, ready for JSON; an earlier run of the same is taken up.
        train: gives the trained network, which may be ``network``, and the figures for the card.
        title: of the stage, for the log; the place's name if empty.

    Returns:
        The stage's figures.
    """
    weights_file, card = place.with_suffix(".pt"), place.with_suffix(".json")
    settings = json.loads(json.dumps(settings))  # tuples are lists once written
    earlier = json.loads(card.read_text()) if weights_file.is_file() and card.is_file() else {}
    if earlier.get("wanted") == settings:
        network.load_state_dict(torch.load(weights_file, weights_only=True))
    else:
        trained, figures = train()
        earlier = {"wanted": settings, "figures": figures}
        logger.info("%s: %s", title or place.name, figures)
        network.load_state_dict(trained.state_dict())
        torch.save(network.state_dict(), weights_file)
        card.write_text(json.dumps(earlier))
    network.eval()
    return earlier["figures"]
