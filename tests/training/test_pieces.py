"""The binding recipe's small pieces: loss, schedule, groups, augmentation, data."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bindplug.training import (
    PUBLISHED,
    PairDataset,
    TensorPairs,
    frequency_mask,
    parameter_groups,
    random_erase,
    symmetric_info_nce,
    warmup_cosine,
)


def test_loss_matches_its_formula_written_out():
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(5, 8, generator=generator), torch.randn(5, 8, generator=generator)
    unit_a, unit_b = a / a.norm(dim=1, keepdim=True), b / b.norm(dim=1, keepdim=True)
    expected = 0.0
    for i in range(5):
        row = [20 * float(unit_a[i] @ unit_b[j]) for j in range(5)]
        column = [20 * float(unit_a[j] @ unit_b[i]) for j in range(5)]
        for logits in (row, column):
            expected -= (logits[i] - math.log(sum(math.exp(x) for x in logits))) / 10
    assert float(symmetric_info_nce(a, b, 20.0)) == pytest.approx(expected, rel=1e-5)


@given(st.integers(2, 12), st.floats(0.5, 50))
@settings(max_examples=25)
def test_loss_of_indistinguishable_pairs_is_log_n(count, scale):
    same = torch.ones(count, 4)
    assert float(symmetric_info_nce(same, same, scale)) == pytest.approx(math.log(count), rel=1e-4)


@given(st.integers(0, 1000))
@settings(max_examples=25)
def test_loss_is_symmetric_and_ignores_norms(seed):
    generator = torch.Generator().manual_seed(seed)
    a, b = torch.randn(6, 5, generator=generator), torch.randn(6, 5, generator=generator)
    loss = float(symmetric_info_nce(a, b, 10.0))
    assert float(symmetric_info_nce(b, a, 10.0)) == pytest.approx(loss, rel=1e-5)
    assert float(symmetric_info_nce(7 * a, 0.1 * b, 10.0)) == pytest.approx(loss, rel=1e-4)


@pytest.mark.parametrize("shapes", [((3, 4), (4, 4)), ((3, 4), (3, 5)), ((3,), (3,))])
def test_loss_refuses_batches_that_are_not_pairs(shapes):
    with pytest.raises(ValueError, match="equal shape"):
        symmetric_info_nce(torch.ones(shapes[0]), torch.ones(shapes[1]), 1.0)


def test_loss_refuses_a_single_pair():
    with pytest.raises(ValueError, match="no negatives"):
        symmetric_info_nce(torch.ones(1, 4), torch.ones(1, 4), 1.0)


def test_schedule_rises_to_one_and_falls_to_zero():
    factors = [warmup_cosine(step, total_steps=100, warmup_steps=10) for step in range(101)]
    assert factors[0] == pytest.approx(0.1)
    assert max(factors) == factors[9] == 1.0
    assert factors[100] == pytest.approx(0.0, abs=1e-12)
    assert all(later <= earlier for earlier, later in pairwise(factors[10:]))


def test_only_matrices_decay():
    layer = torch.nn.Linear(3, 2)
    named = [*layer.named_parameters(), ("pos_embed", torch.nn.Parameter(torch.ones(1, 4, 3)))]
    decayed, free = parameter_groups(named, 0.3)
    assert [p is layer.weight for p in decayed["params"]] == [True]
    assert decayed["weight_decay"] == 0.3
    assert len(free["params"]) == 2
    assert free["weight_decay"] == 0.0


def test_frozen_parameters_are_in_no_group():
    layer = torch.nn.Linear(3, 2).requires_grad_(False)
    assert all(not group["params"] for group in parameter_groups(layer.named_parameters(), 0.1))


@given(st.integers(0, 500), st.integers(1, 40))
@settings(max_examples=25)
def test_frequency_mask_hides_at_most_its_width_and_touches_nothing_else(seed, width):
    generator = torch.Generator().manual_seed(seed)
    fbank = torch.randn(4, 1, 128, 20, generator=generator)
    kept = fbank.clone()
    masked = frequency_mask(fbank, width, generator)
    assert torch.equal(fbank, kept), "the input must not change"
    hidden = (masked != fbank).any(-1).squeeze(1)
    assert int(hidden.sum(1).max()) <= width
    for row, bank in zip(hidden, masked, strict=True):
        where = row.nonzero().flatten()
        assert len(where) == 0 or len(where) == where[-1] - where[0] + 1, "one band, without gaps"
        assert torch.isfinite(bank).all()


@given(st.integers(0, 500))
@settings(max_examples=25)
def test_random_erase_fills_one_rectangle_with_the_mean(seed):
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(3, 1, 40, 50, generator=generator)
    erased = random_erase(image, 1.0, generator)
    changed = (erased != image).squeeze(1)
    for mask, original, result in zip(changed, image, erased, strict=True):
        assert 0 < mask.float().mean() < 0.5
        rows, columns = mask.any(1).nonzero().flatten(), mask.any(0).nonzero().flatten()
        assert mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
        assert torch.allclose(result[0][mask], original.mean(), atol=1e-6)


def test_no_probability_no_augmentation():
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(2, 1, 8, 8)
    assert random_erase(image, 0.0, generator) is image
    assert frequency_mask(image, 0, generator) is image


def test_published_recipes_are_those_of_the_paper():
    assert {m: r.temperature for m, r in PUBLISHED.items()} == {
        "audio": 0.05,
        "depth": 0.2,
        "thermal": 0.1,
        "imu": 0.2,
    }
    assert {m: r.batch_size for m, r in PUBLISHED.items()} == {
        "audio": 2048,
        "depth": 512,
        "thermal": 512,
        "imu": 512,
    }
    assert PUBLISHED["imu"].drop_path == 0.7
    assert PUBLISHED["audio"].but(epochs=1).epochs == 1


def test_tensor_pairs_draw_one_clip_of_several():
    inputs = torch.arange(3 * 4).reshape(3, 4, 1).half()
    pairs = TensorPairs(torch.eye(3), inputs, clips=True)
    assert isinstance(pairs, PairDataset)
    seen = {
        tuple(pairs.samples(torch.tensor([1]), torch.Generator().manual_seed(s)).flatten().tolist())
        for s in range(40)
    }
    assert seen == {(4.0,), (5.0,), (6.0,), (7.0,)}


def test_tensor_pairs_of_unequal_length_are_refused():
    with pytest.raises(ValueError, match="3 image embeddings cannot be paired with 2"):
        TensorPairs(torch.eye(3), torch.ones(2, 1))
