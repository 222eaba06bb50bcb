"""Still images through the vision tower."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from benchmarks.harness import Comparison, Skipped, ensure_equal, in_turns, seconds
from benchmarks.machine import GB, available_bytes
from benchmarks.networks import naive_network, our_network, synthetic_state
from benchmarks.options import Options

USUAL_REPEATS = 5
IMAGES = 2
NEEDED_MEMORY_BYTES = 6.5 * GB


def run(options: Options) -> list[Comparison]:
    """One comparison, in float32; nearly all of the work is matrix products that both sides must do."""
    available = available_bytes()
    if not options.smoke and available < NEEDED_MEMORY_BYTES:
        raise Skipped(f"{available / GB:.1f} GB of memory available, {NEEDED_MEMORY_BYTES / GB} needed")
    images = torch.randn(IMAGES, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    state = synthetic_state(options.shape, ["vision"])
    naive = naive_network(state, options.shape, ["vision"])
    ours = our_network(state, options.shape, ["vision"])
    with torch.inference_mode():
        baseline_rows = F.normalize(naive({"vision": images})["vision"], dim=-1)
        deviation = ensure_equal("stills", ours.encode_image(images, normalize=True), baseline_rows)
        baseline_s, ours_s = in_turns(
            seconds(lambda: naive({"vision": images})),
            seconds(lambda: ours.encode_image(images)),
            options.count(USUAL_REPEATS),
            label="stills",
            quiet=options.quiet,
        )
    return [
        Comparison(
            f"{IMAGES} still images through the vision tower", "s", baseline_s, ours_s, deviation,
            notes=["no goal: the matrix products of both sides are the same but for the last block"],
        )
    ]  # fmt: skip
