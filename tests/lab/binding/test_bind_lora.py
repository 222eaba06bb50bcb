"""``bindplug bind --lora``: adapters in a directory that load opens, merged on demand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

import bindplug
from bindplug.bound import is_bound
from bindplug.cli.app import run
from bindplug.training import LoraRecipe, has_adapters, load_adapters, merge_adapters
from bindplug_lab.binding.towers import is_same_lora
from bindplug_toyworld import scene_at
from bindplug_toyworld.files import write_wav

pytest.importorskip("peft")
pytest.importorskip("accelerate")

LORA = (
    "--init",
    "imagebind_tiny",
    "--lora",
    "4",
    "--batch",
    "6",
    "--epochs",
    "2",
    "--validation",
    "0.2",
    "-q",
)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("lora") / "pairs"
    folder.mkdir()
    for index in range(16):
        scene = scene_at("train", index, canvas=(112, 112))
        scene.image.save(folder / f"{index:03d}.jpg")
        write_wav(folder / f"{index:03d}.wav", scene.audio, scene.sample_rate_hz)
    return folder


def bind(pairs: Path, output: Path, *options: str) -> int:
    return run(["bind", str(pairs), "--sense", "audio", "-o", str(output), *options])


@pytest.fixture(scope="module")
def adapters(pairs, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("adapters") / "my-lora"
    assert bind(pairs, output, *LORA, "--gradient-checkpointing") == 0
    return output


def rows(model: bindplug.Encoder, pairs: Path) -> torch.Tensor:
    return model.embed([bindplug.audio(pairs / f"{index:03d}.wav") for index in range(4)], progress=False)


def test_the_directory_holds_adapters_and_load_puts_them_on_the_base(adapters, pairs):
    assert {"adapter_config.json", "adapter_model.safetensors", "config.json", "card.json"} <= {
        path.name for path in adapters.iterdir()
    }
    size = sum(path.stat().st_size for path in adapters.glob("*.safetensors"))
    assert size < 500_000
    model = bindplug.load(adapters)
    base = bindplug.load("imagebind_tiny")
    assert set(model.modalities) == set(base.modalities)
    assert (rows(model, pairs) - rows(base, pairs)).abs().max() > 1e-4
    text = [bindplug.text("a dog")]
    assert torch.equal(model.embed(text), base.embed(text))
    alone = bindplug.load(adapters, modalities={"audio"})
    torch.testing.assert_close(rows(alone, pairs), rows(model, pairs))
    card = json.loads((adapters / "card.json").read_text(encoding="utf-8"))
    assert "LoRA of rank 4" in card["tower"]
    assert card["settings"]["lora"]["rank"] == 4
    loaded = load_adapters(base, adapters)
    torch.testing.assert_close(rows(merge_adapters(loaded), pairs), rows(model, pairs), rtol=0, atol=1e-5)


def test_merged_it_is_a_tower_like_any_other(adapters, pairs, tmp_path):
    assert bind(pairs, tmp_path / "merged", *LORA, "--merge") == 0
    assert is_bound(tmp_path / "merged")
    merged = bindplug.load(tmp_path / "merged")
    assert not has_adapters(merged)
    # the same run, with blocks kept instead of computed again
    torch.testing.assert_close(rows(merged, pairs), rows(bindplug.load(adapters), pairs), rtol=0, atol=1e-4)


def test_a_dry_run_computes_the_memory_by_kind(pairs, tmp_path, capsys):
    assert bind(pairs, tmp_path / "dora", *LORA, "--dora", "--dry-run", "--json") == 0
    summary = json.loads(capsys.readouterr().out)
    memory = summary["memory"]
    assert memory["gradients"] == memory["adapters"] > 0
    assert memory["optimizer"] == 2 * memory["adapters"]
    assert memory["activations"] > memory["weights"] > memory["adapters"]
    assert summary["memory_bytes"] == memory["total"] + memory["anchor"]
    assert "DoRA of rank 4" in summary["tower"]
    assert not (tmp_path / "dora").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--anchor", "imagebind_tiny", "--lora", "4"), "with --init"),
        (("--init", "imagebind_tiny", "--dora", "--merge"), "--dora, --merge needs --lora RANK"),
        (("--init", "imagebind_tiny", "--lora", "4", "--head", "mlp"), "--head builds a new projection"),
        (("--init", "imagebind_tiny", "--lora", "4", "--lora-targets", "q_pro"), "no layer of that name"),
        (("--init", "imagebind_tiny", "--anchor", "toy_clap", "--lora", "4"), "image"),
    ],
    ids=["no init", "no rank", "new head", "no such layer", "no image tower"],
)
def test_what_cannot_work_is_refused_before_training(pairs, tmp_path, capsys, options, message):
    assert bind(pairs, tmp_path / "out", *options) != 0
    assert message in capsys.readouterr().err.replace("\n", " ")
    assert not (tmp_path / "out").exists()


GENTLE = ("--batch", "6", "--epochs", "1", "--lr", "1e-9", "--validation", "0")
"""Trains so little that rows stay what they were."""


def manifest(directory: Path) -> dict:
    return json.loads((directory / "config.json").read_text(encoding="utf-8"))


def alone(directory: Path, pairs: Path) -> torch.Tensor:
    return rows(bindplug.load(directory, modalities={"audio"}), pairs)


@pytest.mark.parametrize(
    ("options", "line", "rank"),
    [
        ((), "M parameters", None),
        (("--lora", "4"), "with its own LoRA of rank 4", 4),
        (("--lora", "2"), "with LoRA of rank 2", 2),
        (("--lora", "4", "--merge"), "with its own LoRA of rank 4", None),
    ],
    ids=["whole", "continued", "stacked", "merged"],
)
def test_a_run_goes_on_from_adapters_with_their_updates(adapters, pairs, tmp_path, options, line, rank):
    output = tmp_path / "further"
    assert bind(pairs, output, "--init", str(adapters), *GENTLE, *options, "-q") == 0
    torch.testing.assert_close(alone(output, pairs), alone(adapters, pairs), rtol=0, atol=1e-4)
    card = json.loads((output / "card.json").read_text(encoding="utf-8"))
    assert line in card["tower"]
    assert "new head" not in card["tower"]
    assert card["anchor"]["id"] == "imagebind_tiny"
    assert is_bound(output) == (rank is None)
    if rank is not None:
        assert manifest(output)["recipe"]["rank"] == rank
        base = "imagebind_tiny" if "its own" in line else str(adapters)
        assert manifest(output)["base"] == base


@pytest.mark.parametrize(
    ("stated", "is_same"),
    [
        ({"rank": 4}, True),
        ({"rank": 4, "seed": 9}, True),
        ({"rank": 4, "alpha": 8.0, "targets": ["fc1", "q_proj"]}, True),
        ({"rank": 8}, False),
        ({"rank": 4, "alpha": 4.0}, False),
        ({"rank": 4, "dora": True}, False),
        ({"rank": 4, "targets": ["q_proj"]}, False),
    ],
)
def test_adapters_go_on_where_nothing_else_is_asked_for(stated, is_same):
    stored = LoraRecipe(rank=4, alpha=8, targets=("q_proj", "fc1"))
    assert is_same_lora(stated, stored) == is_same


def test_a_bound_tower_gets_adapters(ear, pairs, tmp_path, monkeypatch, capsys):
    """They are saved beside a reference to its directory, whose anchor is theirs too."""
    monkeypatch.chdir(ear.parent)
    output = tmp_path / "my-lora"
    assert bind(pairs, output, "--init", ear.name, "--lora", "4", "--batch", "6", "--epochs", "2", "-q") == 0
    card = json.loads((output / "card.json").read_text(encoding="utf-8"))
    assert (card["anchor"]["id"], card["anchor"]["license"]) == ("imagebind_tiny", "Apache-2.0")
    assert manifest(output)["base"] == str(ear)
    assert f"| base | `{ear}`" in (output / "README.md").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    model, base = bindplug.load("my-lora"), bindplug.load(ear)
    assert has_adapters(model)
    assert (rows(model, pairs) - rows(base, pairs)).abs().max() > 1e-4
    text = [bindplug.text("a dog")]
    assert torch.equal(model.embed(text), base.embed(text))
    assert model.scale_of("audio") == card["training"]["scale"]
    assert model.similarity_scales["audio"] == card["held_out"]["similarity_scale"]
    expected = rows(model, pairs)
    torch.testing.assert_close(rows(merge_adapters(model), pairs), expected, rtol=0, atol=1e-5)
    assert (
        run(["classify", "--audio", str(pairs / "000.wav"), "--labels", "dog,car", "--model", "my-lora"]) == 0
    )
    capsys.readouterr()
    assert (
        bind(pairs, tmp_path / "out", "--init", str(ear), "--lora", "4", "--anchor", "toy_foreign_clip") == 1
    )
    assert "another space" in capsys.readouterr().err
    assert bind(pairs, tmp_path / "merged", "--init", str(ear), *GENTLE, "--lora", "4", "--merge", "-q") == 0
    torch.testing.assert_close(alone(tmp_path / "merged", pairs), rows(base, pairs), rtol=0, atol=1e-4)


def test_a_tower_that_was_bound_for_another_sense_is_no_start(ear, tmp_path, capsys):
    command = ["bind", str(tmp_path), "--sense", "depth", "--init", str(ear), "-o", str(tmp_path / "out")]
    for name in ("a", "b"):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{name}.jpg")
        Image.effect_noise((32, 32), 9).save(tmp_path / f"{name}.png")
    assert run([*command, "--lora", "2"]) == 1
    assert "bound for audio" in capsys.readouterr().err
