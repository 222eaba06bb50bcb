"""The files that the documentation's pages name: ``python -m bindplug_toyworld.page_files DIRECTORY``."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from bindplug_toyworld.files import write_imu, write_video, write_wav
from bindplug_toyworld.scene import Scene

SOUNDS = {
    "bark": "dog",
    "bell": "bell",
    "rain": "rain",
    "waves": "boat",
    "fire": "fire",
    "siren": "ambulance",
    "what": "train",
}
"""Stem of a sound's file -> the thing that is heard."""

PICTURES = {
    "meadow.png": ("cow",),
    "dog.jpg": ("dog",),
    "crane.jpg": ("bird",),
    "a.png": ("dog",),
    "photo.jpg": ("cat",),
    "street.png": ("dog", "bicycle", "train"),
    "quiet.png": ("bell", "frog"),
}
"""A picture's file -> the things in it."""


def write_page_files(directory: str | Path) -> Path:
    """Render the files that snippets of the documentation read, so that they run as printed.

    Sounds, pictures, depth maps, a thermal picture, a motion log and a video of the toy world, and the folders
    ``sounds`` and ``pictures`` with copies of some. It takes a few seconds.

    Args:
        directory: where to; it is made, and files of these names in it are replaced.

    Returns:
        The directory.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    for seed, (name, thing) in enumerate(SOUNDS.items(), start=100):
        scene = Scene(seed, "eval", labels=[thing])
        write_wav(directory / f"{name}.wav", scene.audio, scene.sample_rate_hz)
    for seed, (name, things) in enumerate(PICTURES.items(), start=200):
        canvas = (256, 256) if len(things) > 1 else (224, 224)
        Scene(seed, "eval", labels=things, canvas=canvas).image.save(directory / name)
    _write_sensors(directory)
    for folder, pattern in (("sounds", "*.wav"), ("pictures", "*.jpg")):
        (directory / folder).mkdir(exist_ok=True)
        for path in sorted(directory.glob(pattern))[:4]:
            shutil.copy(path, directory / folder)
    return directory


def _write_sensors(directory: Path) -> None:
    scene = Scene(11, "eval", labels=["train"], seconds=2.0, fps=4)
    assert scene.imu is not None  # a train moves its rider
    write_video(directory / "train.mp4", scene.video, scene.fps, scene.audio, scene.sample_rate_hz)
    write_imu(directory / "ride.csv", scene.imu, scene.imu_rate_hz)
    _save_sixteen_bit(directory / "sofa.png", scene.depth * 400)  # brought to the distances of a room
    _save_sixteen_bit(directory / "what.png", scene.depth * 400)
    _save_sixteen_bit(directory / "heat.tiff", (scene.thermal + 273.15) * 100)


def _save_sixteen_bit(path: Path, values: np.ndarray) -> None:
    Image.fromarray(values.round().astype("uint16")).save(path)


if __name__ == "__main__":
    print(write_page_files(sys.argv[1] if len(sys.argv) > 1 else "."))
