"""What other libraries hand over becomes queries, and nothing is guessed."""

import importlib
import io
import sys

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from bindplug import audio, image, text
from bindplug.errors import InputError, MissingDependency, UnknownModality
from bindplug.testing import FakeEncoder
from bindplug_search.integrations import QueryEmbedder, to_query


def test_what_says_what_it_is_becomes_a_query():
    query = audio("a.wav") - text("rain")
    picture = Image.new("RGB", (4, 4))
    assert to_query(query) is query
    assert to_query("a dog") == text("a dog")
    assert to_query(picture) == image(picture)
    assert to_query({"image": "a.png", "audio": "a.wav"}) == image("a.png") + audio("a.wav")
    assert to_query("a.wav", "audio") == audio("a.wav")
    assert to_query(pa.scalar("a dog")) == text("a dog")
    assert to_query({"accelerometer": "a.csv"}, "imu").terms[0][1].modality.value == "imu"


@pytest.mark.parametrize(
    "value", [None, b"RIFF", np.zeros((4, 4, 3)), io.BytesIO(), ["a.png", "b.png"], {}, 3, Image]
)
def test_what_does_not_say_what_it_is_is_refused(value):
    with pytest.raises(InputError) as error:
        to_query(value)
    assert 'audio("bark.wav")' in error.value.remedy


def test_what_contradicts_its_modality_is_refused():
    with pytest.raises(InputError, match="a bytes; expected a string"):
        to_query(b"a dog", "text")
    with pytest.raises(UnknownModality):
        to_query("a.wav", "smell")
    with pytest.raises(UnknownModality):
        to_query({"smell": "a.wav"})
    with pytest.raises(InputError, match="a list"):
        to_query(["a.png", "b.png"], "image")


@pytest.mark.parametrize("values", ["abc", b"abc", {"image": "a.png", "text": "a dog"}])
def test_a_single_value_is_not_taken_for_a_list_of_its_items(values):
    with pytest.raises(InputError, match="a list of values"):
        QueryEmbedder(FakeEncoder()).rows(values)


def test_rows_are_the_models_own():
    model = FakeEncoder()
    embedder = QueryEmbedder(model)
    rows = embedder.rows(["a dog", {"audio": "a.wav"}])
    np.testing.assert_array_equal(rows, model.embed([text("a dog"), audio("a.wav")]).numpy())
    assert embedder.rows([]).shape == (0, 16)
    assert embedder.row("a.wav", "audio") == rows[1].tolist()
    assert embedder.width == 16


@pytest.mark.parametrize(
    ("module", "library", "extra"),
    [
        ("lancedb", "lancedb", "index"),
        ("chroma", "chromadb", "chroma"),
        ("langchain", "langchain_core", "langchain"),
        ("llama_index", "llama_index", "llama-index"),
    ],
)
def test_an_absent_library_is_named_with_its_extra(monkeypatch, module, library, extra):
    name = f"bindplug_search.integrations.{module}"
    for loaded in [loaded for loaded in sys.modules if loaded == library or loaded.startswith(f"{library}.")]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(MissingDependency, match=rf'pip install "?bindplug\[{extra}\]'):
        importlib.import_module(name)
