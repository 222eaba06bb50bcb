"""What a fitted bridge does with rows, modalities, queries and spaces."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch.nn.functional import normalize

from bindplug import embedding, text
from bindplug.bridges import BridgeQuality, LinearBridge, VocabularyBridge, load_bridge, map_queries
from bindplug.errors import InputError, NoDirection, SpaceMismatch, UnknownModality
from bindplug.space import EmbeddingSpace
from bindplug.testing import FAKE_SPACE, FakeEncoder
from tests.planted_rows import clip_like, cosines, fitted, generator, rotation, spaces

seeds = st.integers(0, 2**31 - 1)
few = settings(max_examples=8)


@given(arrays(np.float32, st.tuples(st.integers(0, 5), st.just(16)), elements=st.floats(-1e6, 1e6, width=32)))
@few
def test_rows_are_of_unit_length_whatever_comes_in(rows):
    bridge = fitted()
    if len(rows) and not rows.any(axis=1).all():
        with pytest.raises(InputError, match="zeros only in row"):
            bridge(rows)
        return
    mapped = bridge(rows)
    assert mapped.dtype == torch.float32
    assert mapped.shape == (len(rows), 12)
    assert torch.allclose(mapped.norm(dim=1), torch.ones(len(rows)), atol=1e-5)
    assert torch.allclose(mapped, bridge(torch.from_numpy(rows.astype(np.float64) * 3.0)), atol=1e-4)


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        (torch.randn(4, 15), r"shape \(4, 15\)"),
        (torch.randn(16), r"shape \(16,\)"),
        (torch.full((2, 16), float("nan")), "NaN or infinity in 2 of 2"),
        (np.full((1, 16), np.inf), "NaN or infinity in 1 of 1"),
        (torch.zeros(1, 16), "zeros only in row 0"),
        ([["a"] * 16], "list"),
        ("a dog", "str"),
        (None, "NoneType"),
    ],
)
def test_rows_that_are_none_are_refused(rows, found):
    with pytest.raises(InputError, match=found) as caught:
        fitted()(rows)
    assert "(N, 16)" in str(caught.value)


def test_modalities_fall_back_to_their_tower_then_to_text():
    bridge = fitted()
    rows, other = clip_like(20, 16, 5), clip_like(50, 16, 6)
    assert torch.equal(bridge(rows, "depth"), bridge(rows, "text"))
    bridge.recenter("image", other)
    assert torch.equal(bridge(rows, "video"), bridge(rows, "image"))
    assert not torch.equal(bridge(rows, "image"), bridge(rows, "text"))
    mixed = bridge(rows[:3], ["text", "image", "depth"])
    expected = torch.cat([bridge(rows[:1]), bridge(rows[1:2], "image"), bridge(rows[2:3])])
    assert torch.allclose(mixed, expected, atol=1e-6)
    with pytest.raises(UnknownModality):
        bridge(rows, "smell")
    with pytest.raises(InputError, match="2 modalities for 20 rows"):
        bridge(rows, ["text", "image"])


@pytest.mark.parametrize("kind", [LinearBridge, VocabularyBridge])
@given(seed=seeds, size=st.floats(0.5, 2.0))
@few
def test_recentering_restores_a_planted_shift(kind, seed, size):
    words = clip_like(300, 24, seed, mean=0.5)
    shift = size * normalize(torch.randn(24, generator=generator(seed + 2)).double(), dim=0)
    sounds = normalize(words + shift, dim=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BridgeQuality)
        bridge = kind.fit(words, words @ rotation(24, 24, seed + 1), **spaces(24, 24))
    plain = bridge(words) - bridge.target_mean
    before = cosines(bridge(sounds, modality="audio") - bridge.target_mean, plain).mean()
    assert bridge.recenter("audio", sounds) is bridge
    after = cosines(bridge(sounds, modality="audio") - bridge.target_mean, plain).mean()
    assert after > before
    assert after > 0.9
    assert bridge.modalities == ("text", "audio")


def test_recentering_may_leave_the_spread_alone():
    bridge, other = fitted(), clip_like(50, 16, 6, mean=5.0)
    stretched = bridge.recenter("audio", other)(other, "audio")
    narrow = bridge.recenter("audio", other, match_spread=False)(other, "audio")
    assert (narrow - narrow.mean(0)).norm() < 0.5 * (stretched - stretched.mean(0)).norm()
    with pytest.raises(InputError, match=r"1 rows.*at least 2"):
        bridge.recenter("audio", other[:1])


def test_a_row_where_the_bridge_is_blind_has_no_direction():
    bridge = fitted()
    bridge.target_mean, bridge.weight = torch.zeros(12), torch.zeros(16, 12)
    with pytest.raises(NoDirection, match="row 0 maps to no direction"):
        bridge(torch.ones(1, 16))


def test_gradients_pass():
    rows = clip_like(3, 16, 1).float().requires_grad_()
    fitted()(rows).sum().backward()
    assert rows.grad.abs().sum() > 0


def test_spaces_are_checked():
    bridge = fitted()
    here, there = bridge.source, bridge.target
    bridge.ensure(source=here, target=there)
    with pytest.raises(
        SpaceMismatch, match="a bridge to 'test:there' needs vectors of the space 'test:here'"
    ):
        bridge.ensure(source=there)
    with pytest.raises(SpaceMismatch, match="after this bridge"):
        bridge.ensure(target=here)
    with pytest.raises(SpaceMismatch, match="bindplug:fake"):
        bridge.embed(FakeEncoder(), [text("a dog")])


def test_queries_are_embedded_and_each_leaf_centered_by_its_own_modality():
    model = FakeEncoder()
    rows = clip_like(300, 16, 1)
    bridge = LinearBridge.fit(
        rows, rows @ rotation(16, 16, 2), source=FAKE_SPACE, target=EmbeddingSpace("t", 16)
    )
    bridge.recenter("audio", clip_like(50, 16, 3))
    sound = embedding(clip_like(1, 16, 4)[0], FAKE_SPACE, modality="audio")
    unknown = embedding(clip_like(1, 16, 4)[0], FAKE_SPACE)
    both = [sound + 0.5 * text("a dog"), text("a dog") - 0.5 * sound, sound, unknown]
    mapped = bridge.embed(model, both)
    plain = model.embed([sound, unknown])
    assert torch.allclose(mapped[2:], bridge(plain, ["audio", "text"]), atol=1e-6)
    assert torch.equal(mapped, map_queries(model, bridge, both))
    assert not torch.allclose(mapped[2], mapped[3])
    assert bridge.embed(model, sound).shape == (1, 16)


def test_evaluate_measures_new_pairs():
    bridge = fitted()
    rows = clip_like(40, 16, 9)
    assert bridge.evaluate(rows, bridge(rows)).top1 == 1.0
    with pytest.raises(InputError, match="40 source rows and 39 target rows"):
        bridge.evaluate(rows, bridge(rows)[1:])


def test_a_vocabulary_explains_its_words():
    source = clip_like(30, 16, 1)
    names = [f"word {i}" for i in range(30)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BridgeQuality)
        bridge = VocabularyBridge.fit(source, source, names=names, scale=50, **spaces(16, 16))
        nameless = VocabularyBridge.fit(source, source, scale=50, **spaces(16, 16))
    first, second = bridge.explain(source[7:8], top_k=2)[0]
    assert first[0] == "word 7"
    assert 1.0 >= first[1] > second[1] > 0.0
    with pytest.raises(InputError, match="without names"):
        nameless.explain(source)


def test_load_bridge_is_the_public_door(tmp_path):
    fitted().save(tmp_path / "b")
    assert isinstance(load_bridge(tmp_path / "b"), LinearBridge)
