"""Whether an open_clip model holds a given ImageBind's image and text towers: by its weights, never by a name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bindplug.imagebind import ImageBind, open_official, open_safetensors, to_open_clip

DEFINING = (
    "modality_heads.text.proj.1.weight",
    "modality_heads.text.proj.0.weight",
    "modality_heads.vision.2.weight",
    "modality_heads.vision.0.weight",
    "modality_preprocessors.text.pos_embed",
    "modality_preprocessors.vision.cls_token",
    "modality_preprocessors.vision.rgbt_stem.proj.1.weight",
)
"""Official names of what is compared besides the first and last blocks: both projections, which make the space."""

BLOCK_PARTS = ("attn.in_proj_weight", "mlp.fc2.bias")
EQUAL_SHARE = 0.9
"""Share of numbers that must be bit-equal after rounding to the coarser precision; a tuned model has far fewer."""


class Unlike(Exception):  # noqa: N818 - an answer more than an error, and never seen by a caller
    """The model is not that ImageBind's CLIP; the message says by what it is told apart."""


def compare(clip: Any, reference: Mapping[str, Tensor]) -> None:
    """Return if an open_clip model's towers are the reference's.

    Args:
        clip: an open_clip CLIP or CustomTextCLIP.
        reference: official names -> tensors, of the image and text towers at least.

    Raises:
        Unlike: they are not.
    """
    names = [name for name in _compared(reference) if name in reference]
    if not set(DEFINING) <= set(names):
        raise Unlike("its image and text towers are not there to compare with")
    expected = to_open_clip({name: reference[name] for name in names})
    found = clip_state(clip)
    for module in clip.modules():
        if type(module).__name__ == "QuickGELU":
            raise Unlike("it computes with QuickGELU, ImageBind's towers with the exact GELU")
    for name, tensor in expected.items():
        if name not in found:
            raise Unlike(f"it has no {name}")
        if found[name].shape != tensor.shape:
            raise Unlike(f"{name} is {list(found[name].shape)}, ImageBind's {list(tensor.shape)}")
    depths = {tower: _depth(reference, tower) for tower in ("vision", "text")}
    for tower, prefix in (("vision", "visual.transformer."), ("text", "transformer.")):
        blocks = {name.split(".resblocks.")[1].split(".")[0] for name in found if name.startswith(prefix)}
        if len(blocks) != depths[tower]:
            raise Unlike(f"its {tower} tower has {len(blocks)} blocks, ImageBind's {depths[tower]}")
    for name, tensor in expected.items():
        if not _equal(found[name], tensor):
            raise Unlike(f"{name} holds other numbers")


def clip_state(clip: Any) -> dict[str, Tensor]:
    """An open_clip model's tensors under the names of its CLIP class, whichever of the two classes it is of."""
    state = clip.state_dict()
    return {name.removeprefix("text.") if name.startswith("text.") else name: t for name, t in state.items()}


def open_reference(path: Path) -> dict[str, Tensor]:
    """Official names -> tensors of the image and text towers at a path, mapped from the files and not read.

    Raises:
        CheckpointError: the file is damaged.
    """
    if not path.is_dir():
        return open_official(path)
    files = [path / "vision.safetensors", path / "text.safetensors"]
    return {
        name: tensor for file in files if file.is_file() for name, tensor in open_safetensors(file).items()
    }


def reference_of(model: ImageBind) -> dict[str, Tensor] | None:
    """A loaded model's tensors by their official names; None where it was loaded without image or text tower."""
    return model.official_state_dict() if {"vision", "text"} <= set(model.towers) else None


def _compared(reference: Mapping[str, Tensor]) -> Iterator[str]:
    yield from DEFINING
    for tower in ("vision", "text"):
        for block in {0, max(_depth(reference, tower) - 1, 0)}:
            yield from (f"modality_trunks.{tower}.blocks.{block}.{part}" for part in BLOCK_PARTS)


def _depth(reference: Mapping[str, Tensor], tower: str) -> int:
    start = f"modality_trunks.{tower}.blocks."
    return len({name.removeprefix(start).split(".")[0] for name in reference if name.startswith(start)})


def _equal(found: Tensor, expected: Tensor) -> bool:
    """Equal in the coarser of both precisions, but for a last bit here and there."""
    coarser = max((found.dtype, expected.dtype), key=lambda dtype: torch.finfo(dtype).eps)
    a, b = (t.detach().to("cpu", torch.float32).to(coarser).float() for t in (found, expected))
    close = torch.isclose(a, b, rtol=2 * torch.finfo(coarser).eps, atol=1e-7)
    return bool(close.all()) and float((a == b).float().mean()) >= EQUAL_SHARE
