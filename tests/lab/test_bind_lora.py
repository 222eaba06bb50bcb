"""``bindplug bind --lora``: adapters in a directory that load opens, merged on demand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import bindplug
from bindplug.bound import is_bound
from bindplug.cli.app import run
from bindplug.training import has_adapters, load_adapters, merge_adapters
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


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("BINDPLUG_HOME", str(tmp_path_factory.getbasetemp() / "lora_home"))


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


def test_a_run_goes_on_from_adapters_with_their_updates(adapters, pairs, tmp_path, capsys):
    options = ("--init", str(adapters), "--batch", "6", "--epochs", "1", "--lr", "1e-9", "--validation", "0")
    assert bind(pairs, tmp_path / "whole", *options) == 0
    assert "new head" not in capsys.readouterr().err
    torch.testing.assert_close(
        rows(bindplug.load(tmp_path / "whole", modalities={"audio"}), pairs),
        rows(bindplug.load(adapters, modalities={"audio"}), pairs),
        rtol=0,
        atol=1e-4,
    )
    assert bind(pairs, tmp_path / "stacked", *options, "--lora", "2") != 0
    assert "holds adapters itself" in capsys.readouterr().err.replace("\n", " ")
