"""How near the machine's own limit image and audio run: the rate of plain matrix products in the same dtype.

bindplug runs as fast as it can: packed on the CPU, compiled on CUDA.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from functools import partial

import torch

from benchmarks.harness import (
    Comparison,
    Outcome,
    attempt,
    ensure_aligned,
    ensure_equal,
    rounds,
    seconds,
)
from benchmarks.networks import fastest, ours
from benchmarks.options import Options
from benchmarks.towers import fitting_state
from benchmarks.work import WORK, batch, cast

GOAL = 0.8
TOWERS = ("vision", "audio")
SQUARE_PASSES = 4
"""Large square products in one measurement."""
SMOKE_SIDE = 64
ITEMS = 4
BYTES_PER_WEIGHT = 12
"""The state, a copy in float32, one in bf16, and what making them takes."""


def run(options: Options) -> Iterator[Outcome]:
    """For either tower and dtype its share of the large square product's rate, and of its own products'."""
    for tower in TOWERS:
        if tower in options.towers:
            yield from attempt(partial(_tower, tower, options))
            gc.collect()


def _tower(tower: str, options: Options) -> Iterator[Outcome]:
    state = fitting_state("limit", tower, BYTES_PER_WEIGHT, options)
    x = batch(tower, options, ITEMS)
    with torch.inference_mode():
        exact = ours(state, options.shape, [tower], device=options.device)
        modality = WORK[tower].modality
        reference = torch.cat([exact.encode(modality, one[None], normalize=True) for one in x[:2]]).float()
        del exact
    for dtype in ("fp32", "bf16"):
        yield from attempt(partial(_shares, tower, dtype, state, x, reference, options))


def _shares(
    tower: str,
    dtype: str,
    state: dict[str, torch.Tensor],
    x: torch.Tensor,
    reference: torch.Tensor,
    options: Options,
) -> Iterator[Outcome]:
    from bindplug.bench.clock import product_work, square_product
    from bindplug.bench.flops import tower_products

    modality = WORK[tower].modality
    network = fastest(state, options.shape, [tower], dtype, options.device)
    given = cast(x, network.dtype)
    clips = len(x) * (x.shape[1] if x.ndim == 5 else 1)
    products = tower_products(network.config, tower, clips=clips)
    square, blocks = (
        square_product(options.device, SMOKE_SIDE if options.smoke else None),
        [p for p in products if p.part == "block"],
    )
    with torch.inference_mode():
        rows = network.encode(modality, given, normalize=True)[: len(reference)].float()
        label = f"limit, {tower}, {dtype}"
        deviation = ensure_equal(label, rows, reference) if dtype == "fp32" else None
        cosine = ensure_aligned(label, rows, reference)
        square_once = product_work(square, network.dtype, options.device)
        own = [product_work(p, network.dtype, options.device) for p in blocks]
        works = {
            "a square product": lambda: [square_once() for _ in range(SQUARE_PASSES)],
            "its own products": lambda: [product() for product in own],
            "tower": lambda: network.encode(modality, given),
        }
        for work in works.values():
            work()
        samples = rounds(
            {name: seconds(work, options.device) for name, work in works.items()},
            options.count(),
            label=label,
            quiet=options.quiet,
        )
    flops, once = sum(p.flops for p in products), sum(p.flops // p.count for p in blocks)
    rates = {
        "a square product": [SQUARE_PASSES * square.flops / taken for taken in samples["a square product"]],
        "its own products": [once / taken for taken in samples["its own products"]],
    }
    note = f"{flops / len(x) / 1e9:.3g} GFLOP an item; baseline: its time at the rate of the products"
    for name, reached in rates.items():
        goal = GOAL if name == "a square product" and options.on_cpu else None
        yield Comparison(
            f"{len(x)} x {modality}, {dtype}, share of the rate of {name}", "s",
            [flops / rate for rate in reached], samples["tower"], deviation, goal, cosine=cosine,
            notes=[note] if goal else [],
            details={"gflop_per_s": [rate / 1e9 for rate in reached], "flops": flops},
        )  # fmt: skip
