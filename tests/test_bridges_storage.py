import contextlib
import json
import warnings

import pytest
import torch
from torch.nn.functional import normalize

from bindplug.bridges import BridgeQuality, LinearBridge, VocabularyBridge, load_bridge
from bindplug.errors import CheckpointError, WeightsNotFound
from bindplug.space import EmbeddingSpace

HERE, THERE = EmbeddingSpace("test:here", 12, fingerprint="ab"), EmbeddingSpace("test:there", 9)


def rows(count, width, seed):
    return normalize(torch.randn(count, width, generator=torch.Generator().manual_seed(seed)) + 0.3, dim=1)


@pytest.fixture(params=[LinearBridge, VocabularyBridge])
def made(request):
    source = rows(400, 12, 1)
    options = {"names": [f"wörd {i}" for i in range(400)]} if request.param is VocabularyBridge else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BridgeQuality)
        bridge = request.param.fit(
            source, source[:, :9], source=HERE, target=THERE, provenance={"corpus": "words"}, **options
        )
    return bridge.recenter("audio", rows(50, 12, 2))


@pytest.fixture(autouse=True)
def _unconcerned(request):
    if "concerns" not in request.node.name:
        warnings.simplefilter("ignore", BridgeQuality)


def test_what_is_loaded_is_what_was_saved(made, tmp_path):
    assert made.save(tmp_path / "deep" / "bridge") == tmp_path / "deep" / "bridge"
    for loaded in (load_bridge(tmp_path / "deep" / "bridge"), type(made).load(tmp_path / "deep" / "bridge")):
        assert type(loaded) is type(made)
        assert (loaded.source, loaded.target) == (HERE, THERE)
        assert loaded.report == made.report
        assert loaded.provenance == {"corpus": "words"}
        assert loaded.modalities == ("text", "audio")
        x = rows(20, 12, 3)
        assert torch.equal(loaded(x), made(x))
        assert torch.equal(loaded(x, "audio"), made(x, "audio"))
        assert getattr(loaded, "names", None) == getattr(made, "names", None)


def test_the_card_tells_a_reader_what_it_is(made, tmp_path):
    card = json.loads((made.save(tmp_path / "b") / "card.json").read_text())
    assert card["source"] == {"name": "test:here", "width": 12, "fingerprint": "ab"}
    assert card["report"]["corpus_size"] == 400
    assert card["report"]["retrieval"]["candidates"] == 40
    assert card["report"]["method"] == ("procrustes" if card["kind"] == "linear" else "vocabulary")


def test_a_poor_bridge_warns_of_its_concerns_again_when_loaded(tmp_path):
    with pytest.warns(BridgeQuality):
        poor = LinearBridge.fit(rows(200, 12, 1), rows(200, 9, 2), source=HERE, target=THERE)
    poor.save(tmp_path / "b")
    with pytest.warns(BridgeQuality, match=r"the bridge at .*maps poorly"):
        load_bridge(tmp_path / "b")


def test_an_occupied_place_is_kept(made, tmp_path):
    made.save(tmp_path / "b")
    before = (tmp_path / "b" / "card.json").read_bytes()
    with pytest.raises(CheckpointError, match="exists; give another path, or overwrite"):
        made.save(tmp_path / "b")
    assert (tmp_path / "b" / "card.json").read_bytes() == before
    made.provenance["corpus"] = "others"
    made.save(tmp_path / "b", overwrite=True)
    assert load_bridge(tmp_path / "b").provenance == {"corpus": "others"}
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(CheckpointError, match="holds no bridge that could be replaced"):
        made.save(tmp_path / "mine", overwrite=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b", "mine"]


def test_a_write_that_fails_leaves_nothing(made, tmp_path):
    made.provenance["unwritable"] = object()
    with pytest.raises(TypeError):
        made.save(tmp_path / "b")
    assert list(tmp_path.iterdir()) == []


def test_absent_bridges_say_how_to_make_one(tmp_path):
    with pytest.raises(WeightsNotFound, match="bindplug bridge fit"):
        load_bridge(tmp_path / "nowhere")


def test_another_kind_is_refused(made, tmp_path):
    made.save(tmp_path / "b")
    other = VocabularyBridge if isinstance(made, LinearBridge) else LinearBridge
    with pytest.raises(CheckpointError, match=r"holds a .*use load_bridge"):
        other.load(tmp_path / "b")


@pytest.mark.parametrize(
    ("edit", "found"),
    [
        (lambda card: "{", "is damaged"),
        (lambda card: [], "does not describe a bridge"),
        (lambda card: {**card, "format_version": 9}, "format version 9"),
        (lambda card: {**card, "kind": "rope"}, "unknown kind 'rope'"),
        (lambda card: {k: v for k, v in card.items() if k != "spread"}, "lacks spread"),
        (lambda card: {**card, "source": {"name": "x", "width": 13}}, "is damaged: ValueError"),
        (lambda card: {**card, "spread": {"audio": 1.0}}, "needs the center of text"),
        (lambda card: {**card, "spread": {**card["spread"], "depth": 1.0}}, "KeyError"),
        (lambda card: "[" * 100_000, "nested too deeply"),
        (lambda card: {**card, "provenance": json.loads("[" * 500 + "]" * 500)}, "lacks provenance"),
        (lambda card: {**card, "spread": {**card["spread"], "text": float("nan")}}, "does not fit"),
        (lambda card: {**card, "target": {"name": 3, "width": 9}}, "an embedding space cannot have"),
        (lambda card: {**card, "report": {}}, "KeyError"),
    ],
)
def test_damaged_cards_are_refused(made, tmp_path, edit, found):
    file = made.save(tmp_path / "b") / "card.json"
    edited = edit(json.loads(file.read_text()))
    file.write_text(edited if isinstance(edited, str) else json.dumps(edited))
    with pytest.raises(CheckpointError, match=found):
        load_bridge(tmp_path / "b")


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-4], lambda b: b[:-1] + bytes([b[-1] ^ 1]), lambda b: b"", None]
)
def test_damaged_numbers_are_refused(made, tmp_path, damage):
    file = made.save(tmp_path / "b") / "bridge.safetensors"
    if damage is None:
        file.unlink()
    else:
        file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(CheckpointError, match="fit the bridge again"):
        load_bridge(tmp_path / "b")


STRANGE = (None, True, -1, 1e400, float("nan"), "x", "9" * 5000, [], {}, [[]], {"a": {}}, 2**70, 0)


def places(value, path=()):
    """Every place inside a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(items)[:30]:
        yield (*path, key)
        yield from places(inner, (*path, key))


def test_whatever_stands_in_a_card_only_a_named_error_leaves(made, tmp_path):
    file = made.save(tmp_path / "b") / "card.json"
    whole = file.read_text()
    tried = 0
    for path in places(json.loads(whole)):
        for strange in STRANGE:
            card = json.loads(whole)
            holder = card
            for key in path[:-1]:
                holder = holder[key]
            holder[path[-1]] = strange
            file.write_text(json.dumps(card))
            tried += 1
            with contextlib.suppress(CheckpointError):
                loaded = load_bridge(tmp_path / "b")
                loaded(rows(3, 12, 1))
                str(loaded.report)
    assert tried > 300
