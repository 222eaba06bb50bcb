"""``bindplug.load("sentence-transformers:…")``."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import modules

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


@pytest.mark.parametrize("kind", ["without its prompt", "shortened", "static"])
def test_models_of_other_modules_have_the_librarys_own_rows(directory, tmp_path, kind):
    torch.manual_seed(0)
    trunk = modules.Transformer(str(directory.parent / "bert"), max_seq_length=16)
    prompts = {"query": "the sound of ", "document": "red "}
    network = {
        "without its prompt": lambda: SentenceTransformer(
            modules=[trunk, modules.Pooling(32, "mean", include_prompt=False)],
            prompts=prompts,
            default_prompt_name="query",
        ),
        "shortened": lambda: SentenceTransformer(
            modules=[trunk, modules.Pooling(32, "mean")], truncate_dim=8
        ),
        "static": lambda: SentenceTransformer(
            modules=[modules.StaticEmbedding(small_foreign.tokenizer(), embedding_dim=16)], prompts=prompts
        ),
    }[kind]()
    network.save(str(tmp_path / "model"))
    model = bindplug.load(f"sentence-transformers:{tmp_path / 'model'}")
    library = SentenceTransformer(str(tmp_path / "model"), device="cpu")
    sentences = [*SENTENCES, "rain and wave", "red dog"]
    expected = torch.tensor(library.encode(sentences, normalize_embeddings=True))
    rows = model.embed([*map(text, sentences)])
    assert rows.shape == (4, model.embedding_space.width)
    torch.testing.assert_close(rows, expected, atol=1e-5, rtol=0)
    if kind == "shortened":
        return
    expected = library.encode(sentences[:2], prompt_name="document", normalize_embeddings=True)
    mixed = model.embed(
        [*(text(sentence, prompt="document") for sentence in sentences[:2]), text(sentences[2])]
    )
    torch.testing.assert_close(mixed, torch.cat([torch.tensor(expected), rows[2:3]]), atol=1e-5, rtol=0)


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
