"""Words that a model never met are named in one warning a call."""

from __future__ import annotations

import warnings

import pytest
import torch

import bindplug
from bindplug import audio, text
from bindplug.errors import UnknownWords
from bindplug.testing import FakeEncoder
from bindplug.zeroshot import classify


@pytest.fixture(scope="module")
def tiny():
    return bindplug.load("imagebind_tiny", modalities=["audio", "text"])


def test_one_warning_names_the_unknown_words_of_all_texts(tiny):
    with pytest.warns(UnknownWords, match=r"does not know 'wolf', 'zebra':") as caught:
        tiny.embed([text("a wolf"), text("a zebra and a dog"), text("a wolf by a train")])
    assert len(caught) == 1
    assert caught[0].filename == __file__


def test_known_words_and_punctuation_are_silent(tiny):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tiny.embed([text("a photo of a dog; (next to) a red car?")])
        tiny.zero_shot_classifier(["dog", "fire"])


def test_templates_may_hold_words_of_their_own(tiny):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tiny.zero_shot_classifier(["dog"], ["the sound of a {}", "a cuddly {}"])


def test_class_names_are_checked(tiny):
    with pytest.warns(UnknownWords, match="'wolf'") as caught:
        tiny.zero_shot_classifier(["train", "wolf"], ["the sound of a {}"])
    assert "sound" not in str(caught[0].message)
    sound = audio(0.1 * torch.sin(torch.arange(32_000) * 0.2), sample_rate=16_000)
    with pytest.warns(UnknownWords, match="'wolf'") as caught:
        classify(tiny, sound, ["train", "wolf"])
    assert len(caught) == 1


def test_long_lists_are_cut(tiny):
    words = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu"
    with pytest.warns(UnknownWords, match=r"'kappa' and 3 more"):
        tiny.embed(text(words))


def test_the_report_has_them_as_data(tiny):
    report = tiny.embed_with_report([text("a wolf"), text("a dog")])
    assert report.unknown_words == ["wolf"]


def test_a_model_of_the_whole_vocabulary_is_silent(tiny):
    model = bindplug.load("imagebind_tiny", modalities=["text"])
    with torch.no_grad():
        model.towers["text"].token_embedding.weight.fill_(0.01)
    assert model.embed_with_report(text("a zebra")).unknown_words == []
    assert FakeEncoder().embed_with_report(text("a zebra")).unknown_words == []
