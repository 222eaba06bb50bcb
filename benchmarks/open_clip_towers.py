"""open_clip's ViT-H-14 with random weights against bindplug's towers that hold the same ones.

bindplug runs as fast as it can: packed on the CPU, compiled on CUDA.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.harness import (
    Comparison,
    Outcome,
    Skipped,
    attempt,
    ensure_aligned,
    ensure_equal,
    rounds,
    seconds,
)
from benchmarks.naive.shape import Shape
from benchmarks.networks import fastest
from benchmarks.options import Options
from benchmarks.towers import fitting_state
from benchmarks.work import WORK, batch, cast

TOWERS = ("vision", "text")
BYTES_PER_WEIGHT = 14
PATCH, SIDE = 14, 224
EPS = 1e-6


def run(options: Options) -> Iterator[Outcome]:
    """Image and text, in float32 and in bf16, open_clip and bindplug in the same dtype."""
    for tower in TOWERS:
        if tower in options.towers:
            yield from attempt(partial(_tower, tower, options))
            gc.collect()


def configs(shape: Shape) -> dict[str, Any]:
    """open_clip's description of a CLIP of that shape; that of ViT-H-14 for the published one."""
    (width, blocks, heads), (text_width, text_blocks, text_heads) = (
        shape.towers["vision"],
        shape.towers["text"],
    )
    return {
        "embed_dim": shape.embed_dim,
        "vision_cfg": {
            "image_size": SIDE,
            "layers": blocks,
            "width": width,
            "head_width": width // heads,
            "patch_size": PATCH,
        },
        "text_cfg": {
            "context_length": 77,
            "vocab_size": 49408,
            "width": text_width,
            "heads": text_heads,
            "layers": text_blocks,
        },
    }


def open_clip_network(state: dict[str, Tensor], shape: Shape, dtype: torch.dtype, device: str = "cpu") -> Any:
    """open_clip's network holding one tower's weights; the other tower stays without numbers.

    LayerNorms get bindplug's epsilon (1e-6, open_clip has 1e-5), so that both compute the same.

    Raises:
        Skipped: open_clip is not installed.
    """
    try:
        from open_clip.model import CLIP
    except ImportError as error:
        raise Skipped(f"open_clip cannot be imported ({error})") from None
    from bindplug.imagebind.open_clip_layout import to_open_clip

    with torch.device("meta"):
        clip = CLIP(**configs(shape))
    for module in clip.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = EPS
    clip.load_state_dict(
        {n: t.to(device, dtype) for n, t in to_open_clip(state).items()}, strict=False, assign=True
    )
    mask = torch.full((77, 77), float("-inf"), device=device, dtype=dtype).triu(1)
    clip.register_buffer("attn_mask", mask, persistent=False)
    return clip.eval()


def _tower(tower: str, options: Options) -> Iterator[Outcome]:
    state = fitting_state("open-clip", tower, BYTES_PER_WEIGHT, options)
    x = batch(tower, options)
    modality = WORK[tower].modality
    with torch.inference_mode():
        sides: dict[str, Callable[[], Tensor]] = {}
        for dtype, stored in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
            clip = open_clip_network(state, options.shape, stored, options.device)
            network = fastest(state, options.shape, [tower], dtype, options.device)
            encode = clip.encode_image if tower == "vision" else clip.encode_text
            sides[f"open_clip {dtype}"] = partial(encode, cast(x, stored))
            sides[dtype] = partial(network.encode, modality, cast(x, stored))
        rows = {name: F.normalize(side().float(), dim=-1) for name, side in sides.items()}
        reference = rows["open_clip fp32"]
        deviation = ensure_equal(f"open_clip, {tower}", rows["fp32"], reference)
        cosine = ensure_aligned(f"open_clip, {tower}, bf16", rows["bf16"], reference)
        samples = rounds(
            {name: seconds(side, options.device) for name, side in sides.items()},
            options.count(),
            label=f"open_clip, {tower}",
            quiet=options.quiet,
        )
    for dtype in ("fp32", "bf16"):
        exact = dtype == "fp32"
        yield Comparison(
            f"{len(x)} x {modality}, {dtype}, against open_clip", "s", samples[f"open_clip {dtype}"],
            samples[dtype], deviation if exact else None, cosine=None if exact else cosine,
        )  # fmt: skip
