"""Results as HTML, and the addresses of sounds and videos."""

from __future__ import annotations

import os
import re

import numpy as np
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from bindplug import depth, text
from bindplug.indexes import IndexMatch, IndexRow
from bindplug_app import Finder, Term
from bindplug_app.cards import Wall, error_markup, remarks_markup, short_name
from bindplug_app.media import Media
from bindplug_app.previews import KINDS, clean, preview
from bindplug_search import create_index, open_index
from tests.app.conftest import CAPTION, HOSTILE


@pytest.fixture
def media():
    return Media()


@pytest.fixture
def client(media):
    with TestClient(Starlette(routes=[media.route()])) as client:
        yield client


def match(path, kind, score=0.5, **row):
    return IndexMatch(IndexRow(str(path), kind, **row), score)


def test_each_kind_has_its_card(files, model, media):
    dog, train = files.library["dog"], files.library["train"]
    kinds = ("audio", "image", "video", "depth", "thermal", "imu")
    matches = [match((train if kind == "imu" else dog)[kind], kind, 0.9) for kind in kinds]
    markup = Wall(model, media).markup([*matches, match("a dog", "text", 0.3)])
    assert markup.count("<li class=") == 7
    for kind in (*kinds, "text"):
        assert f'<p class="bp-kind">{KINDS[kind]}' in markup
    assert markup.count("<audio controls") == 1
    assert markup.count("<video controls") == 1
    assert markup.count("<polyline") == 6
    assert "bright is near" in markup
    assert re.search(r"dark is -?\d+, bright -?\d+ °C", markup)
    assert len(re.findall(r"<img [^>]*alt=\"[^\"]+\"", markup)) == markup.count("<img ") == 4
    assert "score 0.90" in markup
    assert str(files.directory) not in markup


def test_names_captions_and_metadata_are_escaped(files, model, media):
    matches = [
        match(files.directory / HOSTILE, "image", metadata={"<i>": "<b>garden</b>"}),
        match(CAPTION, "text"),
        match("/gone/\udcff\x1b.png", "image"),
    ]
    markup = Wall(model, media, show_paths=True).markup(matches)
    for tag in ("<img src=x", "<script", "<b>", "<i>"):
        assert tag not in markup
    assert clean(HOSTILE) in markup
    assert markup.encode("utf-8")
    assert "\x1b" not in markup
    assert "<script" not in error_markup(CAPTION) + remarks_markup([CAPTION])


def test_a_file_that_is_gone_or_unreadable_says_so(files, model, media, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"none")
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    matches = [match(tmp_path / "gone.wav", "audio"), match(broken, "image"), match(pipe, "image")]
    markup = Wall(model, media).markup(matches)
    assert markup.count("This file is gone or cannot be read") == 2
    assert "No picture can be made of this file" in markup
    assert "Nothing matches" in Wall(model, media).markup([])


def test_windows_are_shown_and_played_by_their_span(files, model, media):
    markup = Wall(model, media).markup([match(files.library["dog"]["audio"], "audio", span=(1.0, 3.0))])
    assert "1–3 s" in markup
    assert re.search(r'src="media/[\w-]+#t=1,3"', markup)


def test_a_preview_is_made_again_when_the_file_has_changed(files, model, media, tmp_path):
    path = tmp_path / "picture.png"
    wall = Wall(model, media)
    path.write_bytes(files.library["train"]["image"].read_bytes())
    first = wall.markup([match(path, "image")])
    path.write_bytes(files.library["fire"]["image"].read_bytes())
    assert wall.markup([match(path, "image")]) != first


def test_a_map_is_drawn_with_the_options_that_it_was_read_with(model, media, tmp_path):
    path = tmp_path / "millimetres.npy"
    np.save(path, np.linspace(500, 4000, 64 * 64, dtype=np.float32).reshape(64, 64))
    index_path = tmp_path / "maps.lance"
    create_index(index_path, model="imagebind_tiny")
    index = open_index(index_path, model=model)
    index.add([depth(path, unit="mm"), text("a dog")])
    finder, wall = Finder(index, model), Wall(model, media)
    matches, _ = finder.search([Term(text("a dog").terms[0][1])])
    options = finder.reader_options(matches)
    assert sorted(map(len, options)) == [0, 1]
    assert "No picture can be made of this file" in wall.markup(matches)
    assert "bright is near (0.53" in wall.markup(matches, options)
    index.add([depth(path, unit="cm")])
    assert "bright is near (5.3" in wall.markup(matches, finder.reader_options(matches))


def test_a_score_that_rounds_to_zero_has_no_sign(model, media):
    assert "score 0.00" in Wall(model, media).markup([match("a dog", "text", -0.001)])


def test_a_map_that_only_a_remark_belongs_to_is_drawn_without_a_warning(model, tmp_path):
    path = tmp_path / "map.npy"
    values = np.linspace(1, 4, 64 * 64, dtype=np.float32).reshape(64, 64)
    values[:6] = 0
    np.save(path, values)
    assert preview(model, "depth", path, "map.npy") is not None
    assert preview(model, "text", "a dog", "") is None


def test_addresses_are_random_and_lead_to_sounds_alone(files, media, client, tmp_path):
    sound = files.library["dog"]["audio"]
    address = media.address(str(sound))
    assert address == media.address(str(sound))
    assert "dog" not in address
    answer = client.get(f"/{address}", headers={"Range": "bytes=0-3"})
    assert (answer.status_code, answer.content) == (206, b"RIFF")
    assert answer.headers["content-type"] == "audio/wav"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert client.get("/media/unknown").status_code == 404
    assert client.get("/media/..%2f..%2fetc%2fpasswd").status_code == 404
    assert media.address("/etc/passwd") is None


def test_a_link_that_comes_to_point_at_something_else_is_not_followed(media, client, tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("password", encoding="utf-8")
    link, pipe = tmp_path / "sound.wav", tmp_path / "pipe.wav"
    link.symlink_to(secret)
    os.mkfifo(pipe)
    for path in (link, pipe, tmp_path / "gone.wav", tmp_path):
        assert (
            client.get(f"/{media.address(str(path / 'x.wav' if path == tmp_path else path))}").status_code
            == 404
        )


def test_old_addresses_are_forgotten(media, monkeypatch):
    monkeypatch.setattr("bindplug_app.media.MOST_FILES", 2)
    first = media.address("/a.wav")
    media.address("/b.wav")
    media.address("/c.wav")
    assert media.address("/a.wav") != first


def test_long_names_are_cut_in_the_middle():
    assert short_name("/x/" + "a" * 50 + "b" * 50) == "a" * 40 + "…" + "b" * 40
