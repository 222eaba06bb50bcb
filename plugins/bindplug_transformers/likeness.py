"""Whether a transformers CLIPModel holds an ImageBind's image and text towers: by its weights, not by a name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bindplug.imagebind.checkpoint_files import open_official, open_safetensors

PATCHES = "modality_preprocessors.vision.rgbt_stem.proj.1.weight"
SAME_TENSORS = {
    "text_projection.weight": "modality_heads.text.proj.1.weight",
    "visual_projection.weight": "modality_heads.vision.2.weight",
    "text_model.final_layer_norm.weight": "modality_heads.text.proj.0.weight",
    "vision_model.post_layernorm.weight": "modality_heads.vision.0.weight",
    "text_model.embeddings.position_embedding.weight": "modality_preprocessors.text.pos_embed",
    "vision_model.embeddings.class_embedding": "modality_preprocessors.vision.cls_token",
    "vision_model.embeddings.patch_embedding.weight": PATCHES,
    "text_model.encoder.layers.{last}.mlp.fc2.bias": "modality_trunks.text.blocks.{last}.mlp.fc2.bias",
    "vision_model.encoder.layers.{last}.mlp.fc2.bias": "modality_trunks.vision.blocks.{last}.mlp.fc2.bias",
}
"""Names in a CLIPModel -> official names: both projections, which make the space, and the ends of each tower."""


def difference(clip: Any, reference: Mapping[str, Tensor]) -> str:
    """What tells a CLIPModel apart from the reference's image and text towers; empty if nothing does.

    Args:
        clip: a transformers CLIPModel.
        reference: official names -> tensors.
    """
    acts = {clip.config.text_config.hidden_act, clip.config.vision_config.hidden_act}
    if acts != {"gelu"}:
        return f"it computes with {' and '.join(sorted(acts))}, ImageBind's towers with gelu"
    state = clip.state_dict()
    layers = {
        "text_model": clip.config.text_config.num_hidden_layers,
        "vision_model": clip.config.vision_config.num_hidden_layers,
    }
    for theirs, ours in SAME_TENSORS.items():
        last = layers[theirs.partition(".")[0]] - 1 if "{last}" in theirs else 0
        found, expected = state.get(theirs.format(last=last)), reference.get(ours.format(last=last))
        if found is None or expected is None:
            return f"{ours.format(last=last)} is not there to compare"
        expected = expected.sum(2) if ours == PATCHES else expected
        if found.numel() != expected.numel():
            return f"{theirs} is {list(found.shape)}, ImageBind's {list(expected.shape)}"
        if not _equal(found, expected):
            return f"{theirs} holds other numbers"
    return ""


def open_reference(path: Path) -> dict[str, Tensor]:
    """Official names -> tensors of the image and text towers at a path, mapped from the files and not read."""
    if not path.is_dir():
        return open_official(path)
    files = [path / "vision.safetensors", path / "text.safetensors"]
    return {
        name: tensor for file in files if file.is_file() for name, tensor in open_safetensors(file).items()
    }


def _equal(found: Tensor, expected: Tensor) -> bool:
    """Equal up to a last bit of the coarser of both precisions."""
    tolerance = 2 * max(torch.finfo(found.dtype).eps, torch.finfo(expected.dtype).eps)
    a, b = (t.detach().to("cpu", torch.float32).flatten() for t in (found, expected))
    return torch.allclose(a, b, rtol=tolerance, atol=1e-7)
