"""The adapter contract, run on a toy adapter registered through the public door, and on adapters that break it."""

import sys
import types
from importlib.metadata import EntryPoint

import numpy as np
import pytest
import torch

from bindplug import audio, hookimpl, plugins, text
from bindplug.adapters import Upgraded
from bindplug.cards import AdapterCard, is_instance_by_name
from bindplug.testing import AdapterContract, FakeEncoder, difference, same, snapshot


class Painter(torch.nn.Module):
    """A tool that makes 16 numbers of a sentence; they follow an embedding it may be given."""

    style = "oil"

    def __init__(self):
        super().__init__()
        self.brush = torch.nn.Linear(16, 16)
        with torch.no_grad():
            self.brush.weight.copy_(torch.eye(16))
            self.brush.bias.zero_()
        self.strokes = ["thin"]

    def forward(self, sentence, extra=0.0):
        torch.manual_seed(len(sentence))
        with torch.no_grad():
            return {"picture": self.brush(torch.randn(16) + extra), "size": (4, 4)}


class QueryPainter(Upgraded):
    def __call__(self, query):
        sentence = next(leaf.source for _, leaf in query.terms if leaf.modality == "text")
        rest = [(weight, leaf) for weight, leaf in query.terms if leaf.modality != "text"]
        extra = sum((weight * self.model.embed(type(query)([(1.0, leaf)]))[0] for weight, leaf in rest), 0.0)
        return self.original(sentence, extra)


class Vandal(QueryPainter):
    """Leaves traces of every kind on the original."""

    def __init__(self, original, model):
        super().__init__(original, model)
        original.strokes.append("thick")
        original.brush.bias.data.add_(1)
        original.brush.register_forward_hook(lambda *args: None)
        original.brush.eval()
        original.forward = original.forward
        type(original).varnish = "gloss"


class Deaf(QueryPainter):
    def __call__(self, query):
        return self.original(query.terms[0][1].source)


class Liar(QueryPainter):
    def __getattr__(self, name):
        return "water" if name == "style" else super().__getattr__(name)


class Contract(AdapterContract):
    def make_target(self):
        return Painter()

    def use_original(self, target):
        return target("a dog")

    def use_upgraded(self, upgraded, weight):
        return upgraded(text("a dog") + weight * audio("bark.wav"))


@pytest.fixture
def adapt(monkeypatch):
    """Registers an adapter class for painters."""

    def register(wrapper):
        made = types.ModuleType("painter_plugin")
        made.upgrade = lambda original, model, *, bridge=None: wrapper(original, model)

        @hookimpl
        def register_adapters(register):
            register(
                AdapterCard(
                    name="painter",
                    target="painter_plugin:upgrade",
                    recognises=lambda o: is_instance_by_name(o, f"{__name__}.Painter"),
                )
            )

        made.register_adapters = register_adapters
        monkeypatch.setitem(sys.modules, "painter_plugin", made)
        entries = [EntryPoint("painter", "painter_plugin", "bindplug")]
        monkeypatch.setattr(plugins, "entry_points", lambda group: entries)
        plugins.refresh()

    yield register
    if hasattr(Painter, "varnish"):
        del Painter.varnish
    plugins.refresh()


class TestToyAdapter(Contract):
    @pytest.fixture(autouse=True)
    def _registered(self, adapt):
        adapt(QueryPainter)


@pytest.mark.parametrize(
    ("wrapper", "check", "complaint"),
    [
        (Deaf, "test_weight_1_differs", "changes nothing"),
        (Liar, "test_forwarded_attributes_are_the_originals", "'style'"),
        (Vandal, "test_the_original_is_never_mutated", "hooks .*mode .*weights "),
        (Vandal, "test_weight_0_equals_the_untouched_tool", "weight 0"),
    ],
)
def test_an_adapter_that_breaks_the_contract_fails_it(adapt, wrapper, check, complaint):
    adapt(wrapper)
    with pytest.raises(AssertionError, match=complaint):
        getattr(Contract(), check)()


def test_every_kind_of_trace_is_found(adapt):
    painter = Painter()
    before = snapshot(painter)
    Vandal(painter, None)
    found = difference(before, snapshot(painter))
    assert found >= {
        "attribute strokes",
        "weights brush.bias",
        "hooks brush",
        "mode brush",
        "class Painter.varnish",
    }
    assert any("forward" in name for name in found)


def test_an_untouched_object_has_no_difference():
    painter = Painter()
    assert difference(snapshot(painter), snapshot(painter)) == set()


def test_same_looks_inside_containers():
    ones = {"a": [torch.ones(2), np.ones(2)], "b": (1, "x")}
    assert same(ones, {"a": [torch.ones(2), np.ones(2)], "b": (1, "x")})
    assert not same(ones, {"a": [torch.ones(2), np.zeros(2)], "b": (1, "x")})
    assert not same(torch.ones(2), torch.ones(2, dtype=torch.float64))
    assert not same([1], [1, 2])
    assert same(types.SimpleNamespace(x=torch.ones(1)), types.SimpleNamespace(x=torch.ones(1)))


def test_the_fake_encoder_is_deterministic_and_tells_sources_apart():
    model = FakeEncoder()
    queries = [text("a"), audio("a"), audio("a", sample_rate=8), audio(np.ones(4)), audio(np.zeros(4))]
    rows = model.embed(queries)
    assert torch.equal(rows, FakeEncoder().embed(queries))
    assert len({tuple(row.tolist()) for row in rows}) == 5
    assert torch.equal(model.encode_text(model.tokenizer(["a"]), normalize=True), rows[:1])
    assert torch.allclose(model.encode_text(model.tokenizer("a")).norm(), 3 * model.tokenizer("a").norm())
