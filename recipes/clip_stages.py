"""A toy CLIP from its first stage to its last; what an earlier run finished is not run again."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch

from recipes.clip import build_clip, clip_config, pretrain
from recipes.render import render
from recipes.rendered import Rendered
from recipes.sizes import ClipSize, ClipStage
from recipes.stages import run_stage


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
        finished_stages = [asdict(stage) for stage in size.stages[: number + 1]]
        title = f"stage {number + 1}"
        figures[f"clip, {title}"] = run_stage(
            workspace / f"{name}_{number}",
            clip,
            {"seed": size.seed, "stages": finished_stages, "architecture": architecture},
            partial(_train, clip, workspace, size, stage, quiet),
            title=f"{name}, {title}",
        )
    return clip.eval(), figures


def _train(
    clip: torch.nn.Module, workspace: Path, size: ClipSize, stage: ClipStage, quiet: bool | None
) -> tuple[torch.nn.Module, dict[str, Any]]:
    scenes = Rendered(scenes_of(workspace, stage, quiet=quiet).directory, in_memory=True)
    return clip, pretrain(clip, scenes, size, stage, quiet=quiet)


def scenes_of(workspace: Path, stage: ClipStage, *, quiet: bool | None = None) -> Rendered:
    """The rendered scenes of a stage, with captions."""
    return render(
        workspace / f"clip_{stage.first_scene}", split="train", start=stage.first_scene, count=stage.scenes,
        captions=True, crowded=stage.crowded, near=stage.near, quiet=quiet,
    )  # fmt: skip
