"""Idioms of public CLIP code beyond the calls: transform lists, import lines, checkpoints, scripting."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import open_clip as real
import pytest
import torch
from PIL import Image
from torch.testing import assert_close
from torchvision import transforms

import bindplug_open_clip as open_clip
import bindplug_open_clip.clip as clip
from bindplug.errors import CheckpointError
from tests.open_clip.conftest import NAME, inputs, picture, random_imagebind

ROOT = Path(__file__).parents[2]
UPSTREAM = real.transform.image_transform_v2(real.transform.PreprocessCfg(), is_train=False)


@pytest.fixture(scope="module", params=["open_clip", "openai"])
def preprocess(request):
    """The validation transform of each drop-in."""

    def create():
        if request.param == "openai":
            return clip.load(NAME, "cpu")[1]
        return open_clip.create_model_from_pretrained(NAME)[1]

    return create


def test_transforms_are_upstreams_index_for_index(preprocess):
    steps = preprocess().transforms
    assert [repr(step) for step in steps] == [repr(step) for step in UPSTREAM.transforms]
    assert steps[0].size == UPSTREAM.transforms[0].size == 224


def test_the_train_transforms_are_upstreams_index_for_index():
    _, train, _ = open_clip.create_model_and_transforms(NAME)
    theirs = real.transform.image_transform_v2(real.transform.PreprocessCfg(), is_train=True)
    assert [repr(step) for step in train.transforms] == [repr(step) for step in theirs.transforms]
    # as open_clip_train's SyntheticDataset does
    assert Image.new("RGB", train.transforms[0].size).size == (224, 224)


def test_slices_of_the_transforms_do_what_upstreams_do(preprocess):
    steps = preprocess().transforms
    wide = picture(640, 320)
    assert transforms.Compose(steps[:2])(wide).size == (224, 224)
    # StyleGAN-NADA: tensors in [-1, 1] through resizing, cropping and normalization
    batch = torch.rand(2, 3, 300, 200) * 2 - 1
    centered = transforms.Normalize(mean=[-1.0] * 3, std=[2.0] * 3)
    ours = transforms.Compose([centered, *steps[:2], *steps[4:]])(batch)
    theirs = transforms.Compose([centered, *UPSTREAM.transforms[:2], *UPSTREAM.transforms[4:]])(batch)
    assert torch.equal(ours, theirs)


def test_steps_of_the_transform_can_be_replaced(preprocess):
    changed = preprocess()
    changed.transforms[0], changed.transforms[1] = transforms.Resize(112), transforms.CenterCrop(112)
    assert changed(picture()).shape == (3, 112, 112)


@pytest.mark.parametrize(
    "line",
    [
        "from bindplug_open_clip.tokenizer import _tokenizer",
        "from bindplug_open_clip.tokenizer import *; tokenize",
        "from bindplug_open_clip.utils import replace_linear",
        "from bindplug_open_clip.factory import HF_HUB_PREFIX, _MODEL_CONFIGS",
        "from bindplug_open_clip.transform import image_transform_v2, PreprocessCfg",
        "from bindplug_open_clip.loss import ClipLoss, SigLipLoss",
        "from bindplug_open_clip.model import CLIP, CLIPVisionCfg",
        "from bindplug_open_clip.transformer import Transformer",
        "from bindplug_open_clip.constants import OPENAI_DATASET_MEAN",
        "from bindplug_open_clip import tokenizer, transform",
        "import bindplug_open_clip.zero_shot_metadata as m; m.IMAGENET_CLASSNAMES",
        "from bindplug_open_clip.clip import clip; clip._tokenizer, clip.load, clip._transform",
        "from bindplug_open_clip.clip import tokenize, load",
        "from bindplug_open_clip.clip.clip import load, _transform",
        "from bindplug_open_clip.clip.simple_tokenizer import SimpleTokenizer as _Tokenizer",
        "import bindplug_open_clip.clip as clip; clip.model.convert_weights",
        "from bindplug_open_clip.clip.model import convert_weights",
    ],
)
def test_import_lines_work_in_a_fresh_process(line):
    done = subprocess.run([sys.executable, "-c", line], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_submodule_of_open_clip_can_be_imported_and_is_the_same_object():
    names = [module.name for module in pkgutil.iter_modules(real.__path__)]
    assert len(names) > 15
    # push_to_hf_hub: importing the module hides open_clip's function of that name, in open_clip as here
    for name in set(names) - {"factory", "model", "pretrained", "push_to_hf_hub"}:
        ours = importlib.import_module(f"bindplug_open_clip.{name}")
        assert ours is importlib.import_module(f"open_clip.{name}"), name
        assert ours.__spec__.name == f"open_clip.{name}", "the import left open_clip's module as it was"


def test_an_absent_submodule_is_an_import_error_that_names_it():
    with pytest.raises(ModuleNotFoundError, match=r"bindplug_open_clip\.nothing"):
        importlib.import_module("bindplug_open_clip.nothing")
    with pytest.raises(ModuleNotFoundError, match=r"bindplug_open_clip\.clip\.nothing"):
        importlib.import_module("bindplug_open_clip.clip.nothing")


CHECKPOINTS = {
    "training": lambda state: {"epoch": 3, "name": "x", "state_dict": state, "optimizer": {"state": {}}},
    "parallel training": lambda state: {
        "epoch": 3,
        "state_dict": {f"module.{name}": tensor for name, tensor in state.items()},
    },
    "parallel": lambda state: {f"module.{name}": tensor for name, tensor in state.items()},
    "plain": lambda state: state,
}


@pytest.mark.parametrize("kind", CHECKPOINTS)
def test_pretrained_takes_training_checkpoints(kind, tmp_path):
    trained = open_clip.create_model(NAME)
    with torch.no_grad():
        trained.visual.proj.mul_(2)
        trained.sensors.towers["audio"].get_parameter("pos_embed").add_(1)
    state = trained.state_dict()
    torch.save(CHECKPOINTS[kind](state), tmp_path / "epoch_3.pt")
    model = open_clip.create_model(NAME, pretrained=str(tmp_path / "epoch_3.pt"))
    assert state.keys() == model.state_dict().keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())


def test_a_checkpoint_that_is_none_is_refused(tmp_path):
    torch.save([1, 2], tmp_path / "list.pt")
    (tmp_path / "empty.pt").touch()
    (tmp_path / "text.safetensors").write_text("no tensors")
    torch.save({"state_dict": {}, "code": print}, tmp_path / "code.pt")
    for name in ("list.pt", "empty.pt", "text.safetensors", "code.pt"):
        with pytest.raises(CheckpointError, match=name):
            open_clip.create_model(NAME, pretrained=str(tmp_path / name))


def test_jit_warns_and_goes_on():
    with pytest.warns(UserWarning, match=r"create_model\(jit=True\).*torch\.compile") as caught:
        model = open_clip.create_model(NAME, jit=True)
    assert caught[0].filename == __file__
    assert isinstance(model, open_clip.ClipImageBind)
    with pytest.warns(UserWarning, match=r"load\(jit=True\).*not scripted") as caught:
        model, _ = clip.load(NAME, "cpu", jit=True)
    assert caught[0].filename == __file__
    assert isinstance(model, clip.OpenAiClip)


class PromptedTextEncoder(torch.nn.Module):
    """The text encoder of CoOp and its descendants, which runs the parts of OpenAI's CLIP itself."""

    def __init__(self, clip_model):
        super().__init__()
        self.transformer = clip_model.transformer
        self.positional_embedding = clip_model.positional_embedding
        self.ln_final = clip_model.ln_final
        self.text_projection = clip_model.text_projection
        self.dtype = clip_model.dtype

    def forward(self, prompts, tokenized_prompts):
        x = prompts + self.positional_embedding.type(self.dtype)
        x = x.permute(1, 0, 2)  # NLD -> LND
        x = self.transformer(x)
        x = x.permute(1, 0, 2)  # LND -> NLD
        x = self.ln_final(x).type(self.dtype)
        return x[torch.arange(x.shape[0]), tokenized_prompts.argmax(dim=-1)] @ self.text_projection


@torch.inference_mode()
def test_prompt_learning_runs_the_text_towers_parts():
    model, _ = clip.load(NAME, "cpu")
    tokens = clip.tokenize(["a dog", "two cats on a mat", "rain"])
    prompts = model.token_embedding(tokens).type(model.dtype)
    rows = PromptedTextEncoder(model)(prompts, tokens)
    assert_close(rows, model.encode_text(tokens), atol=1e-5, rtol=1e-4)
    assert_close(rows, random_imagebind().encode_text(tokens.long()), atol=1e-5, rtol=1e-4)


def image_tower(visual, image, run):
    """The image tower of MaPLe, CLIP Surgery and others, which runs the parts of OpenAI's CLIP itself."""
    x = visual.conv1(image).flatten(2).permute(0, 2, 1)  # (N, patches, D)
    class_token = visual.class_embedding + x.new_zeros(len(x), 1, x.shape[-1])
    x = visual.ln_pre(torch.cat([class_token, x], dim=1) + visual.positional_embedding)
    x = run(x.permute(1, 0, 2)).permute(1, 0, 2)  # NLD -> LND -> NLD
    return visual.ln_post(x[:, 0]) @ visual.proj


def each_block(transformer):
    def run(x):
        for block in transformer.resblocks:
            x = block(x)
        return x

    return run


def each_part(transformer):
    def run(x):
        for block in transformer.resblocks:
            normed = block.ln_1(x)
            x = x + block.attn(normed, normed, normed, need_weights=False)[0]
            x = x + block.mlp(block.ln_2(x))
        return x

    return run


@torch.inference_mode()
def test_code_for_openais_clip_runs_the_image_towers_parts():
    model, _ = clip.load(NAME, "cpu")
    images = torch.randn(3, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    expected = model.encode_image(images)
    assert_close(expected, random_imagebind().encode_image(images), atol=1e-5, rtol=1e-4)
    transformer = model.visual.transformer
    for run in (transformer, each_block(transformer), each_part(transformer)):
        assert_close(image_tower(model.visual, images, run), expected, atol=1e-5, rtol=1e-4)
    alone = model.encode_image(images[:1])
    assert_close(alone, expected[:1], atol=1e-5, rtol=1e-4)
    inner = model.forward_intermediates(images, normalize=False)
    assert_close(inner["image_features"], expected, atol=1e-5, rtol=1e-4)


@torch.inference_mode()
def test_code_for_openais_clip_runs_the_text_towers_blocks():
    model, _ = clip.load(NAME, "cpu")
    tokens = clip.tokenize(["a dog", "two cats on a mat"])
    x = model.token_embedding(tokens) + model.positional_embedding
    x = model.ln_final(each_block(model.transformer)(x.permute(1, 0, 2)).permute(1, 0, 2))
    rows = x[torch.arange(2), tokens.argmax(dim=-1)] @ model.text_projection
    assert_close(rows, model.encode_text(tokens), atol=1e-5, rtol=1e-4)


def test_openais_tokenizer_names_and_ids():
    from bindplug_open_clip.clip.simple_tokenizer import SimpleTokenizer

    tokenizer = SimpleTokenizer()
    start, end = tokenizer.encoder["<|startoftext|>"], tokenizer.encoder["<|endoftext|>"]
    assert (start, end) == (49406, 49407)
    assert tokenizer.encode("<|startoftext|> a dog <|endoftext|>") == [start, *tokenizer.encode("a dog"), end]
    assert tokenizer.decode(tokenizer.encode("a dog")) == "a dog "
    assert tokenizer.encode("a dog") == clip.tokenize("a dog")[0, 1:3].tolist()


def test_convert_weights_casts_to_half():
    from bindplug_open_clip.clip.model import convert_weights

    model, _ = clip.load(NAME, "cpu")
    convert_weights(model)
    assert model.dtype == torch.float16
    assert model.sensors.towers["audio"].get_parameter("pos_embed").dtype == torch.float16
    assert clip.clip._transform(96)(picture()).shape == (3, 96, 96)
    assert inputs()["image"].shape[-1] == model.visual.input_resolution
