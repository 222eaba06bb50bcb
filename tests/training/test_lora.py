"""LoRA and DoRA adapters: on every tower, merged, removed, saved in peft's format, loaded on their own base only."""

from __future__ import annotations

import copy
import json
import subprocess
import sys

import pytest
import torch
from torch import nn

import bindplug
from bindplug.bound import ArrayTower, write_bound
from bindplug.errors import CheckpointError, InputError, ModalityNotLoaded, WeightsNotFound
from bindplug.imagebind import ImageBind, save_directory
from bindplug.training import (
    BindingRecipe,
    LoraRecipe,
    TensorPairs,
    add_adapters,
    anchor_of,
    bind,
    bind_tower,
    has_adapters,
    load_adapters,
    merge_adapters,
    remove_adapters,
    save_adapters,
)
from tests.small import SMALL

peft = pytest.importorskip("peft")

SHAPES = {
    "image": (2, 3, 224, 224),
    "text": (2, 77),
    "audio": (2, 1, 128, 204),
    "depth": (2, 1, 224, 224),
    "thermal": (2, 1, 224, 224),
    "imu": (2, 6, 2000),
}
RECIPE = BindingRecipe(epochs=4, batch_size=8, learning_rate=1e-2, weight_decay=0.01, temperature=0.2)
KINDS = {
    "lora": LoraRecipe(rank=3),
    "dora": LoraRecipe(rank=2, alpha=8, dora=True),
    "head": LoraRecipe(rank=2, targets=("q_proj", "head")),
    "all": LoraRecipe(rank=2, targets=("all-linear",)),
}


@pytest.fixture(scope="module")
def small() -> ImageBind:
    torch.manual_seed(0)
    return ImageBind(SMALL).eval()


@pytest.fixture
def model(small: ImageBind) -> ImageBind:
    return copy.deepcopy(small)


def inputs(modality: str) -> torch.Tensor:
    generator = torch.Generator().manual_seed(4)
    if modality == "text":
        return torch.randint(1, 49000, SHAPES["text"], generator=generator)
    return torch.randn(SHAPES[modality], generator=generator)


def rows(model: ImageBind, modality: str) -> torch.Tensor:
    with torch.no_grad():
        return model.encode(modality, inputs(modality))


def train(model: nn.Module, seed: int = 5) -> None:
    """Give the adapters numbers as training would: none of them zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".lora_magnitude_vector" in name:
                parameter.mul_(1.2)
            elif ".lora_" in name:
                parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))


def numbers(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("modality", sorted(SHAPES))
def test_adapters_change_nothing_until_they_are_trained_and_merge_to_equal_rows(model, modality, kind):
    before = rows(model, modality)
    assert add_adapters(model, modality, KINDS[kind]) is model
    torch.testing.assert_close(rows(model, modality), before, rtol=0, atol=1e-6)
    train(model)
    adapted = rows(model, modality)
    assert (adapted - before).abs().max() > 1e-3
    merged = merge_adapters(model)
    assert not has_adapters(merged)
    torch.testing.assert_close(rows(merged, modality), adapted, rtol=0, atol=1e-5)
    assert set(merged.official_state_dict())
    assert all(parameter.requires_grad for parameter in merged.parameters())


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_removing_adapters_gives_the_base_back_bit_for_bit(model, kind):
    model.similarity_scales = {"audio": 12.0, "depth": 3.0}
    model.towers["audio"].blocks[0].norm_1.weight.requires_grad_(False)
    before, flags = numbers(model), {n: p.requires_grad for n, p in model.named_parameters()}
    add_adapters(model, "audio", KINDS[kind])
    train(model)
    model.set_scale("audio", 33.0)
    model.similarity_scales = {"audio": 1.0, "depth": 3.0}
    remove_adapters(model)
    after = numbers(model)
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert {n: p.requires_grad for n, p in model.named_parameters()} == flags
    assert model.similarity_scales == {"audio": 12.0, "depth": 3.0}
    assert "peft_config" not in vars(model.towers["audio"])


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_binding_trains_only_the_adapters(model, kind):
    add_adapters(model, "depth", KINDS[kind])
    before = numbers(model)
    generator = torch.Generator().manual_seed(1)
    pairs = TensorPairs(
        torch.randn(16, 16, generator=generator), torch.randn(16, 1, 224, 224, generator=generator)
    )
    result = bind(model, "depth", pairs, RECIPE, quiet=True)
    changed = {name for name, tensor in numbers(model).items() if not torch.equal(tensor, before[name])}
    layers = {name for name in changed if ".lora_" in name}
    assert changed - layers <= {"towers.depth.log_scale"}
    assert {name.split(".lora_")[0].rpartition(".")[2] for name in layers} == set(LoraRecipe().targets)
    assert result.losses[-1] < result.losses[0]


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


def test_adapters_on_image_or_text_make_another_space(model, small, tmp_path):
    add_adapters(model, "text")
    train(model)
    assert not model.embedding_space.matches(small.embedding_space)
    directory = save_adapters(model, "text", tmp_path / "lora")
    loaded = load_adapters(copy.deepcopy(small), directory)
    assert loaded.embedding_space.name.endswith("+lora")
    assert loaded.embedding_space.fingerprint
    assert loaded.fingerprint is None
    assert remove_adapters(loaded).embedding_space == small.embedding_space
    audio = add_adapters(copy.deepcopy(small), "audio")
    assert audio.embedding_space == small.embedding_space


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


def test_wrong_use_names_the_remedy(model, small):
    with pytest.raises(InputError, match=r"no adapters"):
        merge_adapters(model)
    with pytest.raises(InputError, match=r"no adapters"):
        save_adapters(model, "audio", "nowhere")
    with pytest.raises(InputError, match=r"'q_pro' .*q_proj"):
        add_adapters(model, "audio", LoraRecipe(targets=("q_pro",)))
    with pytest.raises(InputError, match=r"a LayerNorm"):
        add_adapters(model, "audio", LoraRecipe(targets=("norm_1",)))
    add_adapters(model, "audio")
    with pytest.raises(InputError, match=r"merge_adapters\(\) or remove_adapters\(\)"):
        add_adapters(model, "audio")
    with pytest.raises(InputError, match=r"merge_adapters"):
        bindplug.quantize(model)
    with pytest.raises(CheckpointError, match=r"merge_adapters"):
        model.official_state_dict()
    with pytest.raises(ModalityNotLoaded):
        add_adapters(ImageBind(SMALL, {"depth"}), "audio")
    theirs = peft.inject_adapter_in_model(peft.LoraConfig(target_modules=["q_proj"]), small.towers["imu"])
    try:
        with pytest.raises(InputError, match="peft added by itself"):
            merge_adapters(small)
    finally:
        for layer in theirs.modules():
            for name, child in list(layer.named_children()):
                if hasattr(child, "get_base_layer"):
                    setattr(layer, name, child.get_base_layer())


@pytest.mark.parametrize(
    "options",
    [
        {"rank": 0},
        {"rank": True},
        {"rank": 2.5},
        {"alpha": 0.0},
        {"alpha": float("nan")},
        {"dropout": 1.0},
        {"targets": ()},
        {"targets": ("",)},
        {"dora": "yes"},
    ],
    ids=str,
)
def test_a_recipe_refuses_values_out_of_range(options):
    with pytest.raises(InputError, match=next(iter(options))):
        LoraRecipe(**options)


def test_a_recipe_is_plain_values():
    recipe = LoraRecipe(rank=4, alpha=8, targets="fc1,fc2")
    assert recipe.targets == ("fc1", "fc2")
    assert recipe.scale == 2.0
    assert LoraRecipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
    with pytest.raises(ValueError, match="no speed"):
        LoraRecipe.from_dict({"speed": 1})


class Sonar(nn.Module):
    """A person's own tower, with torch's encoder layers."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(16, 32)
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, dropout=0.0, activation="gelu")
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.out = nn.Linear(32, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.encoder(self.stem(x)).mean(1))


def test_a_tower_of_ones_own_learns_through_adapters(tmp_path):
    torch.manual_seed(2)
    tower = Sonar().eval()
    untouched = copy.deepcopy(tower)
    generator = torch.Generator().manual_seed(3)
    pings = torch.randn(16, 5, 16, generator=generator)
    with torch.inference_mode():
        before = tower(pings)
    add_adapters(tower, "sonar", LoraRecipe(rank=4, targets=("all-linear",)))
    result = bind_tower(
        tower, TensorPairs(torch.randn(16, 16, generator=generator), pings), RECIPE, quiet=True
    )
    assert result.losses[-1] < result.losses[0]
    save_adapters(tower, "sonar", tmp_path / "lora")
    # torch's encoder layers must not read the weights under the adapters
    with torch.inference_mode():
        adapted = tower(pings)
    torch.testing.assert_close(adapted, tower(pings).detach(), rtol=0, atol=1e-6)
    assert (adapted - before).abs().max() > 1e-3
    for loaded in (
        load_adapters(copy.deepcopy(untouched), tmp_path / "lora"),
        peft.PeftModel.from_pretrained(copy.deepcopy(untouched), tmp_path / "lora").train(),
    ):
        torch.testing.assert_close(loaded(pings), adapted, rtol=0, atol=1e-6)
    torch.testing.assert_close(merge_adapters(copy.deepcopy(tower))(pings), adapted, rtol=0, atol=1e-5)
    remove_adapters(tower)
    with torch.inference_mode():
        assert torch.equal(tower(pings), before)
    with pytest.raises(InputError, match="MultiheadAttention"):
        add_adapters(tower, "sonar", LoraRecipe(targets=("out_proj",)))


def test_peft_is_imported_on_first_use():
    code = "import bindplug.training, sys; assert 'peft' not in sys.modules, 'peft'"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
