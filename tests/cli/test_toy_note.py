"""A command that uses a bundled toy model says so, once."""

from __future__ import annotations

import pytest

import bindplug
from bindplug.cli.app import run

NOTE = "imagebind_tiny knows a toy world of 20 things; use imagebind_huge for real data"


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_the_note_is_one_line_on_stderr(capsys, options):
    assert run(["compare", "--text", "a dog", "--text", "a cat", *options]) == 0
    shown = capsys.readouterr()
    assert shown.err.count(NOTE) == 1
    assert NOTE not in shown.out


def test_quiet_commands_do_not_say_it(capsys):
    assert run(["compare", "--text", "a dog", "--text", "a cat", "--quiet"]) == 0
    assert "toy" not in capsys.readouterr().err


@pytest.mark.filterwarnings("always::bindplug.errors.UnknownWords")
def test_unknown_words_are_named_in_one_line(capsys):
    assert run(["compare", "--text", "a wolf", "--text", "a cat"]) == 0
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "does not know" in line]
    assert line.startswith("bindplug: warning: the model does not know 'wolf'")


def test_a_model_of_another_place_is_no_toy(capsys, tmp_path):
    path = bindplug.load("imagebind_tiny", modalities=["text"])
    from bindplug.imagebind import save_directory

    directory = save_directory(path, tmp_path / "imagebind_tiny")
    assert run(["compare", "--text", "a dog", "--text", "a cat", "--model", str(directory)]) == 0
    assert "toy world" not in capsys.readouterr().err


def test_cards_say_which_models_are_toys():
    toys = {card.name for card in bindplug.list_models(tool=None) if card.toy}
    assert toys == {"imagebind_tiny", "toy_foreign_clip", "toy_clap", "toy_detic", "toy_unclip"}
