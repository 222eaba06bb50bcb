"""How fast a model runs on this machine, whether its numbers stay equal, and how near the machine's limit it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bindplug.lazy import lazy_names

if TYPE_CHECKING:
    from bindplug.bench.flops import Product, tower_flops, tower_products
    from bindplug.bench.throughput import Measurement, measure

__all__ = ["Measurement", "Product", "measure", "tower_flops", "tower_products"]

_MODULES = {
    "Measurement": "throughput",
    "Product": "flops",
    "measure": "throughput",
    "tower_flops": "flops",
    "tower_products": "flops",
}
"""Names whose modules import torch, which asking about memory does not need."""

__getattr__, __dir__ = lazy_names(__name__, _MODULES, __all__)
