"""``bindplug detect``: pictures and prompts in; drawn pictures, a file of detections and a table out."""

from __future__ import annotations

import json
import re

import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from bindplug.bridges import LinearBridge
from bindplug.cli.options import ModelChoice
from bindplug.errors import InputError
from bindplug_detic import Detic
from bindplug_detic.command import _stems, detect
from bindplug_detic.directory import save_directory
from tests.detic.planted import (
    HERE,
    NAMES,
    THERE,
    PlantedEncoder,
    here,
    planted_detector,
    planted_picture,
    there,
)
from tests.detic.test_adapter import small_detic

pytestmark = pytest.mark.filterwarnings("ignore::bindplug.bridges.BridgeQuality")


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "street.png"
    planted_picture().save(path)
    return path


@pytest.fixture
def planted(monkeypatch, tmp_path):
    """Commands load the planted model and detector; notes what they were asked for."""
    monkeypatch.chdir(tmp_path)
    for name in ("train.wav", "dog.wav"):  # only their names are read
        (tmp_path / name).touch()
    requests = {}

    def model(self, modalities=None):
        requests["modalities"] = sorted(modalities)
        return PlantedEncoder()

    def detector(name, *, device):
        requests["detector"] = (name, device)
        return planted_detector()

    monkeypatch.setattr(ModelChoice, "load", model)
    monkeypatch.setattr(Detic, "from_pretrained", detector)
    return requests


def run(*arguments):
    return CliRunner().invoke(detect, [str(one) for one in arguments])


def found_in(directory):
    return json.loads((directory / "detections.json").read_text("utf-8"))


def test_a_sound_and_a_word(planted, picture, tmp_path):
    out = tmp_path / "out"
    ran = run(picture, "--audio", "train.wav", "--text", "a dog", "--text", "a bee", "-o", out)
    assert ran.exit_code == 0, ran.output
    summary = found_in(out)
    assert [p["source"] for p in summary["prompts"]] == ["train.wav", "a dog", "a bee"], "in the order typed"
    assert {p["route"] for p in summary["prompts"]} == {"vocabulary"}
    entry = summary["pictures"][0]
    assert (entry["width"], entry["height"]) == (128, 64)
    assert [(d["prompt"], d["label"]) for d in entry["detections"]] == [(1, "a dog"), (0, "audio train.wav")]
    assert all(0.8 < d["score"] <= 1 and len(d["box"]) == 4 for d in entry["detections"])
    assert sorted(path.name for path in out.iterdir()) == ["detections.json", "street.png"]
    with Image.open(entry["drawn"]) as drawn:
        assert drawn.size == (128, 64)
    assert planted["detector"] == ("toy_detic", "cpu")
    assert planted["modalities"] == ["audio", "image", "text"]
    table = [line for line in ran.output.splitlines() if "street.png" in line]
    assert len(table) == 3
    assert "train.wav" in table[0]
    assert "nothing" in table[2]


def test_json_and_masks(planted, picture, tmp_path):
    out = tmp_path / "out"
    ran = run(picture, "--text", "car", "--masks", "--json", "-o", out, "--route", "rescore")
    assert ran.exit_code == 0, ran.output
    assert json.loads(ran.output) == found_in(out)
    entry = found_in(out)["pictures"][0]["detections"][0]
    with Image.open(entry["mask"]) as mask:
        assert mask.size == (128, 64)
        assert mask.getcolors() == [(pytest.approx(5000, abs=4000), 0), (pytest.approx(2000, abs=1500), 255)]
    assert found_in(out)["prompts"][0]["route"] == "rescore"


def test_thresholds_and_competition(planted, picture, tmp_path):
    out = tmp_path / "out"

    def labels(*options):
        ran = run(picture, "--text", "dog", "--text", "bee", "-o", out, "--overwrite", "--quiet", *options)
        assert ran.exit_code == 0, ran.output
        return [d["label"] for d in found_in(out)["pictures"][0]["detections"]]

    assert labels() == ["dog"]
    assert labels("-t", 0.99) == []
    assert labels("-t", 0.99, "-t", 0.01) == []
    assert labels("-t", 0.99, "-t", 0.01, "--suppress", 0) == ["bee"] * 3


def test_a_bridge(planted, picture, tmp_path):
    rows = [torch.stack([side(name) for name in NAMES]) for side in (here, there)]
    LinearBridge.fit(*rows, source=HERE, target=THERE).save(tmp_path / "bridge")
    out = tmp_path / "out"
    assert run(picture, "--audio", "dog.wav", "--bridge", tmp_path / "bridge", "-o", out).exit_code == 0
    assert found_in(out)["prompts"] == [{"modality": "audio", "source": "dog.wav", "route": "linear"}]


def test_pictures_of_one_name(planted, picture, tmp_path):
    other = tmp_path / "b" / "street.jpg"
    other.parent.mkdir()
    planted_picture().save(other)
    assert run(picture, other, "--text", "dog", "-o", tmp_path / "out").exit_code == 0
    assert sorted(path.name for path in (tmp_path / "out").glob("*.png")) == ["street-2.png", "street.png"]
    assert _stems(["a/x.png", "b/x.png", "x-2.png", "x.png"]) == ["x", "x-2", "x-2-2", "x-3"]


def test_results_never_replace_a_picture(planted, picture):
    before = picture.read_bytes()
    ran = run(picture, "--text", "dog", "-o", picture.parent)
    assert ran.exit_code != 0
    assert "would replace" in str(ran.exception)
    assert picture.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{picture}"], "nothing to read"),
        (["--text", "dog"], "Missing argument"),
        (["{picture}", "--text", "dog", "-t", "0.1", "-t", "0.2"], "2 --threshold for 1 prompts"),
        (["{picture}", "--text", "dog", "-t", "1.5"], "1.5"),
        (["{picture}", "--text", "dog", "--route", "magic"], "magic"),
        (["{picture}", "--text", "dog", "-O", "text.nothing"], "MODALITY.NAME=VALUE"),
    ],
)
def test_wrong_usage(planted, picture, arguments, message):
    ran = run(*[one.format(picture=picture) for one in arguments])
    assert ran.exit_code == 2
    assert message in ran.output


def test_what_is_not_there(planted, tmp_path, picture):
    ran = run(tmp_path / "none.png", "--text", "dog", "-o", tmp_path / "out")
    assert "no such file" in str(ran.exception)
    (tmp_path / "file").write_text("")
    ran = run(picture, "--text", "dog", "-o", tmp_path / "file")
    assert re.search("a directory to write results to", str(ran.exception))


def test_a_real_network_from_its_directory(monkeypatch, picture, tmp_path):
    """Random weights: what is found means nothing, but every part runs."""
    from bindplug.testing import FAKE_SPACE, FakeEncoder

    detector = small_detic()
    words = detector.vocabulary
    save_directory(
        detector.network, tmp_path / "detic", vocabulary=(words.names, words.embeddings), space=FAKE_SPACE
    )
    monkeypatch.setattr(ModelChoice, "load", lambda self, modalities=None: FakeEncoder())
    out = tmp_path / "out"
    options = ["--detector", tmp_path / "detic", "-t", "0", "--suppress", "0", "--masks", "-o", out]
    (tmp_path / "bark.wav").touch()
    monkeypatch.chdir(tmp_path)
    ran = run(picture, "--audio", "bark.wav", *options)
    assert ran.exit_code == 0, ran.output
    summary = found_in(out)["pictures"][0]["detections"]
    assert 0 < len(summary) <= 10
    assert len(list(out.glob("*-mask-*.png"))) == len(summary)
    assert found_in(out)["prompts"][0]["route"] == "direct"


def test_pictures_of_one_name_are_told_apart_by_path(planted, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        planted_picture().save(tmp_path / name / "street.png")
    ran = run("a/street.png", "b/street.png", "--text", "dog", "-o", tmp_path / "out")
    assert ran.exit_code == 0, ran.output
    assert "a/street.png" in ran.output
    assert "b/street.png" in ran.output


def test_a_prompt_is_not_replaced_and_a_bridge_is_looked_up_before_a_model_is_loaded(
    planted, picture, tmp_path
):
    prompt = tmp_path / "out" / "street.png"
    prompt.parent.mkdir()
    prompt.write_bytes(picture.read_bytes())
    ran = run(picture, "--image", prompt, "-o", prompt.parent)
    assert "one of the files to read" in str(ran.exception)
    ran = run(picture, "--text", "dog", "--bridge", "nowhere", "-o", tmp_path / "other")
    assert "there is no bridge 'nowhere'" in str(ran.exception)
    assert not planted, "nothing was loaded"
    assert prompt.read_bytes() == picture.read_bytes()


def test_results_are_replaced_only_where_it_is_asked_for(planted, picture, tmp_path):
    arguments = (picture, "--text", "a dog", "-o", tmp_path / "out")
    assert run(*arguments).exit_code == 0
    before = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    planted.clear()
    for name in ("detections.json", "street.png"):
        again = run(*arguments)
        assert isinstance(again.exception, InputError)
        assert "--overwrite" in str(again.exception)
        assert planted == {}, "nothing is loaded for results that have no place"
        assert {path: path.read_bytes() for path in before} == before
        if name == "detections.json":  # one of the files alone is enough
            (tmp_path / "out" / name).rename(tmp_path / name)
            del before[tmp_path / "out" / name]
    assert run(*arguments, "--overwrite").exit_code == 0
    assert found_in(tmp_path / "out")["pictures"][0]["detections"]


def test_a_mask_of_an_earlier_run_is_not_replaced(planted, picture, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "street-mask-1.png").write_bytes(b"earlier")
    ran = run(picture, "--text", "a dog", "--masks", "-o", tmp_path / "out")
    assert isinstance(ran.exception, InputError)
    assert "street-mask-1.png" in str(ran.exception)


@pytest.mark.parametrize("content", [b"no picture", b"", "half"])
def test_a_file_that_is_no_picture_is_named_before_anything_is_loaded(planted, picture, tmp_path, content):
    bad = tmp_path / "bad.png"
    whole = picture.read_bytes()
    bad.write_bytes(whole[: len(whole) // 2] if content == "half" else content)
    ran = run(picture, bad, "--text", "a dog", "-o", tmp_path / "out")
    assert isinstance(ran.exception, InputError)
    assert "bad.png" in str(ran.exception)
    assert planted == {}
