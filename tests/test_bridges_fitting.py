import json
import sys
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from bindplug import text
from bindplug.bridges import BridgeQuality, LinearBridge, VocabularyBridge, fit_bridge, load_bridge
from bindplug.bridges.targets import OpenClipText, VectorFile, open_target, read_names
from bindplug.cli import bridge as command
from bindplug.cli.options import ModelChoice
from bindplug.corpus import Corpus
from bindplug.errors import CheckpointError, InputError, MissingDependency, ModalityNotLoaded, WeightsNotFound
from bindplug.space import EmbeddingSpace
from bindplug.testing import FAKE_SPACE, FakeEncoder

WORDS = [f"word {i}" for i in range(300)]
TURN = torch.linalg.qr(torch.randn(16, 16, generator=torch.Generator().manual_seed(0)))[0]


class Turned:
    """The fake encoder's space, turned; counts what it is asked."""

    embedding_space = EmbeddingSpace("test:turned", 16)
    description = "turned"

    def __init__(self):
        self.model, self.batches = FakeEncoder(), []

    def embed_texts(self, texts):
        self.batches.append(list(texts))
        return 7.0 * self.model.embed([text(t) for t in texts]) @ TURN


def test_a_corpus_through_two_encoders_makes_a_bridge():
    target = Turned()
    bridge = fit_bridge(FakeEncoder(), target, WORDS, batch_size=128, progress=False)
    assert [len(batch) for batch in target.batches] == [128, 128, 44]
    assert (bridge.source, bridge.target) == (FAKE_SPACE, Turned.embedding_space)
    assert bridge.report.retrieval.top1 == 1.0
    assert torch.allclose(bridge.weight, TURN, atol=1e-4)
    assert bridge.provenance["corpus"] == "texts"
    assert bridge.provenance["target"] == "turned"


def test_the_vocabulary_method_keeps_the_words_and_prompts_reach_the_encoders():
    target = Turned()
    with pytest.warns(BridgeQuality):
        bridge = fit_bridge(
            FakeEncoder(), target, Corpus("c", ("dog", "cat")), method="vocabulary", target_prompt="a {}"
        )
    assert isinstance(bridge, VocabularyBridge)
    assert bridge.names == ("dog", "cat")
    assert target.batches == [["a dog", "a cat"]]


@pytest.mark.parametrize(
    ("change", "kind", "found"),
    [
        ({"method": "magic"}, InputError, "magic"),
        ({"corpus": []}, InputError, "no texts"),
        ({"source_prompt": "a"}, InputError, "where the text goes"),
        ({"batch_size": 0}, InputError, "batch_size=0"),
        ({"target": object()}, InputError, "a object as target"),
        ({"source": FakeEncoder(("image",))}, ModalityNotLoaded, "without 'text'"),
    ],
)
def test_fitting_refuses_what_cannot_work(change, kind, found):
    arguments = {"source": FakeEncoder(), "target": Turned(), "corpus": WORDS, **change}
    with pytest.raises(kind, match=found):
        fit_bridge(**arguments)


@pytest.fixture
def vectors(tmp_path):
    rows = 10.0 * FakeEncoder().embed([text(f"a {w}") for w in WORDS]) @ TURN[:, :8]
    np.save(tmp_path / "vectors.npy", rows.numpy().astype(np.float16))
    (tmp_path / "names.txt").write_text("\n".join(word.replace(" ", "_") for word in WORDS))
    return tmp_path


def test_a_file_of_vectors_answers_for_its_names(vectors):
    file = VectorFile(vectors / "vectors.npy", WORDS)
    rows = file.embed_texts(["word 3", "word 1"])
    assert rows.shape == (2, 8)
    assert torch.allclose(rows.norm(dim=1), torch.ones(2))
    with pytest.raises(InputError, match="'dragon'"):
        file.embed_texts(["dragon"])
    with pytest.raises(InputError, match="299 names for its 300 rows"):
        VectorFile(vectors / "vectors.npy", WORDS[1:])
    with pytest.raises(InputError, match="occur twice"):
        VectorFile(vectors / "vectors.npy", [*WORDS[1:], "word 1"])
    (vectors / "bad.npy").write_bytes(b"no array")
    with pytest.raises(CheckpointError, match=r"not an \.npy file"):
        VectorFile(vectors / "bad.npy", WORDS)
    with pytest.raises(WeightsNotFound):
        VectorFile(vectors / "none.npy", WORDS)


def test_names_are_read_from_lines_or_json(tmp_path):
    (tmp_path / "a.txt").write_text("aerosol_can\nshoe_(arctic)\n")
    (tmp_path / "a.json").write_text('["aerosol_can", "shoe_(arctic)"]')
    assert (
        read_names(tmp_path / "a.txt") == read_names(tmp_path / "a.json") == ["aerosol can", "shoe (arctic)"]
    )
    (tmp_path / "b.json").write_text("[1]")
    with pytest.raises(InputError, match="no text"):
        read_names(tmp_path / "b.json")
    with pytest.raises(InputError, match="No such file"):
        read_names(tmp_path / "none")


@pytest.mark.parametrize("spec", ["clip", "open_clip:ViT-B-32", "transformers:", "a.txt"])
def test_a_target_of_no_known_form_is_refused(spec):
    with pytest.raises(InputError, match=r"open_clip:NAME:TAG, transformers:ID, or FILE.npy"):
        open_target(spec)


def test_an_absent_library_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(MissingDependency, match=r'pip install "bindplug\[open-clip\]"'):
        open_target("open_clip:ViT-B-32:openai")


@pytest.fixture
def small_open_clip(monkeypatch, tmp_path):
    """open_clip with one small architecture of random weights, and no network."""

    class Model(torch.nn.Module):
        def encode_text(self, tokens):
            return torch.stack([torch.cos(tokens[:, :8].float().sum(1) * k) for k in range(1, 7)], dim=1)

    def create_model(name, pretrained, device):
        if str(pretrained).endswith(".pt"):
            return Model()
        raise RuntimeError("Failed to download: no route to host")

    fake = SimpleNamespace(
        list_models=lambda: ["Small"],
        list_pretrained_tags_by_model=lambda name: ["laion"],
        create_model=create_model,
        get_tokenizer=lambda name: lambda texts: torch.tensor([[*t.encode()[:8].ljust(8)] for t in texts]),
    )
    monkeypatch.setitem(sys.modules, "open_clip", fake)
    (tmp_path / "mine.pt").write_bytes(b"weights")
    return tmp_path / "mine.pt"


def test_open_clip_weights_that_cannot_be_fetched_say_what_is_missing(small_open_clip):
    with pytest.raises(WeightsNotFound, match=r"'laion' of Small.*no route to host.*open_clip:Small:PATH"):
        OpenClipText("Small", "laion")
    with pytest.raises(InputError, match="architecture 'Large'"):
        OpenClipText("Large", "laion")
    with pytest.raises(InputError, match="one of laion, or a weight file"):
        OpenClipText("Small", "openai")
    made = open_target(f"open_clip:Small:{small_open_clip}", space="open_clip:Small:laion")
    assert made.embedding_space == EmbeddingSpace("open_clip:Small:laion", 6)
    assert OpenClipText("Small", str(small_open_clip)).embedding_space.name == "open_clip:Small:mine"
    assert made.embed_texts(["a dog", "a cat"]).shape == (2, 6)


@pytest.fixture
def bindplug(monkeypatch):
    """Runs ``bindplug bridge ...`` with the fake encoder in place of a model."""
    monkeypatch.setattr(ModelChoice, "load", lambda self, modalities: FakeEncoder())

    def call(*arguments):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", BridgeQuality)
            return CliRunner().invoke(command.bridge, [str(a) for a in arguments])

    return call


@pytest.mark.parametrize(
    ("method", "kind"),
    [("procrustes", LinearBridge), ("ridge", LinearBridge), ("vocabulary", VocabularyBridge)],
)
@pytest.mark.filterwarnings("ignore::bindplug.bridges.BridgeQuality")
def test_the_command_fits_saves_and_reports(bindplug, vectors, method, kind):
    target = ["--target", vectors / "vectors.npy", "--target-names", vectors / "names.txt"]
    out = vectors / "bridge"
    ran = bindplug("fit", *target, "--method", method, "-o", out, "--target-space", "clip:b32", "--json")
    assert ran.exit_code == 0, ran.output
    told = json.loads(ran.stdout)
    assert told["target"] == {"name": "clip:b32", "width": 8}
    assert told["report"]["retrieval"]["candidates"] == 30
    assert told["provenance"]["source_prompt"] == "a {}"
    made = load_bridge(out)
    assert type(made) is kind
    if kind is LinearBridge:
        assert told["report"]["retrieval"]["top1"] == 1.0
    shown = bindplug("report", out)
    assert f"{method}" in shown.stdout
    assert "held out 30: top-1" in shown.stdout
    again = bindplug("fit", *target, "-o", out)
    assert isinstance(again.exception, CheckpointError)
    assert "--overwrite" in str(again.exception)
    assert bindplug("fit", *target, "-o", out, "--overwrite", "--quiet").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["--target", "x.npy"], "needs --target-names"),
        (["--target", "x.npy", "--target-names", "n", "--corpus", "c"], "the names are the corpus"),
        (["--target", "open_clip:A:B", "--target-names", "n"], "belongs to --target FILE.npy"),
        (["--target", "x.npy", "--strength", "1"], "belongs to --method ridge"),
        (["--target", "x.npy", "--scale", "1"], "belongs to --method vocabulary"),
        (["--target", "x.npy", "--held-out", "1"], "--held-out"),
        ([], "--target"),
    ],
)
def test_wrong_usage_is_told(bindplug, tmp_path, arguments, found):
    ran = bindplug("fit", *arguments, "-o", tmp_path / "b")
    assert ran.exit_code == 2
    assert found in ran.output
