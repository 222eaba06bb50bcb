"""`bindplug models` and `bindplug plugins`."""

from __future__ import annotations

from pathlib import Path

import pytest

from bindplug import plugins


def test_models_tells_where_weights_go(bindplug, monkeypatch, tmp_path):
    for variable in ("BINDPLUG_HOME", "XDG_CACHE_HOME", "TORCH_HOME", "HF_HUB_CACHE"):
        monkeypatch.setenv(variable, str(tmp_path))
    monkeypatch.chdir(tmp_path)
    models = {model["name"]: model for model in bindplug("models", "--json").json}
    huge = models["imagebind_huge"]
    assert huge["weights"] is None
    assert huge["wanted_at"] == str(tmp_path / "imagebind_huge.pth")
    assert huge["license"] == "CC-BY-NC-4.0"
    assert len(huge["modalities"]) == 7
    (tmp_path / "imagebind_huge.pth").write_bytes(b"placed by hand")
    models = {model["name"]: model for model in bindplug("models", "--json").json}
    assert models["imagebind_huge"]["weights"] == str(tmp_path / "imagebind_huge.pth")


def test_models_prints_what_a_person_needs(bindplug, monkeypatch, tmp_path):
    monkeypatch.setenv("BINDPLUG_HOME", str(tmp_path))
    shown = bindplug("models").out
    assert "imagebind_huge" in shown
    assert "CC-BY-NC-4.0" in shown
    assert "ViT-H-14" in shown


def test_models_of_other_libraries_are_listed_with_their_licenses(bindplug):
    models = {model["name"]: model for model in bindplug("models", "--json").json}
    assert models["transformers:laion/clap-htsat-unfused"]["license"] == "Apache-2.0"
    assert models["transformers:laion/clap-htsat-unfused"]["commercial"] is True
    assert models["imagebind_huge"]["commercial"] is False
    assert "no commercial use" in bindplug("models").out


def test_commercial_leaves_out_what_forbids_it(bindplug):
    result = bindplug("models", "--commercial", "--json")
    names = {model["name"] for model in result.json}
    assert "imagebind_huge" not in names
    assert {"imagebind_tiny", "transformers:facebook/pe-av-large"} <= names
    assert all(model["commercial"] for model in result.json)
    assert "left out imagebind_huge (CC-BY-NC-4.0)" in result.err
    assert bindplug("models", "--commercial", "--quiet", "--json").err == ""


def test_plugins_lists_statuses(bindplug, monkeypatch):
    monkeypatch.setenv("BINDPLUG_DISABLE", "toyworld")
    found = {plugin["name"]: plugin for plugin in bindplug("plugins", "--json").json}
    assert found["imagebind"]["status"] == "ready"
    assert "models:imagebind_huge" in found["imagebind"]["provides"]
    assert found["toyworld"]["status"] == "blocked"
    shown = bindplug("plugins").out
    assert "blocked" in shown
    assert "BINDPLUG_DISABLE" in shown


@pytest.mark.parametrize("status", ["unavailable", "broken"])
def test_plugins_shows_how_to_mend_one(bindplug, monkeypatch, status):
    lame = plugins.Plugin(
        "lame", "lame", "lame-dist", "1.0", status, "[lame] needs x", 'pip install "lame-dist[x]"'
    )
    monkeypatch.setattr(plugins, "list_plugins", lambda: [lame])
    shown = bindplug("plugins").out
    assert status in shown
    assert "[lame] needs x" in shown
    assert 'pip install "lame-dist[x]"' in shown


def test_the_toy_world_is_a_plugin_like_any_other(bindplug):
    found = {plugin["name"]: plugin for plugin in bindplug("plugins", "--json").json}
    assert found["toyworld"]["status"] == "ready"
    assert {"models:imagebind_tiny", "commands:demo"} <= set(found["toyworld"]["provides"])
    assert Path(found["toyworld"]["module"]).name == "bindplug_toyworld.plugin"


@pytest.mark.parametrize("columns", ["", "70"])
@pytest.mark.parametrize(
    "command",
    [
        ("plugins",),
        ("models",),
        ("bridge", "list"),
        ("compare", "--image", "image", "--text", "a dog", "--text", "a cat"),
        ("classify", "--image", "image", "--labels", "a dog,a cat"),
    ],
    ids=lambda command: command[0],
)
def test_lines_end_with_their_last_character_where_there_is_no_terminal(
    bindplug, model_directory, files, monkeypatch, command, columns
):
    if columns:
        monkeypatch.setenv("COLUMNS", columns)
    else:
        monkeypatch.delenv("COLUMNS", raising=False)
    arguments = [files.get(word, word) for word in command]
    if command[0] in ("compare", "classify"):
        arguments += ["--model", model_directory]
    ran = bindplug(*arguments)
    assert ran.code == 0, ran.err
    lines = ran.out.splitlines()
    assert len(lines) >= (1 if command[0] == "bridge" else 3)
    assert [line for line in lines if line != line.rstrip()] == []


@pytest.mark.parametrize("command", ["embed", "generate", "detect", "convert"])
def test_help_names_the_aliases_of_dtypes(bindplug, command):
    shown = " ".join(bindplug(command, "--help").out.split())
    assert "fp32, fp16, bf16 are understood too" in shown
