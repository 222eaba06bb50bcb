"""A toy CLIP from its first stage to its last; what an earlier run finished is not run again."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from bindplug_toyworld.recipes.clip import build_clip, clip_config, pretrain
from bindplug_toyworld.recipes.render import render
from bindplug_toyworld.recipes.rendered import Rendered
from bindplug_toyworld.recipes.sizes import ClipSize, ClipStage

logger = logging.getLogger(__name__)


def pretrained_clip(
    workspace: Path, size: ClipSize, *, quiet: bool | None = None
) -> tuple[torch.nn.Module, dict[str, Any]]:
    """A toy CLIP, trained now.

    Args:
        workspace: scenes are rendered to it and finished stages kept in it.
        size: the recipe.
        quiet: True shows no progress, None asks the environment.

    Returns:
        The model in evaluation mode, and each stage's figures.
    """
    name, architecture = size.architecture, clip_config(size.architecture)
    clip = build_clip(architecture, size.seed, size.stages[0].patch_dropout)
    figures: dict[str, Any] = {}
    for number, stage in enumerate(size.stages):
        saved, card = workspace / f"{name}_{number}.pt", workspace / f"{name}_{number}.json"
        done = [asdict(stage) for stage in size.stages[: number + 1]]
        wanted = {"seed": size.seed, "stages": done, "architecture": architecture}
        earlier = json.loads(card.read_text()) if saved.is_file() and card.is_file() else {}
        if earlier.get("wanted") == wanted:
            clip.load_state_dict(torch.load(saved, weights_only=True))
        else:
            scenes = Rendered(scenes_of(workspace, stage, quiet=quiet).directory, in_memory=True)
            earlier = {"wanted": wanted, "figures": pretrain(clip, scenes, size, stage, quiet=quiet)}
            logger.info("%s, stage %d: %s", name, number + 1, earlier["figures"])
            torch.save(clip.state_dict(), saved)
            card.write_text(json.dumps(earlier))
        figures[f"clip, stage {number + 1}"] = earlier["figures"]
    return clip.eval(), figures


def scenes_of(workspace: Path, stage: ClipStage, *, quiet: bool | None = None) -> Rendered:
    """The rendered scenes of a stage, with captions."""
    return render(
        workspace / f"clip_{stage.first_scene}", split="train", start=stage.first_scene, count=stage.scenes,
        captions=True, crowded=stage.crowded, quiet=quiet,
    )  # fmt: skip
