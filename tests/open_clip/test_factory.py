"""create_model and its kin: every argument honoured or refused by name."""

from __future__ import annotations

import shutil

import numpy as np
import open_clip as real
import pytest
import torch
from torch.testing import assert_close
from torchvision.transforms import Compose

import bindplug_open_clip as open_clip
from bindplug.errors import CheckpointError, InputError, UnknownModel, WeightsNotFound
from bindplug.imagebind import ImageBind, save_directory
from tests.open_clip.conftest import CONFIG, NAME, SPACE, inputs, picture, random_imagebind

PIXELS = inputs()["image"]
TOKENS = real.tokenize(["a dog", "two cats on a mat"])


def test_models_come_in_training_mode_as_upstream_gives_them():
    model, train, val = open_clip.create_model_and_transforms(NAME)
    assert isinstance(model, real.CLIP)
    assert isinstance(model, open_clip.ClipImageBind)
    assert model.training
    assert model.visual.training
    assert isinstance(train, Compose)
    assert isinstance(val, Compose)
    model, val = open_clip.create_model_from_pretrained(NAME)
    assert model.training
    assert open_clip.create_model_from_pretrained(NAME, return_transform=False).training
    assert open_clip.create_model(NAME, "bindplug").training


def test_positional_arguments_are_upstreams():
    model, _, _ = open_clip.create_model_and_transforms(
        NAME, "bindplug", precision="pure_bf16", output_dict=True
    )
    assert model.dtype == torch.bfloat16
    assert set(model.eval()(text=TOKENS)) == {"image_features", "text_features", "logit_scale"}


def test_tag_none_and_empty_all_mean_the_models_weights(official):
    expected = official.official_state_dict()["modality_heads.vision.2.weight"].T
    for pretrained in (None, "", "bindplug"):
        assert torch.equal(open_clip.create_model(NAME, pretrained).visual.proj, expected)


def test_without_weights_the_numbers_are_random_and_live_elsewhere(caplog):
    model = open_clip.create_model(NAME, load_weights=False) if "load_weights" in _parameters() else None
    if model is None:
        pytest.skip("this open_clip has no load_weights")
    assert "initialized randomly" in caplog.text
    assert not model.embedding_space.matches(SPACE)
    assert not torch.equal(model.visual.proj, open_clip.create_model(NAME).visual.proj)
    assert model.eval().encode_audio(inputs()["audio"]).isfinite().all()


def _parameters():
    import inspect

    return inspect.signature(real.create_model).parameters


@pytest.mark.parametrize("precision", ["fp16", "bf16", "pure_fp16", "pure_bf16", "amp"])
def test_precisions_are_held_as_upstream_holds_them(precision):
    ours = open_clip.create_model(NAME, precision=precision)
    state = ours.state_dict()
    real.factory._MODEL_CONFIGS[NAME] = open_clip.get_model_config(NAME)
    try:
        theirs = real.create_model(NAME, precision=precision).state_dict()
    finally:
        del real.factory._MODEL_CONFIGS[NAME]
    assert {n: t.dtype for n, t in state.items() if not n.startswith("sensors.")} == {
        n: t.dtype for n, t in theirs.items()
    }
    half = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(precision.removeprefix("pure_"), torch.float32)
    assert ours.dtype == half
    assert {
        t.dtype for n, t in state.items() if n.startswith("sensors.") and not n.endswith("log_scale")
    } == {half}
    assert ours.scale_of("audio") == pytest.approx(20.0, abs=1e-5)
    exact = open_clip.create_model(NAME).eval()
    ours.eval()
    with torch.inference_mode():
        for name, x in inputs().items():
            cosine = torch.cosine_similarity(ours.encode(name, x.to(half)).float(), exact.encode(name, x))
            assert cosine.min() > 0.9995, name
        text = torch.cosine_similarity(ours.encode_text(TOKENS).float(), exact.encode_text(TOKENS))
        assert text.min() > 0.9995


def test_image_size_context_length_patch_dropout_and_output_dict_reach_the_towers():
    model, _, val = open_clip.create_model_and_transforms(NAME, force_image_size=168, force_patch_dropout=0.5)
    model.eval()
    assert val(picture()).shape == (3, 168, 168)
    assert model.visual.preprocess_cfg["size"] == model.visual.image_size
    assert model.preprocess["image"](picture()).shape == (3, 168, 168)
    assert model.encode_image(torch.randn(1, 3, 168, 168)).shape == (1, 128)
    assert model.encode_video(torch.randn(1, 2, 3, 2, 168, 168)).shape == (1, 128)
    assert model.encode_depth(torch.rand(1, 1, 224, 224)).shape == (1, 128)
    assert model.visual.patch_dropout.prob == 0.5
    if "force_context_length" in _parameters():
        short = open_clip.create_model(NAME, force_context_length=16).eval()
        assert short.context_length == 16
        assert short.encode_text(short.tokenizer(["a dog"])).shape == (1, 128)
        from bindplug import text

        assert short.embed([text("a dog")]).shape == (1, 128)


def test_custom_text_gives_upstreams_other_class_with_the_same_numbers(model):
    other = open_clip.create_model(NAME, force_custom_text=True).eval()
    assert isinstance(other, real.CustomTextCLIP)
    with torch.inference_mode():
        assert_close(other.encode_text(TOKENS), model.encode_text(TOKENS))
        assert_close(other.encode_image(PIXELS), model.encode_image(PIXELS))
        assert_close(other.encode_imu(inputs()["imu"]), model.encode_imu(inputs()["imu"]))


def test_logit_bias_and_shape_of_the_scale():
    model = open_clip.create_model(NAME, init_logit_bias=-10.0, nonscalar_logit_scale=True).eval()
    assert model.logit_scale.shape == (1,)
    *_, scale, bias = model(PIXELS, TOKENS)
    assert scale.shape == bias.shape == (1,)
    assert model(text=TOKENS, audio=inputs()["audio"])[3] is model.logit_bias


def test_only_some_sensors():
    model = open_clip.create_model(NAME, modalities={"audio"})
    assert model.modalities == ("image", "video", "text", "audio")
    assert not [name for name in model.state_dict() if "thermal" in name]
    assert open_clip.create_model(NAME, modalities=()).modalities == ("image", "video", "text")


def test_cache_dir_is_looked_into_first(tmp_path, monkeypatch, home):
    shutil.copytree(home / NAME, tmp_path / NAME)
    monkeypatch.setenv("BINDPLUG_HOME", str(tmp_path / "empty"))
    assert open_clip.create_model(NAME, cache_dir=str(tmp_path)).modalities
    with pytest.raises(WeightsNotFound, match="BINDPLUG_OFFLINE"):
        open_clip.create_model(NAME, cache_dir=str(tmp_path / "nothing"))


def test_pretrained_may_be_a_path(tmp_path):
    other = random_imagebind(7)
    save_directory(other, tmp_path / "other")
    torch.save(open_clip.create_model(NAME, str(tmp_path / "other")).state_dict(), tmp_path / "own.pt")
    for path in (tmp_path / "other", tmp_path / "own.pt"):
        model = open_clip.create_model(NAME, str(path)).eval()
        with torch.inference_mode():
            assert_close(model.encode_thermal(inputs()["thermal"]), other.encode_thermal(inputs()["thermal"]))
            assert_close(model.encode_text(TOKENS), other.encode_text(TOKENS), atol=1e-5, rtol=1e-4)


def test_load_checkpoint_round_trip_and_a_clips_own_file(tmp_path, model):
    trained = open_clip.create_model(NAME, load_weights=False) if "load_weights" in _parameters() else model
    torch.save({"state_dict": model.state_dict()}, tmp_path / "whole.pt")
    open_clip.load_checkpoint(trained, str(tmp_path / "whole.pt"))
    assert all(torch.equal(t, trained.state_dict()[n]) for n, t in model.state_dict().items())
    clip_only = {n: t for n, t in model.state_dict().items() if not n.startswith("sensors.")}
    torch.save(clip_only, tmp_path / "clip.pt")
    with pytest.raises(CheckpointError, match="strict=False"):
        open_clip.load_checkpoint(trained, tmp_path / "clip.pt")
    missing = open_clip.load_checkpoint(trained, tmp_path / "clip.pt", strict=False).missing_keys
    assert missing
    assert all(name.startswith("sensors.") for name in missing)
    with pytest.raises(WeightsNotFound):
        open_clip.load_checkpoint(trained, tmp_path / "absent.pt")
    torch.save({"visual.proj": torch.zeros(2, 2)}, tmp_path / "odd.pt")
    with pytest.raises(CheckpointError, match=r"odd\.pt does not fit ClipImageBind"):
        open_clip.load_checkpoint(trained, tmp_path / "odd.pt")
    np.savez(tmp_path / "odd.npz", a=np.zeros(2))
    with pytest.raises(CheckpointError, match=r"odd\.npz is a file of numpy's"):
        open_clip.load_checkpoint(trained, tmp_path / "odd.npz")


def test_the_config_builds_a_real_clip_of_the_same_shape(model):
    theirs = real.CLIP(**open_clip.get_model_config(NAME)).state_dict()
    ours = {n: t for n, t in model.state_dict().items() if not n.startswith("sensors.")}
    assert {n: t.shape for n, t in ours.items()} == {n: t.shape for n, t in theirs.items()}
    huge, vit_h = open_clip.get_model_config("imagebind_huge"), real.get_model_config("ViT-H-14")
    for section, keys in {"vision_cfg": ("width", "layers", "head_width", "patch_size"),
                          "text_cfg": ("width", "layers", "heads")}.items():  # fmt: skip
        assert all(huge[section][key] == vit_h[section][key] for key in keys)


def test_tokenizers_are_open_clips():
    tokenizer = open_clip.get_tokenizer(NAME)
    assert isinstance(tokenizer, real.SimpleTokenizer)
    assert torch.equal(tokenizer(["a dog"]), real.tokenize(["a dog"]))
    assert open_clip.get_tokenizer(NAME, context_length=8)(["a dog"]).shape == (1, 8)
    assert open_clip.get_tokenizer(NAME, 8, reduction_mask="simple")(["a b c d e f g h"]).shape == (1, 8)


@pytest.mark.parametrize("size", [(320, 256), (224, 224), (100, 333), (1001, 223), (57, 31)])
def test_the_validation_transform_equals_our_own_preprocessing(size, model):
    _, val = open_clip.create_model_from_pretrained(NAME)
    source = picture(*size)
    assert torch.equal(val(source), model.preprocess["image"](source))
    theirs = real.image_transform(224, is_train=False)
    assert torch.equal(val(source), theirs(source))


def test_the_transforms_read_files_and_augment_as_upstream(tmp_path):
    _, train, val = open_clip.create_model_and_transforms(
        NAME, aug_cfg={"scale": (0.4, 0.5)}, image_mean=(0.0, 0.0, 0.0), image_std=(1.0, 1.0, 1.0)
    )
    picture().save(tmp_path / "p.png")
    assert 0 <= val(tmp_path / "p.png").min() < val(str(tmp_path / "p.png")).max() <= 1
    theirs = real.image_transform(224, True, mean=(0.0,) * 3, std=(1.0,) * 3, aug_cfg={"scale": (0.4, 0.5)})
    torch.manual_seed(3)
    expected = theirs(picture())
    torch.manual_seed(3)
    assert torch.equal(train(picture()), expected)
    with pytest.raises(InputError, match="absent"):
        val("absent.png")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"force_quick_gelu": True}, "exact GELU"),
        ({"quick_gelu": True}, "exact GELU"),
        ({"embed_dim": 3}, "one shape"),
        ({"vision_cfg": {}}, "one shape"),
        ({"precision": "fp61"}, "pure_bf16"),
        ({"force_image_size": (224, 196)}, "square"),
        ({"force_image_size": 225}, "multiple of 28"),
        ({"color": "red"}, "no such argument"),
        ({"modalities": {"smell"}}, "audio"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(options, reason):
    (name,) = options
    with pytest.raises(InputError, match=name) as refused:
        open_clip.create_model_and_transforms(NAME, **options)
    assert reason in str(refused.value)


@pytest.mark.skipif(
    "pretrained_image_path" not in _parameters(), reason="this open_clip has no such argument"
)
def test_other_weights_in_one_tower_are_refused():
    with pytest.raises(InputError, match="leave the space"):
        open_clip.create_model(NAME, pretrained_image_path="x.pt")


def test_unknown_names_and_tags_name_the_known_ones():
    for error in (UnknownModel, RuntimeError):
        with pytest.raises(error, match=f"did you mean.*{NAME}"):
            open_clip.create_model("imagebind_toi")
        with pytest.raises(error, match="its tag is 'bindplug'"):
            open_clip.create_model(NAME, "laion2b")
    with pytest.raises(UnknownModel, match="did you mean 'ViT-B-32'"):
        open_clip.create_model_and_transforms("ViT-B-32x")
    with pytest.raises(UnknownModel):
        open_clip.create_model_from_pretrained("nothing")
    with pytest.raises(TypeError):
        open_clip.create_model()


def test_a_directory_without_text_is_no_clip(tmp_path):
    save_directory(ImageBind(CONFIG, {"image", "audio"}, space=SPACE), tmp_path / "deaf")
    with pytest.raises(CheckpointError, match="no text tower"):
        open_clip.create_model(NAME, str(tmp_path / "deaf"))
