"""What a run of the benchmarks was asked to do."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from benchmarks.naive.shape import HUGE, SMOKE, Shape

ROOT = Path(__file__).resolve().parents[1]
DIRECTORY_VARIABLE = "BINDPLUG_BENCH_DIR"
SMOKE_REPEATS = 2


@dataclass(frozen=True)
class Options:
    """Args:
    smoke: use tiny sizes: everything runs, no figure means anything.
    repeats: measurements of each side; None leaves each benchmark its own number.
    quiet: say nothing on stderr.
    cache: whether the page cache holds the checkpoint at a cold start, ``"warm"`` or ``"cold"``.
    """

    smoke: bool = False
    repeats: int | None = None
    quiet: bool = False
    cache: str = "warm"

    @property
    def shape(self) -> Shape:
        """The network measured."""
        return SMOKE if self.smoke else HUGE

    @property
    def directory(self) -> Path:
        """Where the checkpoint and other files are kept between runs."""
        return Path(os.environ.get(DIRECTORY_VARIABLE) or ROOT / "runs" / "benchmarks")

    def count(self, usual: int) -> int:
        """How many measurements to take of each side."""
        return self.repeats or (SMOKE_REPEATS if self.smoke else usual)
