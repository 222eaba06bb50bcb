"""From a fresh process and a whole checkpoint to the first audio embedding: time and peak memory."""

from __future__ import annotations

import shutil
import statistics
from pathlib import Path
from typing import Any

from benchmarks.children import run_child
from benchmarks.harness import Comparison, Skipped, ensure_equal, in_turns, say
from benchmarks.machine import GB, available_bytes, cached_share, drop_cache, warm_cache
from benchmarks.options import Options
from benchmarks.sounds import write_sounds

GOAL = 8.0
USUAL_REPEATS = 3
"""Fewer than five: one start of the baseline takes most of a minute."""
CHECKPOINT_BYTES = 4.8 * GB
NEEDED_MEMORY_BYTES = 11 * GB
"""The baseline's peak, measured at 10.1 GB, and some room."""


def run(options: Options) -> list[Comparison]:
    """Two comparisons, of seconds and of peak memory."""
    checkpoint = _checkpoint(options)
    (sound,) = write_sounds(options.directory / "sounds", 1)
    starts: dict[str, list[dict[str, Any]]] = {"naive": [], "bindplug": []}
    size = "smoke" if options.smoke else "huge"

    def start(side: str) -> float:
        (warm_cache if options.cache == "warm" else drop_cache)(checkpoint)
        cached = cached_share(checkpoint)
        took, said = run_child(
            ["-m", "benchmarks.embed_first_sound", side, str(checkpoint), str(sound), size]
        )
        starts[side].append(said | {"cached_share": cached})
        return took

    count = options.count(USUAL_REPEATS)
    # The first start of each side proves equal numbers, and fills the cache of compiled modules.
    say("cold start: proving equal numbers", quiet=options.quiet)
    for side in starts:
        start(side)
    rows = {side: said.pop()["rows"] for side, said in starts.items()}
    deviation = ensure_equal("cold start", rows["bindplug"], rows["naive"])
    baseline_s, ours_s = in_turns(
        lambda: start("naive"),
        lambda: start("bindplug"),
        count,
        label="cold start",
        quiet=options.quiet,
    )
    memory = {side: [said["peak_bytes"] / GB for said in all_] for side, all_ in starts.items()}
    notes = [
        f"{count} starts a side, in fresh processes; page cache {options.cache}: "
        f"{_cached(starts)} of the checkpoint's {checkpoint.stat().st_size / GB:.1f} GB in it before a start"
    ]
    details = {"stages": {side: _stages(all_) for side, all_ in starts.items()}, "cache": options.cache}
    return [
        Comparison(
            "cold start to the first audio embedding", "s", baseline_s, ours_s, deviation, GOAL,
            notes=notes, details=details,
        ),
        Comparison(
            "peak memory of that cold start", "GB", memory["naive"], memory["bindplug"], deviation, GOAL
        ),
    ]  # fmt: skip


def _checkpoint(options: Options) -> Path:
    """The checkpoint to start from, written at the first run."""
    available = available_bytes()
    if not options.smoke and available < NEEDED_MEMORY_BYTES:
        raise Skipped(f"{available / GB:.1f} GB of memory available, {NEEDED_MEMORY_BYTES / GB:.0f} needed")
    path = options.directory / ("smoke.pth" if options.smoke else "imagebind_huge_synthetic.pth")
    if path.exists():
        return path
    options.directory.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(options.directory).free
    if not options.smoke and free < 1.1 * CHECKPOINT_BYTES:
        raise Skipped(f"{free / GB:.1f} GB free under {options.directory}, {CHECKPOINT_BYTES / GB} needed")
    say(f"cold start: writing {path}, kept for the next run", quiet=options.quiet)
    from benchmarks.networks import write_checkpoint

    write_checkpoint(path, options.shape)
    return path


def _stages(starts: list[dict[str, Any]]) -> dict[str, float]:
    """Median seconds of each stage; what is missing to the whole is the interpreter's own start."""
    return {
        stage: statistics.median(said["stages"][stage] for said in starts) for stage in starts[0]["stages"]
    }


def _cached(starts: dict[str, list[dict[str, Any]]]) -> str:
    shares = [said["cached_share"] for all_ in starts.values() for said in all_]
    if None in shares:
        return "an unknown part"
    return f"{min(shares):.0%} to {max(shares):.0%}"
