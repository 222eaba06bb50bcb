"""ImageBindTokenizer beside bindplug's tokenizer and transformers' CLIPTokenizer."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, CLIPTokenizer

import bindplug_transformers as bt
from bindplug.errors import InputError
from bindplug.inputs.text import Tokenizer, vocabulary
from tests.transformers.tiny import TRANSFORMERS_4

PLAIN = ["a dog", "A photo of 2 cats!", "the cat's whiskers, we'll see", "naïve café 北京", "don't!? ...", ""]


@pytest.fixture(scope="module")
def tokenizer() -> bt.ImageBindTokenizer:
    return bt.ImageBindTokenizer()


@given(st.text(st.characters(codec="utf-8"), max_size=60))
@settings(max_examples=60)
def test_ids_are_bindplugs(text):
    tokenizer = bt.ImageBindTokenizer()
    row = Tokenizer()(text)[0].tolist()
    expected = row[: row.index(49407) + 1]
    if "<|" not in text:
        assert tokenizer(text)["input_ids"] == expected


@pytest.mark.parametrize("text", [*PLAIN, "AT&amp;T &lt;3", "schÃ¶n", "dog " * 200])
def test_ids_are_bindplugs_for_odd_texts(tokenizer, text):
    row = Tokenizer()(text)[0].tolist()
    assert tokenizer(text)["input_ids"] == row[: row.index(49407) + 1]


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """transformers' own tokenizer on the vocabulary that bindplug ships."""
    ranks, _, entries = vocabulary()
    ids = {entry: index for index, entry in enumerate([*entries[:-2], "<|startoftext|>", "<|endoftext|>"])}
    if not TRANSFORMERS_4:
        return CLIPTokenizer(vocab=ids, merges=list(ranks))
    directory = tmp_path_factory.mktemp("vocabulary")
    (directory / "vocab.json").write_text(json.dumps(ids), encoding="utf-8")
    merges = "\n".join(["#version: 0.2", *(" ".join(pair) for pair in ranks)])
    (directory / "merges.txt").write_text(merges, encoding="utf-8")
    return CLIPTokenizer(str(directory / "vocab.json"), str(directory / "merges.txt"))


def test_batches_are_clip_tokenizers(tokenizer, clips):
    ours = tokenizer(PLAIN, padding=True, return_tensors="pt")
    theirs = clips(PLAIN, padding=True, return_tensors="pt")
    assert sorted(ours) == sorted(theirs) == ["attention_mask", "input_ids"]
    for name in ours:
        assert ours[name].tolist() == theirs[name].tolist()


def test_marks_are_clip_tokenizers(tokenizer, clips):
    for name in ("bos_token", "eos_token", "pad_token", "bos_token_id", "eos_token_id", "pad_token_id"):
        assert getattr(tokenizer, name) == getattr(clips, name), name
    assert len(tokenizer) == len(clips) == 49408
    assert tokenizer.get_vocab() == clips.get_vocab()


def test_long_texts_are_cut_with_their_end_kept(tokenizer):
    ids = tokenizer("dog " * 200)["input_ids"]
    assert len(ids) == 77
    assert ids[-1] == 49407
    assert len(tokenizer("dog " * 200, truncation=False, verbose=False)["input_ids"]) == 202
    assert tokenizer("a very fine dog", max_length=4)["input_ids"][-1] == 49407


def test_padding_to_the_full_length(tokenizer):
    encoding = tokenizer(["a dog"], padding="max_length", return_tensors="pt")
    assert encoding["input_ids"].shape == (1, 77)
    assert encoding["attention_mask"].sum() == 4
    assert (encoding["input_ids"][0, 3:] == 49407).all()


def test_decodes(tokenizer):
    ids = tokenizer("A photo of a cat!")["input_ids"]
    assert tokenizer.decode(ids, skip_special_tokens=True) == "a photo of a cat !"
    assert tokenizer.decode(ids).startswith("<|startoftext|>")
    assert tokenizer.convert_tokens_to_ids(tokenizer.tokenize("a cat")) == ids_of(tokenizer, "a cat")


def ids_of(tokenizer, text):
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def test_pairs_are_refused(tokenizer):
    with pytest.raises(InputError, match="two rows"):
        tokenizer("a dog", "a cat")


def test_saves_and_loads(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    for kind in (bt.ImageBindTokenizer, AutoTokenizer):
        loaded = kind.from_pretrained(tmp_path)
        assert isinstance(loaded, bt.ImageBindTokenizer)
        assert loaded(PLAIN)["input_ids"] == tokenizer(PLAIN)["input_ids"]
