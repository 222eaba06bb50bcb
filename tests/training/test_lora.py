"""LoRA and DoRA adapters: on every tower and on one's own, trained, merged and removed."""

from __future__ import annotations

import copy
import json
import subprocess
import sys

import pytest
import torch
from torch import nn

import bindplug
from bindplug.errors import CheckpointError, InputError, ModalityNotLoaded
from bindplug.imagebind import ImageBind
from bindplug.training import (
    BindingRecipe,
    LoraRecipe,
    TensorPairs,
    add_adapters,
    bind,
    bind_tower,
    has_adapters,
    load_adapters,
    merge_adapters,
    remove_adapters,
    save_adapters,
)
from tests.small import SMALL
from tests.training.adapters import KINDS, SHAPES, rows, train

peft = pytest.importorskip("peft")

RECIPE = BindingRecipe(epochs=4, batch_size=8, learning_rate=1e-2, weight_decay=0.01, temperature=0.2)


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
