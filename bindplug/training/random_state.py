"""The states of all global random generators of a process, as plain numbers."""

from __future__ import annotations

import base64
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def random_state(device: torch.device) -> dict[str, Any]:
    """States of ``random``, NumPy, torch and, on a GPU, of its generator; ready for JSON."""
    version, numbers, gauss = random.getstate()
    state: dict[str, Any] = {
        "python": [version, list(numbers), gauss],
        "torch": _encode(torch.get_rng_state()),
    }
    numpy_state: Any = np.random.get_state(legacy=False)
    if numpy_state["bit_generator"] == "MT19937":  # the default, unless a program exchanged it
        keys = [int(key) for key in numpy_state["state"]["key"]]
        position, has_gauss = int(numpy_state["state"]["pos"]), int(numpy_state["has_gauss"])
        state["numpy"] = [keys, position, has_gauss, float(numpy_state["gauss"])]
    if device.type == "cuda":
        state["cuda"] = _encode(torch.cuda.get_rng_state(device))
    return state


def restore_random_state(state: dict[str, Any], device: torch.device) -> None:
    """Set the generators to what :func:`random_state` gave."""
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))
    if "numpy" in state:
        keys, position, has_gauss, cached = state["numpy"]
        np.random.set_state(("MT19937", np.array(keys, dtype=np.uint32), position, has_gauss, cached))
    torch.set_rng_state(_decode(state["torch"]))
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(_decode(state["cuda"]), device)


def seed_torch(seed: int, device: torch.device) -> None:
    """Seed the generators that a forward pass on the device draws from; ``torch.manual_seed`` takes a millisecond."""
    torch.random.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed all global generators for the block; after it they are as before."""
    before = random_state(device)
    random.seed(seed)
    np.random.seed(seed % 2**32)
    seed_torch(seed, device)
    try:
        yield
    finally:
        restore_random_state(before, device)


def _encode(state: torch.Tensor) -> str:
    return base64.b64encode(state.numpy().tobytes()).decode("ascii")


def _decode(text: str) -> torch.Tensor:
    return torch.frombuffer(bytearray(base64.b64decode(text)), dtype=torch.uint8)
