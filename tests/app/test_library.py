"""The library of the toy world, made where a person names no index."""

from __future__ import annotations

import pytest

from bindplug.errors import InputError
from bindplug_app import library
from bindplug_app.starters import make_starters, make_street
from bindplug_search import open_index, query_model


@pytest.fixture
def few_scenes(monkeypatch):
    """A library of four scenes."""
    names = {"dog_1", "dog_2", "train_1", "dog_and_cow"}
    scenes = [(name, scene) for name, scene in library._scenes() if name in names]
    assert len(scenes) == 4
    monkeypatch.setattr(library, "_scenes", lambda: iter(scenes))


def test_it_is_made_once_with_every_kind(few_scenes, model, tmp_path, monkeypatch):
    path = library.toy_library(model, tmp_path / "toy", name="imagebind_tiny", quiet=True)
    index = open_index(path, model=model)
    assert index.info().kinds == {
        "audio": 3, "depth": 3, "image": 4, "imu": 1, "text": 2, "thermal": 3, "video": 2,
    }  # fmt: skip
    assert query_model(index.store) == "imagebind_tiny"
    monkeypatch.setattr(library, "_write_files", None)
    assert library.toy_library(model, tmp_path / "toy") == path
    assert sorted(p.name for p in (tmp_path / "toy").iterdir()) == ["files", "library.lance"]


def test_what_an_interrupted_run_left_is_replaced(few_scenes, model, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(library, "_make_index", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            library.toy_library(model, tmp_path / "toy", quiet=True)
    (tmp_path / "toy" / "files").mkdir(parents=True)
    assert library.toy_library(model, tmp_path / "toy", quiet=True).is_dir()


def test_a_place_that_cannot_be_written_is_an_error(model, tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(InputError, match="a place to write the toy library to"):
        library.toy_library(model, tmp_path / "file" / "toy", quiet=True)


def test_it_lies_below_the_directory_of_weights_by_the_weights(model, tmp_path, monkeypatch):
    monkeypatch.setenv("BINDPLUG_HOME", str(tmp_path))
    assert library.library_directory(model).parent == tmp_path
    assert library.library_directory(model).name.startswith("toy-library-1-")


def test_there_are_queries_to_try(tmp_path):
    starters = make_starters(tmp_path)
    kinds = [starter.first[0] for starter in starters]
    assert kinds == ["audio", "depth", "thermal", "imu", "text", "image"]
    assert starters[-1].second is not None
    assert make_street(tmp_path).stat().st_size > 0
    for starter in starters:
        for kind, value in filter(None, (starter.first, starter.second)):
            assert kind == "text" or (tmp_path / value).is_file()
