from __future__ import annotations

import json

import numpy as np
import open_clip
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bindplug.errors import InputError
from bindplug.inputs import TextPreprocess, Tokenizer

tokenizer = Tokenizer()
theirs = open_clip.SimpleTokenizer()
TRICKY = [
    "", "   ", "A dog.", "café naïve — 東京 🚗 &amp; x²", "it's I'LL they'Re DON'T", "&amp;amp;lt;", "a\t\nb\u00a0c",
    "<end_of_text> inside <START_OF_TEXT>", "ſtrange ſ's", "ﬁ ﬂ Å Ⅷ ½", "123456 v2.0", "\x00\x01", "a" * 500,
    "word " * 90, "donâ€™t", "İstanbul ẞ", "!!!???...", "\u200b\ufeffzero",
]  # fmt: skip


@pytest.mark.parametrize("text", TRICKY)
def test_equals_open_clip_on_tricky_text(text):
    assert torch.equal(tokenizer(text), theirs(text))


WORDS = st.sampled_from(
    ["a photo of ", "dog", "'s ", "&amp;", "<end_of_text>", "THE ", "é", "42 ", "\n", "🚗"]
)
TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=("Cs",)), max_size=60), st.lists(WORDS, max_size=12).map("".join)
)


@given(TEXTS)
@settings(max_examples=400)
def test_equals_open_clip(text):
    assert tokenizer.encode(text) == theirs.encode(text)
    assert torch.equal(tokenizer(text), theirs(text))


def test_golden(golden):
    folder = golden.parent / "imagebind"
    texts = json.loads((folder / "golden_tiny.json").read_text())["texts"]
    with np.load(folder / "golden_tiny.npz") as numbers:
        expected = numbers["text_tokens"]
    assert len(texts) == len(expected) == 7
    assert np.array_equal(tokenizer(texts).numpy(), expected)


def test_truncation_keeps_the_end_mark_last():
    ids = tokenizer("word " * 100)
    assert ids.shape == (1, 77)
    assert ids[0, 0] == tokenizer.start_id
    assert ids[0, -1] == tokenizer.end_id
    exact = tokenizer("word " * 75, truncate=False)
    assert torch.equal(exact, ids)


def test_too_long_is_refused_on_request():
    with pytest.raises(InputError, match=r"'word word.*78 tokens.*at most 77.*truncate=True"):
        tokenizer("word " * 76, truncate=False)
    with pytest.raises(InputError, match="at most 77"):
        TextPreprocess(truncate=False)("word " * 76)


def test_other_context_length():
    assert torch.equal(tokenizer(["a dog"], 8), theirs(["a dog"], 8))
    with pytest.raises(ValueError, match="context_length=1"):
        Tokenizer(1)


def test_decode_gives_the_words_back():
    assert tokenizer.decode(tokenizer.encode("A photo of 東京 🚗")) == "a photo of 東京 🚗 "
    assert tokenizer.decode([tokenizer.start_id, tokenizer.end_id]) == "<start_of_text><end_of_text>"


def test_preprocess_has_no_batch_axis_for_one_text():
    preprocess = TextPreprocess()
    assert preprocess("a dog").shape == (77,)
    assert torch.equal(preprocess(["a dog", "a cat"]), tokenizer(["a dog", "a cat"]))
    assert torch.equal(preprocess.batch(["a dog", "a cat"]).stack(), tokenizer(["a dog", "a cat"]))


@pytest.mark.parametrize("source", [b"a dog", 7, None, "\ud83d"])
def test_what_is_no_text_is_refused(source):
    with pytest.raises(InputError, match="expected"):
        TextPreprocess()(source)
    with pytest.raises(InputError, match="expected"):
        tokenizer([source])


def test_a_very_long_word_takes_no_quadratic_time():
    ids = tokenizer.encode("ab" * 50_000)
    assert tokenizer.decode(ids) == "ab" * 50_000 + " "
