"""Words that training never met carry no meaning: their token embeddings become zero."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from bindplug.imagebind import ImageBind, TextTower
from recipes.rendered import Rendered


@torch.no_grad()
def silence_unmet_words(model: ImageBind, workspace: Path) -> int:
    """Zero the token embeddings of ``model`` that no caption in the workspace holds, in place.

    What training leaves there is the initial noise, which would make an unknown word mean something at random,
    and would be most of the text tower's file.

    Returns:
        How many tokens were met.
    """
    tokens = np.unique(np.concatenate([_tokens(directory) for directory in sorted(workspace.glob("clip_*"))]))
    tower = model.towers["text"]
    assert isinstance(tower, TextTower)
    table = tower.token_embedding.weight
    is_met = torch.zeros(len(table), 1, dtype=table.dtype)
    is_met[tokens.astype(np.int64)] = 1
    table.mul_(is_met)
    return len(tokens)


def _tokens(directory: Path) -> np.ndarray:
    return np.unique(Rendered(directory).arrays["tokens"])
