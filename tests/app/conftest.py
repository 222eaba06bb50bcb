"""A small library of every kind of file, its index, and what searches it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

import bindplug
from bindplug import audio, depth, image, imu, text, thermal, video
from bindplug_app import Finder
from bindplug_search import create_index, open_index
from bindplug_toyworld import Scene

HOSTILE = "<img src=x onerror=alert(1)>.png"
CAPTION = "a dog <script>alert(2)</script>"


@pytest.fixture(scope="session")
def model():
    return bindplug.load("imagebind_tiny")


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """Files of a dog, a train and a fire that stand in the index, and of others for queries."""
    directory = tmp_path_factory.mktemp("files")
    scenes = {
        thing: Scene(100 + place, "eval", thing, fps=4)
        for place, thing in enumerate(("dog", "train", "fire"))
    }
    library = {thing: scene.write(directory / thing) for thing, scene in scenes.items()}
    hostile = directory / HOSTILE
    library["dog"]["image"].rename(hostile)
    library["dog"]["image"] = hostile
    queries = {thing: Scene(300 + place, "eval", thing, fps=1).write(directory / f"other_{thing}")
               for place, thing in enumerate(("dog", "train", "fire"))}  # fmt: skip
    street = directory / "street.png"
    Scene(15, "calibration", ("dog", "car", "fire"), canvas=(320, 320), fps=1).image.save(street)
    return SimpleNamespace(directory=directory, library=library, queries=queries, street=street)


@pytest.fixture(scope="session")
def index_path(files, model, tmp_path_factory):
    """The path of an index of the library."""
    path = tmp_path_factory.mktemp("index") / "library.lance"
    create_index(path, model="imagebind_tiny")
    makers = {"image": image, "audio": audio, "depth": depth, "thermal": thermal, "imu": imu, "video": video}
    queries = [
        makers[kind](place)
        for thing in files.library.values()
        for kind, place in thing.items()
        if kind in makers
    ]
    open_index(path, model=model).add([*queries, text(CAPTION)], metadata={"place": "<b>garden</b>"})
    return path


@pytest.fixture
def finder(index_path, model):
    return Finder(open_index(index_path, model=model), model, detector="toy_detic", pipeline="toy_unclip")
