"""Samples of pairs as model input: read once, kept on disk where they fit, else read anew each time."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bindplug.errors import InputError
from bindplug.inputs.arrayfiles import read_arrays
from bindplug.inputs.base import Preprocess, decoding
from bindplug.inputs.notes import collected_notes
from bindplug.inputs.source import is_file_like
from bindplug.inputs.video import VideoPreprocess
from bindplug.prefetch import run_ahead
from bindplug.progress import iterate_with_progress
from bindplug.training.pair_items import PairItem, PairProblem
from bindplug.training.pair_sources import PairSource, sampled_digest

T = TypeVar("T")

CLIPS_OF = {"audio": 3, "imu": 3}
"""Evenly spaced clips of a recording that are kept, of which one is drawn each time."""

CACHE_BYTES = 4 << 30
"""Most bytes of samples that are kept on disk by default."""

FRAME_S = 0.05
"""Stretch of a video that a frame is taken from."""

JOB = 16
"""Pairs that a thread reads in one go."""


class SampleReader:
    """Reads one side of pairs: samples of a sense, as its tower takes them, without batch and clip axes.

    Args:
        sense: of the samples.
        preprocess: its reader; None for a sense of one's own, whose samples are arrays in ``.npy`` files.
        options: of the reader.
    """

    def __init__(
        self, sense: str, preprocess: Preprocess | None, options: Mapping[str, Any] | None = None
    ) -> None:
        self.sense, self.preprocess, self.options = sense, preprocess, dict(options or {})
        self.is_recorded = sense in CLIPS_OF

    def duration(self, item: PairItem) -> float:
        """Seconds of the stretch of a recording that belongs to a pair.

        Raises:
            InputError: it cannot be read.
        """
        assert self.preprocess is not None
        with collected_notes():
            whole = self.preprocess.duration(item.sample.open(), **self.options)
        return min(whole, item.end_s or math.inf) - (item.start_s or 0.0)

    def read(self, item: PairItem, clips: int = 1, at: float | None = None) -> Tensor:
        """(clips, ...) float32 of one pair.

        Args:
            item: the pair.
            clips: evenly spaced clips of a recording; 1 for senses without a length in time.
            at: from 0 to 1, where in the recording one clip starts, from its beginning to the last possible start;
                None for the evenly spaced ones.

        Raises:
            InputError: the sample cannot be read, or is not of finite numbers.
        """
        source = item.sample.open()
        if self.preprocess is None:
            return self._array(source, item.sample.name)[None]
        options = dict(self.options)
        if self.is_recorded:
            options |= {"clips": clips}
            start, end = item.start_s, item.end_s
            if at is not None:
                first, length = start or 0.0, self.duration(item)
                spare = max(0.0, length - CLIP_SECONDS[self.sense])
                start, end = first + at * spare, first + min(length, at * spare + CLIP_SECONDS[self.sense])
            options |= {name: time for name, time in (("start", start), ("end", end)) if time is not None}
        with collected_notes():
            reading = self.preprocess.read(source, **options)
            with decoding(item.sample.name):
                sample = self.preprocess.finish([reading])[0]
        if not isinstance(sample, Tensor):
            raise InputError(item.sample.name, found="named tensors", expected="one tensor a sample")
        if not self.is_recorded or self._has_no_clip_axis(sample):
            sample = sample[None]
        if not bool(sample.isfinite().all()):
            raise InputError(item.sample.name, found="NaN or infinity", expected="finite numbers")
        return sample[:clips]

    def _has_no_clip_axis(self, sample: Tensor) -> bool:
        return sample.ndim == (2 if self.sense == "imu" else 3)

    def _array(self, source: Any, name: str) -> Tensor:
        if isinstance(source, np.ndarray):
            array = source
        elif is_file_like(source):
            arrays = read_arrays(source, f"an array of {self.sense}")
            if len(arrays) != 1:
                raise InputError(name, found=f"arrays {', '.join(arrays)}", expected="one array")
            array = next(iter(arrays.values()))
        else:
            raise InputError(name, found=f"a {type(source).__name__}", expected="an array")
        if array.dtype.kind not in "fiub" or array.size == 0:
            raise InputError(name, found=f"an array of {array.dtype}, {array.shape}", expected="numbers")
        sample = torch.from_numpy(np.array(array, dtype=np.float32))
        if not bool(sample.isfinite().all()):
            raise InputError(name, found="NaN or infinity", expected="finite numbers")
        return sample


CLIP_SECONDS = {"audio": 2.0, "imu": 5.0}
"""Length of one clip. Source: the readers' presets."""


def read_picture(item: PairItem, preprocess: Preprocess) -> Any:
    """What the anchor's image tower takes of a pair: its picture, or the frame of its moment.

    Raises:
        InputError: it cannot be read.
    """
    source: Any = item.anchor.open()
    if item.is_video:
        source = frame_at(source, item.moment_s)
    with collected_notes():
        return preprocess(source)


def frame_at(source: Any, moment_s: float | None) -> Image.Image:
    """The frame of a video that is shown at a moment, in seconds; the one in its middle for None.

    Raises:
        InputError: the video cannot be read, or ends before.
    """
    reader = VideoPreprocess(clips=1)
    with collected_notes():
        if moment_s is None:
            moment_s = reader.duration(source) / 2
            if callable(getattr(source, "seek", None)):
                source.seek(0)
        frames = reader.read(source, start=max(0.0, moment_s), end=max(0.0, moment_s) + FRAME_S).frames
    return Image.fromarray(frames[0])


def read_all(
    items: Sequence[PairItem],
    read: Callable[[PairItem], T],
    *,
    source_of: Callable[[PairItem], PairSource],
    label: str,
    workers: int | None = None,
    quiet: bool | None = None,
    strict: bool = False,
) -> Iterable[tuple[int, T | PairProblem]]:
    """For each pair its place and what ``read`` gives, or the problem; in order, read ahead in threads.

    Raises:
        InputError: ``strict``, and a pair cannot be read.
    """

    def job(start: int, stop: threading.Event) -> list[tuple[int, T | PairProblem]]:
        results: list[tuple[int, T | PairProblem]] = []
        for place in range(start, min(start + JOB, len(items))):
            if stop.is_set():
                break
            try:
                results.append((place, read(items[place])))
            except InputError as error:
                if strict:
                    raise
                results.append((place, PairProblem(source_of(items[place]).name, str(error))))
        return results

    starts = range(0, len(items), JOB)
    results = (result for several in run_ahead(job, starts, workers) for result in several)
    return iterate_with_progress(results, label=label, total=len(items), quiet=quiet)


@dataclass(frozen=True)
class StoredSamples:
    """Samples of pairs in a file of float32 numbers, mapped into memory.

    Args:
        rows: (N, clips, ...) mapped.
    """

    rows: np.ndarray

    @property
    def clips(self) -> int:
        """Clips of each sample."""
        return int(self.rows.shape[1])

    def read(self, index: int, clip: int) -> Tensor:
        """(...) float32, a copy."""
        return torch.from_numpy(np.array(self.rows[index, clip]))


def identity_of(items: Sequence[PairItem], *more: object) -> str:
    """A digest of the files on this machine that pairs are read from, and of whatever else decides on their numbers."""
    digest = hashlib.sha256(repr(more).encode())
    for item in items:
        fields = (item.anchor.identity, item.sample.identity, item.moment_s, item.start_s, item.end_s)
        digest.update(repr(fields).encode("utf-8", errors="surrogatepass"))
    return digest.hexdigest()


def content_of(items: Sequence[PairItem]) -> str:
    """A digest of the content of pairs in their order, wherever their files lie; see :func:`sampled_digest`."""
    digest = hashlib.sha256()
    of_sources: dict[str, str] = {}  # windows of one recording share it
    for item in items:
        for source in (item.anchor, item.sample):
            if source.name not in of_sources:
                of_sources[source.name] = sampled_digest(source)
        files = (of_sources[item.anchor.name], of_sources[item.sample.name])
        digest.update(repr((files, item.moment_s, item.start_s, item.end_s)).encode())
    return digest.hexdigest()


def store_samples(
    items: Sequence[PairItem],
    reader: SampleReader,
    directory: Path,
    *,
    identity: str,
    most_bytes: int = CACHE_BYTES,
    clips: int | None = None,
    workers: int | None = None,
    quiet: bool | None = None,
    strict: bool = False,
) -> tuple[list[int], list[PairProblem], StoredSamples | None]:
    """Read every sample once: which are sound, and their model input on disk if it fits.

    Args:
        items: the pairs.
        reader: of their samples.
        directory: where the file goes; a finished file of the same ``identity`` is used again.
        identity: of pairs and reader, see :func:`identity_of`.
        most_bytes: of the file; if the samples need more, or the disk lacks room, none is kept.
        clips: of each recording; by default :data:`CLIPS_OF`, and one where windows are no longer than a clip.
        workers: threads that read.
        quiet: True shows no progress.
        strict: stop at the first bad sample.

    Returns:
        Places of the good pairs, problems of the others, and the stored samples in the order of the good pairs; None
        where none are kept: they are too many, or there is no room for them.

    Raises:
        InputError: ``strict``, and a sample cannot be read.
    """
    count = clips or _clips_of(items, reader.sense)
    file, record = directory / "samples.f32", directory / "samples.json"
    stored = _reopened(file, record, identity)
    if stored is not None:
        return stored
    directory.mkdir(parents=True, exist_ok=True)
    good: list[int] = []
    problems: list[PairProblem] = []
    shape: tuple[int, ...] | None = None
    keep = most_bytes > 0
    record.unlink(missing_ok=True)
    file.unlink(missing_ok=True)  # a new file: others may have the old one mapped
    with file.open("wb", buffering=0) as stream:
        results = read_all(
            items,
            lambda item: reader.read(item, count),
            source_of=lambda item: item.sample,
            label=f"reading {reader.sense}",
            workers=workers,
            quiet=quiet,
            strict=strict,
        )
        for place, sample in results:
            if isinstance(sample, PairProblem):
                problems.append(sample)
                continue
            if sample.shape[0] < count:  # a short recording stands for all its clips
                sample = sample[torch.arange(count) % sample.shape[0]]
            if shape is None:
                shape = tuple(sample.shape)
                needed = len(items) * sample.numel() * 4
                keep = keep and needed <= min(most_bytes, shutil.disk_usage(directory).free * 0.8)
            if tuple(sample.shape) != shape:
                problem = f"shape {tuple(sample.shape[1:])}, where the first sample has {shape[1:]}"
                problems.append(PairProblem(items[place].sample.name, problem))
                if strict:
                    raise InputError(items[place].sample.name, found=problem, expected="one shape")
                continue
            good.append(place)
            keep = keep and _written(stream, sample)
    if not keep or not good or shape is None:
        file.unlink(missing_ok=True)
        return good, problems, None
    fields = {
        "identity": identity,
        "shape": [len(good), *shape],
        "good": good,
        "problems": [[problem.source, problem.reason] for problem in problems],
    }
    partial = record.with_suffix(".partial")
    try:
        partial.write_text(json.dumps(fields), encoding="utf-8")
        partial.replace(record)
    except OSError:
        file.unlink(missing_ok=True)
        return good, problems, None
    return good, problems, StoredSamples(_mapped(file, (len(good), *shape)))


def _written(stream: IO[bytes], sample: Tensor) -> bool:
    """Append a sample's numbers; whether there was room for all of them."""
    content = sample.contiguous().numpy().tobytes()
    try:
        return stream.write(content) == len(content)
    except OSError:  # a full disk, a quota: samples are kept to save time only
        return False


def _clips_of(items: Sequence[PairItem], sense: str) -> int:
    """Clips to keep of each sample; one if no stretch of a recording is longer than a clip."""
    most = CLIPS_OF.get(sense, 1)
    longest = max(
        (math.inf if item.end_s is None else item.end_s - (item.start_s or 0) for item in items), default=0
    )
    return 1 if most > 1 and longest <= CLIP_SECONDS[sense] else most


def _reopened(
    file: Path, record: Path, identity: str
) -> tuple[list[int], list[PairProblem], StoredSamples] | None:
    """What an earlier run stored of the same pairs; None if there is nothing whole."""
    try:
        fields = json.loads(record.read_text(encoding="utf-8"))
        shape = tuple(int(size) for size in fields["shape"])
        if fields["identity"] != identity or file.stat().st_size != 4 * math.prod(shape):
            return None
        problems = [PairProblem(source, reason) for source, reason in fields["problems"]]
        return [int(place) for place in fields["good"]], problems, StoredSamples(_mapped(file, shape))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _mapped(file: Path, shape: tuple[int, ...]) -> np.ndarray:
    return np.memmap(file, dtype="<f4", mode="r", shape=shape)
