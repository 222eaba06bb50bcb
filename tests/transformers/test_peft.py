"""LoRA with peft on every tower: adapters train, merge, save and load."""

from __future__ import annotations

import copy

import pytest
import torch

import bindplug
import bindplug_transformers as bt
from bindplug.errors import CheckpointError, InputError

peft = pytest.importorskip("peft")

from tests.transformers.tiny import MODEL_INPUTS, small_network  # noqa: E402

USUAL = ["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"]
TOWERS = {"image": "vision", "video": "vision"}
pytestmark = pytest.mark.filterwarnings("ignore")


def adapted(model, targets, **options):
    torch.manual_seed(2)
    config = peft.LoraConfig(r=2, target_modules=targets, init_lora_weights=False, **options)
    return peft.get_peft_model(copy.deepcopy(model), config)


def rows(model, modality: str, inputs) -> torch.Tensor:
    network = getattr(model, "base_model", model)
    network = network.model.network if hasattr(network, "model") else network.network
    return network.encode(modality, inputs[MODEL_INPUTS[modality]])


@pytest.mark.parametrize("modality", sorted(MODEL_INPUTS))
@pytest.mark.parametrize(
    "targets", [USUAL, "all-linear", [*USUAL, "proj"]], ids=["usual", "all-linear", "stems"]
)
def test_every_adapter_of_a_tower_gets_a_gradient(fresh, inputs, modality, targets):
    model = adapted(fresh, targets).eval()
    rows(model, modality, inputs).square().sum().backward()
    tower = TOWERS.get(modality, modality)
    adapters = {n: p for n, p in model.named_parameters() if "lora_" in n and f"towers.{tower}." in n}
    blocks = len(fresh.network.towers[tower].blocks)
    assert len(adapters) >= 2 * len(USUAL) * blocks
    dead = [name for name, p in adapters.items() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not dead


@torch.no_grad()
@pytest.mark.parametrize("modality", sorted(MODEL_INPUTS))
def test_merged_adapters_compute_the_same(fresh, inputs, modality):
    model = adapted(fresh, [*USUAL, "proj"]).eval()
    expected = rows(model, modality, inputs)
    assert (expected - rows(fresh, modality, inputs)).abs().max() > 1e-3
    merged = model.merge_and_unload()
    assert isinstance(merged, bt.ImageBindModel)
    torch.testing.assert_close(rows(merged, modality, inputs), expected, rtol=1e-3, atol=1e-4)
    assert merged.network.official_state_dict().keys() == fresh.network.official_state_dict().keys()


@torch.no_grad()
def test_adapters_are_saved_and_loaded(fresh, inputs, tmp_path):
    model = adapted(fresh, ["q_proj", "v_proj"]).eval()
    model.save_pretrained(tmp_path)
    loaded = peft.PeftModel.from_pretrained(copy.deepcopy(fresh), tmp_path).eval()
    for modality in MODEL_INPUTS:
        torch.testing.assert_close(rows(loaded, modality, inputs), rows(model, modality, inputs))


def test_a_training_step_changes_the_adapters_only(fresh, inputs):
    model = adapted(fresh, ["q_proj", "v_proj"]).train()
    model.base_model.model.activation_checkpointing_enable() if hasattr(
        model.base_model.model, "activation_checkpointing_enable"
    ) else model.gradient_checkpointing_enable()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    both = {name: inputs[name] for name in ("input_ids", "attention_mask", "pixel_values")}
    model(**both, return_loss=True).loss.backward()
    optimizer.step()
    changed = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert changed
    assert all("lora_" in name for name in changed)
    assert any("towers.vision" in name for name in changed)
    assert any("towers.text" in name for name in changed)


def test_unmerged_adapters_are_never_dropped_silently(fresh, tmp_path):
    network = adapted(fresh, ["q_proj"]).base_model.model.network
    with pytest.raises(InputError, match="merge_and_unload"):
        bindplug.quantize(network)
    with pytest.raises(CheckpointError, match="merge_and_unload"):
        network.official_state_dict()


def test_adapters_on_one_tower_by_a_pattern():
    model = bt.ImageBindModel(bt.ImageBindConfig(small_network())).eval()
    config = peft.LoraConfig(r=2, target_modules=r".*towers\.audio\..*(q_proj|v_proj)")
    wrapped = peft.get_peft_model(model, config)
    trained = [name for name, p in wrapped.named_parameters() if p.requires_grad]
    assert trained
    assert all("towers.audio" in name for name in trained)
