"""The files of ``bindplug.examples``: ``python -m recipes.example_files``."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import bindplug.examples
from bindplug_toyworld import Scene

SOURCES = {
    "bark.wav": (215, "dog", "audio"),
    "meadow.png": (215, "dog", "image"),
    "bell.wav": (101, "bell", "audio"),
    "train_depth.png": (307, "train", "depth"),
}
"""Name -> seed of an evaluation scene, the thing in it, and the sensor."""


def write(directory: Path) -> None:
    """Render the example files into a directory."""
    for name, (seed, label, sensor) in SOURCES.items():
        with tempfile.TemporaryDirectory() as scratch:
            files = Scene(seed, "eval", labels=[label], seconds=2.0, fps=4).write(scratch)
            shutil.copyfile(files[sensor], directory / name)


if __name__ == "__main__":
    write(Path(bindplug.examples.__file__).parent)
