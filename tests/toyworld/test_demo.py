"""The demo: right answers with the bundled model, honest ones with any, and a report that stands alone."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bindplug.cli.app import run
from bindplug.imagebind import ImageBind, ImageBindConfig
from bindplug.imagebind.checkpoint import save_directory
from bindplug.imagebind.config import TowerConfig
from bindplug.space import EmbeddingSpace
from bindplug_toyworld import demo, showcase
from bindplug_toyworld.report import colours, draw_contact_sheet, pictures, write_page
from bindplug_toyworld.showcase import Answer, Exhibit, Match, Showcase, Sum

VOID = {"meta", "img", "link", "br", "source", "path", "polyline"}
FEW = ("dog", "bell", "bicycle")


class Balanced(HTMLParser):
    """Notes every address and checks that what opens also closes."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "srcset", "href") and value]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def random_model(tmp_path_factory) -> Path:
    """A model that has learned nothing."""
    config = ImageBindConfig(
        vision=TowerConfig(32, 1, 2, kernel=(2, 56, 56)),
        text=TowerConfig(32, 1, 2),
        audio=TowerConfig(32, 1, 2, kernel=(16, 16)),
        depth=TowerConfig(32, 1, 2, kernel=(56, 56)),
        thermal=TowerConfig(32, 1, 2, kernel=(56, 56)),
        imu=TowerConfig(32, 1, 2, kernel=(100,)),
        embed_dim=16,
    )
    torch.manual_seed(0)
    model = ImageBind(config, space=EmbeddingSpace("test:small", 16)).eval()
    return save_directory(model, tmp_path_factory.mktemp("weights") / "random")


@pytest.fixture(scope="module")
def ran(random_model, tmp_path_factory):
    """A small demo with that model: (directory, what it printed as JSON)."""
    directory = tmp_path_factory.mktemp("demo") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(showcase, "SHOWN", FEW)
        patch.setattr(showcase, "SUMS", (("bicycle", "bell"),))
        patch.setattr(showcase, "OPENAI_IMAGENET_TEMPLATES", ("a photo of a {}.",))
        printed: list[str] = []
        patch.setattr("click.echo", lambda text="", **options: printed.append(str(text)))
        code = run(["demo", "--model", str(random_model), "-o", str(directory), "--json", "--quiet"])
    assert code == 0
    return directory, json.loads("\n".join(printed))


def test_the_bundled_model_is_right(tmp_path):
    """The whole demo as a user runs it; thresholds leave room for a few unlucky files among 44."""
    command = [sys.executable, "-m", "bindplug.cli", "demo", "-o", str(tmp_path / "out"), "--json", "--quiet"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    shown = json.loads(ran.stdout)
    assert shown["model"] == "imagebind_tiny"
    tally = shown["tally"]
    assert tally["classified"]["of"] == 44
    assert tally["matched"]["of"] == 44
    assert tally["sums"]["of"] == 4
    assert tally["classified"]["right"] >= 41
    assert tally["matched"]["right"] >= 40
    assert tally["sums"]["right"] >= 3  # the card measures five of six such sums
    assert Path(shown["report"]).stat().st_size > 100_000
    assert ran.stderr == ""


def test_every_kind_of_file_is_written_and_used(ran):
    directory, shown = ran
    written = {
        path.relative_to(directory / "files").as_posix() for path in (directory / "files").rglob("*.*")
    }
    for thing in FEW:
        for name in ("image.png", "video.mp4", "audio.wav", "depth.png", "thermal.tiff", "caption.txt"):
            assert f"{thing}/{name}" in written
    assert {path for path in written if path.endswith("imu.csv")} == {"bicycle/imu.csv"}
    shown_in = [
        path.removesuffix(".png").partition("_")[2] for path in written if path.startswith("gallery/")
    ]
    pairs = ("dog_bell", "dog_bicycle", "bell_bicycle")
    assert Counter(shown_in) == Counter({"dog": 1, "bell": 1, "bicycle": 1} | dict.fromkeys(pairs, 3))
    asked = {(answer["thing"], answer["modality"]) for answer in shown["answers"]}
    assert len(asked) == 16
    assert ("bicycle", "imu") in asked
    assert [(m["query"], m["candidate"]) for m in shown["matches"]] == [
        list(p) and p for p in showcase.MATCHES
    ]


def test_what_it_says_is_right_is_right(ran):
    _, shown = ran
    for answer in shown["answers"]:
        assert answer["right"] == (answer["top"][0][0] == answer["thing"])
        chances = [chance for _, chance in answer["top"]]
        assert chances == sorted(chances, reverse=True)
        assert 0 < sum(chances) <= 1
    for match in shown["matches"]:
        assert match["right"] == [int(np.argmax(row)) == i for i, row in enumerate(match["cosines"])]
    (result,) = shown["sums"]
    place = [set(things) for _, things, _ in result["found"]].index({"bicycle", "bell"}) + 1
    assert place == result["rank"] <= 5
    right = sum(answer["right"] for answer in shown["answers"])
    assert shown["tally"]["classified"] == {"right": right, "of": 16}
    assert right < 16, "a model that learned nothing is not right throughout"


def test_the_page_stands_alone_and_is_well_formed(ran):
    directory, _ = ran
    page = (directory / "report.html").read_text(encoding="utf-8")
    reader = Balanced()
    reader.feed(page)
    assert reader.open == []
    assert "script" not in reader.tags
    assert len(reader.addresses) > 30
    assert all(address.startswith("data:") for address in reader.addresses)
    assert not re.search(r"https?:", page)  # the letters alone may well stand in an encoded picture
    assert "@import" not in page
    assert not re.search(r"url\((?!data:)", page)
    assert reader.tags.count("audio") == 3
    assert reader.tags.count("svg") == 1
    assert reader.tags.count("table") == 6
    assert "prefers-color-scheme: dark" in page
    assert 'name="viewport"' in page
    assert not list(directory.glob(".*"))


def test_the_contact_sheet_is_a_picture_of_all_scenes(ran):
    directory, _ = ran
    with Image.open(directory / "report.png") as sheet:
        assert sheet.mode == "RGB"
        assert sheet.width > 1000
        colourful = np.asarray(sheet).astype(int)
    rows = colourful[124 : 124 + 3 * 152, 170:300]
    assert rows.std() > 20


def test_seeds_draw_other_scenes(tmp_path, monkeypatch):
    monkeypatch.setattr(showcase, "SHOWN", FEW)
    for seed in (0, 1, 0):
        showcase._gallery(tmp_path / str(seed), 1000 * (seed + 1), quiet=True)
    names = [sorted(path.name for path in (tmp_path / str(seed)).iterdir()) for seed in (0, 1)]
    assert names[0] == names[1]
    assert len(names[0]) == 12
    assert not {p.read_bytes() for p in (tmp_path / "0").iterdir()} & {
        p.read_bytes() for p in (tmp_path / "1").iterdir()
    }


def test_a_place_that_cannot_hold_the_report_is_refused(tmp_path, capsys):
    taken = tmp_path / "taken"
    taken.write_text("a file")
    assert run(["demo", "-o", str(taken), "--quiet"]) == 1
    assert "taken" in capsys.readouterr().err


# ---- judging -------------------------------------------------------------------------------------------------


def exhibits(*things: str, without: tuple[str, ...] = ()) -> list[Exhibit]:
    files = {"image": Path("i"), "audio": Path("a")}
    return [Exhibit(t, t, f"a {t}", files | ({} if t in without else {"imu": Path("m")})) for t in things]


def test_a_match_is_right_where_the_own_scene_is_nearest():
    axes = torch.eye(3)
    shown = exhibits("dog", "car", "train")
    rows = {(e.thing, "audio"): axes[i] for i, e in enumerate(shown)}
    rows |= {
        ("dog", "image"): axes[0],
        ("car", "image"): axes[2],
        ("train", "image"): axes[2] * 0.5 + axes[1],
    }
    match = showcase._match("audio", "image", shown, rows)
    assert match.right == (True, False, False)
    assert match.cosines[2] == (0.0, 1.0, 0.5)
    assert match.trained


def test_scenes_without_a_sensor_are_left_out_of_its_matches():
    shown = exhibits("dog", "car", without=("dog",))
    rows = {("car", "imu"): torch.ones(2), ("car", "audio"): torch.ones(2)}
    match = showcase._match("imu", "audio", shown, rows)
    assert match.things == ("car",)
    assert not match.trained


@pytest.fixture(scope="module")
def bicycle(tmp_path_factory) -> Exhibit:
    scene = showcase.Scene(3, "eval", labels=["bicycle"])
    files = scene.write(tmp_path_factory.mktemp("scene"))
    return Exhibit("bicycle", "bicycle", "a <b>bold</b> bicycle", files)


def made_up(exhibit: Exhibit, right: bool) -> Showcase:
    """A showcase of one scene and one sum, right or wrong throughout."""
    show = Showcase("made up", "a space", 0, [exhibit], seconds=1.0)
    said = "bicycle" if right else "train"
    for modality in showcase.SENSORS:
        show.answers.append(Answer("bicycle", modality, ((said, 0.9), ("dog", 0.1)), right))
    show.matches.append(
        Match("audio", "imu", ("bicycle", "car"), ((0.9, 0.1), (0.8, 0.2)), (True, right), False)
    )
    found = (exhibit.files["image"], ("bicycle", "bell"), 0.7)
    show.sums.append(Sum("bicycle", "bicycle", (found,), 1 if right else 9, right))
    return show


def test_mistakes_are_shown_as_such(bicycle, tmp_path):
    good, bad = made_up(bicycle, True), made_up(bicycle, False)
    assert good.tally == {"classified": (6, 6), "matched": (2, 2), "sums": (1, 1)}
    assert bad.tally == {"classified": (0, 6), "matched": (1, 2), "sums": (0, 1)}
    assert demo.verdict(bad) == "0 of 6 files named, 1 of 2 matched across sensors, 0 of 1 sums found"
    pages = [write_page(show, tmp_path / "page.html").read_text() for show in (good, bad)]
    assert (pages[0].count("✓"), pages[0].count("✗")) == (6, 0)
    assert (pages[1].count("✓"), pages[1].count("✗")) == (0, 6)
    assert "not among the 5 nearest (place 9)" in pages[1]
    assert 'class="wrong"' in pages[1]
    assert "never trained together" in pages[0]
    assert "&lt;b&gt;bold&lt;/b&gt;" in pages[0], "a caption is text, not markup"
    sheets = [
        draw_contact_sheet(show, tmp_path / f"{i}.png").read_bytes() for i, show in enumerate((good, bad))
    ]
    assert sheets[0] != sheets[1]


def test_the_terminal_shows_tables(bicycle, tmp_path, capsys):
    demo._print(made_up(bicycle, False), tmp_path / "report.html", tmp_path / "report.png", quiet=False)
    shown = capsys.readouterr().out
    assert "✗ train" in shown
    assert "audio → imu: 1 of 2 right (never trained together)" in shown
    assert "place 9" in shown
    assert "0 of 6 files named" in shown
    demo._print(made_up(bicycle, True), tmp_path / "report.html", tmp_path / "report.png", quiet=True)
    quiet = capsys.readouterr().out
    assert "6 of 6 files named" in quiet
    assert "✓" not in quiet


# ---- pictures ------------------------------------------------------------------------------------------------


def test_colour_maps_run_from_end_to_end_and_grow_lighter():
    for stops in (colours.VIRIDIS, colours.INFERNO, colours.MAGMA):
        painted = colours.apply(np.linspace(0, 1, 50), stops, 0, 1)
        assert tuple(painted[0]) == stops[0]
        assert tuple(painted[-1]) == stops[-1]
        light = painted @ np.array([0.2126, 0.7152, 0.0722])
        assert (np.diff(light) > 0).all()
    outside = colours.apply(np.array([-5.0, 7.0]), colours.MAGMA, 0, 1)
    assert [tuple(colour) for colour in outside] == [colours.MAGMA[0], colours.MAGMA[-1]]


def test_near_is_bright_and_holes_are_grey(tmp_path):
    millimetres = np.full((40, 40), 5000, np.uint16)
    millimetres[:20] = 1000
    millimetres[0, 0] = 0
    Image.fromarray(millimetres).save(tmp_path / "depth.png")
    scaled = pictures.depth_picture(tmp_path / "depth.png")
    pixels = np.asarray(scaled.picture).astype(int)
    assert (scaled.low, scaled.high) == (1.0, 5.0)
    assert pixels[10, 10].sum() > pixels[30, 30].sum()
    assert tuple(pixels[0, 0]) == (128, 128, 128)


def test_heat_is_in_degrees_celsius(tmp_path):
    centikelvin = np.full((40, 40), 29315, np.uint16)
    centikelvin[:20] = 31015
    Image.fromarray(centikelvin).save(tmp_path / "thermal.tiff")
    scaled = pictures.thermal_picture(tmp_path / "thermal.tiff")
    assert (scaled.low, scaled.high) == pytest.approx((20, 37), abs=0.01)
    pixels = np.asarray(scaled.picture).astype(int)
    assert pixels[5, 5].sum() > pixels[35, 5].sum()


@pytest.mark.parametrize("hz", [200, 1000, 6000])
def test_a_tone_is_a_line_at_its_frequency(hz):
    samples = np.sin(2 * np.pi * hz * np.arange(16000) / 16000).astype(np.float32)
    pixels = np.asarray(pictures.spectrogram_picture(samples, 16000, 100, 96)).sum(axis=2)
    row = int(pixels[:, 20:80].mean(axis=1).argmax())
    low, high = (2595 * np.log10(1 + f / 700) for f in pictures.SPECTROGRAM_HZ)
    expected = 95 * (1 - (2595 * np.log10(1 + hz / 700) - low) / (high - low))
    assert row == pytest.approx(expected, abs=3)


def test_very_short_sounds_and_silence_can_be_drawn():
    for samples in (np.zeros(10, np.float32), np.zeros(0, np.float32)):
        assert pictures.spectrogram_picture(samples, 16000, 50, 20).size == (50, 20)
        assert pictures.waveform_picture(samples, 50, 20, (0, 0, 0)).size == (50, 20)


def test_thinning_keeps_every_peak():
    series = np.zeros((2, 1000))
    series[0, 517], series[1, 3] = 9, -4
    thin = pictures.thinned(series, 20)
    assert thin.shape == (2, 40)
    assert thin[0].max() == 9
    assert thin[1].min() == -4


def test_motion_stays_within_its_frame():
    motion = np.random.default_rng(0).normal(size=(3, 500)) * 100
    points = np.array(pictures.motion_paths(motion, 300, 75))
    assert points.shape == (3, 300, 2)
    assert points[..., 0].min() >= 0
    assert points[..., 0].max() <= 300
    assert points[..., 1].min() >= 0
    assert points[..., 1].max() <= 75
