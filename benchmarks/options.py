"""What a run of the benchmarks was asked to do."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from benchmarks.naive.shape import HUGE, SMOKE, TOWERS, Shape

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
DIRECTORY_VARIABLE = "BINDPLUG_BENCH_DIR"
SMOKE_REPEATS = 2
USUAL_REPEATS = 5
CUDA_FACTOR = 16
"""How many times the CPU's items a GPU is given: enough to fill it."""

VARIANTS = ("packed", "int8", "compiled")
"""Options of bindplug that can be measured beside plain fp32 and bf16."""


@dataclass(frozen=True)
class Options:
    """Args:
    smoke: use tiny sizes: everything runs, no figure means anything.
    repeats: measurements of each side; None leaves each benchmark its own number.
    quiet: say nothing on stderr.
    cache: whether the page cache holds the checkpoint at a cold start, ``"warm"`` or ``"cold"``.
    device: ``"cpu"``, ``"cuda"`` or a certain GPU.
    towers: which towers the benchmarks of single towers measure.
    variants: which of :data:`VARIANTS` to measure too.
    """

    smoke: bool = False
    repeats: int | None = None
    quiet: bool = False
    cache: str = "warm"
    device: str = "cpu"
    towers: tuple[str, ...] = TOWERS
    variants: tuple[str, ...] = ()

    @property
    def shape(self) -> Shape:
        """The network measured."""
        return SMOKE if self.smoke else HUGE

    @property
    def directory(self) -> Path:
        """Where the checkpoint and other files are kept between runs."""
        return Path(os.environ.get(DIRECTORY_VARIABLE) or ROOT / "runs" / "benchmarks")

    @property
    def on_cpu(self) -> bool:
        """Whether goals, which are for CPUs, apply."""
        return self.device == "cpu"

    def count(self, usual: int = USUAL_REPEATS) -> int:
        """How many measurements to take of each side."""
        return self.repeats or (SMOKE_REPEATS if self.smoke else usual)

    def items(self, usual: int) -> int:
        """How many items to give at once: ``usual`` is for two cores."""
        return min(usual, 2) if self.smoke else usual if self.on_cpu else usual * CUDA_FACTOR
