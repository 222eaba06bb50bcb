"""Four small files to try bindplug with: two sounds, a picture and a depth map of the toy world.

from bindplug.examples import path
model.similarity([audio(path("bark.wav"))], [text("a dog"), text("a train")])
"""

from __future__ import annotations

from pathlib import Path

from bindplug.errors import InputError

FILES = ("bark.wav", "bell.wav", "meadow.png", "train_depth.png")
"""Names of the files: the bark of a dog, a bell, a picture of a dog, and the depth map of a train in millimeters."""

__all__ = ["FILES", "path"]


def path(name: str) -> str:
    """The path of an example file.

    Args:
        name: one of :data:`FILES`. They are rendered by ``bindplug_toyworld`` and under the license of bindplug.

    Raises:
        InputError: there is no example file of that name.
    """
    if name not in FILES:
        raise InputError("bindplug.examples.path()", found=repr(name), expected=f"one of {', '.join(FILES)}")
    return str(Path(__file__).parent / name)
