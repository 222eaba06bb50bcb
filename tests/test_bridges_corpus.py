import re
from collections import Counter
from importlib.resources import files

import pytest

from bindplug.corpus import Corpus, builtin_corpus, read_corpus
from bindplug.corpus.grammar import ADJECTIVES, PLACES, with_article
from bindplug.errors import InputError


def test_the_corpus_holds_thousands_of_different_phrases():
    corpus = builtin_corpus()
    assert 5000 < len(corpus) < 20000
    assert len(set(corpus.texts)) == len(corpus) == len(corpus.groups)
    assert len(set(corpus.groups)) > 1200
    assert Counter(corpus.groups).most_common(1)[0][1] < 60


def test_the_corpus_is_plain_english():
    allowed = re.compile(r"[A-Za-zé][A-Za-zé'-]*( [A-Za-zé'-]+)*")
    odd = [text for text in builtin_corpus().texts if not allowed.fullmatch(text)]
    assert odd == []
    articles = re.compile(r"\b(an?) ([A-Za-zé'-]+)")
    found = [match for text in builtin_corpus().texts for match in articles.finditer(text)]
    assert len(found) > 5000
    assert [m.string for m in found if m.group() != with_article(m.group(2))] == []


@pytest.mark.parametrize(
    "phrase",
    [
        *(
            "a dog",
            "a helicopter",
            "a hammer",
            "a sofa",
            "an apple",
            "rice",
            "a piano",
            "a beach",
            "a dog barking",
        ),
        *("the sound of a cat purring", "rain falling on a roof", "a woman walking a dog", "scissors"),
    ],
)
def test_everyday_things_are_in_it(phrase):
    assert phrase in builtin_corpus().texts


def test_variants_share_a_group():
    corpus = builtin_corpus()
    group = dict(zip(corpus.texts, corpus.groups, strict=True))
    variants = [text for text, of in group.items() if of == "helicopter"]
    assert len(variants) >= 7
    assert all("helicopter" in text for text in variants)


def test_every_list_has_adjectives_and_places():
    lists = {file.name.removesuffix(".txt") for file in (files("bindplug.corpus") / "words").iterdir()}
    assert len(lists) == 17
    assert set(ADJECTIVES) == set(PLACES) == lists - {"sounds", "activities"}


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("apple", "an apple"),
        ("dog", "a dog"),
        ("rice*", "rice"),
        ("hourglass", "an hourglass"),
        ("unicycle", "a unicycle"),
        ("uniform", "a uniform"),
        ("umbrella", "an umbrella"),
        ("ukulele", "a ukulele"),
        ("old shears*", "old shears"),
    ],
)
def test_articles(word, said):
    assert with_article(word) == said


def test_a_file_gives_its_different_lines(tmp_path):
    file = tmp_path / "mine.txt"
    file.write_text("a dog\n\n  a cat \na dog\nein Bär\n", encoding="utf-8")
    assert read_corpus(file) == Corpus("mine.txt", ("a dog", "a cat", "ein Bär"))


@pytest.mark.parametrize(
    ("content", "found"), [(None, "No such file"), (b"", "no texts"), (b"\xff\xfe\xfa", "decode")]
)
def test_files_without_text_are_refused(tmp_path, content, found):
    file = tmp_path / "x.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InputError, match=found):
        read_corpus(file)


@pytest.mark.parametrize("texts", [[], ["", " "], "a dog", [1, 2]])
def test_no_texts_are_refused(texts):
    with pytest.raises(InputError):
        Corpus.of(texts)
