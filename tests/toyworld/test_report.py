"""What the demo judges and shows: right answers, mistakes as mistakes, other plugins' tools and their absence."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bindplug.errors import MissingDependency, PluginError
from bindplug.plugins import registry
from bindplug_toyworld import commands, demo, drawing, searching, showcase
from bindplug_toyworld.drawing import Drawing, Gallery
from bindplug_toyworld.evaluate_detection import Present
from bindplug_toyworld.report import colors, draw_contact_sheet, write_page
from bindplug_toyworld.report import exhibits as exhibits_page
from bindplug_toyworld.searching import Search, Searched, Spot
from bindplug_toyworld.showcase import Answer, Exhibit, Match, Showcase, Sum
from bindplug_toyworld.things import label_of
from tests.toyworld.balanced import Balanced


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


def boxes_of(*things: str) -> Present:
    """Things in a row, 40 pixels wide."""
    boxes = [[50.0 * i, 0.0, 50.0 * i + 40, 40.0] for i in range(len(things))]
    return Present(np.array(boxes), np.array([label_of(thing) for thing in things]))


def test_a_box_is_right_on_its_own_thing_and_once():
    on_dog, beside_dog, on_bell = (0.0, 0.0, 40.0, 40.0), (30.0, 0.0, 70.0, 40.0), (50.0, 0.0, 90.0, 40.0)
    claimed = [(0, 0.5, on_dog), (0, 0.9, on_dog), (0, 0.8, beside_dog), (0, 0.7, on_bell), (1, 0.6, on_bell)]
    spots = searching.judge_spots(claimed, boxes_of("dog", "bell"))
    assert [(spot.score, spot.right) for spot in spots] == [
        (0.9, True), (0.8, False), (0.7, False), (0.6, True), (0.5, False)
    ]  # fmt: skip
    assert [spot.right for spot in searching.judge_spots(claimed[:1], boxes_of("train"))] == [False]


def test_missed_things_and_wrong_boxes_are_counted():
    spots = (Spot(0, 0.9, (0, 0, 1, 1), True), Spot(1, 0.5, (0, 0, 1, 1), False))
    pictures = (Searched(Path("a"), ("dog",), spots, (2,)), Searched(Path("b"), ("bell",), (), (1,)))
    found = Search("", searching.PROMPTS, ("linear",) * 4, pictures)
    assert found.found == (1, 3)
    assert found.wrong == 1


class Reader:
    """A judge that reads the label off the red of a picture, and takes the next label for the second best."""

    def __init__(self, encoder: object) -> None:
        assert encoder is not None

    def scores(self, shown: list[Image.Image]) -> torch.Tensor:
        labels = torch.tensor([int(np.asarray(picture)[0, 0, 0]) // 10 for picture in shown])
        one_hot = torch.nn.functional.one_hot
        return one_hot(labels, 20) + 0.5 * one_hot((labels + 1) % 20, 20)


def test_another_clip_says_what_pictures_show(tmp_path, monkeypatch):
    """A stand-in for the generator paints the label of what it is asked for, once the wrong one."""
    ran: list[list[str]] = []
    (tmp_path / "caption.txt").write_text("some sentence\n")
    kinds = ("image", "audio", "depth", "thermal", "imu")
    eight = [
        Exhibit(t, t, t, {k: tmp_path / t / k for k in kinds} | {"text": tmp_path / "caption.txt"})
        for t in showcase.SHOWN
    ]

    def generate(name: str, arguments: list[str]) -> None:
        assert name == "generate"
        ran.append(list(arguments))
        output = Path(arguments[arguments.index("-o") + 1])
        wanted = {"each.png": drawing.DRAWN, "sum.png": drawing.BLEND[:1], "morph.png": drawing.MORPH[:1] * 6}
        for number, (thing, _) in enumerate(wanted[output.name]):
            label = label_of("fire" if thing == "helicopter" else thing)
            single = len(wanted[output.name]) == 1
            path = output if single else output.with_name(f"{output.stem}-{number + 1}.png")
            Image.new("RGB", (8, 8), (10 * label, 0, 0)).save(path)

    monkeypatch.setattr(drawing, "Judge", Reader)
    monkeypatch.setattr(drawing, "find_command", lambda name: None)
    monkeypatch.setattr(drawing, "run_command", generate)
    made = drawing.generate(eight, tmp_path, ["--model", "m"], pipeline="p", quiet=True)
    assert made.right == (5, 6)
    assert [one.seen[0] for one in made.single[:2]] == ["dog", "fire"]
    assert [one.right for one in made.single[:2]] == [True, False]
    assert made.blend.asked == drawing.BLEND
    assert made.blend.seen[0] == "bicycle"
    assert len(made.morph) == 6
    assert all("--quiet" in arguments and "m" in arguments for arguments in ran)
    assert ran[0][ran[0].index("--text") + 1] == "some sentence"
    assert made.commands[1].startswith("bindplug generate --image bicycle/image --audio bell/audio ")
    assert made.commands[1].endswith("--seed 0 --pipeline p -o drawn/sum.png")


def test_what_is_not_installed_is_named_with_its_extra(monkeypatch):
    entry = registry().commands["detect"]
    card = dataclasses.replace(entry.card, requires=("no_such_package",))
    monkeypatch.setitem(registry().commands, "detect", dataclasses.replace(entry, card=card))
    with pytest.raises(MissingDependency, match=r"no_such_package.*bindplug\[detic\]"):
        commands.run_command("detect", ["picture.png"])
    with pytest.raises(PluginError, match="brings the command `bindplug paint`"):
        commands.run_command("paint", [])


def with_tools(show: Showcase) -> Showcase:
    """The same with one searched picture and pictures drawn, one of each right and wrong."""
    exhibit = show.exhibits[0]
    prompts = (("bicycle", "audio"), ("bicycle", "depth"), ("bicycle", "thermal"), ("bicycle", "imu"))
    spots = (Spot(0, 0.91, (20.0, 30.0, 120.0, 130.0), True), Spot(3, 0.42, (5.0, 6.0, 50.0, 60.0), False))
    picture = Searched(exhibit.files["image"], ("bicycle",), spots, (1,))
    show.search = Search("bindplug detect a.png", prompts, ("linear",) * 4, (picture,))
    right = Drawing((("bicycle", "audio"),), exhibit.files["image"], ("bicycle", "dog"), True)
    wrong = Drawing((("bicycle", "text"),), exhibit.files["image"], ("train", "dog"), False)
    both = Drawing(
        (("bicycle", "image"), ("bicycle", "audio")), exhibit.files["image"], ("dog", "bell"), False
    )
    show.gallery = Gallery(("bindplug generate b",), "a judge", (right, wrong), both, (both,) * 6)
    return show


def test_detections_and_drawings_are_on_the_page_and_the_sheet(bicycle, tmp_path):
    plain, full = made_up(bicycle, True), with_tools(made_up(bicycle, True))
    assert full.tally["found"] == (1, 2)
    assert full.tally["drawn"] == (1, 2)
    assert demo.verdict(full).endswith("1 of 2 things detected, 1 of 2 pictures made")
    page = write_page(full, tmp_path / "page.html").read_text()
    reader = Balanced()
    reader.feed(page)
    assert reader.open == []
    assert reader.unnamed == 0
    assert '<rect x="20.0" y="30.0" width="100.0" height="100.0" fill="none" stroke="#e69f00"' in page
    assert "1 of 2 things found, and 1 box on anything else" in page
    assert "depth of bicycle: missed" in page
    assert (page.count("✓"), page.count("✗")) == (6 + 2, 0 + 3)
    assert "Not here" not in page
    assert "bindplug generate b" in page
    paths = [draw_contact_sheet(show, tmp_path / f"{i}.png") for i, show in enumerate((plain, full))]
    sizes, pixels = zip(*((image.size, np.asarray(image)) for image in map(Image.open, paths)), strict=True)
    assert sizes[1][1] > sizes[0][1] + 500
    added = pixels[1][sizes[0][1] :].reshape(-1, 3)
    for color in colors.PROMPTS:
        assert (added == color).all(axis=1).sum() > 200, "the frame of a prompt"
    json.dumps(full.to_dict())


def test_the_terminal_tells_of_tools_and_of_absent_ones(bicycle, tmp_path, capsys):
    show = with_tools(made_up(bicycle, True))
    show.absent["gallery"] = "diffusers is absent"
    demo._print(show, tmp_path / "report.html", tmp_path / "report.png", quiet=False)
    shown = capsys.readouterr().out
    assert "1 of 2 things found in 1 pictures, 1 wrong boxes" in shown
    assert "✗ text of bicycle: train" in shown
    assert "Generation is left out: diffusers is absent" in shown


def test_figures_have_scales_units_and_legends(bicycle, tmp_path, monkeypatch):
    page = write_page(made_up(bicycle, True), tmp_path / "page.html").read_text()
    for written in ("8 kHz", "60 Hz", "−65 dB", "0 dB", "5.0 s, CSV", "4.0 s, WAV"):
        assert written in page
    assert re.search(r"<span>\d+\.\d m</span>.*<span>\d+\.\d m</span>", page)
    assert re.search(r"<span>−?\d+ °C</span>.*<span>−?\d+ °C</span>", page)
    assert re.search(r"accelerometer, −?\d+\.\d to \d+\.\d m/s²", page)
    assert re.search(r"gyroscope, −?\d+\.\d to \d+\.\d rad/s", page)
    assert page.count("<polyline") == 6
    assert page.count("<audio") == 1
    monkeypatch.setattr(exhibits_page, "PLAYABLE_BYTES", 1000)
    assert "<audio" not in write_page(made_up(bicycle, True), tmp_path / "page.html").read_text()


def test_score_labels_are_readable_on_their_color():
    for color in (*colors.PROMPTS, (0, 0, 0), (255, 255, 255), (30, 30, 160)):
        linear = [(np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)) @ [0.2126, 0.7152, 0.0722]
                  for c in (np.array(colors.ink_on(color)) / 255, np.array(color) / 255)]  # fmt: skip
        assert (max(linear) + 0.05) / (min(linear) + 0.05) > 4.5  # Source: WCAG 2.2, contrast (minimum)
