"""What towers take: refuse input that none can embed, fold clips into the batch, and average their rows."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from bindplug.errors import InputError
from bindplug.imagebind.config import IMU_CHANNELS, ImageBindConfig
from bindplug.imagebind.layers import is_tracing

_ITEM_AXES = {"vision": 3, "text": 1, "audio": 3, "depth": 3, "thermal": 3, "imu": 2}
"""Axes of one clip without a batch axis; videos have one more, for frames."""


def expected_shapes(tower: str, config: ImageBindConfig) -> str:
    """The input shapes a tower takes, as an error message says them."""
    size, frames = config.image_size, config.video_frames
    return {
        "vision": f"(B, 3, {size}, {size}), or clips (B, S, 3, {frames}, {size}, {size})",
        "text": f"(B, L) token ids with L up to {config.context_length}",
        "audio": f"(B, S, 1, {config.mel_bins}, {config.audio_frames}) for S clips, or without S",
        "depth": f"(B, 1, {size}, {size})",
        "thermal": f"(B, 1, {size}, {size})",
        "imu": f"(B, {IMU_CHANNELS}, {config.imu_steps}), or clips with S after B",
    }[tower]


def clip_axis(tower: str, x: Tensor) -> bool:
    """Whether axis 1 of a batch counts clips of one item."""
    return tower != "text" and x.ndim > _ITEM_AXES[tower] + 1


def check_input(modality: str, tower: str, x: Tensor, config: ImageBindConfig, device: torch.device) -> None:
    """Return if ``x`` is a batch that the tower can embed.

    Raises:
        InputError: it has another type, dtype, device, shape, or values that are not finite or no token ids.
    """
    if not isinstance(x, Tensor):
        _refuse(modality, f"a {type(x).__name__}", f"a tensor {expected_shapes(tower, config)}")
    if x.is_floating_point() == (tower == "text") or x.dtype == torch.bool or x.is_complex():
        numbers = "token ids (int64 or int32)" if tower == "text" else "preprocessed floating-point numbers"
        _refuse(modality, f"{x.dtype}", numbers, f"model.preprocess[{modality!r}] makes them.")
    if not _fits(tower, tuple(x.shape), config):
        patches = config.tower(tower).kernel[-2:]
        remedy = ""
        if tower in ("vision", "depth", "thermal"):
            remedy = f"Other heights and widths may be multiples of the patch, {patches[0]} by {patches[1]}."
        _refuse(modality, f"a tensor of shape {tuple(x.shape)}", expected_shapes(tower, config), remedy)
    if x.device != device:
        _refuse(modality, f"a tensor on {x.device}", f"one on the model's {device}", "Move it with .to(...).")
    # A recorded graph cannot depend on values, and meta tensors have none.
    if not is_tracing() and x.numel() and not x.is_meta:
        _check_values(modality, tower, x, config)


def unit(rows: Tensor) -> Tensor:
    """Rows of unit length; half precision is normalized in float32."""
    # The sum of squares of a row overflows float16 from a length of 256 on.
    if rows.dtype in (torch.float16, torch.bfloat16):
        return F.normalize(rows.float(), dim=-1).to(rows.dtype)
    return F.normalize(rows, dim=-1)


def embed_clips(embed: Callable[[Tensor], Tensor], x: Tensor, *, once: bool) -> Tensor:
    """Embed every clip of every item.

    A sound under two seconds gives three equal clips, and a square video equal crops; runs of equal clips
    are embedded once.

    Args:
        embed: (N, ...) -> (N, E).
        x: (B, S, ...).
        once: whether equal clips surely have equal embeddings (no dropout) and no gradient flows to ``x``.

    Returns:
        (B, S, E).
    """
    flat = x.flatten(0, 1)  # (B, S, ...) -> (B * S, ...)
    if once and x.shape[1] > 1 and not is_tracing():
        # (B, S): whether a clip differs from the one before it
        is_changed = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
        is_changed[:, 1:] = (x[:, 1:] != x[:, :-1]).flatten(2).any(-1)
        if not bool(is_changed.all()):
            is_changed = is_changed.flatten()
            rows = embed(flat[is_changed])[is_changed.cumsum(0) - 1]  # (different, E) -> (B * S, E)
            return rows.unflatten(0, x.shape[:2])
    return embed(flat).unflatten(0, (-1, x.shape[1]))  # (B * S, E) -> (B, S, E)


def average_raw(clips: Tensor) -> Tensor:
    """One row an item from raw rows: the mean direction, at the clips' mean length. (B, S, E) -> (B, E)."""
    length = clips.norm(dim=-1, keepdim=True).mean(1)  # (B, S, E) -> (B, 1)
    return unit(unit(clips).mean(1)) * length  # (B, E)


def _fits(tower: str, shape: tuple[int, ...], config: ImageBindConfig) -> bool:
    if tower == "text":
        return len(shape) == 2 and 1 <= shape[1] <= config.context_length
    extra = len(shape) - _ITEM_AXES[tower] - 1
    item = shape[1:] if extra <= 0 else shape[2:]
    if extra > 0 and shape[1] < 1:
        return False
    if tower == "vision" and extra == 2:
        frames, item = item[1], (item[0], *item[2:])
        if frames not in (1, config.video_frames):
            return False
    elif extra not in (0, 1):
        return False
    if tower == "imu":
        return item == (IMU_CHANNELS, config.imu_steps)
    if tower == "audio":
        return item == (1, config.mel_bins, config.audio_frames)
    kernel = config.tower(tower).kernel[-2:]
    whole = all(size >= k and size % k == 0 for size, k in zip(item[1:], kernel, strict=True))
    return item[0] == (3 if tower == "vision" else 1) and (whole or item[1:] == (config.image_size,) * 2)


def _check_values(modality: str, tower: str, x: Tensor, config: ImageBindConfig) -> None:
    if tower != "text":
        if not bool(torch.isfinite(x).all()):
            count = int((~torch.isfinite(x)).sum())
            _refuse(modality, f"{count} NaN or infinite values of {x.numel()}", "finite numbers")
        return
    lowest, highest = (int(bound) for bound in x.aminmax())
    if lowest < 0 or highest >= config.vocab_size:
        _refuse(modality, f"token ids from {lowest} to {highest}", f"ids from 0 to {config.vocab_size - 1}")


def _refuse(modality: str, found: str, expected: str, remedy: str = "") -> None:
    raise InputError(f"{modality} input", found=found, expected=expected, remedy=remedy)
