"""Commands take the ids of other libraries' models."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as parquet
import pytest
import soundfile

import bindplug as library
from bindplug import audio, text
from tests import small_foreign


@pytest.fixture
def clap(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BINDPLUG_OFFLINE", "1")
    noise = np.random.default_rng(0).standard_normal(3000) * 0.1
    soundfile.write("noise.wav", noise, 4000)
    return small_foreign.clap(tmp_path / "clap")


def test_embed_writes_the_rows_that_python_makes(bindplug, clap):
    arguments = ("--audio", "noise.wav", "--text", "a dog", "-o", "rows.parquet", "--device", "cpu")
    assert bindplug("embed", "--model", "transformers:./clap", *arguments).code == 0
    table = parquet.read_table("rows.parquet").to_pylist()
    model = library.load("transformers:./clap")
    expected = model.embed([audio("noise.wav"), text("a dog")]).numpy()
    np.testing.assert_allclose([row["embedding"] for row in table], expected, atol=1e-5)


def test_classify_and_compare_take_it(bindplug, clap):
    options = ("--model", "transformers:./clap", "--audio", "noise.wav", "--device", "cpu", "--json")
    assert bindplug("classify", *options, "--labels", "dog,cat").code == 0
    assert bindplug("compare", *options, "--text", "a dog").code == 0


def test_what_it_cannot_do_is_said(bindplug, clap):
    arguments = ("--text", "a dog", "-o", "rows.parquet", "--device", "cpu")
    result = bindplug("embed", "--model", "transformers:./absent", *arguments)
    assert result.code != 0
    assert "the directory 'absent' does not exist" in result.err
    result = bindplug("embed", "--model", "transformers:owner/name", *arguments)
    assert result.code != 0
    assert "it is not on this machine, and the hub is out of reach or forbidden" in result.err
    assert "hf download owner/name --local-dir DIR" in result.err
