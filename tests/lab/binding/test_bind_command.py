"""``bindplug bind`` from a folder to a model that the other commands use."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import bindplug
from bindplug.bound import BoundEncoder, load_bound
from bindplug.cli.app import run
from bindplug.directories import lock_file
from bindplug.errors import CheckpointError, SpaceMismatch
from tests import small_foreign
from tests.lab.binding.toy_pairs import write_scenes

TINY = ("--width", "32", "--blocks", "1", "--heads", "2", "--batch", "8", "--epochs", "2")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("BINDPLUG_HOME", str(tmp_path_factory.getbasetemp() / "bindplug_home"))


@pytest.fixture(scope="module")
def scenes(tmp_path_factory) -> Path:
    return write_scenes(tmp_path_factory.mktemp("scenes") / "pairs", 24)


@pytest.fixture(scope="module")
def ear(scenes, tmp_path_factory) -> Path:
    """Bound in a process of its own, as a person would."""
    output = tmp_path_factory.mktemp("ear") / "my-ear"
    command = [sys.executable, "-m", "bindplug.cli", "bind", str(scenes), "--sense", "audio"]
    command += ["--anchor", "imagebind_tiny", "-o", str(output), *TINY, "--validation", "0.2", "--json"]
    environment = dict(os.environ) | {"BINDPLUG_HOME": str(tmp_path_factory.mktemp("home"))}
    result = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == json.loads((output / "card.json").read_text(encoding="utf-8"))
    return output


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


def bind(*arguments: object) -> int:
    return run(["bind", *map(str, arguments)])


def test_a_sense_of_ones_own(tmp_path, capsys):
    folder = write_scenes(tmp_path / "pairs", 24, array=True)
    output = tmp_path / "my-sonar"
    options = ("--batch", 12, "--epochs", 10, "--validation", 0, "--lr", 0.005)
    assert bind(folder, "--sense", "sonar", "--anchor", "imagebind_tiny", "-o", output, *options, "-q") == 0
    model = bindplug.load(str(output))
    files = sorted(folder.glob("*.npy"))
    rows = model.embed(model.sense_queries(files))
    pictures = model.embed([bindplug.image(file.with_suffix(".jpg")) for file in files])
    right = (rows @ pictures.T).argmax(1) == torch.arange(24)
    assert float(right.float().mean()) > 0.5  # it learned its training pairs
    assert "sense_queries" in (output / "README.md").read_text(encoding="utf-8")


FACTORY = """
import torch

def tower(shape, embed_dim):
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(shape[0], embed_dim))

def broken(shape, embed_dim):
    return torch.nn.Linear(3, 3)
"""


def test_a_tower_of_ones_own_code(tmp_path, capsys):
    folder = write_scenes(tmp_path / "pairs", 12, array=True)
    code = tmp_path / "sonar.py"
    code.write_text(FACTORY, encoding="utf-8")
    common = (folder, "--sense", "sonar", "--anchor", "imagebind_tiny", "--epochs", 1, "--batch", 4)
    assert bind(*common, "-o", tmp_path / "a", "--tower", f"{code}:tower") == 0
    with pytest.raises(CheckpointError, match="never run"):
        bindplug.load(str(tmp_path / "a"))
    own = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 128))
    model = load_bound(tmp_path / "a", load=bindplug.load, tower=own)
    assert model.embed(model.sense_queries([np.zeros(48) + 1])).shape == (1, 128)
    capsys.readouterr()
    for name, text in (
        ("broken", "expected rows|fails|mat1"),
        ("absent", "no function absent"),
        ("x y", "FILE.py"),
    ):
        assert bind(*common, "-o", tmp_path / "b", "--tower", f"{code}:{name}") == 1
        error = capsys.readouterr().err
        assert any(part in error for part in text.split("|"))
    assert not (tmp_path / "b").exists()


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


def test_left_out_items_are_listed_and_the_exit_code_says_so(scenes, tmp_path, capsys):
    import shutil

    folder = tmp_path / "pairs"
    shutil.copytree(scenes, folder)
    wavs = sorted(folder.glob("*.wav"))
    wavs[0].write_bytes(b"no sound")
    wavs[1].unlink()
    output = tmp_path / "ear"
    common = (folder, "--sense", "audio", "--anchor", "imagebind_tiny", "-o", output, *TINY)
    assert bind(*common) == 3
    error = capsys.readouterr().err
    assert "2 items left out, 1 of them unpaired" in error
    listed = (output / "skipped.csv").read_text(encoding="utf-8")
    assert wavs[0].name in listed
    assert wavs[1].stem in listed
    assert len(json.loads((output / "skipped.json").read_text(encoding="utf-8"))) == 2
    assert bind(*common, "--overwrite", "--strict") == 1
    assert "for --strict" in capsys.readouterr().err
    assert (output / "config.json").is_file()  # the earlier model is untouched


def test_a_dry_run_reads_everything_and_writes_nothing(scenes, tmp_path, capsys):
    output = tmp_path / "ear"
    assert (
        bind(
            scenes,
            "--sense",
            "audio",
            "--anchor",
            "imagebind_tiny",
            "-o",
            output,
            *TINY,
            "--dry-run",
            "--json",
        )
        == 0
    )
    summary = json.loads(capsys.readouterr().out)
    assert (summary["listed"], summary["trained"], summary["held_out"]) == (24, 22, 2)
    assert summary["steps"] == 4
    assert summary["seconds"] > 0
    assert summary["memory_bytes"] > 1e6
    assert list(tmp_path.iterdir()) == []


def test_outputs_that_are_taken_are_left_alone(scenes, tmp_path, capsys):
    (tmp_path / "ear.run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "ear.run" / "checkpoints" / ".lock").touch()  # of a run that never wrote one
    output = tmp_path / "ear"
    output.mkdir()
    (output / "mine.txt").write_text("-", encoding="utf-8")
    common = (scenes, "--sense", "audio", "--anchor", "imagebind_tiny", "-o", output)
    assert bind(*common) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert (output / "mine.txt").is_file()
    assert bind(*common[:-1], tmp_path / "ear" / "mine.txt" / "x") == 1
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="no flock")
@pytest.mark.parametrize("option", ["--resume", "--overwrite", "--dry-run"])
def test_a_directory_in_which_a_run_is_at_work_is_left_alone(scenes, tmp_path, capsys, option):
    directory = tmp_path / "ear.run"
    (directory / "checkpoints" / "step-00000003").mkdir(parents=True)
    (directory / "samples.f32").write_bytes(b"of the other run")
    with (directory / ".lock").open("ab") as lock:
        assert lock_file(lock)
        assert (
            bind(scenes, "--sense", "audio", "--anchor", "imagebind_tiny", "-o", tmp_path / "ear", option)
            == 1
        )
    assert "a run at work there" in capsys.readouterr().err
    assert (directory / "checkpoints" / "step-00000003").is_dir()
    assert (directory / "samples.f32").read_bytes() == b"of the other run"


def test_what_fails_before_its_first_sample_leaves_nothing(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert (
        bind(tmp_path / "empty", "--sense", "audio", "--anchor", "imagebind_tiny", "-o", tmp_path / "ear")
        == 1
    )
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--sense", "audio"), "say what to bind to"),
        (("--sense", "audio", "--init", "imagebind_tiny", "--tower", "small"), "brings the tower's shape"),
        (("--sense", "sonar", "--init", "imagebind_tiny"), "no tower for sonar"),
        (("--sense", "audio", "--anchor", "x", "--hop", "1"), "--hop needs --windows"),
        (("--sense", "audio", "--anchor", "x", "-O", "depth.unit=mm"), "while the sense is audio"),
        (("--sense", "audio", "--anchor", "x", "--column", "image"), "not ROLE=NAME"),
        (("--sense", "sonar", "--anchor", "x", "--head", "mlp"), "build them into your own"),
        (("--sense", "sonar", "--anchor", "x", "--lr", "nan"), "--lr: nan is no number"),
        (("--sense", "audio", "--anchor", "x", "--windows", "inf"), "--windows: inf is no number"),
    ],
)
def test_options_that_contradict_each_other(scenes, tmp_path, capsys, arguments, text):
    assert bind(scenes, *arguments, "-o", tmp_path / "out") == 2
    assert text in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--sense", "audio", "--anchor", "toy_clap"), "embeds pictures"),
        (("--sense", "depth", "--anchor", "imagebind_tiny"), "24 pairs with --sense audio"),
        (
            ("--sense", "audio", "--anchor", "imagebind_tiny", "--width", "30", "--heads", "4"),
            "not divisible",
        ),
        (
            ("--sense", "audio", "--anchor", "toy_foreign_clip", "--init", "toy_foreign_clip"),
            "an ImageBind with",
        ),
        (("--sense", "depth", "--anchor", "imagebind_tiny", "--windows", "2"), "no pair"),
    ],
)
def test_what_cannot_be_bound_is_said_before_training(scenes, tmp_path, capsys, arguments, text):
    assert bind(scenes, *arguments, "-o", tmp_path / "out") == 1
    assert text in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_run_that_was_killed_goes_on_to_the_same_weights(scenes, tmp_path, monkeypatch, capsys):
    from bindplug_lab.binding import run as runs

    common = (scenes, "--sense", "audio", "--anchor", "imagebind_tiny", *TINY, "--checkpoint-every", 1)
    assert bind(*common, "-o", tmp_path / "whole", "-q") == 0
    original = runs.bind

    class KilledError(Exception):
        """In place of a signal."""

    def killed(model, sense, pairs, recipe, **options):
        class Dying(type(pairs)):
            def samples(self, indices, generator):
                if len(list((tmp_path / "broken.run" / "checkpoints").glob("step-*"))) >= 2:
                    raise KilledError
                return super().samples(indices, generator)

        pairs.__class__ = Dying
        return original(model, sense, pairs, recipe, **options)

    monkeypatch.setattr(runs, "bind", killed)
    with pytest.raises(KilledError):
        bind(*common, "-o", tmp_path / "broken", "--workers", 0)
    monkeypatch.undo()
    assert not (tmp_path / "broken").exists()
    capsys.readouterr()
    assert bind(*common, "-o", tmp_path / "broken") == 1
    assert "--resume" in capsys.readouterr().err
    assert bind(*common, "-o", tmp_path / "broken", "--resume", "-q") == 0
    rows = []
    for name in ("whole", "broken"):
        rows.append(bindplug.load(str(tmp_path / name)).embed([bindplug.audio(next(scenes.glob("*.wav")))]))
    assert torch.equal(*rows)
    assert not (tmp_path / "broken.run").exists()


def test_a_disk_that_is_full_at_the_end_loses_nothing(scenes, tmp_path, monkeypatch, capsys):
    from bindplug_lab.binding import run as runs

    common = (scenes, "--sense", "audio", "--anchor", "imagebind_tiny", *TINY, "-o", tmp_path / "ear")
    full = OSError(28, "No space left on device")
    monkeypatch.setattr(runs, "write_bound", lambda *_, **__: (_ for _ in ()).throw(full))
    assert bind(*common) == 1
    error = capsys.readouterr().err
    assert "No space left" in error
    assert "--resume" in error
    assert [path.name for path in tmp_path.iterdir()] == ["ear.run"]
    monkeypatch.undo()
    assert bind(*common, "--resume", "--json", "-q") == 0
    assert json.loads(capsys.readouterr().out)["training"]["steps"] == 4
    assert [path.name for path in tmp_path.iterdir()] == ["ear"]


def test_retrieval_figures_share_ties_and_have_intervals():
    from bindplug_lab.binding.figures import recall_at, wilson

    cosines = torch.tensor([[0.9, 0.1, 0.2], [0.5, 0.5, 0.1], [0.3, 0.2, 0.1]])
    own = torch.eye(3, dtype=torch.bool)
    first = recall_at(cosines, own, 1)
    assert first.share == pytest.approx((1 + 0.5 + 0) / 3)
    assert first.chance == pytest.approx(1 / 3)
    assert recall_at(cosines, own, 3).share == 1
    several = torch.tensor([[True, True, False]] * 3)  # a picture with two samples
    assert recall_at(cosines, several, 1).share == 1
    assert recall_at(cosines, several, 1).chance == pytest.approx(2 / 3)
    assert recall_at(cosines, several, 2).chance == pytest.approx(1)
    # Source: Brown, Cai, DasGupta (2001), Interval Estimation for a Binomial Proportion: 10 of 20
    assert wilson(10, 20) == pytest.approx((0.2993, 0.7007), abs=1e-4)
    assert wilson(0, 10)[0] == 0


def test_the_recipe_suits_the_number_of_pairs():
    from bindplug_lab.binding.settings import BindSettings, choose_recipe

    settings = BindSettings("pairs", "audio", Path("out"), "imagebind_huge")
    recipe, line, notes = choose_recipe(settings, 30)
    assert (recipe.batch_size, recipe.epochs) == (30, 100)
    assert "small" in line
    assert "do not fill a batch of 64" in notes[0]
    assert choose_recipe(settings, 6400)[0].epochs == 20
    recipe, line, notes = choose_recipe(settings, 50_000)
    assert (recipe.batch_size, recipe.epochs, notes) == (2048, 64, [])
    assert "published" in line
