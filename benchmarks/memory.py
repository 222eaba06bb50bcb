"""Memory, each figure from a fresh process: loading one tower, and embedding a folder of any length."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from benchmarks.children import run_child
from benchmarks.harness import Comparison, Skipped, say
from benchmarks.machine import GB, available_bytes
from benchmarks.options import Options

LOADING_GOAL = 1 / 1.15
NEEDED_BYTES = 3 * GB
FEW, MANY = 1_000, 20_000
SMOKE_FEW, SMOKE_MANY = 20, 60
MOST_ADDED_BYTES = 0.02 * GB
"""For twenty times the items: their paths, a hundred bytes each, and what the allocator leaves between blocks."""
LEAST_ADDED_BYTES = 4096.0
"""A page: nothing smaller can be seen."""
USUAL_LOADS = 3


def run(options: Options) -> list[Comparison]:
    """Three comparisons for loading the audio tower, one for embedding many items."""
    if not options.on_cpu:
        raise Skipped("it measures the memory of a process on the CPU")
    if not options.smoke and available_bytes() < NEEDED_BYTES:
        raise Skipped(f"{available_bytes() / GB:.1f} GB of memory available, {NEEDED_BYTES / GB:.0f} needed")
    return [*_loading(options), _embedding(options)]


def _loading(options: Options) -> list[Comparison]:
    compared = []
    for stored, wanted in (("float32", "own"), ("float16", "float32"), ("float32", "bfloat16")):
        directory = _tower(options, stored)
        name = f"peak of loading the audio tower, stored in {stored}" + (
            "" if wanted == "own" else f", as {wanted}"
        )
        tower, added = [], []
        for repeat in range(options.count(USUAL_LOADS)):
            say(f"{name}: {repeat + 1}", quiet=options.quiet)
            _, said = run_child(["-m", "benchmarks.peak_of", "load", str(directory), "audio", wanted])
            tower.append(said["tower_bytes"] / GB)
            added.append(max(LEAST_ADDED_BYTES, said["added_bytes"]) / GB)
        compared.append(
            Comparison(
                name, "GB", tower, added, least_ratio=LOADING_GOAL,
                notes=["against the tower's own bytes; every weight read once"],
            )
        )  # fmt: skip
    return compared


def _tower(options: Options, dtype: str) -> Path:
    """A directory with the audio tower alone, written at the first run."""
    import torch

    from benchmarks.networks import our_config, synthetic_state
    from bindplug.imagebind import ImageBind, save_directory

    size = "smoke" if options.smoke else "huge"
    path = options.directory / "towers" / f"audio_{size}_{dtype}"
    if not path.exists():
        say(f"memory: writing {path}, kept for the next run", quiet=options.quiet)
        path.parent.mkdir(parents=True, exist_ok=True)
        state = synthetic_state(options.shape, ["audio"])
        model = ImageBind.from_official(state, our_config(options.shape), modalities=["audio"])
        save_directory(model, path, dtype=getattr(torch, dtype))
    return path


def _embedding(options: Options) -> Comparison:
    few, many = (SMOKE_FEW, SMOKE_MANY) if options.smoke else (FEW, MANY)
    name = f"peak of bindplug embed of {many} small pictures, against {few}"
    peaks: dict[int, list[float]] = {few: [], many: []}
    for _ in range(options.count(1)):
        for count in (few, many):
            say(f"{name}: {count}", quiet=options.quiet)
            sources = _pictures(options, count)
            output = options.directory / "pictures" / f"{count}.parquet"
            _, said = run_child(["-m", "benchmarks.peak_of", "embed", str(sources), str(output)])
            peaks[count].append(said["peak_bytes"] / GB)
    goal = None if options.smoke else MOST_ADDED_BYTES / GB
    notes = ["the whole process: interpreter, torch, weights, and batches in flight"]
    return Comparison(name, "GB", peaks[few], peaks[many], most_added=goal, notes=notes)


def _pictures(options: Options, count: int) -> Path:
    """A list of ``count`` files, hard links to a few pictures."""
    from PIL import Image

    directory = options.directory / "pictures" / str(count)
    directory.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    originals = [directory / f"original_{index}.png" for index in range(8)]
    for original in originals:
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(original)
    paths = [directory / f"{index:06d}.png" for index in range(count)]
    for index, path in enumerate(paths):
        if not path.exists():
            _link(originals[index % len(originals)], path)
    sources = options.directory / "pictures" / f"{count}.txt"
    sources.write_text("".join(f"image\t{path}\n" for path in paths))
    return sources


def _link(original: Path, path: Path) -> None:
    try:
        path.hardlink_to(original)
    except OSError:  # a file system without links, or with too many
        shutil.copyfile(original, path)
