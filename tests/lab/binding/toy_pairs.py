"""A folder of toy-world scenes as pairs of files, and the command that binds them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bindplug.cli.app import run
from bindplug_toyworld import scene_at
from bindplug_toyworld.files import write_wav

TINY = ("--width", "32", "--blocks", "1", "--heads", "2", "--batch", "8", "--epochs", "2")
"""Options of a run of seconds."""


def bind(*arguments: object) -> int:
    """The command in this process; its exit code."""
    return run(["bind", *map(str, arguments)])


def write_scenes(folder: Path, count: int, *, split: str = "train", array: bool = False) -> Path:
    """``dog-000.jpg`` with ``dog-000.wav``, or with ``dog-000.npy``, an array that tells the things apart."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        scene = scene_at(split, index, canvas=(112, 112))
        name = folder / f"{scene.label.replace(' ', '_')}-{index:03d}"
        scene.image.save(name.with_suffix(".jpg"))
        if array:
            signal = np.random.default_rng(index % 20).normal(size=48)
            np.save(name.with_suffix(".npy"), signal + np.random.default_rng([7, index]).normal(0, 0.1, 48))
        else:
            write_wav(name.with_suffix(".wav"), scene.audio, scene.sample_rate_hz)
    return folder
