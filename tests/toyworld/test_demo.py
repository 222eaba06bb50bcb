"""The demo: right answers with the bundled models, honest ones with any, and a report that stands alone."""

from __future__ import annotations

import base64
import io
import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bindplug.cli.app import run
from bindplug.imagebind import ImageBind, ImageBindConfig, save_directory
from bindplug.imagebind.config import TowerConfig
from bindplug.space import EmbeddingSpace
from bindplug_toyworld import demo_results
from bindplug_toyworld.demo_files import write_gallery
from tests.toyworld.balanced import Balanced

FEW = ("dog", "bell", "bicycle")


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
        patch.setattr(demo_results, "DEMO_THINGS", FEW)
        patch.setattr(demo_results, "SUMS", (("bicycle", "bell"),))
        patch.setattr(demo_results, "OPENAI_IMAGENET_TEMPLATES", ("a photo of a {}.",))
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
    averages = shown["card_averages"]
    assert averages.keys() == {"classified", "sums", "detected"}  # of no other pipeline is a card known
    assert averages["classified"] == "card: 96% of 1000 files a sensor"
    assert all(text in Path(shown["report"]).read_text() for text in averages.values())
    assert tally["detected"]["of"] == 8
    assert tally["detected"]["right"] >= 7
    boxes = [box for picture in shown["detection"]["pictures"] for box in picture["boxes"]]
    assert sum(not box["right"] for box in boxes) <= 1
    assert [modality for _, modality in shown["detection"]["prompts"]] == ["audio", "depth", "thermal", "imu"]
    assert shown["detection"]["routes"] == ["linear"] * 4
    assert shown["detection"]["command"].startswith("bindplug detect files/streets/0_dog_bell_train.png ")
    assert "generated" not in tally
    assert "no_pipeline" in shown["unavailable"]["generation"]
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
        list(p) and p for p in demo_results.MATCHES
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
    place = [set(things) for _, things, _ in result["nearest"]].index({"bicycle", "bell"}) + 1
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
    for heading in ("files", "maps", "sums", "detected", "generated"):
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


def test_seeds_draw_other_scenes(tmp_path):
    for seed in (0, 1, 0):
        write_gallery(tmp_path / str(seed), FEW, 1000 * (seed + 1), quiet=True)
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
