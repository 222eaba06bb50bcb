"""``bindplug embed`` of 2,000 sounds and of 2,000 photographs: do readers and model overlap?

Where readers and model both use every core, their work adds up whatever the order, so "the larger of the two"
needs shares that do not overlap. Torch gets ``cores - workers`` threads, half of the cores, and the readers the other
half. With these shares three times are taken: the readers alone, the model alone on batches that lie ready, and the
whole command line, which loads the model, reads, embeds, saves and writes. Perfect overlap takes the larger of the
first two.

The second comparison asks what a user gains: the command as it is by default, all cores for everybody, against one
that reads in the model's thread (``--workers 0``), both with all of torch's threads.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.harness import Comparison, ensure_equal, in_turns, say, seconds
from benchmarks.options import Options
from benchmarks.sounds import write_sounds

if TYPE_CHECKING:
    from bindplug.encoder import Encoder

GOAL = 1 / 1.15
ITEMS = 2000
SMOKE_ITEMS = 12
DISTINCT = 40
"""Files with content of their own; the others are links to them, read and decoded like any."""
USUAL_REPEATS = 3
"""Fewer than five: a measurement takes half a minute."""
BATCH_SIZE = 32
WIDTH_PX, HEIGHT_PX = 640, 480


def run(options: Options) -> list[Comparison]:
    """Two comparisons for sounds and two for photographs."""
    compared = []
    for modality, write in (("audio", write_sounds), ("image", write_photographs)):
        sources = _linked(options, modality, write)
        compared += _compare(options, modality, sources)
    return compared


def write_photographs(directory: Path, count: int) -> list[Path]:
    """``count`` JPEG files of 640 x 480 with detail at every scale; those that exist are kept."""
    from PIL import Image

    directory.mkdir(parents=True, exist_ok=True)
    paths = [directory / f"photograph_{index:03d}.jpg" for index in range(count)]
    for index, path in enumerate(paths):
        if not path.exists():
            rng = np.random.default_rng(index)
            picture = np.zeros((HEIGHT_PX, WIDTH_PX, 3))
            for cells in (4, 16, 64, 256):
                noise = rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
                picture += np.asarray(Image.fromarray(noise).resize((WIDTH_PX, HEIGHT_PX)), float) / 4
            Image.fromarray(picture.astype(np.uint8)).save(path, quality=90)
    return paths


def _linked(options: Options, modality: str, write: Callable[[Path, int], Sequence[Path]]) -> list[Path]:
    count = SMOKE_ITEMS if options.smoke else ITEMS
    originals = write(options.directory / "folders" / f"{modality}_originals", min(count, DISTINCT))
    directory = options.directory / "folders" / f"{modality}_{count}"
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    for index in range(count):
        original = originals[index % len(originals)]
        paths.append(directory / f"{index:05d}{original.suffix}")
        if not paths[-1].exists():
            paths[-1].symlink_to(original.resolve())
    return paths


def _compare(options: Options, modality: str, paths: list[Path]) -> list[Comparison]:
    import torch

    import bindplug

    model = bindplug.load("imagebind_tiny", modalities=[modality], device=options.device)
    sources = options.directory / "folders" / f"{modality}.txt"
    sources.write_text("".join(f"{modality}\t{path}\n" for path in paths))
    output = options.directory / "folders" / f"{modality}.npz"
    name = f"bindplug embed of {len(paths)} {'sounds' if modality == 'audio' else 'photographs'}"
    say(f"{name}: proving equal numbers", quiet=options.quiet)
    queries = [getattr(bindplug, modality)(str(path)) for path in paths]
    expected = model.embed(queries[: 4 * BATCH_SIZE], workers=0, progress=False).cpu()
    _embed(options, sources, output)
    with np.load(output) as stored:
        deviation = ensure_equal(name, torch.from_numpy(stored["embedding"][: len(expected)]), expected)
    workers = max(1, _cores() // 2)
    alone: dict[str, list[float]] = {"readers": [], "model": []}

    def larger() -> float:
        for side, work in (("readers", _readers(model, modality, paths, workers)),
                           ("model", _model(model, modality, paths))):  # fmt: skip
            alone[side].append(seconds(work)())
        return max(times[-1] for times in alone.values())

    repeats = options.count(USUAL_REPEATS)
    with _threads(max(1, _cores() - workers)):
        larger_s, overlapped_s = in_turns(
            larger, seconds(lambda: _embed(options, sources, output, workers)), repeats,
            label=f"{name}, overlap", quiet=options.quiet,
        )  # fmt: skip
    serial_s, default_s = in_turns(
        seconds(lambda: _embed(options, sources, output, 0)),
        seconds(lambda: _embed(options, sources, output)),
        repeats, label=name, quiet=options.quiet,
    )  # fmt: skip
    shares = f"{workers} reading and {max(1, _cores() - workers)} computing threads in all three"
    return [
        Comparison(
            f"{name} against the larger of readers and model alone", "s", larger_s, overlapped_s, deviation,
            GOAL if options.on_cpu else None, notes=[shares], details={"alone_s": alone},
        ),
        Comparison(f"{name} against reading in the model's thread", "s", serial_s, default_s, deviation),
    ]  # fmt: skip


def _embed(options: Options, sources: Path, output: Path, workers: int | None = None) -> None:
    from bindplug.cli.app import run as run_command

    arguments = ["embed", "--from-list", str(sources), "--output", str(output), "--restart", "--quiet"]
    arguments += ["--device", options.device, "--batch-size", str(BATCH_SIZE)]
    code = run_command(arguments + ([] if workers is None else ["--workers", str(workers)]))
    if code:
        raise RuntimeError(f"bindplug embed ended with {code}")


def _chunks(modality: str, paths: Sequence[Path]) -> Iterator[list[Path]]:
    from bindplug.embed import CLIPS_OF
    from bindplug.modality import Modality

    step = BATCH_SIZE // CLIPS_OF.get(Modality.parse(modality), 1)
    yield from (list(paths[start : start + step]) for start in range(0, len(paths), step))


def _readers(model: Encoder, modality: str, paths: Sequence[Path], workers: int) -> Callable[[], Any]:
    from bindplug.prefetch import run_ahead

    reader = model.preprocess[modality]

    def read() -> None:
        chunks = _chunks(modality, paths)
        for batch in run_ahead(lambda chunk, _: reader.batch(chunk, device=model.device), chunks, workers):
            assert batch.items

    return read


def _model(model: Encoder, modality: str, paths: Sequence[Path]) -> Callable[[], Any]:
    import torch

    reader = model.preprocess[modality]
    first = next(_chunks(modality, paths))
    ready = reader.batch(first, device=model.device).stack()
    sizes = [len(chunk) for chunk in _chunks(modality, paths)]

    def encode() -> None:
        with torch.inference_mode():
            for size in sizes:
                model.encode(modality, ready[:size], normalize=True).cpu()

    return encode


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """So many threads for torch's own work in the block."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
