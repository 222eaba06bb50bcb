"""Clocks: how long work takes, and what rate of matrix products the machine reaches in the same run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.nn.functional as F

from bindplug.bench.flops import Product
from bindplug.bench.machine import synchronise

SQUARE = {"cpu": 2048, "cuda": 8192}
"""Side of the large square product, long enough for its rate to be the machine's: 17 and 1,100 GFLOP."""

PATIENCE_S = 0.5
"""A product is not repeated once its repeats took this long together."""

LEAST_S = 0.05
"""A measurement repeats shorter work until it takes at least this."""


def seconds(work: Callable[[], Any], device: str | torch.device = "cpu") -> float:
    """How long ``work`` takes; on CUDA until the device is done."""
    synchronise(device)
    start = time.perf_counter()
    work()
    synchronise(device)
    return time.perf_counter() - start


def passes_needed(work: Callable[[], Any], device: str | torch.device = "cpu") -> int:
    """How often to repeat ``work`` within one measurement, so that the clock and its noise do not matter.

    Runs ``work`` twice; the first run, which may compile or allocate, does not count.
    """
    work()
    return max(1, round(LEAST_S / max(seconds(work, device), 1e-6)))


def square_product(device: str | torch.device, side: int | None = None) -> Product:
    """The large square product of such a device, or one of another size."""
    side = side or SQUARE.get(torch.device(device).type, SQUARE["cuda"])
    return Product("block", side, side, side)


def product_work(product: Product, dtype: torch.dtype, device: str | torch.device) -> Callable[[], Any]:
    """One of such products on random numbers, computed as a linear layer computes it."""
    x = torch.randn(product.rows, product.inner, device=device).to(dtype)
    weight = torch.randn(product.columns, product.inner, device=device).to(dtype)
    return lambda: F.linear(x, weight)


def product_seconds(
    product: Product, dtype: torch.dtype, device: str | torch.device, repeats: int = 3
) -> float:
    """Median seconds of one of such products."""
    work = product_work(product, dtype, device)
    passes = passes_needed(work, device)
    durations_s: list[float] = []
    while len(durations_s) < repeats and sum(durations_s) < PATIENCE_S:
        durations_s.append(seconds(lambda: [work() for _ in range(passes)], device))
    return statistics.median(durations_s) / passes


def square_rate(dtype: torch.dtype, device: str | torch.device, repeats: int = 3) -> float:
    """FLOP/s of one large square product: what this machine can do in that dtype."""
    product = square_product(device)
    with torch.inference_mode():
        return product.flops / product_seconds(product, dtype, device, repeats)


def own_rate(
    products: Iterable[Product], dtype: torch.dtype, device: str | torch.device, repeats: int = 3
) -> float | None:
    """FLOP/s of a tower's own products: its blocks' linear layers, alone; None for a tower of one block."""
    blocks = [product for product in products if product.part == "block"]
    with torch.inference_mode():
        total_s = sum(p.count * product_seconds(p, dtype, device, repeats) for p in blocks)
    return sum(p.flops for p in blocks) / total_s if blocks else None
