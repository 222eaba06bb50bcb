"""What one piece of work adds to the memory of a process that has imported what it needs.

python -m benchmarks.peak_of load WEIGHTS MODALITY float32|float16|bfloat16|own
python -m benchmarks.peak_of embed LIST OUTPUT
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from benchmarks.machine import peak_bytes


def load(weights: str, modality: str, dtype: str) -> dict[str, float]:
    """Load one tower and read each of its weights, as its first use would; bytes added, and bytes of the tower."""
    import torch

    import bindplug

    bindplug.load("imagebind_tiny", modalities=["imu"])  # so that no import counts
    before = _forget_peak()
    model = bindplug.load(weights, modalities=[modality], dtype=getattr(torch, dtype, None))
    assert isinstance(model, torch.nn.Module)
    for weight in model.parameters():
        weight.detach().view(-1)[:: 1024 // weight.element_size()].sum()  # each page is touched
    held = sum(weight.nbytes for weight in model.parameters())
    return {"added_bytes": peak_bytes() - before, "tower_bytes": held}


def embed(sources: str, output: str) -> dict[str, float]:
    """What ``bindplug embed --from-list`` holds at most, imports and weights included."""
    from bindplug.cli.app import run

    code = run(["embed", "--from-list", sources, "--output", output, "--quiet", "--restart"])
    if code:
        raise RuntimeError(f"bindplug embed ended with {code}")
    return {"peak_bytes": peak_bytes()}


def _forget_peak() -> float:
    """Let the peak start anew from what is held now, where the system can; the peak there is after that."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return peak_bytes()


if __name__ == "__main__":
    works: dict[str, Callable[..., dict[str, float]]] = {"load": load, "embed": embed}
    work = works[sys.argv[1]]
    print(json.dumps(work(*sys.argv[2:])), flush=True)
