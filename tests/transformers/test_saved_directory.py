"""Directories of save_pretrained in their several forms: whole ones load, incomplete ones are named."""

from __future__ import annotations

import json

import pytest
import torch
import transformers
from transformers import AutoModel

import bindplug_transformers as bt
from bindplug.errors import CheckpointError, WeightsNotFound
from bindplug_transformers.base import ImageBindPreTrainedModel


def equals(model, loaded):
    expected = model.state_dict()
    return all(torch.equal(tensor, expected[name]) for name, tensor in loaded.state_dict().items())


def test_shards_and_their_index(model, tmp_path):
    model.save_pretrained(tmp_path, max_shard_size="100KB")
    shards = sorted(tmp_path.glob("*.safetensors"))
    assert len(shards) > 2
    assert equals(model, bt.ImageBindModel.from_pretrained(tmp_path))
    shards[0].unlink()
    with pytest.raises(CheckpointError, match=f"1 files missing: {shards[0].name}"):
        bt.ImageBindModel.from_pretrained(tmp_path)
    index = tmp_path / "model.safetensors.index.json"
    for content in ({"weight_map": ["a"]}, {}, {"weight_map": {"a": 3}}):
        index.write_text(json.dumps(content))
        with pytest.raises(CheckpointError, match=r"index\.json is damaged: it has no weight_map"):
            bt.ImageBindModel.from_pretrained(tmp_path)


def test_variants_and_subfolders(model, tmp_path):
    model.save_pretrained(tmp_path / "sub", variant="fp16")
    assert equals(model, bt.ImageBindModel.from_pretrained(tmp_path, subfolder="sub", variant="fp16"))
    with pytest.raises(WeightsNotFound, match=r"sub holds no weights: it has no model\.safetensors"):
        bt.ImageBindModel.from_pretrained(tmp_path, subfolder="sub")


def test_pickled_weights(model, tmp_path):
    model.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    file = tmp_path / "pytorch_model.bin"
    torch.save(model.state_dict(), file)
    assert equals(model, bt.ImageBindModel.from_pretrained(tmp_path))
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin is truncated"):
        bt.ImageBindModel.from_pretrained(tmp_path)


def test_a_subclass_may_add_a_head(model, tmp_path):
    class Classifier(ImageBindPreTrainedModel):
        def __init__(self, config):
            super().__init__(config)
            self.head = torch.nn.Linear(2, 2)

    model.save_pretrained(tmp_path)
    loaded = Classifier.from_pretrained(tmp_path)
    assert torch.equal(loaded.network.logit_scale, model.network.logit_scale)


def test_a_model_of_another_kind(model, tmp_path):
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"model_type": "clip"}))
    with pytest.raises(CheckpointError, match=r"a model of type 'clip'; expected 'imagebind'"):
        bt.ImageBindModel.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"network": []},
        {"network": {"width": 3}},
        {"modalities": ["smell"]},
        {"embedding_space": {"title": "x"}},
        {"logit_scale_init_value": "x"},
        {"logit_scale_init_value": float("nan")},
        {"dtype" if transformers.__version__ >= "5" else "torch_dtype": "nonsense"},
    ],
)
def test_configs_that_describe_nothing_are_named(model, tmp_path, changes):
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | changes))
    with pytest.raises(CheckpointError, match=r"config\.json"):
        bt.ImageBindModel.from_pretrained(tmp_path)


def test_a_network_of_another_width(model, tmp_path):
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["network"]["imu"]["width"] = 48
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"of wrong shape: network\.towers\.imu"):
        bt.ImageBindModel.from_pretrained(tmp_path)


def test_a_kernel_that_cannot_be_had_is_no_damage(model, tmp_path):
    model.save_pretrained(tmp_path)
    with pytest.raises((ValueError, ImportError), match=r"(?i)flash") as raised:
        AutoModel.from_pretrained(tmp_path, attn_implementation="flash_attention_2")
    assert "damaged" not in str(raised.value)
