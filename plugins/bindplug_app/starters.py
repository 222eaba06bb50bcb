"""Queries to begin with, for a library of the toy world: scenes that are not in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bindplug_toyworld import Scene

FIRST_SEED = 70_000


@dataclass(frozen=True)
class Starter:
    """A query to try.

    Args:
        label: of its button.
        first: kind, and words or path of a file.
        second: the same of the source that is added, or None.
        weight: of the second.
    """

    label: str
    first: tuple[str, str]
    second: tuple[str, str] | None = None
    weight: float = 1.0


_STARTERS = (
    ("Hear a dog", ("audio", "dog"), None, 1.0),
    ("A cow's depth map", ("depth", "cow"), None, 1.0),
    ("The heat of a fire", ("thermal", "fire"), None, 1.0),
    ("Riding a train", ("imu", "train"), None, 1.0),
    ("“a red boat”", ("text", "a red boat"), None, 1.0),
    ("A boat + the sound of rain", ("image", "boat"), ("audio", "rain"), 1.0),
)


def make_starters(directory: Path) -> list[Starter]:
    """The queries, their files written to a directory."""
    return [Starter(label, _write(first, directory), second and _write(second, directory), weight)
            for label, first, second, weight in _STARTERS]  # fmt: skip


def make_street(directory: Path) -> Path:
    """A picture with several things in it, to look for things in."""
    path = directory / "street.png"
    Scene(FIRST_SEED + 15, "calibration", ("dog", "car", "fire"), canvas=(320, 320), fps=1).image.save(path)
    return path


def _write(source: tuple[str, str], directory: Path) -> tuple[str, str]:
    kind, thing = source
    if kind == "text":
        return source
    scene = Scene(FIRST_SEED + len(thing), "calibration", thing, fps=1)
    path = scene.write(directory / thing)[kind]
    return kind, str(path.rename(directory / f"{thing}_{path.name}"))
