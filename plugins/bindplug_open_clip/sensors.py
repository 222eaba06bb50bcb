"""ImageBind's sensor towers and its video patch projection, as one module beside a CLIP."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bindplug.errors import InputError
from bindplug.imagebind import (
    ImageBind,
    ImageBindConfig,
    Tower,
    average_raw,
    check_input,
    clip_axis,
    embed_clips,
)

SENSORS = ("audio", "depth", "thermal", "imu")
"""Names of the towers that a CLIP lacks."""

FRAME_TOLERANCE = 1e-6
"""Frames of the patch projection count as equal if they differ by less, relative to its largest weight."""


class Sensors(nn.Module):
    """The sensor towers of an ImageBind, and its patch projection for videos.

    Args:
        towers: some of the four sensor towers, by name.
        config: of their ImageBind.
        frames: (D, 3, T, h, w), the patch projection over T frames; None where all frames have the same weights, as
            in an inflated CLIP. The projection of a clip is then that of its mean frame.

    Attributes:
        towers: the towers.
        video_weight: ``frames`` as a parameter, or None.
    """

    def __init__(
        self, towers: dict[str, nn.Module], config: ImageBindConfig, frames: Tensor | None = None
    ) -> None:
        super().__init__()
        self.towers = nn.ModuleDict(towers)
        self.config = config
        self.video_weight = None if frames is None else nn.Parameter(frames)

    @classmethod
    def of(cls, model: ImageBind, modalities: Collection[str] | None = None) -> Sensors:
        """The sensors of a model. The towers are shared, not copied.

        Args:
            model: whole or in part.
            modalities: only these; all it has for None.
        """
        names = [name for name in SENSORS if modalities is None or name in modalities]
        towers = {name: model.towers[name] for name in names if name in model.towers}
        frames = None
        if "vision" in model.towers:
            frames = uneven_frames(model.towers["vision"].get_parameter("stem.proj.weight").detach())
        return cls(towers, model.config, frames)

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the towers."""
        return tuple(self.towers)

    def encode(self, modality: str, x: Tensor) -> Tensor:
        """Embed a batch of one sensor, (B, ...) -> (B, D), not normalized; clips are averaged as in ImageBind.

        Raises:
            InputError: ``x`` has another shape or dtype, or values that are not finite.
        """
        tower = self.towers[modality]
        assert isinstance(tower, Tower)
        check_input(modality, modality, x, self.config, tower.pos_embed.device)
        if not clip_axis(modality, x):
            return tower(x)
        return average_raw(embed_clips(tower, x, once=not tower.training and not x.requires_grad))

    def scale_of(self, modality: str) -> float:
        """The factor on cosines at which a sensor was trained against images."""
        log_scale = self.towers[modality].log_scale
        assert isinstance(log_scale, Tensor)
        return float(log_scale.detach().exp().clamp(max=100.0))

    def cast(self, dtype: torch.dtype) -> Sensors:
        """Cast the weights in place. Output scales stay float32."""
        for tower in self.towers.values():
            scale = tower.log_scale
            tower.to(dtype)
            tower.log_scale = scale
        if self.video_weight is not None:
            self.video_weight.data = self.video_weight.data.to(dtype)
        return self


def uneven_frames(weight: Tensor) -> Tensor | None:
    """The patch projection (D, 3, T, h, w) if its frames differ, else None; see :class:`Sensors`."""
    spread = (weight - weight.mean(2, keepdim=True)).abs().max()
    return weight if bool(spread > FRAME_TOLERANCE * weight.abs().max()) else None


def encode_video(visual: nn.Module, x: Tensor, frames: Tensor | None, config: ImageBindConfig) -> Tensor:
    """Embed videos with an open_clip image tower.

    Args:
        visual: open_clip's VisionTransformer.
        x: (B, S, 3, T, H, W), (B, S, 3, H, W) for clips of one frame, or (B, 3, H, W).
        frames: see :class:`Sensors`.
        config: for the check of the input.

    Returns:
        (B, D), not normalized; clips are averaged as in ImageBind.

    Raises:
        InputError: ``x`` has another shape or dtype, or values that are not finite.
    """
    size: Any = visual.image_size
    side = size if isinstance(size, int) else size[0]
    check_input("video", "vision", x, config, x.device)
    if tuple(x.shape[-2:]) != (side, side):
        raise InputError(
            "video input",
            found=f"a tensor of shape {tuple(x.shape)}",
            expected=f"frames of {side} by {side} pixels",
            remedy="model.preprocess['video'] makes them.",
        )

    def embed(clips: Tensor) -> Tensor:
        if clips.ndim == 4:
            return visual(clips)
        if clips.shape[2] == 1:
            return visual(clips[:, :, 0])
        return visual(clips.mean(2)) if frames is None else _embed_moving(visual, clips, frames)

    if not clip_axis("vision", x):
        return embed(x)
    return average_raw(embed_clips(embed, x, once=not x.requires_grad and not visual.training))


def _embed_moving(visual: Any, clips: Tensor, frames: Tensor) -> Tensor:
    """Clips (N, 3, T, H, W) -> (N, D): open_clip's image tower with ImageBind's patch projection."""
    # (N, 3, T, H, W) -> (N, width, 1, rows, columns) -> (N, rows * columns, width)
    tokens = F.conv3d(clips, frames.to(clips.dtype), stride=frames.shape[2:]).flatten(2).transpose(1, 2)
    class_token = visual.class_embedding.to(tokens.dtype).expand(len(tokens), 1, -1)  # (N, 1, width)
    tokens = torch.cat((class_token, tokens), dim=1) + visual.positional_embedding.to(tokens.dtype)
    # OpenAI's form of the transformer takes a call without a mask to be sequence first
    tokens = visual.transformer(visual.ln_pre(visual.patch_dropout(tokens)), attn_mask=None)
    return visual.ln_post(tokens)[:, 0] @ visual.proj
