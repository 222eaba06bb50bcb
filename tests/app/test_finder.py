"""Searching, detecting and painting, apart from how the page looks."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

import bindplug
from bindplug.errors import InputError, NoDirection, SpaceMismatch
from bindplug_app import Finder, Term
from bindplug_app.sources import file_leaf, kind_of, reader_options, seed_of, term_of, terms_of
from bindplug_app.words import empty_index_markup, intro_markup
from bindplug_search import create_index, open_index


def term(kind, source, weight=1.0):
    leaf = term_of(kind, source, source, weight=weight)
    assert leaf is not None
    return leaf


def things_of(matches):
    return [match.path.split("/")[-2] for match in matches if match.kind != "text"]


@pytest.mark.parametrize("kind", ["audio", "depth", "thermal", "image", "video"])
def test_a_file_of_any_kind_finds_sounds_of_the_same_thing(finder, files, kind):
    for thing in ("dog", "fire"):
        matches, remarks = finder.search([term(kind, str(files.queries[thing][kind]))], kinds=["audio"], k=1)
        assert things_of(matches) == [thing]
        assert remarks == []


def test_words_find_every_kind_and_say_which_of_them_mean_nothing(finder):
    matches, remarks = finder.search([term("text", "a dog zorgle")], k=30)
    assert {match.kind for match in matches} == {"text", "image", "audio", "depth", "thermal", "imu", "video"}
    assert len(remarks) == 1
    assert "zorgle" in remarks[0]


def test_a_second_source_counts_by_its_weight(finder, files):
    dog, train = (str(files.queries[thing]["audio"]) for thing in ("dog", "train"))
    one, _ = finder.search([term("audio", dog), term("audio", train, 0.1)], kinds=["image"], k=1)
    other, _ = finder.search([term("audio", dog, 0.1), term("audio", train)], kinds=["image"], k=1)
    away, _ = finder.search([term("text", "a dog"), term("text", "a dog", -0.4)], kinds=["audio"], k=1)
    assert [match.path.endswith(".png") for match in one] == [True]
    assert one[0].path == str(files.library["dog"]["image"])
    assert things_of(other) == ["train"]
    assert things_of(away) == ["dog"]


def test_nothing_and_terms_that_cancel_are_refused(finder):
    with pytest.raises(InputError, match="nothing to look for; expected words, or a file"):
        finder.search([])
    with pytest.raises(NoDirection):
        finder.search([term("text", "a dog"), term("text", "a dog", -1.0)])


def test_people_at_once_get_their_own_results(finder, files):
    things = ("dog", "train", "fire") * 8

    def ask(thing):
        return things_of(
            finder.search([term("audio", str(files.queries[thing]["audio"]))], kinds=["audio"], k=1)[0]
        )

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(ask, things)) == [[thing] for thing in things]


def test_a_sound_is_found_in_a_picture(finder, files):
    answer = finder.detect(
        [term("audio", str(files.queries["dog"]["audio"]))], file_leaf("image", str(files.street))
    )
    assert len(answer.boxes) == 1
    assert answer.size == (320, 320)
    assert answer.picture.size == (640, 640)
    left, top, right, bottom = answer.boxes[0].box
    assert 0 <= left < right <= 320
    assert 0 <= top < bottom <= 320


def test_a_painting_depends_on_the_query_and_the_seed(finder, files):
    fire, train = ([term("audio", str(files.queries[thing]["audio"]))] for thing in ("fire", "train"))
    first, again, other = (np.asarray(finder.paint(query, seed=3)[0]) for query in (fire, fire, train))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_an_index_of_another_space_is_refused_when_it_is_opened(index_path):
    model = bindplug.load("toy_foreign_clip")
    with pytest.raises(SpaceMismatch, match="leave --model out"):
        Finder(open_index(index_path, model=model), model)


def test_an_index_that_is_written_meanwhile_gives_its_new_rows(index_path, files, model, tmp_path):
    path = tmp_path / "copy.lance"
    shutil.copytree(index_path, path)
    finder = Finder(open_index(path, model=model), model)
    before = finder.info().rows
    open_index(path, model=model).add(bindplug.audio(files.queries["dog"]["audio"]))
    matches, _ = finder.search([term("audio", str(files.queries["dog"]["audio"]))], k=1)
    assert matches[0].path == str(files.queries["dog"]["audio"])
    assert finder.info().rows == before + 1


def test_an_index_that_goes_away_is_an_error_without_its_place(index_path, model, tmp_path):
    path = tmp_path / "copy.lance"
    shutil.copytree(index_path, path)
    finder = Finder(open_index(path, model=model), model)
    shutil.rmtree(path)
    for ask in (lambda: finder.search([term("text", "a dog")]), finder.info):
        with pytest.raises(InputError, match="a table that cannot be read") as caught:
            ask()
        assert str(tmp_path) not in str(caught.value)


def test_an_empty_index_has_no_matches(model, tmp_path):
    finder = Finder(create_index(tmp_path / "empty.lance", model=model), model)
    assert finder.search([term("text", "a dog")]) == ([], [])
    assert finder.reader_options([]) == []
    assert "Searched here: nothing yet" in intro_markup(finder.info(), False)
    assert "bindplug index add" in empty_index_markup()
    finder.index.add(bindplug.text("a dog"))
    assert "Searched here: 1 sentence." in intro_markup(finder.info(), False)


@pytest.mark.parametrize(
    ("kind", "content", "message"),
    [
        ("image", b"", "an empty file"),
        ("image", b"no picture", "picture"),
        ("audio", b"RIFF----WAVE", "sound"),
        ("video", b"\x00" * 400, "video"),
        ("depth", b"\x89PNG\r\n\x1a\n", ""),
        ("thermal", b"II*\x00", ""),
        ("imu", b"a,b\n1,2\n", ""),
        ("audio", b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", ""),
    ],
)
def test_a_bad_upload_of_each_kind_is_an_error_with_its_name(finder, tmp_path, kind, content, message):
    path = tmp_path / "upload.bin"
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"upload\.bin.*{message}"):
        finder.search([term(kind, str(path))])


def test_reader_options_are_read_and_bounded(tmp_path):
    assert reader_options("unit=mm  channel=Z, cap=3.5") == {"unit": "mm", "channel": "Z", "cap": 3.5}
    assert reader_options("") == {}
    with pytest.raises(InputError, match="NAME=VALUE"):
        reader_options("mm")
    with pytest.raises(InputError, match="unit= twice"):
        reader_options("unit=mm unit=cm")
    path = tmp_path / "map.png"
    path.write_bytes(b"x")
    with pytest.raises(InputError, match="options of depth: 'mask'"):
        term_of("depth", None, str(path), "mask=/etc/passwd")


def test_what_is_not_given_is_left_out(tmp_path):
    assert term_of("text", "  ", None) is None
    assert term_of("text", "a dog", None, weight=0.0) is None
    assert term_of("audio", "a dog", None) is None
    with pytest.raises(InputError, match="no longer here"):
        term_of("audio", None, str(tmp_path / "gone.wav"))
    with pytest.raises(InputError, match="20001 characters"):
        term_of("text", "x" * 20_001, None, place="the first")
    assert kind_of("Heat picture") == "thermal"
    with pytest.raises(InputError, match="Words, Sound"):
        kind_of("Smell")


def test_a_second_source_that_is_empty_is_told():
    dog, nothing = ["Words", "a dog", None, None, ""], ["Sound", "", None, None, ""]
    remark = ["One of the two is empty; the other counts alone."]
    for fields, count, remarks in (
        ([*dog, True, *dog, -0.5], 2, []),
        ([*dog, True, *nothing, 1], 1, remark),
        ([*nothing, True, *dog, 1], 1, remark),
        ([*dog, True, *nothing, 0], 1, []),
        ([*dog, False, *nothing, 1], 1, []),
        ([*nothing, True, *nothing, None], 0, []),
    ):
        terms, notes = terms_of(fields)
        assert (len(terms), notes) == (count, remarks)


def test_the_terms_of_the_public_face_are_these():
    assert Term(term_of("text", "a dog", None).leaf).weight == 1.0


def test_a_picture_of_too_many_pixels_is_refused_by_its_name(finder, tmp_path):
    path = tmp_path / "bomb.png"
    Image.new("L", (9000, 9000)).save(path)
    for kind in ("image", "depth", "thermal", "video"):
        with pytest.raises(InputError, match=r"bomb\.png: a picture of 9000 x 9000 pixels"):
            finder.search([term(kind, str(path))])
    with pytest.raises(InputError, match=r"bomb\.png"):
        finder.detect([term("text", "a dog")], file_leaf("image", str(path)))


def test_a_seed_is_a_number_or_a_random_one():
    assert seed_of(" 7 ") == 7
    assert 0 <= seed_of("") < 2**32
    for text in ("-1", "x", str(2**32), "1" * 30):
        with pytest.raises(InputError, match="a whole number from 0"):
            seed_of(text)
