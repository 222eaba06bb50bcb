"""Finding the store that keeps an index."""

from pathlib import Path

import numpy as np
import pytest

from bindplug import plugins
from bindplug.cards import IndexCard
from bindplug.errors import InputError, PluginError
from bindplug.indexes import Condition, IndexMatch, IndexRow, create_vector_index, find_index_card
from bindplug.plugins import Entry, Plugin
from bindplug.space import EmbeddingSpace

SPACE = EmbeddingSpace("test:space", 4)


class NoIndex:
    """Lacks what a store needs."""


@pytest.fixture
def stores(monkeypatch):
    """Registers stores in place of those that are installed."""
    entries = {}
    monkeypatch.setattr(plugins.registry(), "indexes", entries)

    def add(name, **options):
        options = {"open": f"{__name__}:NoIndex", "recognises": lambda path: False} | options
        entries[name] = Entry(IndexCard(name=name, **options), Plugin("test", __name__, "bindplug"))

    return add


def test_what_exists_is_known_by_what_it_holds_and_a_new_index_by_its_suffix(stores, tmp_path):
    stores("first", recognises=lambda path: (path / "first").exists(), create="x:y", suffixes=(".one",))
    stores("second", recognises=lambda path: (path / "second").exists())
    (tmp_path / "a.one").mkdir()
    (tmp_path / "a.one" / "second").touch()
    assert find_index_card(tmp_path / "a.one").card.name == "second"
    assert find_index_card(tmp_path / "new.one").card.name == "first"
    with pytest.raises(InputError, match=r"that of an index: \.one"):
        find_index_card(tmp_path / "new.two")
    (tmp_path / "foreign").mkdir()
    with pytest.raises(InputError, match="bindplug index adopt"):
        find_index_card(tmp_path / "foreign")


def test_two_stores_that_take_one_index_are_both_named(stores, tmp_path):
    for name in ("first", "second"):
        stores(name, recognises=lambda path: True)
    with pytest.raises(PluginError, match="'first' and 'second' both"):
        find_index_card(tmp_path)


def test_without_a_store_the_error_says_so(stores, tmp_path):
    with pytest.raises(InputError, match="no store is installed"):
        find_index_card(tmp_path / "new.lance")


def test_what_is_no_index_names_its_plugin(stores, tmp_path):
    stores("broken", create=f"{__name__}:make_none", suffixes=(".one",))
    with pytest.raises(PluginError, match=r"'broken' gave a NoIndex; expected a VectorIndex"):
        create_vector_index(tmp_path / "a.one", model="m", space=SPACE)


def make_none(path: Path, *, model: str, space: EmbeddingSpace) -> NoIndex:
    assert (model, space) == ("m", SPACE)
    return NoIndex()


def test_rows_and_matches():
    row = IndexRow("/a.wav", "audio", (0.0, 2.0), {"year": 2020.0})
    match = IndexMatch(row, 0.5)
    assert (match.path, match.kind, match.span, match.metadata) == (
        "/a.wav",
        "audio",
        (0.0, 2.0),
        {"year": 2020.0},
    )
    assert row.key == ("/a.wav", "audio", (0.0, 2.0))
    with pytest.raises(TypeError):
        row.metadata["year"] = 2021.0
    with pytest.raises(InputError, match="a ndarray"):
        Condition("year", "=", np.zeros(2))
