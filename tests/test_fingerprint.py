"""Fingerprints: one network after rounding is itself, another network is not."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bindplug.fingerprint import Fingerprint, same_fingerprints, same_numbers, sample_positions
from bindplug.space import EmbeddingSpace

torch = pytest.importorskip("torch")
seeds = st.integers(0, 2**31 - 1)
few = settings(max_examples=25, deadline=None)


def numbers(seed, count=400, scale=0.02):
    return (np.random.default_rng(seed).standard_normal(count) * scale).astype(np.float32)


def through(array, name):
    return torch.from_numpy(array).to(getattr(torch, name)).float().numpy()


@given(seed=seeds, scale=st.sampled_from((1e-4, 0.02, 1.0, 30.0)))
@few
def test_numbers_stay_the_same_through_every_storage_format(seed, scale):
    plain = numbers(seed, scale=scale)
    copies = [plain, through(plain, "float16"), through(plain, "bfloat16")]
    copies += [through(copies[1], "bfloat16"), through(copies[2], "float16")]
    for first in copies:
        for second in copies:
            assert same_numbers(first, second)


@given(seed=seeds, relative=st.sampled_from((1e-3, 1e-2, 0.1)))
@few
def test_a_network_that_was_trained_further_is_another(seed, relative):
    plain = numbers(seed)
    noise = np.random.default_rng(seed + 1).standard_normal(len(plain)).astype(np.float32)
    assert not same_numbers(plain, plain * (1 + relative * noise))
    assert not same_numbers(plain, numbers(seed + 1))


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_the_last_place_of_float32_does_not_tell_two_copies_apart(share):
    plain = numbers(0)
    moved = np.where(np.random.default_rng(1).random(len(plain)) < share, np.nextafter(plain, 9), plain)
    assert same_numbers(plain, moved.astype(np.float32))


@pytest.mark.parametrize("value", [np.nan, np.inf, 1.0])
def test_one_number_that_is_far_off_tells_them_apart(value):
    other = numbers(0)
    other[7] = value
    assert not same_numbers(numbers(0), other)


def test_samples_of_another_size_differ():
    assert not same_numbers(numbers(0, 10), numbers(0, 11))
    assert same_numbers(numbers(0, 0), numbers(1, 0))


@given(count=st.integers(1, 30), size=st.integers(1, 10**7))
@few
def test_positions_are_distinct_sorted_and_in_range(count, size):
    positions = sample_positions(count, size)
    assert len(positions) == min(count, size)
    assert (np.diff(positions) > 0).all()
    assert 0 <= positions[0] <= positions[-1] < size


def test_text_keeps_every_bit_and_starts_with_the_digest():
    made = Fingerprint((2, 3, 16), numbers(0))
    text = str(made)
    again = Fingerprint.parse(text)
    assert text.startswith(made.digest)
    assert again.sizes == made.sizes
    assert np.array_equal(again.numbers, made.numbers)
    assert made.matches(again)
    assert not made.matches(dataclasses.replace(again, sizes=(2, 3, 17)))


@pytest.mark.parametrize(
    "text",
    ["", "ab", "a:sample1:2x3:!!", "a:sample1:x:AAAA", "a:sample2:2:AAAA", "a:sample1:2:AAA="],
)
def test_other_texts_are_no_samples(text):
    assert Fingerprint.parse(text) is None
    assert same_fingerprints(text, text)
    assert not same_fingerprints(text, str(Fingerprint((1,), numbers(0))))


def test_spaces_match_after_rounding_and_contradict_for_other_weights():
    plain, rounded, other = (
        EmbeddingSpace("a:b:c", 16, str(Fingerprint((1,), values)))
        for values in (numbers(0), through(numbers(0), "float16"), numbers(1))
    )
    assert plain != rounded
    assert plain.matches(rounded)
    assert not plain.matches(other)
    assert plain.matches(EmbeddingSpace("a:b:c", 16))
    assert plain.fingerprint[:8] in str(plain)
    assert len(str(plain)) < 80
    assert len(repr(plain)) < 80
