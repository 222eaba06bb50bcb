"""Which ImageBind's image and text towers a CLIP holds, by its weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bindplug.fingerprint import Fingerprint
from bindplug.imagebind import difference, from_open_clip

COMPARED = {
    "text_projection": "modality_heads.text.proj.1.weight",
    "visual.proj": "modality_heads.vision.2.weight",
    "ln_final.weight": "modality_heads.text.proj.0.weight",
    "visual.ln_post.weight": "modality_heads.vision.0.weight",
    "positional_embedding": "modality_preprocessors.text.pos_embed",
    "visual.class_embedding": "modality_preprocessors.vision.cls_token",
    "visual.conv1.weight": "modality_preprocessors.vision.rgbt_stem.proj.1.weight",
}
"""open_clip's names of the tensors outside the blocks that are compared, and ImageBind's official ones."""

BLOCK_PARTS = ("attn.in_proj_weight", "mlp.c_proj.weight")
"""open_clip's names of the tensors of every block that are compared."""


def difference_from(clip: Any, fingerprint: Fingerprint | None) -> str:
    """What tells a CLIP apart from the towers of a fingerprint, with open_clip's names; empty if nothing does.

    Args:
        clip: a CLIP of open_clip or OpenAI.
        fingerprint: of the ImageBind; None if it is not known.
    """
    quick_gelu = any(type(module).__name__ == "QuickGELU" for module in clip.modules())
    state = {
        name: tensor
        for name, tensor in clip_state(clip).items()
        if name in COMPARED or ("transformer.resblocks." in name and name.endswith(BLOCK_PARTS))
    }
    if not state:
        return "it is no CLIP with a ViT image tower"
    result = difference(from_open_clip(state, frames=1), fingerprint, quick_gelu=quick_gelu)
    if result is None:
        return ""
    message = str(result)
    for name, official in COMPARED.items():
        message = message.replace(official, name)
    return message


@torch.no_grad()
def clip_state(clip: Any) -> dict[str, Tensor]:
    """A CLIP's tensors under the names of ``open_clip.CLIP``, whichever class it has."""
    return {name.removeprefix("text."): tensor for name, tensor in clip.state_dict().items()}
