"""Which ImageBind's image and text towers a CLIP holds, by its weights."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor

from bindplug.errors import CheckpointError
from bindplug.fingerprint import Fingerprint
from bindplug.imagebind import difference, fingerprint_of, from_open_clip

ADDED = ("sensors.", "source.", "logit_scale", "logit_bias")
"""Starts of names of a CLIP's tensors that are not in its two towers."""

BLOCK_TENSOR = re.compile(
    r"(visual\.)?transformer\.resblocks\.\d+\."
    r"(ln_1\.|ln_2\.|attn\.in_proj_|attn\.out_proj\.|mlp\.c_fc\.|mlp\.c_proj\.)(weight|bias)"
)
"""Names of the tensors of a block that ImageBind's blocks have too."""


def difference_from(clip: Any, fingerprint: Fingerprint | None) -> str:
    """What tells a CLIP apart from the towers of a fingerprint, with open_clip's names; empty if nothing does.

    Args:
        clip: a CLIP of open_clip or OpenAI.
        fingerprint: of the ImageBind; None if it is not known.
    """
    state = clip_state(clip)
    if not any(name.startswith("visual.transformer.resblocks.") for name in state):
        return "it is no CLIP with a ViT image tower"
    towers, names, others = _official_towers(state)
    quick_gelu = any(type(module).__name__ == "QuickGELU" for module in clip.modules())
    result = difference(towers, fingerprint, quick_gelu=quick_gelu)
    if result is None:
        return f"it has weights that ImageBind's towers lack, as {others[0]}" if others else ""
    message = str(result)
    for official, name in names.items():
        message = message.replace(official, name)
    return message


def clip_fingerprint(clip: Any) -> Fingerprint | None:
    """The fingerprint of a CLIP's image and text towers; None where ImageBind's have other tensors."""
    towers, _, others = _official_towers(clip_state(clip))
    return None if others else fingerprint_of(towers)


@torch.no_grad()
def clip_state(clip: Any) -> dict[str, Tensor]:
    """The tensors of a CLIP's two towers under the names of ``open_clip.CLIP``, whichever class it has."""
    state = {name.removeprefix("text."): tensor for name, tensor in clip.state_dict().items()}
    return {name: tensor for name, tensor in state.items() if not name.startswith(ADDED)}


def _official_towers(state: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str], list[str]]:
    """Tensors under official names, open_clip's names by official ones, and names that ImageBind's towers lack."""
    towers: dict[str, Tensor] = {}
    names: dict[str, str] = {}
    others = []
    for name, tensor in state.items():
        try:
            if ".resblocks." in name and not BLOCK_TENSOR.fullmatch(name):
                raise CheckpointError(name)
            converted = from_open_clip({name: tensor}, frames=1)
        except CheckpointError:
            others.append(name)
            continue
        towers |= converted
        names[next(iter(converted))] = name
    return towers, names, others
