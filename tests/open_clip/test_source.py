"""``bindplug.load("open_clip:…")``: architectures with a tag or a file, and directories."""

from __future__ import annotations

import json

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import bindplug
from bindplug import image, text
from bindplug.errors import CheckpointError, MissingDependency, UnknownModel, WeightsNotFound
from bindplug.testing import EncoderContract

CONFIG = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}
SENTENCES = ["a dog", "a red sofa"]
PICTURES = [np.random.default_rng(i).integers(0, 256, (40, 50, 3), dtype=np.uint8) for i in range(2)]


OPENS_DIRECTORIES = int(open_clip.__version__.split(".")[0]) >= 3
needs_directories = pytest.mark.skipif(
    not OPENS_DIRECTORIES, reason="open_clip 3 is the first to open directories"
)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """The network, its transform, a weight file and a directory of the same weights."""
    root = tmp_path_factory.mktemp("open_clip")
    (root / "tiny-open-clip.json").write_text(json.dumps(CONFIG))
    open_clip.add_model_config(root / "tiny-open-clip.json")
    torch.manual_seed(0)
    network, _, transform = open_clip.create_model_and_transforms("tiny-open-clip")
    torch.save(network.state_dict(), root / "weights.pt")
    directory = root / "tiny-repository"
    directory.mkdir()
    save_file(network.state_dict(), directory / "open_clip_model.safetensors")
    preprocess = {"mean": [0.5] * 3, "std": [0.25] * 3, "interpolation": "bilinear"}
    (directory / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": CONFIG, "preprocess_cfg": preprocess})
    )
    (directory / "README.md").write_text("---\nlicense: mit\n---\n# A model\n")
    return network.eval(), transform, root / "weights.pt", directory


@torch.no_grad()
def own_rows(network, transform):
    tokens = open_clip.get_tokenizer("tiny-open-clip")(SENTENCES)
    pixels = torch.stack([transform(Image.fromarray(picture)) for picture in PICTURES])
    return torch.cat(
        [network.encode_image(pixels, normalize=True), network.encode_text(tokens, normalize=True)]
    )


def test_a_weight_file_of_an_architecture(tiny):
    network, transform, file, _ = tiny
    model = bindplug.load(f"open_clip:tiny-open-clip:{file}")
    rows = model.embed([*map(image, PICTURES), *map(text, SENTENCES)])
    torch.testing.assert_close(rows, own_rows(network, transform), atol=1e-5, rtol=0)
    assert model.embedding_space.name == "open_clip:tiny-open-clip:weights"
    assert model.scale_of("text") == pytest.approx(network.logit_scale.exp().item())


@needs_directories
def test_a_directory_brings_its_own_transform(tiny):
    network, _, file, directory = tiny
    model = bindplug.load(f"open_clip:{directory}")
    _, transform = open_clip.create_model_from_pretrained(f"local-dir:{directory}")
    rows = model.embed([*map(image, PICTURES), *map(text, SENTENCES)])
    torch.testing.assert_close(rows, own_rows(network, transform), atol=1e-5, rtol=0)
    other = bindplug.load(f"open_clip:tiny-open-clip:{file}")
    assert model.fingerprint.matches(other.fingerprint)
    assert model.license == "mit"


def test_names_that_open_clip_does_not_know():
    with pytest.raises(UnknownModel, match=r"no architecture 'ViT-B-23'.*Did you mean .*ViT-B-32"):
        bindplug.load("open_clip:ViT-B-23:openai")
    with pytest.raises(
        UnknownModel, match=r"names no weights; expected open_clip:ViT-B-32:TAG with one of openai"
    ):
        bindplug.load("open_clip:ViT-B-32")
    with pytest.raises(UnknownModel, match="lists no weights 'opnai' of ViT-B-32; expected one of openai"):
        bindplug.load("open_clip:ViT-B-32:opnai")
    with pytest.raises(WeightsNotFound, match="no weight file"):
        bindplug.load("open_clip:ViT-B-32:./absent.pt")


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        (
            "ViT-B-32:openai",
            r"`hf download timm/vit_base_patch32_clip_224\.openai --local-dir DIR`\), copy DIR here and say "
            r"open_clip:ViT-B-32:DIR/open_clip_model\.safetensors$",
        ),
        (
            "ViTamin-S:datacomp1b",
            r"`hf download jienengchen/ViTamin-S --local-dir DIR`\), copy DIR here and say "
            r"open_clip:ViTamin-S:DIR/pytorch_model\.bin$",
        ),
    ],
)
def test_weights_out_of_reach_are_told_with_the_repository_that_has_them(monkeypatch, name, remedy):
    def unreachable(*_, **__):
        raise RuntimeError("no route to host")

    monkeypatch.setattr(open_clip, "create_model_and_transforms", unreachable)
    with pytest.raises(WeightsNotFound, match=remedy):
        bindplug.load(f"open_clip:{name}")


@needs_directories
def test_damaged_directories(tiny, tmp_path):
    *_, directory = tiny
    with pytest.raises(CheckpointError, match=r"no open_clip_config\.json"):
        bindplug.load(f"open_clip:{tmp_path}")
    (tmp_path / "open_clip_config.json").write_text((directory / "open_clip_config.json").read_text())
    with pytest.raises(CheckpointError, match="could not be opened"):
        bindplug.load(f"open_clip:{tmp_path}")
    (tmp_path / "open_clip_model.safetensors").write_bytes(b"0" * 100)
    with pytest.raises(CheckpointError, match="could not be opened"):
        bindplug.load(f"open_clip:{tmp_path}")


def test_an_open_clip_that_opens_no_directories_is_told(tiny, monkeypatch):
    monkeypatch.setattr(open_clip, "__version__", "2.32.0")
    with pytest.raises(
        MissingDependency, match=r'2\.32\.0 opens no directories.*pip install "open_clip_torch>=3"'
    ):
        bindplug.load(f"open_clip:{tiny[3]}")


class TestContract(EncoderContract):
    @pytest.fixture(autouse=True)
    def _at(self, tiny):
        *_, file, directory = tiny
        type(self).model = (
            f"open_clip:{directory}" if OPENS_DIRECTORIES else f"open_clip:tiny-open-clip:{file}"
        )

    def make_encoder(self):
        return bindplug.load(self.model)

    def make_queries(self):
        return {"image": [*map(image, PICTURES)], "text": [*map(text, SENTENCES)]}
