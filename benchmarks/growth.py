"""How time grows with the batch, with clips, with a text's length, with a corpus and with a folder."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.harness import Growth, Outcome, attempt, ensure_equal, rounds, say, seconds
from benchmarks.networks import ours, synthetic_state
from benchmarks.options import Options
from benchmarks.sounds import write_sounds
from benchmarks.work import WORK

BATCHES = (1, 2, 4, 8, 16)
CLIPS = (1, 2, 4, 8)
LENGTHS = (4, 8, 16, 32, 77)
TEXTS = 4
CORPUS, SMOKE_CORPUS = (1_000, 10_000, 100_000, 1_000_000), (100, 1_000)
SOUNDS = (4, 8, 16, 32)
START, END = 49406, 49407
"""CLIP's tokens around a text."""


def run(options: Options) -> Iterator[Outcome]:
    """Towers at the published size in float32; a corpus' rows and a folder's sounds with imagebind_tiny."""
    parts: list[Callable[[Options], Growth]] = [_texts, _corpus]
    if options.on_cpu:
        parts.append(_sounds)
    for part in (_batch, _clips, *parts):
        yield from attempt(partial(_only, part, options))
        gc.collect()


def _only(part: Callable[[Options], Growth], options: Options) -> list[Outcome]:
    return [part(options)]


def _batch(options: Options) -> Growth:
    network = ours(synthetic_state(options.shape, ["depth"]), options.shape, ["depth"], device=options.device)
    maps = torch.randn(_sizes(BATCHES, options)[-1], *WORK["depth"].shape, device=options.device)
    return _measured(
        "depth maps through their tower", "maps in a batch", _sizes(BATCHES, options),
        lambda size: partial(network.encode_depth, maps[:size], normalize=True),
        lambda: (network.encode_depth(maps, True), torch.cat([network.encode_depth(m[None], True) for m in maps])),
        options,
    )  # fmt: skip


def _clips(options: Options) -> Growth:
    network = ours(synthetic_state(options.shape, ["audio"]), options.shape, ["audio"], device=options.device)
    sizes = _sizes(CLIPS, options)
    sound = torch.randn(1, sizes[-1], *WORK["audio"].shape[1:], device=options.device)
    return _measured(
        "one sound through the audio tower", "clips of the sound", sizes,
        lambda size: partial(network.encode_audio, sound[:, :size], normalize=True),
        lambda: (
            network.encode_audio(sound, True),
            F.normalize(network.encode_audio(sound[0], True).mean(0, keepdim=True), dim=-1),
        ),
        options,
    )  # fmt: skip


def _texts(options: Options) -> Growth:
    network = ours(synthetic_state(options.shape, ["text"]), options.shape, ["text"], device=options.device)
    sizes = _sizes(LENGTHS, options)
    count = options.items(TEXTS)
    ids = {length: _text(count, length).to(options.device) for length in sizes}
    shortest = sizes[0]
    return _measured(
        f"{count} texts through the text tower", "tokens of a text", sizes,
        lambda size: partial(network.encode_text, ids[size], normalize=True),
        lambda: (network.encode_text(ids[shortest], True), network.encode_text(ids[shortest][:, :shortest], True)),
        options,
    )  # fmt: skip


def _text(count: int, length: int) -> Tensor:
    """Token ids (count, 77) of texts of ``length`` tokens, start and end included."""
    ids = torch.randint(1, START, (count, 77), generator=torch.Generator().manual_seed(length))
    ids[:, 0], ids[:, length - 1], ids[:, length:] = START, END, 0
    return ids


def _corpus(options: Options) -> Growth:
    import bindplug

    model = bindplug.load("imagebind_tiny", modalities={"text"}, device=options.device)
    sizes = list(SMOKE_CORPUS if options.smoke else CORPUS)
    generator = torch.Generator().manual_seed(0)
    rows = F.normalize(torch.randn(sizes[-1], model.embedding_space.width, generator=generator), dim=-1)
    rows, query = rows.to(options.device), rows[:1].to(options.device)
    return _measured(
        f"the 10 best of a corpus of {rows.shape[1]}-d rows for one query", "rows in the corpus", sizes,
        lambda size: lambda: model.scores(query, rows[:size]).topk(10),
        lambda: (model.scores(query, rows[: sizes[0]]), query @ rows[: sizes[0]].T),
        options,
        ["rows are normalized again on every call, which reads and writes all of them"],
    )  # fmt: skip


def _sounds(options: Options) -> Growth:
    import bindplug

    sizes = _sizes(SOUNDS, options)
    paths = write_sounds(options.directory / "sounds", sizes[-1])
    model = bindplug.load("imagebind_tiny", modalities={"audio"})
    queries = [bindplug.audio(path) for path in paths]
    return _measured(
        "wav files of 8 s through imagebind_tiny, reading included", "files", sizes,
        lambda size: partial(model.embed, queries[:size], progress=False),
        lambda: (model.embed(queries, progress=False), torch.cat([model.embed([q], progress=False) for q in queries])),
        options,
    )  # fmt: skip


def _measured(
    name: str,
    size: str,
    sizes: list[int],
    work: Callable[[int], Callable[[], Any]],
    both: Callable[[], tuple[Tensor, Tensor]],
    options: Options,
    notes: Sequence[str] = (),
) -> Growth:
    """Prove that ``both`` ways agree, run every size once, then measure."""
    from bindplug.bench.clock import passes_needed

    say(f"growth: {name}", quiet=options.quiet)
    with torch.inference_mode():
        deviation = ensure_equal(name, *both())
        works = {one: work(one) for one in sizes}
        passes = {one: passes_needed(works[one], options.device) for one in sizes}

        def repeated(one: int) -> Callable[[], float]:
            taken = seconds(lambda: [works[one]() for _ in range(passes[one])], options.device)
            return lambda: taken() / passes[one]

        measures = {one: repeated(one) for one in sizes}
        samples = rounds(measures, options.count(), label=name, quiet=options.quiet)
    return Growth(name, size, "s", sizes, list(samples.values()), deviation, list(notes))


def _sizes(usual: Sequence[int], options: Options) -> list[int]:
    return list(usual[:2] if options.smoke else usual)
