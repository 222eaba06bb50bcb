"""Interrupted runs of ``bindplug bind`` go on and lose nothing."""

from __future__ import annotations

import json

import pytest
import torch

import bindplug
from tests.lab.binding.toy_pairs import TINY, bind


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
