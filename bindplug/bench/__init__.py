"""How fast a model runs on this machine, whether its numbers stay equal, and how near the machine's limit it is."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bindplug.bench.flops import Product, tower_flops, tower_products
    from bindplug.bench.throughput import Measurement, measure

__all__ = ["Measurement", "Product", "measure", "tower_flops", "tower_products"]

_HOMES = {
    "Measurement": "throughput",
    "Product": "flops",
    "measure": "throughput",
    "tower_flops": "flops",
    "tower_products": "flops",
}
"""Names whose modules import torch, which asking about memory does not need."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'bindplug.bench' has no attribute {name!r}")
    return getattr(import_module(f"bindplug.bench.{_HOMES[name]}"), name)
