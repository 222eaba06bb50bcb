"""What the two kinds of bridge learn from pairs, and how well that is measured."""

import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import normalize

from bindplug.bridges import BridgeQuality, LinearBridge, VocabularyBridge
from bindplug.errors import InputError
from tests.planted_rows import clip_like, cosines, fitted, generator, rotation, spaces

seeds = st.integers(0, 2**31 - 1)
few = settings(max_examples=8)


@given(seeds, st.integers(3, 24), st.integers(3, 24), st.sampled_from([1.0, 10.0]))
@few
def test_procrustes_recovers_a_planted_rotation(seed, here, there, length):
    narrow = min(here, there)
    inner = clip_like(400, narrow, seed)
    # The wider side holds the narrower one turned into some of its dimensions.
    source = inner @ rotation(narrow, here, seed + 1) if here > there else inner
    target = inner @ rotation(narrow, there, seed + 2)
    bridge = LinearBridge.fit(source * length, target / length, **spaces(here, there))
    assert torch.allclose(bridge(source * length).double(), target, atol=2e-6)
    assert bridge.report.retrieval.top1 == 1.0
    assert bridge.report.concerns == ()


@given(seeds, st.integers(3, 24), st.integers(3, 24))
@few
def test_ridge_recovers_a_planted_linear_map_that_stretches(seed, here, there):
    source = clip_like(600, here, seed, mean=0.5)
    stretch = torch.randn(here, there, generator=generator(seed + 1), dtype=torch.float64)
    centered = (source - source.mean(0)) @ stretch
    # A mean far longer than the spread leaves the rows' lengths alike, so that normalizing bends little.
    target = centered + 1e3 * torch.ones(there, dtype=torch.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BridgeQuality)
        bridge = LinearBridge.fit(source, target, method="ridge", **spaces(here, there))
    found = bridge(source).double() - bridge.target_mean.double()
    truth = normalize(target, dim=1) - bridge.target_mean.double()
    big = truth.norm(dim=1) > truth.norm(dim=1).median()
    assert cosines(found[big], truth[big]).min() > 0.97
    assert bridge.report.strength < 1e-3


@pytest.mark.parametrize("method", ["procrustes", "ridge"])
@given(seed=seeds, width=st.integers(2, 24))
@few
def test_equal_spaces_give_the_identity(method, seed, width):
    rows = clip_like(300, width, seed)
    bridge = LinearBridge.fit(rows, rows, method=method, **spaces(width, width))
    new = clip_like(50, width, seed + 1)
    assert torch.allclose(bridge.weight.double(), torch.eye(width).double(), atol=1e-3)
    assert torch.allclose(bridge(new).double(), new, atol=2e-3)


@pytest.mark.parametrize("method", ["procrustes", "ridge"])
@given(seed=seeds, count=st.integers(2, 30))
@few
def test_a_corpus_smaller_than_the_width_is_warned_of_and_stays_sane(method, seed, count):
    source = clip_like(count, 40, seed)
    target = source @ rotation(40, 40, seed + 1)
    with pytest.warns(BridgeQuality, match="do not span the 40 directions"):
        bridge = LinearBridge.fit(source, target, method=method, strength=None, **spaces(40, 40))
    assert torch.linalg.matrix_rank(bridge.weight, atol=1e-4) <= count - 1
    assert torch.linalg.matrix_norm(bridge.weight, 2) <= 4.0 + 1e-3
    mapped = bridge(source)
    assert mapped.isfinite().all()
    if method == "procrustes":
        assert torch.allclose(mapped.double(), target, atol=1e-5)
    # What the pairs did not show maps to the mean, and is not made up.
    blind = torch.linalg.svd((source - source.mean(0)).double())[2][-1]
    assert (blind.float() @ bridge.weight).norm() < 1e-4


def test_the_ridge_strength_grows_with_the_noise():
    source = clip_like(300, 32, 1)
    clean = source @ rotation(32, 32, 2)
    noise = torch.randn(300, 32, generator=generator(3), dtype=torch.float64)
    strengths = []
    for level in (0.0, 0.1, 0.4):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", BridgeQuality)
            fitted = LinearBridge.fit(source, clean + level * noise, method="ridge", **spaces(32, 32))
        strengths.append(fitted.report.strength)
    assert strengths[0] < 1e-4 < strengths[1] < strengths[2]
    chosen = LinearBridge.fit(source, clean, method="ridge", strength=0.5, **spaces(32, 32))
    assert chosen.report.strength == 0.5


@pytest.mark.parametrize("method", ["procrustes", "ridge"])
def test_mapped_rows_spread_as_widely_as_the_targets(method):
    source = clip_like(600, 32, 1)
    noise = torch.randn(600, 32, generator=generator(2), dtype=torch.float64)
    target = normalize(source @ rotation(32, 32, 3) + 0.08 * noise, dim=1)
    bridge = LinearBridge.fit(source, target, method=method, **spaces(32, 32))
    crowded = LinearBridge.fit(source, target, method=method, match_spread=False, **spaces(32, 32))

    def spread(rows):
        return (rows.double() - target.mean(0)).square().sum(1).mean().sqrt() / (
            target - target.mean(0)
        ).square().sum(1).mean().sqrt()

    assert spread(bridge(source)) == pytest.approx(1.0, abs=0.05)
    if method == "ridge":
        assert spread(crowded(source)) < spread(bridge(source)) - 0.02


@given(seeds)
@few
def test_mapped_rows_share_the_mean_of_the_target(seed):
    source = clip_like(500, 16, seed, mean=0.3)
    target = clip_like(500, 12, seed + 1, mean=3.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BridgeQuality)  # there is nothing in common but the means
        bridge = LinearBridge.fit(source, target, **spaces(16, 12))
    mapped = bridge(clip_like(100, 16, seed + 2, mean=0.0))
    assert cosines(mapped.mean(0)[None], target.mean(0)[None]) > 0.95


@given(seeds, st.integers(8, 32), st.integers(8, 32), st.booleans())
@few
def test_a_word_of_the_vocabulary_returns_its_target(seed, here, there, center):
    source, target = clip_like(40, here, seed), clip_like(40, there, seed + 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BridgeQuality)  # the two sides have nothing in common
        sharp = VocabularyBridge.fit(source, target, scale=1e5, center=center, **spaces(here, there))
        chosen = VocabularyBridge.fit(source, target, center=center, **spaces(here, there))
    assert torch.allclose(sharp(source).double(), target, atol=1e-4)
    assert ((chosen(source).double() @ target.T).argmax(1) == torch.arange(40)).float().mean() > 0.9


def test_a_vocabulary_carries_words_it_does_not_hold():
    topics = torch.randn(30, 24, generator=generator(1), dtype=torch.float64)
    source = normalize(
        topics.repeat(20, 1) + 0.3 * torch.randn(600, 24, generator=generator(2)).double(), dim=1
    )
    target = source @ rotation(24, 24, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BridgeQuality)  # words of one topic are hard to tell apart in a blend
        bridge = VocabularyBridge.fit(source, target, **spaces(24, 24))
    mapped = bridge(normalize(topics, dim=1)).double()
    assert cosines(mapped, normalize(topics, dim=1) @ rotation(24, 24, 3)).min() > 0.95


@pytest.mark.parametrize("fit", [LinearBridge.fit, VocabularyBridge.fit])
def test_held_out_retrieval_tells_a_good_bridge_from_shuffled_pairs(fit):
    source = clip_like(800, 16, 1)
    target = source @ rotation(16, 16, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BridgeQuality)
        good = fit(source, target, **spaces(16, 16)).report.retrieval
    with pytest.warns(BridgeQuality, match="same words in the same order"):
        bad = fit(source, target.flip(0), **spaces(16, 16)).report.retrieval
    assert good.candidates == bad.candidates == 80
    assert bad.top1 < 0.1 < 0.3 < good.top1 <= good.top10
    assert bad.top10 < 0.4
    assert bad.centered_cosine < 0.3 < 0.6 < good.centered_cosine
    assert bad.cosine > 0.5  # the shared mean alone earns this, which is why the centered one is told too


def test_a_map_to_one_point_earns_no_retrieval():
    source = clip_like(400, 16, 1)
    with pytest.warns(BridgeQuality, match="maps poorly"):
        bridge = LinearBridge.fit(source, torch.ones(400, 8), **spaces(16, 8))
    assert bridge.report.retrieval.top1 == 0.0
    assert bridge.report.retrieval.top10 == 0.0


def test_variants_are_held_out_together():
    """Twins in training would give a bridge that knows nothing else a high score, even if they are no near-copies."""
    sides = [(clip_like(200, 300, seed), clip_like(200, 300, seed + 2, mean=0.0)) for seed in (1, 2)]
    source, target = (torch.cat([rows, normalize(rows + 0.5 * noise, dim=1)]) for rows, noise in sides)
    twins = [i % 200 for i in range(400)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BridgeQuality)
        leaking = LinearBridge.fit(source, target, **spaces(300, 300)).report.retrieval
        honest = LinearBridge.fit(source, target, groups=twins, **spaces(300, 300)).report.retrieval
    assert leaking.top10 > 0.8
    assert honest.top10 < 0.5
    with pytest.raises(InputError, match="3 groups for 400 pairs"):
        LinearBridge.fit(source, target, groups=[1, 2, 3], **spaces(300, 300))


def test_nothing_held_out_is_told():
    rows = clip_like(100, 8, 1)
    with pytest.warns(BridgeQuality, match="quality is unknown"):
        bridge = LinearBridge.fit(rows, rows, held_out=0.0, **spaces(8, 8))
    assert bridge.report.retrieval is None
    assert "caution: its quality is unknown" in str(bridge.report)


def test_fitting_is_repeatable_and_independent_of_the_seed_in_what_it_returns():
    rows = clip_like(200, 8, 1)
    first, again, other = (fitted(rows, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first.weight, again.weight)
    assert torch.equal(first.weight, other.weight)
    assert first.report == again.report


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"target_rows": clip_like(99, 12, 2)}, "100 source rows and 99 target rows"),
        ({"source_rows": clip_like(100, 12, 2)}, r"source rows: .*\(100, 12\)"),
        ({"method": "magic"}, "method='magic'"),
        ({"strength": 1.0}, "for method='ridge' only"),
        ({"strength": -1.0, "method": "ridge"}, "strength=-1.0"),
        ({"held_out": 1.0}, "held_out=1.0"),
    ],
)
def test_arguments_out_of_range_are_refused(change, found):
    given_ = {"source_rows": clip_like(100, 16, 1), "target_rows": clip_like(100, 12, 2), **change}
    with pytest.raises(InputError, match=found):
        LinearBridge.fit(**given_, **spaces(16, 12))


def test_one_pair_and_odd_scales_are_refused():
    row = clip_like(1, 16, 1)
    with pytest.raises(InputError, match="1 pairs"):
        LinearBridge.fit(row, row, **spaces(16, 16))
    rows = clip_like(50, 16, 1)
    with pytest.raises(InputError, match="scale=0"):
        VocabularyBridge.fit(rows, rows, scale=0, **spaces(16, 16))
    with pytest.raises(InputError, match="2 names for 50 pairs"):
        VocabularyBridge.fit(rows, rows, names=["a", "b"], **spaces(16, 16))
