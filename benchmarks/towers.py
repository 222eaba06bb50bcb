"""Every tower at the published size: the naive network against bindplug, in float32 and in bf16."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.harness import (
    Comparison,
    Outcome,
    Skipped,
    UnequalNumbers,
    attempt,
    ensure_aligned,
    ensure_equal,
    rounds,
    say,
    seconds,
)
from benchmarks.machine import GB, available_bytes
from benchmarks.networks import naive_network, ours, synthetic_state
from benchmarks.options import Options
from benchmarks.work import WORK, batch, cast

BYTES_PER_WEIGHT = 22
"""Naive, ours and packed in float32, all three in bf16, int8, and what making one of them takes."""
ACTIVATION_BYTES = 1 * GB

Embed = Callable[[], Tensor]


def run(options: Options) -> Iterator[Outcome]:
    """One tower at a time, against naive float32, and the faster bf16 against the naive cast to it."""
    for tower in options.towers:
        yield from attempt(partial(_tower, tower, options))
        gc.collect()


def _tower(tower: str, options: Options) -> Iterator[Outcome]:
    state = fitting_state("towers", tower, BYTES_PER_WEIGHT, options)
    x = batch(tower, options)
    naive = _naive(state, tower, x, torch.float32, options)
    with torch.inference_mode():
        reference = naive().float()
        sides, proofs = {"naive": naive}, {}
        for name, build in _variants(state, tower, x, options).items():
            try:
                side = build()
                proofs[name] = _proof(f"{tower}, {name}", name, side().float(), reference)
                sides[name] = side
            except (Skipped, UnequalNumbers) as reason:
                yield reason
        samples = rounds(
            {name: seconds(side, options.device) for name, side in sides.items()},
            options.count(),
            label=tower,
            quiet=options.quiet,
        )
    yield from _compared(tower, len(x), samples, proofs, options)


def fitting_state(benchmark: str, tower: str, bytes_per_weight: float, options: Options) -> dict[str, Tensor]:
    """The synthetic weights of a tower, where what is to be made of them fits this machine.

    Args:
        benchmark: who builds, for the progress line.
        tower: its name.
        bytes_per_weight: bytes of memory needed for each weight of the tower.
        options: of the run.

    Raises:
        Skipped: there is less memory.
    """
    say(f"{benchmark}: building {tower}", quiet=options.quiet)
    state = synthetic_state(options.shape, [tower])
    needed = sum(t.numel() for t in state.values()) * bytes_per_weight + ACTIVATION_BYTES
    available = available_bytes()
    if not options.smoke and available < needed:
        raise Skipped(f"{tower}: {available / GB:.1f} GB of memory available, {needed / GB:.1f} needed")
    return state


def _naive(state: dict[str, Tensor], tower: str, x: Tensor, dtype: torch.dtype, options: Options) -> Embed:
    network = naive_network(state, options.shape, [tower]).to(options.device, dtype)
    given = cast(x, dtype)
    return lambda: F.normalize(network({tower: given})[tower], dim=-1)


def _ours(
    state: dict[str, Tensor], tower: str, x: Tensor, options: Options, dtype: str, **how: bool
) -> Embed:
    network = ours(state, options.shape, [tower], dtype, device=options.device, **how)
    given, modality = cast(x, network.dtype), WORK[tower].modality
    return lambda: network.encode(modality, given, normalize=True)


def _variants(
    state: dict[str, Tensor], tower: str, x: Tensor, options: Options
) -> dict[str, Callable[[], Embed]]:
    make = partial(_ours, state, tower, x, options)
    variants: dict[str, Callable[[], Embed]] = {
        "naive bf16": partial(_naive, state, tower, x, torch.bfloat16, options),
        "fp32": partial(make, "fp32"),
        "bf16": partial(make, "bf16"),
    }
    if "packed" in options.variants:
        variants["fp32 packed"] = partial(make, "fp32", packed=True)
        variants["bf16 packed"] = partial(make, "bf16", packed=True)
    if "int8" in options.variants:
        variants["int8"] = partial(make, "int8")
    if "compiled" in options.variants:
        variants["bf16 compiled"] = partial(make, "bf16", compiled=True)
    return variants


def _proof(label: str, variant: str, rows: Tensor, reference: Tensor) -> tuple[float | None, float | None]:
    """Deviation for float32, cosine for everything else."""
    if variant.startswith("fp32"):
        return ensure_equal(label, rows, reference), None
    return None, ensure_aligned(label, rows, reference)


def _compared(
    tower: str,
    items: int,
    samples: dict[str, list[float]],
    proofs: dict[str, tuple[float | None, float | None]],
    options: Options,
) -> Iterator[Comparison]:
    work = WORK[tower]
    best = {d: f"{d} packed" if f"{d} packed" in samples else d for d in ("fp32", "bf16")}
    goals = {best["fp32"]: work.fp32, best["bf16"]: work.bf16} if options.on_cpu else {}
    for name, taken in samples.items():
        if name.startswith("naive"):
            continue
        deviation, cosine = proofs[name]
        yield Comparison(
            f"{items} x {work.modality}, {name}", "s", samples["naive"], taken, deviation, goals.get(name),
            cosine=cosine, details={"items_per_s": [items / one for one in taken]},
        )  # fmt: skip
        if name == best["bf16"] and "naive bf16" in samples:
            yield Comparison(
                f"{items} x {work.modality}, {name} over the naive cast", "s", samples["naive bf16"], taken,
                least_ratio=work.cast if options.on_cpu else None, cosine=cosine,
            )  # fmt: skip
