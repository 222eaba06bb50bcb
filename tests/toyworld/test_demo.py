"""The demo: right answers with the bundled models, honest ones with any, and a report that stands alone."""

from __future__ import annotations

import base64
import dataclasses
import io
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
from bindplug.errors import MissingDependency, PluginError
from bindplug.imagebind import ImageBind, ImageBindConfig
from bindplug.imagebind.checkpoint import save_directory
from bindplug.imagebind.config import TowerConfig
from bindplug.plugins import registry
from bindplug.space import EmbeddingSpace
from bindplug_toyworld import demo, showcase, tools
from bindplug_toyworld.evaluate_detection import Present
from bindplug_toyworld.report import colours, draw_contact_sheet, pictures, write_page
from bindplug_toyworld.report import exhibits as exhibits_page
from bindplug_toyworld.showcase import Answer, Exhibit, Match, Showcase, Sum
from bindplug_toyworld.things import label_of
from bindplug_toyworld.tools import Drawing, Gallery, Search, Searched, Spot

VOID = {"meta", "img", "link", "br", "source", "path", "polyline"}
FEW = ("dog", "bell", "bicycle")


class Balanced(HTMLParser):
    """Notes every address and checks that what opens also closes."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.unnamed = 0

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.unnamed += tag == "img" and not dict(attrs).get("alt")
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
        patch.setenv("BINDPLUG_DISABLE", "detic,diffusers")  # it has to work without
        patch.setattr("click.echo", lambda text="", **options: printed.append(str(text)))
        code = run(["demo", "--model", str(random_model), "-o", str(directory), "--json", "--quiet"])
    assert code == 0
    return directory, json.loads("\n".join(printed))


def test_the_bundled_model_is_right(tmp_path):
    """The whole demo as a user runs it; thresholds leave room for a few unlucky files among 44."""
    command = [sys.executable, "-m", "bindplug.cli", "demo", "-o", str(tmp_path / "out"), "--json", "--quiet"]
    command += ["--pipeline", str(tmp_path / "no_pipeline")]
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
    assert tally["found"]["of"] == 8
    assert tally["found"]["right"] >= 7
    boxes = [spot for picture in shown["search"]["pictures"] for spot in picture["spots"]]
    assert sum(not spot["right"] for spot in boxes) <= 1
    assert [modality for _, modality in shown["search"]["prompts"]] == ["audio", "depth", "thermal", "imu"]
    assert shown["search"]["routes"] == ["linear"] * 4
    assert shown["search"]["command"].startswith("bindplug detect files/searched/0_dog_bell_train.png ")
    assert "drawn" not in tally
    assert "no_pipeline" in shown["absent"]["gallery"]
    assert 1_000_000 < Path(shown["report"]).stat().st_size < 4_000_000
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
    assert reader.unnamed == 0
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
    assert page.count("no plugin in use brings the command") == 2
    for heading in ("files", "maps", "sums", "found", "drawn"):
        assert f'<h2 id="{heading}">' in page
    assert not list(directory.glob(".*"))


def test_no_picture_of_the_page_is_blank(ran):
    directory, _ = ran
    reader = Balanced()
    reader.feed((directory / "report.html").read_text(encoding="utf-8"))
    kinds = Counter(address.partition(";")[0] for address in reader.addresses)
    assert kinds["data:audio/wav"] == 3
    assert kinds["data:image/png"] == 3, "waveforms"
    shown = 0
    for address in reader.addresses:
        if address.startswith("data:image/"):
            with Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))) as picture:
                pixels = np.asarray(picture.convert("RGBA")).astype(float)
            assert pixels.std(axis=(0, 1)).max() > 8
            shown += 1
    # of a scene: picture, two of video, depth, heat, wave, spectrogram; of the sum: two, and five found
    assert shown == 3 * 7 + 7


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


# ---- other plugins' tools -------------------------------------------------------------------------------------


def boxes_of(*things: str) -> Present:
    """Things in a row, 40 pixels wide."""
    boxes = [[50.0 * i, 0.0, 50.0 * i + 40, 40.0] for i in range(len(things))]
    return Present(np.array(boxes), np.array([label_of(thing) for thing in things]))


def test_a_box_is_right_on_its_own_thing_and_once():
    on_dog, beside_dog, on_bell = (0.0, 0.0, 40.0, 40.0), (30.0, 0.0, 70.0, 40.0), (50.0, 0.0, 90.0, 40.0)
    claimed = [(0, 0.5, on_dog), (0, 0.9, on_dog), (0, 0.8, beside_dog), (0, 0.7, on_bell), (1, 0.6, on_bell)]
    spots = tools.judge_spots(claimed, boxes_of("dog", "bell"))
    assert [(spot.score, spot.right) for spot in spots] == [
        (0.9, True), (0.8, False), (0.7, False), (0.6, True), (0.5, False)
    ]  # fmt: skip
    assert [spot.right for spot in tools.judge_spots(claimed[:1], boxes_of("train"))] == [False]


def test_missed_things_and_wrong_boxes_are_counted():
    spots = (Spot(0, 0.9, (0, 0, 1, 1), True), Spot(1, 0.5, (0, 0, 1, 1), False))
    pictures = (Searched(Path("a"), ("dog",), spots, (2,)), Searched(Path("b"), ("bell",), (), (1,)))
    found = Search("", tools.PROMPTS, ("linear",) * 4, pictures)
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
        wanted = {"each.png": tools.DRAWN, "sum.png": tools.BLEND[:1], "morph.png": tools.MORPH[:1] * 6}
        for number, (thing, _) in enumerate(wanted[output.name]):
            label = label_of("fire" if thing == "helicopter" else thing)
            single = len(wanted[output.name]) == 1
            path = output if single else output.with_name(f"{output.stem}-{number + 1}.png")
            Image.new("RGB", (8, 8), (10 * label, 0, 0)).save(path)

    monkeypatch.setattr(tools, "Judge", Reader)
    monkeypatch.setattr(tools, "find_command", lambda name: None)
    monkeypatch.setattr(tools, "run_command", generate)
    made = tools.generate(eight, tmp_path, ["--model", "m"], pipeline="p", quiet=True)
    assert made.right == (5, 6)
    assert [drawing.seen[0] for drawing in made.single[:2]] == ["dog", "fire"]
    assert [drawing.right for drawing in made.single[:2]] == [True, False]
    assert made.blend.asked == tools.BLEND
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
        tools.run_command("detect", ["picture.png"])
    with pytest.raises(PluginError, match="brings the command `bindplug paint`"):
        tools.run_command("paint", [])


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
    for colour in colours.PROMPTS:
        assert (added == colour).all(axis=1).sum() > 200, "the frame of a prompt"
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


def test_score_labels_are_readable_on_their_colour():
    for colour in (*colours.PROMPTS, (0, 0, 0), (255, 255, 255), (30, 30, 160)):
        linear = [(np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)) @ [0.2126, 0.7152, 0.0722]
                  for c in (np.array(colours.ink_on(colour)) / 255, np.array(colour) / 255)]  # fmt: skip
        assert (max(linear) + 0.05) / (min(linear) + 0.05) > 4.5  # Source: WCAG 2.2, contrast (minimum)


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
