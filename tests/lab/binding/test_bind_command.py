"""``bindplug bind`` from a folder to a model that the other commands use."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import bindplug
from bindplug.bound import BoundEncoder, load_bound
from bindplug.cli.app import run
from bindplug.errors import CheckpointError, SpaceMismatch
from tests import small_foreign
from tests.lab.binding.toy_pairs import TINY, bind


def test_help_lists_options_alone_and_the_usual_name_of_the_batch_size(capsys):
    assert run(["bind", "--help"]) == 0
    sections = capsys.readouterr().out.split("Other options:")
    assert "--batch-size, --batch" in sections[0]
    (line,) = sections[1].strip().splitlines()
    assert (
        "--help" in line.split()[:2]
    )  # click keeps the names that it had in the first context: -h too, or not


def test_the_directory_is_whole_and_nothing_else_is_left(ear):
    assert sorted(path.name for path in ear.iterdir()) == [
        "README.md",
        "card.json",
        "config.json",
        "curve.png",
        "tower",
    ]
    assert [path.name for path in ear.parent.iterdir()] == ["my-ear"]


def test_the_card_says_what_was_done(ear):
    card = json.loads((ear / "card.json").read_text(encoding="utf-8"))
    assert card["data"] == {
        "source": card["settings"]["pairs"], "listed": 24, "trained": 19, "held_out": 5, "unpaired": 0, "bad": 0
    }  # fmt: skip
    assert card["recipe"]["batch_size"] == 8
    assert card["anchor"]["license"] == "Apache-2.0"
    assert len(card["training"]["losses"]) == 2
    assert card["training"]["steps"] == 4
    first = card["held_out"]["sample_to_picture"][0]
    assert (first["k"], first["chance"]) == (1, pytest.approx(0.2))
    assert first["low"] <= first["share"] <= first["high"]
    text = (ear / "README.md").read_text(encoding="utf-8")
    for part in ("imagebind_tiny", "R@1", "Apache-2.0", "similarity scale"):
        assert part in text


def test_the_bound_sense_is_embedded_by_the_tower_and_the_rest_by_the_anchor(ear, scenes):
    model = bindplug.load(str(ear))
    assert isinstance(model, BoundEncoder)
    anchor = bindplug.load("imagebind_tiny")
    sound, picture = next(scenes.glob("*.wav")), next(scenes.glob("*.jpg"))
    others = [bindplug.image(picture), bindplug.text("a dog")]
    torch.testing.assert_close(model.embed(others), anchor.embed(others))
    row = model.embed([bindplug.audio(sound)])
    assert float(row.norm()) == pytest.approx(1, abs=1e-5)
    assert float(row @ anchor.embed([bindplug.audio(sound)]).T) < 0.99
    probabilities = model.similarity(
        [bindplug.audio(sound)], [bindplug.text("a dog"), bindplug.text("a car")]
    )
    assert float(probabilities.sum()) == pytest.approx(1, abs=1e-5)
    assert model.similarity_scales["audio"] == pytest.approx(
        json.loads((ear / "card.json").read_text(encoding="utf-8"))["held_out"]["similarity_scale"]
    )


def test_the_sense_alone_needs_no_anchor(ear, scenes, monkeypatch):
    model = load_bound(ear, {"audio"}, load=lambda *_, **__: pytest.fail("the anchor was loaded"))
    assert model.modalities == ("audio",)
    assert model.embed([bindplug.audio(next(scenes.glob("*.wav")))]).shape == (1, 128)
    with pytest.raises(LookupError):
        model.embed([bindplug.text("a dog")])


def test_other_commands_take_the_directory(ear, scenes, tmp_path, capsys):
    sounds = sorted(map(str, scenes.glob("*.wav")))[:3]
    arguments = ["classify", *(part for sound in sounds for part in ("--audio", sound))]
    assert run([*arguments, "--labels", "dog,car", "--model", str(ear), "--json"]) == 0
    assert "dog" in capsys.readouterr().out
    output = tmp_path / "rows.npz"
    assert run(["embed", "--audio", sounds[0], "--model", str(ear), "-o", str(output), "-q"]) == 0
    with np.load(output) as stored:
        assert any(stored[name].shape == (1, 128) for name in stored.files)


def test_an_anchor_of_other_weights_is_refused(ear, tmp_path, monkeypatch):
    manifest = json.loads((ear / "config.json").read_text(encoding="utf-8"))
    other = bindplug.load("toy_foreign_clip")
    with pytest.raises(SpaceMismatch, match="bound to imagebind_tiny"):
        load_bound(ear, load=lambda *_, **__: other).embed([bindplug.text("a dog")])
    assert manifest["anchor"]["id"] == "imagebind_tiny"


def test_damaged_directories_are_refused(ear, tmp_path):
    import shutil

    for number, (field, value) in enumerate(
        [
            ("scale", -1),
            ("scale", "1"),
            ("anchor", {}),
            ("tower", {"kind": "own"}),
            ("embedding_space", {"name": 1}),
        ]
    ):
        copy = tmp_path / str(number)
        shutil.copytree(ear, copy)
        manifest = json.loads((copy / "config.json").read_text(encoding="utf-8"))
        (copy / "config.json").write_text(json.dumps(manifest | {field: value}), encoding="utf-8")
        with pytest.raises(CheckpointError, match=r"damaged|checksum"):
            bindplug.load(str(copy))


def test_any_clip_is_an_anchor(scenes, tmp_path):
    anchor = small_foreign.clip(tmp_path / "clip")
    output = tmp_path / "ear"
    assert (
        bind(scenes, "--sense", "audio", "--anchor", f"transformers:{anchor}", "-o", output, *TINY, "-q") == 0
    )
    model = bindplug.load(str(output))
    assert model.embed([bindplug.audio(next(scenes.glob("*.wav"))), bindplug.text("a dog")]).shape == (2, 24)
    small_foreign.clip(anchor, seed=1)
    with pytest.raises(SpaceMismatch, match="bind again"):
        bindplug.load(str(output)).embed([bindplug.text("a dog")])
    assert bindplug.load(str(output), modalities={"audio"}).modalities == ("audio",)


def test_a_tower_goes_on_from_another_models(scenes, tmp_path):
    output = tmp_path / "ear"
    few = ("--epochs", 0.01, "--lr", 1e-9, "--batch", 8, "-q")
    assert bind(scenes, "--sense", "audio", "--init", "imagebind_tiny", "-o", output, *few) == 0
    sound = bindplug.audio(next(scenes.glob("*.wav")))
    rows = bindplug.load(str(output)).embed([sound]), bindplug.load("imagebind_tiny").embed([sound])
    torch.testing.assert_close(*rows, atol=2e-3, rtol=0)


def test_a_bound_tower_goes_on_as_an_imagebinds_own(ear, scenes, tmp_path):
    output = tmp_path / "further"
    arguments = (
        "--sense",
        "audio",
        "--anchor",
        "imagebind_tiny",
        "--init",
        ear,
        "--batch",
        "8",
        "--epochs",
        "1",
    )
    assert bind(scenes, *arguments, "--lr", "1e-9", "-o", output, "--quiet") == 0
    first, further = (
        bindplug.load(str(place), modalities={"audio"}).tower.state_dict() for place in (ear, output)
    )
    assert first.keys() == further.keys()
    assert all(torch.allclose(first[name], further[name], atol=1e-6) for name in first)
