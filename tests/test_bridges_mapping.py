"""The one road of queries into another space: which bridge, and what becomes of a weighted sum of leaves."""

import dataclasses
import importlib
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import normalize

from bindplug import audio, embedding, image, text, video
from bindplug.bridges import (
    LinearBridge,
    as_bridge,
    compose,
    embed_leaves,
    fit_command,
    map_queries,
    registered_bridge,
)
from bindplug.cards import BridgeCard
from bindplug.centers import measure_centers
from bindplug.errors import InputError, NoDirection, PluginError, SpaceMismatch, WeightsNotFound
from bindplug.plugins import Entry, Plugin, registry
from bindplug.query import Query
from bindplug.space import EmbeddingSpace
from bindplug.testing import FAKE_SPACE, FakeEncoder
from tests.planted_rows import clip_like, rotation

THERE = EmbeddingSpace("test:there", 12)
seeds = st.integers(0, 2**31 - 1)
weights = st.floats(0.05, 20.0).flatmap(lambda w: st.sampled_from((w, -w)))
few = settings(max_examples=20, deadline=None)


@pytest.fixture(scope="module")
def bridge():
    rows = clip_like(300, 16, 1)
    made = LinearBridge.fit(rows, rows @ rotation(16, 12, 2), source=FAKE_SPACE, target=THERE)
    made.recenter("audio", clip_like(50, 16, 3))
    return made.recenter("image", clip_like(50, 16, 4))


def row(seed):
    return clip_like(1, 16, seed)[0]


def leaf(seed, modality):
    return embedding(row(seed), FAKE_SPACE, modality=modality)


def by_the_formula(query, bridge, model):
    """The row of a query, in float64 and term by term."""
    mean = bridge.target_mean.double()
    offsets, magnitudes = [], []
    for weight, one in query.terms:
        source = model.embed([Query([(1.0, one)])])
        mapped = bridge(source, one.modality.value if one.modality else "text")[0].double()
        offsets.append(weight * (mapped - mean))
        magnitudes.append(abs(weight) * float((mapped - mean).norm()))
    total = torch.stack(offsets).sum(0)
    reach = sum(magnitudes) / sum(abs(weight) for weight, _ in query.terms)
    return normalize(mean + reach * total / total.norm(), dim=0).float()


@given(seed=seeds, weight=st.floats(0.01, 50.0), modality=st.sampled_from(["text", "audio", "image"]))
@few
def test_one_leaf_of_positive_weight_comes_out_as_the_bridge_maps_it(bridge, seed, weight, modality):
    mapped = map_queries(FakeEncoder(), bridge, [weight * leaf(seed, modality)])
    assert torch.allclose(mapped, bridge(row(seed)[None], modality), atol=1e-5)


@given(seed=seeds, first=weights, second=weights, third=weights)
@few
def test_a_sum_is_formed_around_the_targets_mean_with_the_weighted_mean_reach(
    bridge, seed, first, second, third
):
    query = first * leaf(seed, "text") + second * leaf(seed + 1, "audio") + third * image(f"{seed}.png")
    model = FakeEncoder()
    mapped = map_queries(model, bridge, query)
    assert mapped.shape == (1, 12)
    assert mapped.dtype == torch.float32
    assert float((mapped[0] * by_the_formula(query, bridge, model)).sum()) > 1 - 1e-5


def test_the_reach_is_weighted(bridge):
    """Offsets of 0.1 and 1.0: with weights of 9 and 1 the sum reaches 0.19 from the mean, not 0.55."""
    near, far, mean = torch.zeros(3), torch.zeros(3), torch.tensor([1.0, 0.0, 0.0])
    near[:], far[:] = mean + torch.tensor([0.0, 0.1, 0.0]), mean + torch.tensor([0.0, 0.0, 1.0])
    a, b = text("near"), text("far")
    rows = {a.terms[0][1]: near, b.terms[0][1]: far}
    composed = compose(9 * a + b, rows, mean)
    direction = torch.tensor([0.0, 0.9, 1.0]) / 1.81**0.5
    assert torch.allclose(composed, normalize(mean + 0.19 * direction, dim=0), atol=1e-6)
    assert not torch.allclose(composed, normalize(mean + 0.55 * direction, dim=0), atol=1e-2)


@given(seed=seeds, small=st.floats(1e-9, 1e-6))
@few
def test_a_leaf_of_vanishing_weight_changes_nothing(bridge, seed, small):
    one, other = leaf(seed, "audio"), leaf(seed + 1, "text")
    alone, both = map_queries(FakeEncoder(), bridge, [one, one + small * other])
    assert torch.allclose(alone, both, atol=1e-4)


@given(seed=seeds, first=weights, second=weights, factor=st.sampled_from((1e-30, 1e-6, 0.5, 3.0, 1e8, 1e38)))
@few
def test_a_query_has_no_length(bridge, seed, first, second, factor):
    query = first * leaf(seed, "text") + second * leaf(seed + 1, "audio")
    for road in (None, bridge):
        plain, scaled = map_queries(FakeEncoder(), road, [query, factor * query])
        assert scaled.isfinite().all()
        assert torch.allclose(plain, scaled, atol=1e-5)


@pytest.mark.parametrize("factor", [1e-30, 1e-44, 1e38])
def test_weights_neither_overflow_nor_underflow_in_a_plain_sum(factor):
    query = leaf(1, "text") + 0.5 * leaf(2, "audio")
    plain, scaled = FakeEncoder().embed([query, factor * query])
    assert torch.allclose(plain, scaled, atol=1e-6)
    assert torch.allclose(plain, normalize(row(1) + 0.5 * row(2), dim=0).float(), atol=1e-6)


def test_without_a_mean_rows_are_summed_as_an_encoder_sums_them():
    model = FakeEncoder()
    query = leaf(1, "text") - 0.5 * leaf(2, "audio")
    rows = {one: model.embed([Query([(1.0, one)])])[0] for _, one in query.terms}
    assert torch.allclose(compose(query, rows), model.embed(query)[0], atol=1e-6)


def test_terms_that_cancel_after_mapping_have_no_direction(bridge):
    with pytest.raises(NoDirection, match="cancel"):
        map_queries(
            FakeEncoder(), bridge, leaf(1, "text") - embedding(2.0 * row(1), FAKE_SPACE, modality="text")
        )


def test_a_bridges_own_embed_goes_the_same_road(bridge):
    model = FakeEncoder()
    queries = [audio("a.wav") + 0.5 * text("a dog"), text("a cat") - 0.3 * image("b.png")]
    assert torch.equal(bridge.embed(model, queries), map_queries(model, bridge, queries))
    assert map_queries(model, bridge, []).shape == (0, 12)


def test_without_a_bridge_rows_are_the_models(bridge):
    model = FakeEncoder()
    model.centers = {"text": torch.zeros(16), "image": torch.ones(16)}
    query = text("a dog")
    assert torch.equal(map_queries(model, None, query), model.embed(query))
    assert torch.equal(
        map_queries(model, None, query, recenter="image"), model.embed(query, recenter="image")
    )


def test_a_modality_without_a_center_moves_to_where_text_lies_if_the_model_knows_both(bridge):
    model = FakeEncoder()
    query = leaf(5, "depth")
    assert torch.allclose(map_queries(model, bridge, query), bridge(row(5)[None], "text"), atol=1e-6)
    model.centers = measure_centers(
        model, {"text": [text(str(i)) for i in range(9)], "depth": [leaf(i, "depth") for i in range(9)]}
    )
    moved = model.embed(query, recenter="text")
    assert torch.allclose(map_queries(model, bridge, query), bridge(moved, "text"), atol=1e-6)
    # A modality with a center of its own stays where it is.
    sound = leaf(6, "audio")
    model.centers = {**model.centers, "audio": torch.ones(16)}
    assert torch.allclose(map_queries(model, bridge, sound), bridge(row(6)[None], "audio"), atol=1e-6)


def test_recentered_leaves_are_mapped_as_that_modality(bridge):
    model = FakeEncoder()
    model.centers = {"audio": 0.3 * row(8).float(), "image": 0.3 * row(9).float()}
    sound, picture = leaf(1, "audio"), leaf(2, "image")
    moved = bridge(model.embed(sound, recenter="image"), "image")
    assert torch.allclose(map_queries(model, bridge, sound, recenter="image"), moved, atol=1e-6)
    assert torch.allclose(
        map_queries(model, bridge, picture, recenter="image"), bridge(row(2)[None], "image"), atol=1e-6
    )
    with pytest.raises(InputError, match="no center of text"):
        map_queries(model, bridge, text("a dog"), recenter="image")
    with pytest.raises(InputError, match="the name of a modality"):
        map_queries(model, bridge, sound, recenter=torch.zeros(16))


def test_videos_count_as_images_where_the_bridge_knows_only_these(bridge):
    clip = leaf(3, "video")
    assert torch.allclose(map_queries(FakeEncoder(), bridge, clip), bridge(row(3)[None], "image"), atol=1e-6)
    rows, modalities = embed_leaves(FakeEncoder(), bridge, [video("v.mp4").terms[0][1]])
    assert modalities == ["video"]
    assert rows.shape == (1, 16)


def test_what_is_no_query_is_refused(bridge):
    with pytest.raises(InputError, match=r"item 0: a str; expected a query.*text\('a dog'\)"):
        map_queries(FakeEncoder(), bridge, ["a dog"])
    with pytest.raises(SpaceMismatch, match="bindplug:fake"):
        map_queries(FakeEncoder(space=EmbeddingSpace("bindplug:other", 16)), bridge, [text("a dog")])


# --- which bridge ---


@pytest.fixture
def toy():
    from bindplug_toyworld.space import FOREIGN_SPACE, TOY_SPACE

    return TOY_SPACE, FOREIGN_SPACE


def test_a_bridge_is_an_object_a_directory_or_a_name(bridge, tmp_path, toy, recwarn):
    assert as_bridge(bridge, source=FAKE_SPACE, target=THERE) is bridge
    bridge.save(tmp_path / "b")
    for path in (tmp_path / "b", str(tmp_path / "b")):
        assert torch.equal(as_bridge(path, source=FAKE_SPACE, target=THERE).weight, bridge.weight)
    named = as_bridge("toy_bridge", source=toy[0], target=toy[1])
    assert named.kind == "linear"
    assert named.target == toy[1]


def test_none_finds_the_registered_one_between_two_spaces(toy, recwarn):
    assert registered_bridge(*toy).target == toy[1]
    assert as_bridge(None, source=toy[0], target=toy[1]).source == toy[0]
    assert as_bridge(None, source=toy[0], target=toy[0]) is None
    assert registered_bridge(toy[1], toy[0]) is None
    with pytest.raises(SpaceMismatch, match=r"no bridge leads from .*bindplug bridge fit --source"):
        as_bridge(None, source=toy[1], target=toy[0])
    with pytest.raises(InputError, match="a space is not known"):
        as_bridge(None, source=toy[0], target=None)
    assert "--source imagebind_tiny" in fit_command(*toy)
    assert "YOUR_MODEL" in fit_command(FAKE_SPACE)


def test_spaces_of_a_bridge_are_checked_unless_unknown(bridge):
    assert as_bridge(bridge, source=None, target=None) is bridge
    with pytest.raises(SpaceMismatch, match="the bridge to 'test:there' needs vectors of"):
        as_bridge(bridge, source=THERE, target=None)
    with pytest.raises(SpaceMismatch, match="this detector needs vectors of"):
        as_bridge(bridge, source=None, target=FAKE_SPACE, doing="this detector")


class Halfway:
    kind, source, target = "own", FAKE_SPACE, THERE

    def __call__(self, rows, modality="text"):
        return rows


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (3, "a int"),
        (LinearBridge, "a ABCMeta"),
        (Halfway(), "a Halfway without target_mean, modalities"),
        (object(), "a object"),
    ],
)
def test_what_is_no_bridge_is_refused_with_what_it_lacks(value, kind):
    with pytest.raises(InputError, match=kind) as caught:
        as_bridge(value, source=None, target=None)
    assert "its path, or the name of a registered one" in str(caught.value)


def test_an_unknown_name_lists_the_known_ones(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WeightsNotFound, match=r"there is no bridge 'my-bridge'.*toy_bridge"):
        as_bridge("my-bridge", source=None, target=None)
    Path("empty").mkdir()
    with pytest.raises(WeightsNotFound):
        as_bridge("empty", source=None, target=None)


class Complete(Halfway):
    target_mean, modalities = None, ("text",)

    def __call__(self, rows, modality="text"):
        return normalize(rows[:, :12], dim=1)


def test_a_plugins_own_kind_of_bridge_is_one(monkeypatch):
    module = importlib.import_module(__name__)
    card = BridgeCard(name="own", source=FAKE_SPACE, destination=THERE, target="tests.own:load")
    monkeypatch.setitem(registry().bridges, "own", Entry(card, Plugin("own", "own")))
    monkeypatch.setattr(Entry, "load", lambda self, target: module.Complete)
    own = as_bridge("own", source=FAKE_SPACE, target=THERE)
    assert map_queries(FakeEncoder(), own, text("a") + audio("b.wav")).shape == (1, 12)
    monkeypatch.setattr(Entry, "load", lambda self, target: object)
    with pytest.raises(PluginError, match="'own' is a object; expected a Bridge"):
        registered_bridge(FAKE_SPACE, THERE)
    elsewhere = dataclasses.replace(card, destination=FAKE_SPACE)
    monkeypatch.setitem(registry().bridges, "own", Entry(elsewhere, Plugin("own", "own")))
    monkeypatch.setattr(Entry, "load", lambda self, target: module.Complete)
    with pytest.raises(SpaceMismatch, match="the card of bridge 'own'"):
        as_bridge("own", source=None, target=None)
