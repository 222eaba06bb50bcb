"""Renders worlds in chunks, so that an interrupted rendering goes on where it ended."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image

from bindplug.errors import InputError
from bindplug.files import write_whole
from bindplug.inputs import Preprocess, make_preprocess
from bindplug.progress import iterate_with_progress
from bindplug_lab.world.spec import WorldSpec
from bindplug_lab.world.world import CHUNK, World, read_spec
from bindplug_toyworld import NAMES, Scene

_READER_OPTIONS: dict[str, dict[str, Any]] = {
    "audio": {"sample_rate": Scene.sample_rate_hz},
    "depth": {"unit": "m"},
    "thermal": {"unit": "celsius"},
    "imu": {"sample_rate": float(Scene.imu_rate_hz)},
}
"""How the world's arrays are described to the readers."""
_MEL_SHAPE = (128, 204)
_NEAR_CANVAS = 2
"""How many times the side of a near picture the canvas has that it is cut out of."""
_NEAR_MARGIN = (1.1, 2.0)
"""Smallest and largest side of a near picture, as a multiple of the thing's larger extent."""


def open_world(spec: WorldSpec, cache: str | Path, *, workers: int = 1, quiet: bool | None = None) -> World:
    """The world of a specification from a directory of worlds; rendered there if it isn't yet.

    Args:
        spec: what it holds.
        cache: directory of worlds, each in a directory named after its key.
        workers: processes that render.
        quiet: True shows no progress, None asks the environment.
    """
    return render_world(spec, Path(cache) / spec.key, workers=workers, quiet=quiet)


def render_world(
    spec: WorldSpec, directory: str | Path, *, workers: int = 1, quiet: bool | None = None
) -> World:
    """Render a world, complete one whose rendering ended early, or open a finished one.

    Each sensor goes through the reader that a file of it would. Rendering is deterministic: two processes that
    render the same world at once write the same numbers.

    Args:
        spec: what it holds.
        directory: where it goes; created unless there.
        workers: processes that render.
        quiet: True shows no progress, None asks the environment.

    Raises:
        InputError: the directory holds another world, or something else.
    """
    directory = Path(directory)
    if not directory.exists():
        _allocate(spec, directory)
    if read_spec(directory) != spec:
        raise InputError(
            "world",
            found=f"a world of other values in {directory}",
            expected=json.dumps(spec.to_dict()),
            remedy="choose another directory",
        )
    done = np.lib.format.open_memmap(directory / "done.npy", mode="r+")
    jobs = [(spec, str(directory), int(chunk)) for chunk in np.flatnonzero(~done)]
    label = f"rendering {spec.rows} {'row' if spec.rows == 1 else 'rows'}"
    for chunk in iterate_with_progress(_results(jobs, workers), total=len(jobs), label=label, quiet=quiet):
        done[chunk] = True
        done.flush()
    return World(directory)


def _allocate(spec: WorldSpec, directory: Path) -> None:
    """An empty world, complete in its files when its directory appears."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
    mel = tuple(extent // spec.pool for extent in _MEL_SHAPE)
    square = (1, spec.side, spec.side)
    shapes: dict[str, tuple[tuple[int, ...], type]] = {
        "image": ((3, spec.side, spec.side), np.uint8),
        "depth": (square, np.float16),
        "thermal": (square, np.float16),
        "audio": ((1, *mel), np.float16),
        "imu": ((6, 2000), np.float16),
        "labels": ((spec.things,), np.int64),
    }
    for name in (*spec.sensors, "labels"):
        shape, dtype = shapes[name]
        path = temporary / f"{name}.npy"
        np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=(spec.rows, *shape)).flush()
    np.save(temporary / "done.npy", np.zeros(-(-spec.count // CHUNK), dtype=bool))
    (temporary / "world.json").write_text(json.dumps(spec.to_dict(), indent=1), "utf-8")
    try:
        temporary.rename(directory)
    except OSError:  # another process was first
        shutil.rmtree(temporary)
        if not directory.is_dir():
            raise


def _results(jobs: list[tuple[WorldSpec, str, int]], workers: int) -> Iterator[int]:
    if workers <= 1 or len(jobs) <= 1:
        yield from map(_render_chunk, jobs)
        return
    with get_context("spawn").Pool(
        min(workers, len(jobs)), initializer=torch.set_num_threads, initargs=(1,)
    ) as pool:
        yield from pool.imap_unordered(_render_chunk, jobs)


def _render_chunk(job: tuple[WorldSpec, str, int]) -> int:
    """Write the rows of one chunk of scenes into the world's arrays; returns its number."""
    spec, directory, chunk = job
    path = Path(directory)
    scenes = [
        moment
        for index in range(chunk * CHUNK, min((chunk + 1) * CHUNK, spec.count))
        for moment in _moments(spec, index)
    ]
    first = chunk * CHUNK * spec.moments
    labels = [[NAMES.index(name) for name in scene.labels] for scene in scenes]
    _write(path, "labels", first, np.array(labels))
    for sensor in spec.sensors:
        _write(path, sensor, first, _recordings(spec, sensor, scenes))
    if spec.captions:
        text = json.dumps([scene.captions(spec.captions) for scene in scenes])
        write_whole(path / f"captions-{chunk:05d}.json", text.encode())
    return chunk


def _write(directory: Path, name: str, first: int, values: NDArray[Any]) -> None:
    array = np.lib.format.open_memmap(directory / f"{name}.npy", mode="r+")
    array[first : first + len(values)] = values
    array.flush()


def _moments(spec: WorldSpec, index: int) -> Iterator[Scene]:
    """A scene's moments: the same seed, so the same place and light; now and then other things in it."""
    seed = spec.start + index
    rng = np.random.default_rng([seed, 83])
    names = spec.names
    for moment in range(spec.moments):
        label = names[index % len(names)]
        if moment and rng.random() < spec.change:
            # a thing other than the first one
            label = names[(index + int(rng.integers(1, len(names)))) % len(names)]
        canvas = (spec.side * (_NEAR_CANVAS if spec.near else 1),) * 2
        yield Scene(seed, spec.split, (label,), canvas, spec.things, seconds=spec.seconds)


def _recordings(spec: WorldSpec, sensor: str, scenes: list[Scene]) -> NDArray[Any]:
    """(rows, …) one sensor's recordings."""
    if sensor == "image":
        # (H, W, 3) -> (3, H, W)
        return np.stack([_view(spec, scene, scene.pixels).transpose(2, 0, 1) for scene in scenes])
    sources = [getattr(scene, sensor) for scene in scenes]
    if sensor in ("depth", "thermal"):
        sources = [_view(spec, scene, source) for scene, source in zip(scenes, sources, strict=True)]
    rows = _readers(spec.side)[sensor].batch(sources, options=_READER_OPTIONS[sensor]).stack()
    if sensor == "audio":
        # (B, clips, 1, 128, 204) -> (B, 1, 128, 204): the middle clip
        rows = rows[:, rows.shape[1] // 2]
        rows = F.avg_pool2d(rows, spec.pool) if spec.pool > 1 else rows
    return rows.numpy().astype(np.float16)


def _view(spec: WorldSpec, scene: Scene, picture: NDArray[Any]) -> NDArray[Any]:
    """What is shown of a scene's picture or map (H, W, …): all of it, or a square around its first thing."""
    if not spec.near:
        return picture
    rng = np.random.default_rng([scene.seed, 89])
    side, box = len(picture), scene.boxes[0]
    extent = max(box[2] - box[0], box[3] - box[1], side / 8) * rng.uniform(*_NEAR_MARGIN)
    extent = min(int(extent), side)
    centers = ((box[1] + box[3]) / 2, (box[0] + box[2]) / 2)
    # the thing is off the center by up to a tenth of the side
    top, left = (
        int(np.clip(center - extent / 2 + rng.uniform(-0.1, 0.1) * extent, 0, side - extent))
        for center in centers
    )
    square = picture[top : top + extent, left : left + extent]
    size = (spec.side, spec.side)
    return np.asarray(Image.fromarray(square).resize(size, Image.Resampling.BILINEAR))


@cache
def _readers(side: int) -> dict[str, Preprocess]:
    return make_preprocess(("depth", "thermal", "audio", "imu"), image_size=side)
