"""The library of the toy world that the page shows where a person names no index: files and their index."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

from bindplug.directories import staged
from bindplug.encoder import Encoder
from bindplug.errors import InputError
from bindplug.hub import home
from bindplug.progress import iterate_with_progress
from bindplug_search import create_index, open_index
from bindplug_toyworld import NAMES, Scene

VERSION = 1
"""Raised when other files are made, so that an older library is not taken for this one."""
FIRST_SEED = 40_000
PAIR_THINGS = ("dog", "cow", "cat", "train", "boat", "rain", "fire")
"""Of every pair of these there is a picture, for sums to find."""
MOVING_PICTURES = ("dog", "train", "boat", "bird", "helicopter", "horse", "fire", "bicycle")
PATTERNS = {
    "image": "*_picture.png",
    "audio": "*.wav",
    "depth": "*_depth.png",
    "thermal": "*.tiff",
    "imu": "*.csv",
    "video": "*.mp4",
}
INDEX = "library.lance"


def library_directory(model: Encoder) -> Path:
    """Where the library of a model is kept: below the directory of weights, by the model's weights."""
    fingerprint = model.embedding_space.fingerprint or model.embedding_space.name
    digest = hashlib.sha256(fingerprint.encode()).hexdigest()[:12]
    return home() / f"toy-library-{VERSION}-{digest}"


def toy_library(
    model: Encoder, directory: str | Path | None = None, *, name: str = "", quiet: bool = False
) -> Path:
    """The path of an index over some two hundred small files of every kind, which are made if they are not there.

    Args:
        model: makes the rows; one of the toy world.
        directory: for the files and the index; below the directory of weights by default.
        name: of the model, for the index to remember.
        quiet: no progress bars.

    Raises:
        InputError: they cannot be written.
    """
    place = library_directory(model) if directory is None else Path(directory)
    if (place / INDEX).is_dir():
        return place / INDEX
    try:
        with staged(place, overwrite=True) as partial:  # a run that ended early left no index
            _write_files(partial / "files", quiet)
    except OSError as error:
        raise InputError(
            str(place), found=error.strerror or str(error), expected="a place to write the toy library to"
        ) from None
    try:
        # The index keeps absolute paths, so it is made where the files have come to lie.
        _make_index(place, model, name, quiet)
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise
    return place / INDEX


def _make_index(place: Path, model: Encoder, name: str, quiet: bool) -> None:
    from bindplug import text

    partial = place / "partial.lance"
    create_index(partial, model=name or model)
    index = open_index(partial, model=model)
    index.add_folder(place / "files", PATTERNS, progress=False if quiet else None)
    captions = (place / "files" / "captions.txt").read_text(encoding="utf-8").splitlines()
    index.add([text(caption) for caption in captions], progress=False)
    partial.rename(place / INDEX)


def _write_files(directory: Path, quiet: bool) -> None:
    directory.mkdir()
    captions = []
    scenes = list(_scenes())
    for name, scene in iterate_with_progress(scenes, label="making the toy library", quiet=quiet or None):
        scratch = directory / ".scratch"
        if len(scene.labels) > 1:
            scene.image.save(directory / f"{name}_picture.png")
            continue
        kinds = {"image": "_picture.png", "audio": ".wav", "depth": "_depth.png", "thermal": "_heat.tiff"}
        kinds["imu"] = "_motion.csv"
        if scene.fps > 1:
            kinds["video"] = ".mp4"
        files = scene.write(scratch)
        for kind, ending in kinds.items():
            if kind in files:
                files[kind].rename(directory / f"{name}{ending}")
        shutil.rmtree(scratch)
        captions.append(scene.caption)
    (directory / "captions.txt").write_text("\n".join(captions[::2]) + "\n", encoding="utf-8")


def _scenes() -> Iterator[tuple[str, Scene]]:
    """Names and scenes: two of each thing, and one of some pairs."""
    for number in (1, 2):
        for place, thing in enumerate(NAMES):
            fps = 8 if number == 1 and thing in MOVING_PICTURES else 1  # of the others no video is kept
            yield f"{thing}_{number}", Scene(FIRST_SEED + 100 * number + place, "eval", thing, fps=fps)
    for place, pair in enumerate(combinations(PAIR_THINGS, 2)):
        yield f"{pair[0]}_and_{pair[1]}", Scene(FIRST_SEED + 500 + place, "eval", pair, fps=1)
