"""Whether a CLIP is the one whose image and text towers an ImageBind holds: by its weights, never by a name.

The towers are compared by a fingerprint: numbers sampled from each of their tensors, most from the projections, which
make the space. So fine-tuning of any part shows. Comparing takes neither loaded towers nor a file: an encoder keeps
the fingerprint of its space, and a converted directory stores it.

A plugin hands over the tensors of its CLIP under ImageBind's official names::

    apart = difference(official_tensors, model.fingerprint)
    if apart:
        raise SpaceMismatch(f"...: {apart}")
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bindplug.errors import CheckpointError
from bindplug.fingerprint import Fingerprint, joined, same_numbers, sample_positions
from bindplug.imagebind.checkpoint_files import open_safetensors

TEXT_PROJECTION = "modality_heads.text.proj.1.weight"
VISION_PROJECTION = "modality_heads.vision.2.weight"
PATCHES = "modality_preprocessors.vision.rgbt_stem.proj.1.weight"
"""(W, 3, 2, P, P) in ImageBind, (W, 3, P, P) in a CLIP, which sees the sum over the two frames."""

TOKENS = "modality_preprocessors.text.token_embedding.weight"
"""(V, W). Fine-tuning changes the rows of the tokens that it met, which always include the last two: the marks of a
text's start and end."""

DEFINING = (
    TEXT_PROJECTION,
    VISION_PROJECTION,
    "modality_heads.text.proj.0.weight",
    "modality_heads.vision.0.weight",
    "modality_preprocessors.text.pos_embed",
    "modality_preprocessors.vision.cls_token",
    PATCHES,
)
"""Official names of what is sampled first, before the blocks."""

BLOCK_PARTS = ("attn.in_proj_weight", "mlp.fc2.weight")
"""What is sampled first of every block. Fingerprints of bindplug's first versions end here."""

MORE_DEFINING = (
    "modality_heads.text.proj.0.bias",
    "modality_heads.vision.0.bias",
    "modality_preprocessors.vision.pos_embedding_helper.pos_embed",
    "modality_trunks.vision.pre_transformer_layer.0.weight",
    "modality_trunks.vision.pre_transformer_layer.0.bias",
    TOKENS,
)
"""What is sampled after the first parts of the blocks."""

MORE_BLOCK_PARTS = (
    "attn.in_proj_bias",
    *(
        f"{part}.{kind}"
        for part in ("attn.out_proj", "mlp.fc1", "norm_1", "norm_2")
        for kind in ("weight", "bias")
    ),
    "mlp.fc2.bias",
)
"""What is sampled last: the other tensors of every block."""

DEFINING_SAMPLES, BLOCK_SAMPLES = 24, 3
"""Numbers of each tensor: some 2,300 of the published network. Three of ``in_proj_weight`` are one of the queries', the
keys' and the values' weights each."""

TOWERS = ("vision", "text")


@dataclass(frozen=True)
class Difference:
    """What tells a CLIP apart from an ImageBind's image and text towers.

    Attributes:
        message: a clause that follows a name, as ``"its text tower has 12 blocks, ImageBind's 24"``.
    """

    message: str

    def __str__(self) -> str:
        return self.message


def difference(
    clip: Mapping[str, Tensor], reference: Fingerprint | None, *, quick_gelu: bool = False
) -> Difference | None:
    """What tells a CLIP apart from the towers that a fingerprint was taken from; None if nothing does.

    Weights that went through float16 or bfloat16 on disk and were widened again count as equal
    (:func:`bindplug.fingerprint.same_numbers` has the tolerance and its reason).

    Args:
        clip: official names -> tensors, in the official shapes but for axes of length 1 and the frames of
            :data:`PATCHES`: the tensors of :data:`DEFINING` and :data:`MORE_DEFINING`, and of every block those of
            :data:`BLOCK_PARTS` and :data:`MORE_BLOCK_PARTS`
            (``modality_trunks.vision.blocks.0.attn.in_proj_weight``). More names do no harm: whether the CLIP has
            weights that ImageBind's towers lack, such as adapters, is for the caller to say. Of any dtype, on any
            device.
        reference: of the ImageBind, as :attr:`ImageBind.fingerprint` or :func:`bindplug.imagebind.read_fingerprint`
            give it; None if it has none. Of one that an earlier version wrote, the tensors that it samples count.
        quick_gelu: whether the CLIP computes with QuickGELU, which ImageBind's towers do not.
    """
    if reference is None:
        return Difference("its image and text towers are not there to compare with")
    if quick_gelu:
        return Difference("it computes with QuickGELU, ImageBind's towers with the exact GELU")
    depths = _depths(clip)
    absent = [name for name in _layout(depths) if name not in clip]
    if absent:
        return Difference(f"it has no {absent[0]}")
    theirs = fingerprint_of(clip)
    assert theirs is not None
    for name, ours, found in zip(SIZES, reference.sizes, theirs.sizes, strict=True):
        if ours != found:
            return Difference(f"its {name} is {found}, ImageBind's {ours}")
    start = 0
    for name, count in _counts(clip, depths):
        part = slice(start, min(start + count, len(reference.numbers)))
        start += count
        if not same_numbers(theirs.numbers[part], reference.numbers[part]):
            return Difference(f"{name} holds other numbers")
    return None


def fingerprint_of(tensors: Mapping[str, Tensor]) -> Fingerprint | None:
    """The fingerprint of the image and text towers; None where they are not whole.

    Only the sampled numbers are read, so that tensors which are mapped from a file stay there.

    Args:
        tensors: as ``clip`` in :func:`difference`.
    """
    depths = _depths(tensors)
    names = _layout(depths)
    if not all(depths.values()) or any(name not in tensors or tensors[name].is_meta for name in names):
        return None
    samples = [_sample(name, tensors[name], count) for name, count in names.items()]
    return Fingerprint(_sizes(tensors, depths), joined(samples))


def fingerprint_of_files(path: Path) -> Fingerprint | None:
    """The fingerprint of a converted directory's image and text towers, from their files; None if one is absent.

    Raises:
        CheckpointError: a file is damaged.
    """
    files = [path / f"{tower}.safetensors" for tower in TOWERS]
    if not all(file.is_file() for file in files):
        return None
    return fingerprint_of({name: t for file in files for name, t in open_safetensors(file).items()})


SIZES = (
    "number of blocks in the image tower",
    "number of blocks in the text tower",
    "width of the image tower",
    "width of the text tower",
    "width of embeddings",
    "patch size",
    "context length",
)
"""What :attr:`Fingerprint.sizes` counts."""


def _sizes(tensors: Mapping[str, Tensor], depths: Mapping[str, int]) -> tuple[int, ...]:
    width, vision = tensors[VISION_PROJECTION].shape
    text = tensors[TEXT_PROJECTION].shape[1]
    positions = tensors["modality_preprocessors.text.pos_embed"].numel() // max(text, 1)
    return (*depths.values(), vision, text, width, tensors[PATCHES].shape[-1], positions)


def _depths(tensors: Mapping[str, Tensor]) -> dict[str, int]:
    """The number of blocks of the image and the text tower."""
    blocks: dict[str, set[int]] = {tower: set() for tower in TOWERS}
    for name in tensors:
        match = re.match(r"modality_trunks\.(vision|text)\.blocks\.(\d+)\.", name)
        if match:
            blocks[match[1]].add(int(match[2]))
    return {tower: 1 + max(indices, default=-1) for tower, indices in blocks.items()}


def _layout(depths: Mapping[str, int]) -> dict[str, int]:
    """What is sampled, in this order: name -> how many numbers at most.

    A version that samples more appends it, so that fingerprints of earlier versions stay comparable.
    """
    layout: dict[str, int] = {}
    for names, parts in ((DEFINING, BLOCK_PARTS), (MORE_DEFINING, MORE_BLOCK_PARTS)):
        layout |= dict.fromkeys(names, DEFINING_SAMPLES)
        for tower in TOWERS:
            blocks = [f"modality_trunks.{tower}.blocks.{index}" for index in range(depths[tower])]
            layout |= dict.fromkeys((f"{block}.{part}" for block in blocks for part in parts), BLOCK_SAMPLES)
    return layout


def _counts(tensors: Mapping[str, Tensor], depths: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    """Name and number of samples in the layout's order, where neighboring tensors of blocks count as one."""
    of_blocks = 0
    for name, count in _layout(depths).items():
        sample_size = min(count, tensors[name].numel() // (_frames(name, tensors[name])))
        if ".blocks." in name:
            of_blocks += sample_size
            continue
        if of_blocks:
            yield "its blocks", of_blocks
            of_blocks = 0
        yield name, sample_size
    yield "its blocks", of_blocks


def _frames(name: str, tensor: Tensor) -> int:
    return int(tensor.shape[2]) if name == PATCHES and tensor.ndim == 5 else 1


def _sample(name: str, tensor: Tensor, count: int) -> np.ndarray:
    """(count,) float32 of a tensor of any dtype, on any device."""
    if not tensor.is_floating_point():
        raise CheckpointError(
            f"weights of {tensor.dtype} cannot be compared; expected floating-point numbers"
        )
    tensor = tensor.detach()
    if _frames(name, tensor) > 1:
        tensor = tensor.float().sum(2)  # (W, 3, 2, P, P) -> (W, 3, P, P)
    if name == TOKENS:
        count //= 2
        ends = _numbers(tensor[-2:], count)  # (2, W)
        return np.concatenate([_numbers(tensor, count), ends])
    return _numbers(tensor, count)


def _numbers(tensor: Tensor, count: int) -> np.ndarray:
    """(count,) float32, evenly spread."""
    flat = tensor.reshape(-1)
    positions = torch.from_numpy(sample_positions(count, flat.numel())).to(flat.device)
    return flat[positions].float().cpu().numpy()
