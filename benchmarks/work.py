"""What each tower is given, and what it is to reach."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.options import Options

PROMPTS = (
    "a photo of a dog in the snow",
    "a photo of a cat asleep on grass",
    "a red car on a wet road tonight",
    "an ambulance in the rain with its siren",
    "a horse running over grass in the morning",
    "the sound of church bells in a village",
    "a train leaving the station in the evening",
    "two children riding bicycles along the river",
    "a green frog in a pond at night",
    "many birds singing in a forest at dawn",
    "a helicopter flying low above the old city",
    "a small boat on a calm blue lake",
    "someone walking slowly on gravel in heavy boots",
    "a drum being played loudly on a stage",
    "an old clock on the wall ticking slowly",
    "a fire burning in the woods at night",
)
"""Of about 10 tokens, start and end included."""


@dataclass(frozen=True)
class Work:
    """One tower's batch and goals.

    Args:
        modality: what its items are called.
        items: in a batch, on two cores.
        shape: of an item; empty for texts.
        fp32, bf16: how many times faster than the naive network in float32.
        cast: how many times faster in bf16 than the naive network cast to it.
    """

    modality: str
    items: int
    shape: tuple[int, ...]
    fp32: float
    bf16: float
    cast: float | None = None


WORK = {
    "text": Work("text", len(PROMPTS), (), 6.0, 15.0),
    "vision": Work("image", 2, (3, 224, 224), 1.1, 4.2, 1.2),
    "audio": Work("audio", 4, (3, 1, 128, 204), 1.1, 4.2, 1.2),
    "depth": Work("depth", 16, (1, 224, 224), 1.2, 4.0),
    "thermal": Work("thermal", 8, (1, 224, 224), 1.2, 4.0),
    "imu": Work("imu", 16, (6, 2000), 1.2, 4.0),
}
"""By tower: batches that the naive network embeds in 1 to 8 s on two cores. A sound has three clips."""


def batch(tower: str, options: Options, items: int | None = None) -> Tensor:
    """A tower's input: prompts' token ids (B, 77), else noise (B, *shape), on the device."""
    work = WORK[tower]
    items = options.items(items or work.items)
    if tower == "text":
        from bindplug.inputs import Tokenizer

        prompts = [PROMPTS[index % len(PROMPTS)] for index in range(items)]
        return Tokenizer()(prompts).to(options.device)
    return torch.randn(items, *work.shape, generator=torch.Generator().manual_seed(0)).to(options.device)


def cast(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Noise in that dtype; token ids as they are."""
    return x.to(dtype) if x.is_floating_point() else x
