"""Weights in open_clip's layout: the real library loads what `bindplug convert --to open-clip` writes."""

from __future__ import annotations

import json

import open_clip as real
import pytest
import torch
from torch.testing import assert_close

import bindplug_open_clip as open_clip
from bindplug.imagebind import to_open_clip
from tests.open_clip.conftest import NAME, inputs, random_imagebind

X = inputs()
TOKENS = real.tokenize(["a dog", "two cats on a mat"])


@pytest.fixture
def registered_name(tmp_path, monkeypatch):
    """The shape under a name of its own in open_clip's list, as its users add configs; taken out again."""
    (tmp_path / "toy-vit.json").write_text(json.dumps(open_clip.get_model_config(NAME)))
    monkeypatch.setattr(real.factory, "_MODEL_CONFIGS", dict(real.factory._MODEL_CONFIGS))
    monkeypatch.setattr(real.factory, "_MODEL_CONFIG_PATHS", list(real.factory._MODEL_CONFIG_PATHS))
    real.add_model_config(tmp_path / "toy-vit.json")
    return "toy-vit"


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_the_real_open_clip_loads_what_convert_writes(registered_name, tmp_path, suffix):
    pytest.importorskip("click")
    from click.testing import CliRunner

    from bindplug.cli.convert import convert

    path = tmp_path / f"clip{suffix}"
    done = CliRunner().invoke(convert, [NAME, str(path), "--to", "open-clip"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    model = real.create_model(registered_name, pretrained=str(path)).eval()
    official = random_imagebind()
    with torch.inference_mode():
        assert_close(model.encode_image(X["image"]), official.encode_image(X["image"]), atol=2e-5, rtol=1e-4)
        assert_close(model.encode_text(TOKENS), official.encode_text(TOKENS), atol=2e-5, rtol=1e-4)


def test_our_models_state_is_open_clips_and_the_sensors(registered_name, model):
    plain = real.create_model(registered_name)
    plain.load_state_dict({n: t for n, t in model.state_dict().items() if not n.startswith("sensors.")})
    exported = to_open_clip(random_imagebind().official_state_dict())
    assert all(torch.equal(t, exported[n]) for n, t in plain.state_dict().items())


def test_local_dir_schema_loads_it_too(tmp_path, model):
    if not hasattr(real.factory, "parse_model_name"):
        pytest.skip("this open_clip has no local-dir: schema")
    described = {"model_cfg": open_clip.get_model_config(NAME), "preprocess_cfg": {}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(described))
    torch.save(
        to_open_clip(random_imagebind().official_state_dict()), tmp_path / "open_clip_pytorch_model.bin"
    )
    theirs, _, _ = open_clip.create_model_and_transforms(f"local-dir:{tmp_path}")
    assert type(theirs) is real.CLIP
    with torch.inference_mode():
        assert torch.equal(theirs.eval().encode_text(TOKENS), model.encode_text(TOKENS))


class Encode(torch.nn.Module):
    """One tower of a model, for export."""

    def __init__(self, model, modality):
        super().__init__()
        self.model, self.modality = model, modality

    def forward(self, x):
        return self.model.encode(self.modality, x)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("modality", ["image", "text", "audio", "imu"])
def test_exported_towers_have_a_free_batch_and_free_texts(model, modality):
    model.requires_grad_(False)
    short = real.tokenize(["a dog", "cat"])
    long = real.tokenize(["a much longer text with many more words in it", "rain", "two words"])
    x, other = (short, long) if modality == "text" else (inputs(2)[modality], inputs(3, seed=1)[modality])
    tower = Encode(model, modality)
    dynamic = ({0: torch.export.Dim("batch", min=1, max=64)},)
    exported = torch.export.export(tower, (x,), dynamic_shapes=dynamic).module()
    traced = torch.jit.trace(tower, x, check_trace=False)
    for call in (exported, traced):
        for batch in (other, other[:1]):
            assert_close(call(batch), tower(batch), atol=1e-5, rtol=1e-4)
