"""``bindplug bind`` of a sense of one's own, by the built-in tower or by one's own code."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import bindplug
from bindplug.bound import load_bound
from bindplug.errors import CheckpointError
from bindplug.training import has_adapters, load_adapters
from tests.lab.binding.toy_pairs import bind, write_scenes


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
    gentle = ("--sense", "sonar", "--batch", 12, "--epochs", 1, "--validation", 0, "--lr", 1e-9, "-q")
    for name, more in (("whole", ()), ("lora", ("--lora", 2)), ("continued", ("--lora", 2))):
        init = tmp_path / "lora" if name == "continued" else output
        assert bind(folder, *gentle, "--init", init, "-o", tmp_path / name, *more) == 0
        further = bindplug.load(str(tmp_path / name))
        torch.testing.assert_close(further.embed(further.sense_queries(files)), rows, rtol=0, atol=1e-4)
        card = json.loads((tmp_path / name / "card.json").read_text(encoding="utf-8"))
        assert card["anchor"]["id"] == "imagebind_tiny"
    long = tmp_path / "long"
    long.mkdir()
    for number, file in enumerate(files[:4]):
        np.save(long / file.name, np.arange(50.0) + number)
        (long / file.name).with_suffix(".jpg").write_bytes(file.with_suffix(".jpg").read_bytes())
    assert bind(long, *gentle[:2], "--init", output, "-o", tmp_path / "out", "-q") == 1
    assert "a tower for arrays (48,)" in capsys.readouterr().err


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


def test_a_tower_of_ones_own_code_goes_on(tmp_path, capsys):
    """With its code named again; adapters on it are loaded in Python alone."""
    folder = write_scenes(tmp_path / "pairs", 12, array=True)
    code = tmp_path / "sonar.py"
    code.write_text(FACTORY, encoding="utf-8")
    own = ("--tower", f"{code}:tower", "-q")
    common = (folder, "--sense", "sonar", "--epochs", 1, "--batch", 4, "--lr", 1e-9)
    assert bind(*common, "--anchor", "imagebind_tiny", "-o", tmp_path / "a", *own) == 0
    for name, more in (("whole", ()), ("lora", ("--lora", 2)), ("merged", ("--lora", 2, "--merge"))):
        assert bind(*common, "--init", tmp_path / "a", "-o", tmp_path / name, *own, *more) == 0
    weights = (load_file(tmp_path / name / "tower.safetensors") for name in ("a", "whole", "merged"))
    first, *others = (tensors["1.weight"] for tensors in weights)
    for other in others:
        torch.testing.assert_close(other, first, rtol=0, atol=1e-5)
    with pytest.raises(CheckpointError, match=r"your own code.*load_adapters\(model"):
        bindplug.load(str(tmp_path / "lora"))
    tower = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 128))
    model = load_bound(tmp_path / "a", load=bindplug.load, tower=tower)
    load_adapters(model, tmp_path / "lora")
    assert has_adapters(model)
    capsys.readouterr()
    assert bind(*common, "--init", tmp_path / "a", "-o", tmp_path / "b") == 1
    assert "Add --tower FILE.py:function" in capsys.readouterr().err


def test_code_that_changed_between_a_run_and_its_resume_is_an_error(tmp_path, capsys, monkeypatch):
    from bindplug_lab.binding import run as runs

    folder = write_scenes(tmp_path / "pairs", 12, array=True)
    code = tmp_path / "sonar.py"
    code.write_text(FACTORY, encoding="utf-8")
    common = (folder, "--sense", "sonar", "--anchor", "imagebind_tiny", "--epochs", 1, "--batch", 4)
    common += ("-o", tmp_path / "out", "--tower", f"{code}:tower", "-q")
    full = OSError(28, "No space left on device")
    monkeypatch.setattr(runs, "write_bound", lambda *_, **__: (_ for _ in ()).throw(full))
    assert bind(*common) == 1
    monkeypatch.undo()
    code.write_text(FACTORY.replace("torch.nn.Flatten()", "torch.nn.Flatten(), torch.nn.Tanh()"))
    capsys.readouterr()
    assert bind(*common, "--resume") == 1
    error = capsys.readouterr().err
    assert "sonar.py has changed since" in error
    assert "--overwrite" in error
    code.write_text(FACTORY, encoding="utf-8")
    assert bind(*common, "--resume") == 0
    card = json.loads((tmp_path / "out" / "card.json").read_text(encoding="utf-8"))
    assert list(card["tower_code"]) == ["sonar.py"]
