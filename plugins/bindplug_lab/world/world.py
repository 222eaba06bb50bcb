"""A rendered world: arrays mapped from its directory.

Shape letters: R = rows, K = things in a scene, S = side in pixels, M = mel bins, T = frames or steps.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bindplug.errors import InputError
from bindplug_lab.world.spec import FORMAT_VERSION, WorldSpec

CHUNK = 32
"""Scenes that are rendered at a time; a run that ends early loses at most one chunk a process."""


class World:
    """Recordings, labels and captions of a :class:`~bindplug_lab.world.WorldSpec`.

    Args:
        directory: that :func:`~bindplug_lab.world.render_world` wrote.

    Attributes:
        directory: where it is.
        spec: what it holds.

    Raises:
        InputError: there is no finished world in the directory.
    """

    def __init__(self, directory: str | Path) -> None:
        self.directory = Path(directory)
        self.spec = read_spec(self.directory)
        if not np.load(self.directory / "done.npy").all():
            raise InputError(
                "world",
                found=f"{self.directory} whose rendering ended early",
                expected="a finished rendering",
                remedy="render_world() with the same specification completes it",
            )
        self._arrays: dict[str, NDArray[Any]] = {}

    def __len__(self) -> int:
        return self.spec.rows

    def array(self, name: str) -> NDArray[Any]:
        """The memory-mapped array of a sensor, or of the labels.

        Raises:
            InputError: the sensor was not rendered.
        """
        if name not in (*self.spec.sensors, "labels"):
            held = ", ".join(self.spec.sensors)
            raise InputError(f"world: {name}", found=f"a world of {held}", expected=f"a world with {name}")
        if name not in self._arrays:
            self._arrays[name] = np.load(self.directory / f"{name}.npy", mmap_mode="r")
        return self._arrays[name]

    def tensor(self, name: str) -> Tensor:
        """:meth:`array` as a tensor of the same type, in memory."""
        return torch.from_numpy(np.array(self.array(name)))

    @property
    def images(self) -> NDArray[np.uint8]:
        """(R, 3, S, S) colors, 0 to 255."""
        return self.array("image")

    @property
    def depth(self) -> NDArray[np.float16]:
        """(R, 1, S, S) normalized disparity, as the depth tower takes it."""
        return self.array("depth")

    @property
    def thermal(self) -> NDArray[np.float16]:
        """(R, 1, S, S) normalized heat."""
        return self.array("thermal")

    @property
    def audio(self) -> NDArray[np.float16]:
        """(R, 1, M, T) normalized mel filter banks."""
        return self.array("audio")

    @property
    def imu(self) -> NDArray[np.float16]:
        """(R, 6, 2000) recordings of motion."""
        return self.array("imu")

    @property
    def labels(self) -> NDArray[np.int64]:
        """(R,) the first thing of each row, an index into ``bindplug_toyworld.NAMES``."""
        return self.array("labels")[:, 0]

    @property
    def all_labels(self) -> NDArray[np.int64]:
        """(R, K) every thing of each row."""
        return self.array("labels")

    @property
    def scenes(self) -> NDArray[np.int64]:
        """(R,) the scene that each row is a moment of."""
        return np.arange(len(self)) // self.spec.moments

    def captions(self, row: int) -> list[str]:
        """The captions of one row."""
        chunk, offset = divmod(row, CHUNK * self.spec.moments)
        texts: list[list[str]] = json.loads(
            (self.directory / f"captions-{chunk:05d}.json").read_text("utf-8")
        )
        return texts[offset]

    def all_captions(self) -> list[list[str]]:
        """The captions of every row."""
        texts: list[list[str]] = []
        for path in sorted(self.directory.glob("captions-*.json")):
            texts += json.loads(path.read_text("utf-8"))
        return texts


def read_spec(directory: Path) -> WorldSpec:
    """What the world in a directory holds.

    Raises:
        InputError: there is none, or another version wrote it.
    """
    path = directory / "world.json"
    if not path.is_file():
        raise InputError("world", found=f"no world.json in {directory}", expected="a rendered world")
    try:
        values = json.loads(path.read_text("utf-8"))
        version = values.pop("format_version")
        if version != FORMAT_VERSION:
            raise InputError("world", found=f"format version {version}", expected=str(FORMAT_VERSION))
        return WorldSpec(**values)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError("world", found=f"damaged {path}: {error}", expected="a rendered world") from error
