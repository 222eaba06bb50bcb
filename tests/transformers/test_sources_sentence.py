"""``bindplug.load("sentence-transformers:…")``."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from sentence_transformers import SentenceTransformer

import bindplug
from bindplug import text
from bindplug.errors import CheckpointError, InputNote, UnknownModel
from bindplug.testing import EncoderContract
from tests import small_foreign

SENTENCES = ["a dog", "the red sofa barks"]


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return small_foreign.sentence_model(tmp_path_factory.mktemp("sentence"))


def test_rows_are_the_librarys_own(directory):
    model = bindplug.load(f"sentence-transformers:{directory}")
    library = SentenceTransformer(str(directory), device="cpu")
    torch.testing.assert_close(
        model.embed([*map(text, SENTENCES)]), torch.tensor(library.encode(SENTENCES)), atol=1e-5, rtol=0
    )
    expected = torch.tensor(library.encode(SENTENCES, prompt_name="query"))
    rows = model.embed([text(sentence, prompt="query") for sentence in SENTENCES])
    torch.testing.assert_close(rows, expected, atol=1e-5, rtol=0)
    assert model.embedding_space.name == "sentence-transformers:tiny-sentence"


def test_a_text_that_is_cut_is_noted(directory):
    model = bindplug.load(f"sentence-transformers:{directory}")
    with pytest.warns(InputNote, match="a text of 22 tokens, cut to 16"):
        model.embed([text("a dog " * 10)])


def test_modules_that_are_not_the_librarys_own_are_refused(directory, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(directory, copy)
    modules = json.loads((copy / "modules.json").read_text())
    modules[0]["type"] = "evil.Module"
    (copy / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(UnknownModel, match=r"'evil\.Module' is not one of sentence-transformers' own"):
        bindplug.load(f"sentence-transformers:{copy}")
    (copy / "modules.json").write_text("[{")
    with pytest.raises(CheckpointError, match="not a whole list of modules"):
        bindplug.load(f"sentence-transformers:{copy}")
    (copy / "modules.json").unlink()
    with pytest.raises(UnknownModel, match=r"no modules\.json"):
        bindplug.load(f"sentence-transformers:{copy}")


class TestContract(EncoderContract):
    @pytest.fixture(autouse=True)
    def _at(self, directory):
        type(self).directory = directory

    def make_encoder(self):
        return bindplug.load(f"sentence-transformers:{self.directory}")

    def make_queries(self):
        return {"text": [*map(text, SENTENCES)]}
