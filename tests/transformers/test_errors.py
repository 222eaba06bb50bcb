"""Bad use raises errors that name the remedy."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

import bindplug
import bindplug_transformers as bt
from bindplug.errors import InputError, MissingDependency, ModalityNotLoaded, UnknownModality, UnknownModel
from tests.transformers.tiny import small_network


def test_unknown_names():
    with pytest.raises(UnknownModel, match="known names"):
        bt.ImageBindModel.from_bindplug("imagebind_enormous")
    with pytest.raises(UnknownModality, match="known modalities"):
        bt.ImageBindConfig(small_network(), modalities=["smell"])
    with pytest.raises(AttributeError, match="ImageBindForChat"):
        bt.ImageBindForChat  # noqa: B018


@pytest.mark.parametrize("modality", ["text", "image", "audio", "depth"])
def test_missing_arguments(model, modality):
    with pytest.raises(InputError, match="ImageBindProcessor makes it"):
        getattr(model, f"get_{modality}_features")()


def test_nothing_to_embed(model):
    with pytest.raises(InputError, match="pixel_values"):
        model()


def test_wrong_shapes(model):
    with pytest.raises(InputError, match=r"\(B, S, 1, 128, 204\)"):
        model.get_audio_features(torch.zeros(1, 16000))
    with pytest.raises(InputError, match="interpolate_pos_encoding=True"):
        model.get_image_features(torch.zeros(1, 3, 84, 84))
    assert model(
        pixel_values=torch.zeros(1, 3, 84, 84), interpolate_pos_encoding=True
    ).image_embeds.shape == (1, 16)
    with pytest.raises(InputError, match="floating-point"):
        model(pixel_values=torch.zeros(1, 3, 56, 56, dtype=torch.uint8))


def test_a_modality_not_loaded(network):
    text = bt.ImageBindModel(bt.ImageBindConfig(small_network(), modalities=["text"]))
    with pytest.raises(ModalityNotLoaded, match="load it with modalities"):
        text.get_depth_features(torch.zeros(1, 1, 56, 56))
    with pytest.raises(ModalityNotLoaded, match="audio"):
        text.embed(bindplug.audio("rain.wav"))
    with pytest.raises(ModalityNotLoaded, match="image"):
        bt.ImageBindVisionModelWithProjection.from_bindplug(text.network)


def test_left_padding_and_positions(model):
    ids = torch.tensor([[49407, 49406, 320, 49407]])
    with pytest.raises(InputError, match="padding_side='right'"):
        model.get_text_features(ids, torch.tensor([[0, 1, 1, 1]]))
    with pytest.raises(InputError, match="position_ids"):
        model.get_text_features(ids, position_ids=torch.tensor([[3, 2, 1, 0]]))
    with pytest.raises(InputError, match="attention_mask"):
        model.get_text_features(ids, torch.ones(1, 3))


def test_losses_without_pairs(model, inputs):
    with pytest.raises(InputError, match="belong together"):
        model(input_ids=inputs["input_ids"], return_loss=True)
    with pytest.raises(InputError, match="belong together"):
        model(input_ids=inputs["input_ids"], depth_values=inputs["depth_values"], return_loss=True)


def test_from_bindplug_refuses_what_it_cannot_honor(network):
    with pytest.raises(InputError, match=r"\.to\("):
        bt.ImageBindModel.from_bindplug(network, dtype=torch.float16)
    with pytest.raises(InputError, match="a name, a path"):
        bt.ImageBindModel.from_bindplug(torch.nn.Linear(1, 1))


def test_configs_that_describe_nothing():
    with pytest.raises(InputError, match="to_dict"):
        bt.ImageBindConfig({"width": 3})
    with pytest.raises(InputError, match="EmbeddingSpace"):
        bt.ImageBindConfig(small_network(), embedding_space={"title": "x"})


def test_mixing_spaces(model):
    other = bindplug.EmbeddingSpace("someone:else", 16)
    with pytest.raises(bindplug.errors.SpaceMismatch, match="bridge"):
        model.embed(bindplug.embedding(torch.ones(16), other))


def test_an_old_or_absent_transformers(monkeypatch):
    import transformers

    monkeypatch.setattr(transformers, "__version__", "4.49.0")
    with pytest.raises(MissingDependency, match=r"too old.*bindplug\[transformers\]"):
        bt.register()
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingDependency, match=r"bindplug\[transformers\]"):
        bt.register()


def test_importing_is_light():
    code = (
        "import sys, bindplug_transformers, bindplug_transformers.plugin\n"
        "assert 'ImageBindModel' in dir(bindplug_transformers)\n"
        "assert not {'torch', 'transformers'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_exports_are_sorted_and_there():
    assert bt.__all__ == sorted(bt.__all__)
    for name in bt.__all__:
        assert getattr(bt, name) is not None
