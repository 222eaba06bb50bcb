"""Adapters in directories: saved in peft's format, loaded on their own base only."""

from __future__ import annotations

import copy
import json

import pytest
import torch

import bindplug
from bindplug.bound import ArrayTower, write_bound
from bindplug.errors import CheckpointError, InputError, WeightsNotFound
from bindplug.imagebind import ImageBind, save_directory
from bindplug.training import (
    LoraRecipe,
    add_adapters,
    anchor_of,
    has_adapters,
    load_adapters,
    merge_adapters,
    remove_adapters,
    save_adapters,
)
from tests.small import SMALL
from tests.training.adapters import KINDS, SHAPES, rows, train

peft = pytest.importorskip("peft")


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_saved_adapters_load_on_the_same_base(model, small, kind, tmp_path):
    add_adapters(model, "audio", KINDS[kind])
    train(model)
    model.set_scale("audio", 7.0)
    model.similarity_scales = {"audio": 9.0}
    directory = save_adapters(model, "audio", tmp_path / "lora", license="Apache-2.0")
    loaded = load_adapters(copy.deepcopy(small), directory)
    assert torch.equal(rows(loaded, "audio"), rows(model, "audio"))
    assert loaded.scale_of("audio") == pytest.approx(7.0)
    assert loaded.similarity_scales == {"audio": 9.0}
    assert torch.equal(rows(loaded, "depth"), rows(small, "depth"))
    card = json.loads((directory / "config.json").read_text())
    assert card["recipe"]["rank"] == KINDS[kind].rank
    assert card["license"] == "Apache-2.0"
    remove_adapters(loaded)
    assert loaded.scale_of("audio") == small.scale_of("audio")


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_peft_itself_reads_saved_adapters(model, small, kind, tmp_path):
    add_adapters(model, "depth", KINDS[kind])
    train(model)
    save_adapters(model, "depth", tmp_path / "lora")
    theirs = peft.PeftModel.from_pretrained(copy.deepcopy(small), tmp_path / "lora").eval()
    assert torch.equal(rows(theirs.base_model.model, "depth"), rows(model, "depth"))
    assert torch.equal(rows(theirs.base_model.model, "audio"), rows(small, "audio"))
    merged = theirs.merge_and_unload()
    torch.testing.assert_close(rows(merged, "depth"), rows(model, "depth"), rtol=0, atol=1e-5)


def test_adapters_of_another_base_are_refused_and_leave_it_untouched(model, small, tmp_path):
    add_adapters(model, "audio")
    save_adapters(model, "audio", tmp_path / "lora", base="imagebind_tiny")
    other = copy.deepcopy(small)
    with torch.no_grad():
        other.towers["audio"].blocks[0].mlp.fc2.weight.mul_(1.05)
    before = rows(other, "audio")
    with pytest.raises(CheckpointError, match=r"another base 'imagebind_tiny': its audio tower"):
        load_adapters(other, tmp_path / "lora")
    assert not has_adapters(other)
    assert torch.equal(rows(other, "audio"), before)
    rounded = load_adapters(copy.deepcopy(small).bfloat16(), tmp_path / "lora")
    assert has_adapters(rounded), "the same base in another dtype is the same base"


@pytest.mark.parametrize("damage", ["truncated", "recipe", "scale", "names", "not finite"])
def test_damaged_adapters_are_refused_and_leave_the_base_untouched(model, small, tmp_path, damage):
    add_adapters(model, "audio")
    directory = save_adapters(model, "audio", tmp_path / "lora")
    card, weights = directory / "config.json", directory / "adapter_model.safetensors"
    content = json.loads(card.read_text())
    if damage == "truncated":
        weights.write_bytes(weights.read_bytes()[:-9])
    elif damage == "recipe":
        content["recipe"]["rank"] = -1
    elif damage == "scale":
        content["scale"] = float("nan")
    else:
        from safetensors.torch import load_file

        from bindplug.directories import write_tensors

        tensors = load_file(weights)
        first = next(iter(tensors))
        if damage == "names":
            del tensors[first]
        else:
            tensors[first] = tensors[first].fill_(float("inf"))
        content["adapters"] = write_tensors(tensors, weights)
    card.write_text(json.dumps(content))
    base = copy.deepcopy(small)
    with pytest.raises(CheckpointError, match=r"damaged"):
        load_adapters(base, directory)
    assert not has_adapters(base)
    assert torch.equal(rows(base, "audio"), rows(small, "audio"))


def test_load_gives_base_and_adapters_and_reads_them_only_where_their_tower_is(model, tmp_path, monkeypatch):
    base = save_directory(model, tmp_path / "base")
    monkeypatch.chdir(tmp_path)
    add_adapters(model, "audio", KINDS["lora"])
    train(model)
    directory = save_adapters(model, "audio", tmp_path / "my-lora", base="./base")
    monkeypatch.chdir(base)
    loaded = bindplug.load(directory)
    assert torch.equal(rows(loaded, "audio"), rows(model, "audio"))
    assert not loaded.training
    only = bindplug.load(str(directory), modalities={"audio"})
    assert list(only.towers) == ["audio"]
    assert torch.equal(rows(only, "audio"), rows(model, "audio"))
    (directory / "adapter_model.safetensors").unlink()
    assert not has_adapters(bindplug.load(directory, modalities={"depth"}))
    with pytest.raises(CheckpointError, match="adapters is missing"):
        bindplug.load(directory)


def test_load_says_what_is_wrong_with_the_base(model, tmp_path):
    add_adapters(model, "audio")
    nameless = save_adapters(model, "audio", tmp_path / "nameless")
    with pytest.raises(CheckpointError, match=r"does not say which base.*load_adapters\(base, "):
        bindplug.load(nameless)
    circle = save_adapters(model, "audio", tmp_path / "circle", base=nameless)
    card = json.loads((circle / "config.json").read_text(encoding="utf-8"))
    (circle / "config.json").write_text(json.dumps(card | {"base": str(circle)}), encoding="utf-8")
    with pytest.raises(CheckpointError, match="leads back to it"):
        bindplug.load(circle)
    with pytest.raises(CheckpointError, match="in a circle"):
        anchor_of(str(circle))
    absent = save_adapters(model, "audio", tmp_path / "absent", base="./nowhere/model")
    with pytest.raises(WeightsNotFound, match="nowhere"):
        bindplug.load(absent)
    with pytest.raises(CheckpointError, match="exists"):
        save_adapters(model, "audio", absent)


def test_adapters_stack_on_a_directory_of_adapters(model, tmp_path, monkeypatch):
    """The ones below are merged, and a base of a bare name is found from anywhere."""
    save_directory(model, tmp_path / "base")
    monkeypatch.chdir(tmp_path)
    for base, name, seed in (("base", "first", 5), ("first", "second", 6)):
        lower = bindplug.load(f"./{base}")
        add_adapters(merge_adapters(lower) if has_adapters(lower) else lower, "audio", KINDS["lora"])
        train(lower, seed)
        save_adapters(lower, "audio", name, base=base)
    monkeypatch.chdir("/")
    loaded = bindplug.load(tmp_path / "second")
    torch.testing.assert_close(rows(loaded, "audio"), rows(lower, "audio"), rtol=0, atol=1e-5)
    assert (rows(loaded, "audio") - rows(bindplug.load(tmp_path / "first"), "audio")).abs().max() > 1e-3
    assert anchor_of(str(tmp_path / "second")) == str(tmp_path / "base")
    (tmp_path / "moved").mkdir()
    for name in ("base", "first", "second"):
        (tmp_path / name).rename(tmp_path / "moved" / name)
    moved = bindplug.load(tmp_path / "moved" / "second")
    assert torch.equal(rows(moved, "audio"), rows(loaded, "audio"))


@pytest.mark.parametrize("kind", ["imagebind", "array"])
def test_a_bound_tower_takes_adapters(model, tmp_path, kind):
    """Saved beside a reference to the bound directory; merged and removed on demand."""
    save_directory(model, tmp_path / "base")
    anchor = bindplug.load(tmp_path / "base")
    sense, tower = "audio", ImageBind(SMALL, {"audio"}, space=anchor.embedding_space)
    recipe = LoraRecipe(rank=3)
    if kind == "array":
        sense, tower = "sonar", ArrayTower((16,), 16)
        recipe = LoraRecipe(rank=2, targets=("all-layers",))
    (tmp_path / "bound").mkdir()
    write_bound(
        tmp_path / "bound",
        sense=sense,
        tower=tower,
        anchor=anchor,
        anchor_id=str(tmp_path / "base"),
        scale=20.0,
        similarity_scale=9.0,
    )
    x = torch.randn(SHAPES.get(sense, (2, 16)), generator=torch.Generator().manual_seed(4))

    def embedded(encoder: bindplug.Encoder) -> torch.Tensor:
        with torch.no_grad():
            return encoder.encode(sense, x)

    adapted = bindplug.load(tmp_path / "bound")
    before = embedded(adapted)
    assert add_adapters(adapted, sense, recipe) is adapted
    train(adapted)
    adapted.set_scale(sense, 30.0)
    adapted.similarity_scales = {sense: 12.0}
    save_adapters(adapted, sense, tmp_path / "lora", base=tmp_path / "bound")
    loaded = bindplug.load(tmp_path / "lora")
    assert type(loaded) is type(adapted)
    assert torch.equal(embedded(loaded), embedded(adapted))
    assert (embedded(loaded) - before).abs().max() > 1e-3
    assert loaded.scale_of(sense) == 30.0
    assert loaded.similarity_scales == {sense: 12.0}
    assert anchor_of(str(tmp_path / "lora")) == str(tmp_path / "base")
    merged = merge_adapters(bindplug.load(tmp_path / "lora"))
    assert not has_adapters(merged)
    torch.testing.assert_close(embedded(merged), embedded(adapted), rtol=0, atol=1e-5)
    assert torch.equal(embedded(remove_adapters(loaded)), before)
    assert (loaded.scale_of(sense), loaded.similarity_scales) == (20.0, {sense: 9.0})
    with pytest.raises(InputError, match=f"bound for {sense}; its anchor embeds the rest"):
        add_adapters(loaded, "image")
    card = json.loads((tmp_path / "lora" / "config.json").read_text(encoding="utf-8"))
    (tmp_path / "lora" / "config.json").write_text(json.dumps(card | {"modality": "depth"}), encoding="utf-8")
    with pytest.raises(CheckpointError, match=f"of depth, .* is bound for {sense}"):
        bindplug.load(tmp_path / "lora")


def test_two_towers_have_adapters_of_their_own(model, small, tmp_path):
    add_adapters(model, "audio", KINDS["lora"])
    add_adapters(model, "depth", KINDS["dora"])
    train(model)
    for modality in ("audio", "depth"):
        save_adapters(model, modality, tmp_path / modality)
    loaded = load_adapters(load_adapters(copy.deepcopy(small), tmp_path / "depth"), tmp_path / "audio")
    for modality in ("audio", "depth", "imu"):
        assert torch.equal(rows(loaded, modality), rows(model, modality))
    assert not has_adapters(merge_adapters(loaded))
