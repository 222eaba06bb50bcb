"""What the demo judges and shows: right answers, mistakes as mistakes, other plugins' tools and their absence."""

from __future__ import annotations

import dataclasses
import json
import re
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bindplug.errors import MissingDependency, PluginError
from bindplug.plugins import registry
from bindplug_toyworld import commands, demo, demo_results, detection_demo, generation_demo
from bindplug_toyworld.demo_files import Exhibit
from bindplug_toyworld.demo_results import Answer, DemoResults, Match, Sum
from bindplug_toyworld.detection_demo import DetectedBox, DetectionResults, GroundTruth, SearchedPicture
from bindplug_toyworld.generation_demo import GeneratedPicture, GenerationResults
from bindplug_toyworld.report import colors
from bindplug_toyworld.report import page as report_page
from bindplug_toyworld.report.page import write_page
from bindplug_toyworld.scene import Scene
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
    match = demo_results._match("audio", "image", shown, rows)
    assert match.right == (True, False, False)
    assert match.cosines[2] == (0.0, 1.0, 0.5)
    assert match.trained


def test_scenes_without_a_sensor_are_left_out_of_its_matches():
    shown = exhibits("dog", "car", without=("dog",))
    rows = {("car", "imu"): torch.ones(2), ("car", "audio"): torch.ones(2)}
    match = demo_results._match("imu", "audio", shown, rows)
    assert match.things == ("car",)
    assert not match.trained


@pytest.fixture(scope="module")
def bicycle(tmp_path_factory) -> Exhibit:
    scene = Scene(3, "eval", labels=["bicycle"])
    files = scene.write(tmp_path_factory.mktemp("scene"))
    return Exhibit("bicycle", "bicycle", "a <b>bold</b> bicycle", files)


def results_of(exhibit: Exhibit, right: bool) -> DemoResults:
    """Results of one scene and one sum, right or wrong throughout."""
    results = DemoResults("made up", "a space", 0, [exhibit], seconds=1.0)
    said = "bicycle" if right else "train"
    for modality in demo_results.SENSORS:
        results.answers.append(Answer("bicycle", modality, ((said, 0.9), ("dog", 0.1)), right))
    results.matches.append(
        Match("audio", "imu", ("bicycle", "car"), ((0.9, 0.1), (0.8, 0.2)), (True, right), False)
    )
    found = (exhibit.files["image"], ("bicycle", "bell"), 0.7)
    results.sums.append(Sum("bicycle", "bicycle", (found,), 1 if right else 9, right))
    return results


def test_mistakes_are_shown_as_such(bicycle, tmp_path):
    good, bad = results_of(bicycle, True), results_of(bicycle, False)
    assert good.tally == {"classified": (6, 6), "matched": (2, 2), "sums": (1, 1)}
    assert bad.tally == {"classified": (0, 6), "matched": (1, 2), "sums": (0, 1)}
    assert demo.verdict(bad) == "0 of 6 files named, 1 of 2 matched across sensors, 0 of 1 sums found"
    pages = [write_page(results, tmp_path / "page.html").read_text() for results in (good, bad)]
    assert (pages[0].count("✓"), pages[0].count("✗")) == (6, 0)
    assert (pages[1].count("✓"), pages[1].count("✗")) == (0, 6)
    assert "not among the 5 nearest (place 9)" in pages[1]
    assert 'class="wrong"' in pages[1]
    assert "never trained together" in pages[0]
    assert "&lt;b&gt;bold&lt;/b&gt;" in pages[0], "a caption is text, not markup"


def test_the_terminal_shows_tables(bicycle, tmp_path, capsys):
    demo._print(results_of(bicycle, False), tmp_path / "report.html", quiet=False)
    shown = capsys.readouterr().out
    assert "✗ train" in shown
    assert "audio → imu: 1 of 2 right (never trained together)" in shown
    assert "place 9" in shown
    assert "0 of 6 files named" in shown
    demo._print(results_of(bicycle, True), tmp_path / "report.html", quiet=True)
    quiet = capsys.readouterr().out
    assert "6 of 6 files named" in quiet
    assert "✓" not in quiet


def boxes_of(*things: str) -> GroundTruth:
    """Things in a row, 40 pixels wide."""
    boxes = [[50.0 * i, 0.0, 50.0 * i + 40, 40.0] for i in range(len(things))]
    return GroundTruth(np.array(boxes), np.array([label_of(thing) for thing in things]))


def test_a_box_is_right_on_its_own_thing_and_once():
    on_dog, beside_dog, on_bell = (0.0, 0.0, 40.0, 40.0), (30.0, 0.0, 70.0, 40.0), (50.0, 0.0, 90.0, 40.0)
    claimed = [(0, 0.5, on_dog), (0, 0.9, on_dog), (0, 0.8, beside_dog), (0, 0.7, on_bell), (1, 0.6, on_bell)]
    boxes = detection_demo.judge_boxes(claimed, boxes_of("dog", "bell"))
    assert [(box.score, box.right) for box in boxes] == [
        (0.9, True), (0.8, False), (0.7, False), (0.6, True), (0.5, False)
    ]  # fmt: skip
    assert [box.right for box in detection_demo.judge_boxes(claimed[:1], boxes_of("train"))] == [False]


def test_missed_things_and_wrong_boxes_are_counted():
    boxes = (DetectedBox(0, 0.9, (0, 0, 1, 1), True), DetectedBox(1, 0.5, (0, 0, 1, 1), False))
    pictures = (
        SearchedPicture(Path("a"), ("dog",), boxes, (2,)),
        SearchedPicture(Path("b"), ("bell",), (), (1,)),
    )
    results = DetectionResults("", detection_demo.PROMPTS, ("linear",) * 4, pictures)
    assert results.counts == (1, 3)
    assert results.wrong == 1


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
        for t in demo_results.DEMO_THINGS
    ]

    def generate(name: str, arguments: list[str]) -> None:
        assert name == "generate"
        ran.append(list(arguments))
        output = Path(arguments[arguments.index("-o") + 1])
        prompts = {
            "each.png": generation_demo.PROMPTS,
            "sum.png": generation_demo.BLEND[:1],
            "morph.png": generation_demo.MORPH[:1] * 6,
        }
        for number, (thing, _) in enumerate(prompts[output.name]):
            label = label_of("fire" if thing == "helicopter" else thing)
            single = len(prompts[output.name]) == 1
            path = output if single else output.with_name(f"{output.stem}-{number + 1}.png")
            Image.new("RGB", (8, 8), (10 * label, 0, 0)).save(path)

    monkeypatch.setattr(generation_demo, "Judge", Reader)
    monkeypatch.setattr(generation_demo, "find_command", lambda name: None)
    monkeypatch.setattr(generation_demo, "run_command", generate)
    made = generation_demo.run_generation(eight, tmp_path, ["--model", "m"], pipeline="p", quiet=True)
    assert made.counts == (5, 6)
    assert [one.judged_as[0] for one in made.single[:2]] == ["dog", "fire"]
    assert [one.right for one in made.single[:2]] == [True, False]
    assert made.blend.prompts == generation_demo.BLEND
    assert made.blend.judged_as[0] == "bicycle"
    assert len(made.morph) == 6
    assert all("--quiet" in arguments and "m" in arguments for arguments in ran)
    assert ran[0][ran[0].index("--text") + 1] == "some sentence"
    assert made.commands[1].startswith("bindplug generate --image bicycle/image --audio bell/audio ")
    assert made.commands[1].endswith("--seed 0 --pipeline p -o generated/sum.png")


def test_what_is_not_installed_is_named_with_its_extra(monkeypatch):
    entry = registry().commands["detect"]
    card = dataclasses.replace(entry.card, requires=("no_such_package",))
    monkeypatch.setitem(registry().commands, "detect", dataclasses.replace(entry, card=card))
    with pytest.raises(MissingDependency, match=r"no_such_package.*bindplug\[detic\]"):
        commands.run_command("detect", ["picture.png"])
    with pytest.raises(PluginError, match="brings the command `bindplug paint`"):
        commands.run_command("paint", [])


def with_tools(results: DemoResults) -> DemoResults:
    """The same with one searched picture and pictures drawn, one of each right and wrong."""
    exhibit = results.exhibits[0]
    prompts = (("bicycle", "audio"), ("bicycle", "depth"), ("bicycle", "thermal"), ("bicycle", "imu"))
    boxes = (
        DetectedBox(0, 0.91, (20.0, 30.0, 120.0, 130.0), True),
        DetectedBox(3, 0.42, (5.0, 6.0, 50.0, 60.0), False),
    )
    picture = SearchedPicture(exhibit.files["image"], ("bicycle",), boxes, (1,))
    results.detection = DetectionResults("bindplug detect a.png", prompts, ("linear",) * 4, (picture,))
    right = GeneratedPicture((("bicycle", "audio"),), exhibit.files["image"], ("bicycle", "dog"), True)
    wrong = GeneratedPicture((("bicycle", "text"),), exhibit.files["image"], ("train", "dog"), False)
    both = GeneratedPicture(
        (("bicycle", "image"), ("bicycle", "audio")), exhibit.files["image"], ("dog", "bell"), False
    )
    results.generation = GenerationResults(
        ("bindplug generate b",), "a judge", (right, wrong), both, (both,) * 6
    )
    return results


def test_detections_and_generated_pictures_are_on_the_page(bicycle, tmp_path):
    full = with_tools(results_of(bicycle, True))
    assert full.tally["detected"] == (1, 2)
    assert full.tally["generated"] == (1, 2)
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
    for color in colors.PROMPTS:
        assert f"--c:#{bytes(color).hex()}" in page, "the frame of a prompt"
    json.dumps(full.to_dict())


def test_the_terminal_tells_of_tools_and_of_absent_ones(bicycle, tmp_path, capsys):
    results = with_tools(results_of(bicycle, True))
    results.unavailable["generation"] = "diffusers is absent"
    demo._print(results, tmp_path / "report.html", quiet=False)
    shown = capsys.readouterr().out
    assert "1 of 2 things found in 1 pictures, 1 wrong boxes" in shown
    assert "✗ text of bicycle: train" in shown
    assert "Generation is left out: diffusers is absent" in shown


def test_figures_have_scales_units_and_legends(bicycle, tmp_path, monkeypatch):
    page = write_page(results_of(bicycle, True), tmp_path / "page.html").read_text()
    for written in ("8 kHz", "60 Hz", "−65 dB", "0 dB", "5.0 s, CSV", "4.0 s, WAV"):
        assert written in page
    assert re.search(r"<span>\d+\.\d m</span>.*<span>\d+\.\d m</span>", page)
    assert re.search(r"<span>−?\d+ °C</span>.*<span>−?\d+ °C</span>", page)
    assert re.search(r"accelerometer, −?\d+\.\d to \d+\.\d m/s²", page)
    assert re.search(r"gyroscope, −?\d+\.\d to \d+\.\d rad/s", page)
    assert page.count("<polyline") == 6
    assert page.count("<audio") == 1
    monkeypatch.setattr(report_page, "PLAYABLE_BYTES", 1000)
    assert "<audio" not in write_page(results_of(bicycle, True), tmp_path / "page.html").read_text()


def test_score_labels_are_readable_on_their_color():
    for color in (*colors.PROMPTS, (0, 0, 0), (255, 255, 255), (30, 30, 160)):
        linear = [(np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)) @ [0.2126, 0.7152, 0.0722]
                  for c in (np.array(colors.ink_on(color)) / 255, np.array(color) / 255)]  # fmt: skip
        assert (max(linear) + 0.05) / (min(linear) + 0.05) > 4.5  # Source: WCAG 2.2, contrast (minimum)


def test_labels_are_wrapped_and_not_cut():
    style = (files("bindplug_toyworld") / "report" / "templates" / "style.css").read_text(encoding="utf-8")
    assert "ol.top" in style
    assert "ellipsis" not in style
