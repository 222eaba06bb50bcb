"""The image and text towers in open_clip's layout, both ways.

Both libraries compute the same, but for LayerNorm's epsilon: 1e-6 here, 1e-5 in open_clip's CLIP. On the
towers' activations that moves an embedding by a few parts in a hundred thousand.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from bindplug.errors import CheckpointError
from bindplug.imagebind.official_names import TEXT_MASK, TEXT_SCALE, causal_mask, tower_of

_BLOCK = (
    ("ln_1.", "norm_1."),
    ("ln_2.", "norm_2."),
    ("mlp.c_fc.", "mlp.fc1."),
    ("mlp.c_proj.", "mlp.fc2."),
    ("attn.", "attn."),
)

_PLAIN = {
    "visual.class_embedding": "modality_preprocessors.vision.cls_token",
    "visual.positional_embedding": "modality_preprocessors.vision.pos_embedding_helper.pos_embed",
    "visual.conv1.weight": "modality_preprocessors.vision.rgbt_stem.proj.1.weight",
    "visual.ln_pre.weight": "modality_trunks.vision.pre_transformer_layer.0.weight",
    "visual.ln_pre.bias": "modality_trunks.vision.pre_transformer_layer.0.bias",
    "visual.ln_post.weight": "modality_heads.vision.0.weight",
    "visual.ln_post.bias": "modality_heads.vision.0.bias",
    "visual.proj": "modality_heads.vision.2.weight",
    "token_embedding.weight": "modality_preprocessors.text.token_embedding.weight",
    "positional_embedding": "modality_preprocessors.text.pos_embed",
    "ln_final.weight": "modality_heads.text.proj.0.weight",
    "ln_final.bias": "modality_heads.text.proj.0.bias",
    "text_projection": "modality_heads.text.proj.1.weight",
    "logit_scale": TEXT_SCALE,
}
_PLAIN_BACK = {official: theirs for theirs, official in _PLAIN.items()}

_TRUNKS = {"visual.transformer.resblocks.": "vision", "transformer.resblocks.": "text"}


def from_open_clip(state: Mapping[str, Tensor], *, frames: int = 2) -> dict[str, Tensor]:
    """The image and text towers of an open_clip CLIP with a vision transformer, under official names.

    Args:
        state: ``open_clip_model.state_dict()``.
        frames: frames of a video clip; the patch projection is spread over them evenly, so that a still
            image gives what it gave.

    Returns:
        Official names -> tensors, the text mask included; those that kept their shape share memory with
        ``state``.

    Raises:
        CheckpointError: names that this layout does not have (another architecture); they are listed.
    """
    names = {theirs: _official_name(theirs) for theirs in state}
    unknown = [theirs for theirs, official in names.items() if official is None]
    if unknown or not state:
        raise CheckpointError(
            f"not the state dict of an open_clip CLIP with a ViT image tower; {len(unknown)} names are not "
            f"known: {', '.join(unknown[:20]) or 'it is empty'}"
        )
    converted = {
        official: _to_ours(theirs, state[theirs], frames) for theirs, official in names.items() if official
    }
    position = converted.get("modality_preprocessors.text.pos_embed")
    if position is not None:
        converted[TEXT_MASK] = causal_mask(position.shape[1], position)
    return converted


def to_open_clip(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The image and text towers of an official state dict in open_clip's layout; other towers are left out.

    The patch projection's frames are summed, which is what a still image sees; how a video's two frames differ
    is lost.

    Args:
        state: official names -> tensors, as ``model.official_state_dict()``.

    Returns:
        What ``open_clip_model.load_state_dict`` takes.

    Raises:
        CheckpointError: there is neither an image nor a text tower, or a name of theirs is unknown.
    """
    clip_tensors = {n: t for n, t in state.items() if tower_of(n) in ("vision", "text") and n != TEXT_MASK}
    names = {official: _open_clip_name(official) for official in clip_tensors}
    unknown = [official for official, theirs in names.items() if theirs is None]
    if unknown or not clip_tensors:
        raise CheckpointError(
            f"open_clip's layout has no place for {', '.join(unknown[:20])}"
            if unknown
            else "the state dict holds neither an image nor a text tower"
        )
    return {
        theirs: _to_theirs(theirs, clip_tensors[official]) for official, theirs in names.items() if theirs
    }


def _official_name(theirs: str) -> str | None:
    if theirs in _PLAIN:
        return _PLAIN[theirs]
    for prefix, tower in _TRUNKS.items():
        match = re.fullmatch(rf"{re.escape(prefix)}(\d+)\.(.+)", theirs)
        if match:
            for start, ours in _BLOCK:
                if match[2].startswith(start):
                    return f"modality_trunks.{tower}.blocks.{match[1]}.{ours}{match[2].removeprefix(start)}"
    return None


def _open_clip_name(official: str) -> str | None:
    if official in _PLAIN_BACK:
        return _PLAIN_BACK[official]
    for prefix, tower in _TRUNKS.items():
        match = re.fullmatch(rf"modality_trunks\.{tower}\.blocks\.(\d+)\.(.+)", official)
        if match:
            for theirs, start in _BLOCK:
                if match[2].startswith(start):
                    return f"{prefix}{match[1]}.{theirs}{match[2].removeprefix(start)}"
    return None


def _to_ours(theirs: str, tensor: Tensor, frames: int) -> Tensor:
    tensor = tensor.detach()
    if theirs.endswith("class_embedding"):
        return tensor[None, None]  # (W,) -> (1, 1, W)
    if theirs.endswith("positional_embedding"):
        return tensor[None]  # (L, W) -> (1, L, W)
    if theirs in ("visual.proj", "text_projection"):
        return tensor.T.contiguous()
    if theirs == "visual.conv1.weight":
        # (W, 3, P, P) -> (W, 3, T, P, P); equal frames sum to the original
        return torch.stack([tensor / frames] * frames, dim=2)
    return tensor


def _to_theirs(theirs: str, tensor: Tensor) -> Tensor:
    tensor = tensor.detach()
    if theirs.endswith("class_embedding"):
        return tensor[0, 0]
    if theirs.endswith("positional_embedding"):
        return tensor[0]
    if theirs in ("visual.proj", "text_projection"):
        return tensor.T.contiguous()
    return tensor.sum(2) if theirs == "visual.conv1.weight" else tensor
