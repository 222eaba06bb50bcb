"""The model: the real class's numbers, ImageBind's numbers, and everything a torch module must survive."""

from __future__ import annotations

import copy
import pickle

import open_clip as real
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

import bindplug
import bindplug_open_clip as open_clip
import bindplug_open_clip.clip as clip
from bindplug import audio, image, text
from bindplug.errors import InputError, ModalityNotLoaded
from bindplug.imagebind import to_open_clip
from tests.open_clip.conftest import NAME, inputs, picture, random_imagebind

X = inputs()
TOKENS = real.tokenize(["a dog", "two cats on a mat"])
CLOSE = {"atol": 2e-5, "rtol": 1e-4}


@pytest.fixture
def theirs(official):
    """open_clip's own class with the same weights."""
    model = real.CLIP(**open_clip.get_model_config(NAME))
    model.load_state_dict(to_open_clip(official.official_state_dict()))
    return model.eval()


@torch.inference_mode()
def test_image_and_text_equal_the_real_class_bit_for_bit(model, theirs):
    assert torch.equal(model.encode_image(X["image"]), theirs.encode_image(X["image"]))
    assert torch.equal(model.encode_text(TOKENS, normalize=True), theirs.encode_text(TOKENS, normalize=True))
    for ours, expected in zip(model(X["image"], TOKENS), theirs(X["image"], TOKENS), strict=True):
        assert torch.equal(ours, expected)
    for ours, expected in zip(
        model.get_logits(X["image"], TOKENS), theirs.get_logits(X["image"], TOKENS), strict=True
    ):
        assert torch.equal(ours, expected)
    assert torch.equal(model.visual(X["image"]), theirs.visual(X["image"]))


@torch.inference_mode()
@pytest.mark.parametrize("name", ["image", "video", "audio", "depth", "thermal", "imu"])
@pytest.mark.parametrize("normalize", [False, True])
def test_every_modality_equals_bindplugs_own_network(model, official, name, normalize):
    encode = getattr(model, f"encode_{name}")
    assert_close(encode(X[name], normalize=normalize), official.encode(name, X[name], normalize), **CLOSE)
    assert_close(model.encode_text(TOKENS, normalize), official.encode_text(TOKENS, normalize), **CLOSE)


@torch.inference_mode()
def test_videos_of_a_projection_whose_frames_differ():
    model = open_clip.create_model("imagebind_uneven").eval()
    official = random_imagebind(uneven_frames=True)
    assert model.sensors.video_weight is not None
    assert_close(model.encode_video(X["video"]), official.encode_video(X["video"]), **CLOSE)
    assert_close(model.encode_image(X["image"]), official.encode_image(X["image"]), **CLOSE)
    assert not torch.allclose(
        model.encode_video(X["video"]), model.encode_video(X["video"].flip(3)), atol=1e-3
    )


def test_one_clip_or_one_frame_is_a_video_too(model, official):
    with torch.inference_mode():
        for x in (X["video"][:, :1], X["video"][:, :, :, :1], X["video"][:, :, :, 0]):
            assert_close(model.encode_video(x), official.encode_video(x), **CLOSE)


@torch.inference_mode()
def test_forward_in_open_clips_form_and_in_its_claps(model):
    pictures, texts, scale = model(X["image"], TOKENS)
    assert_close(scale, model.logit_scale.exp())
    assert model(image=X["image"])[1] is None
    assert model(text=TOKENS)[0] is None
    sounds, words, _ = model(audio=X["audio"], text=TOKENS)
    assert_close(sounds, model.encode_audio(X["audio"], normalize=True))
    assert torch.equal(words, texts)
    first, second, third, fourth, _ = model(X["image"], TOKENS, depth=X["depth"], audio=X["audio"])
    assert torch.equal(first, pictures)
    assert torch.equal(second, texts)
    assert_close((third, fourth), (sounds, model.encode_depth(X["depth"], True)))
    model.output_dict = True
    features = model(X["image"], TOKENS, imu=X["imu"])
    assert list(features) == ["image_features", "text_features", "imu_features", "logit_scale"]
    assert model(thermal=X["thermal"])["image_features"] is None
    assert list(model(X["image"], TOKENS)) == ["image_features", "text_features", "logit_scale"]


def test_what_callers_read(model):
    assert model.context_length == 77
    assert model.vocab_size == 49408
    assert model.dtype == torch.float32
    assert model.visual.output_dim == 128
    assert real.get_model_preprocess_cfg(model)["mean"] == real.OPENAI_DATASET_MEAN
    assert real.get_model_tokenize_cfg(model) == {"context_length": 77, "vocab_size": 49408}
    assert model.logit_scale.ndim == 0
    assert {"positional_embedding", "visual.class_embedding"} <= model.no_weight_decay()


def test_locking_and_checkpointing_are_upstreams(model):
    model.set_grad_checkpointing()
    assert model.visual.transformer.grad_checkpointing
    model.train()(X["image"], TOKENS)[0].sum().backward()
    assert model.visual.proj.grad is not None
    model.lock_image_tower(unlocked_groups=1)
    assert [n for n, p in model.visual.named_parameters() if p.requires_grad] == ["proj"]
    if hasattr(model, "lock_text_tower") and hasattr(real.transformer, "lock_text_tower"):
        model.lock_text_tower()
        assert not model.token_embedding.weight.requires_grad
    assert model.sensors.towers["audio"].cls_token.requires_grad


def test_queries_rank_and_classify(model, tmp_path):
    rows = model.embed(
        [
            text("a dog"),
            image(picture()),
            audio(torch.sin(torch.arange(16000) / 5).numpy(), sample_rate=16000),
        ]
    )
    assert_close(rows.norm(dim=1), torch.ones(3))
    assert_close(rows[0], model.encode_text(real.tokenize(["a dog"]), normalize=True)[0].detach(), **CLOSE)
    assert model.similarity([image(picture())], [text("a dog"), text("a cat")]).sum() == pytest.approx(1)
    assert model.scale_of("audio") == pytest.approx(20, abs=1e-4)
    assert model.scale_of("text") == pytest.approx(model.logit_scale.exp().item(), rel=1e-5)


def test_pickle_deepcopy_state_dict_and_data_parallel(model):
    model.embed([text("a dog")])  # readers are there, and are not carried along
    with torch.inference_mode():
        expected = {name: model.encode(name, x) for name, x in X.items()}
        for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
            assert type(copied) is type(model)
            assert copied.embedding_space == model.embedding_space
            for name, rows in expected.items():
                assert_close(copied.encode(name, X[name]), rows, **CLOSE)  # memory lies differently aligned
        parallel = nn.DataParallel(model)
        assert torch.equal(parallel(X["image"], TOKENS)[0], model(X["image"], TOKENS)[0])
        assert torch.equal(parallel(audio=X["audio"])[0], model(audio=X["audio"])[0])
    other = open_clip.create_model(NAME)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    other.load_state_dict(model.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(other.parameters(), model.parameters(), strict=True))


def test_state_dict_saves_as_safetensors(model, tmp_path):
    from safetensors.torch import load_file, save_file

    save_file(model.state_dict(), tmp_path / "model.safetensors")
    model.load_state_dict(load_file(tmp_path / "model.safetensors"))


def test_two_models_share_no_numbers():
    first, second = open_clip.create_model(NAME), open_clip.create_model(NAME)
    with torch.no_grad():
        for parameter in first.parameters():
            parameter.zero_()
    assert all(p.abs().sum() > 0 for n, p in second.named_parameters() if n.endswith("proj"))


def test_gradients_reach_pixels_and_samples(model):
    for name in ("image", "video", "audio", "depth", "thermal", "imu"):
        x = X[name].clone().requires_grad_()
        model.encode(name, x, normalize=True)[:, 0].sum().backward()
        assert x.grad.abs().sum() > 0, name


@torch.inference_mode()
def test_autocast(model):
    with torch.autocast("cpu", torch.bfloat16):
        for name, x in X.items():
            cosine = torch.cosine_similarity(
                model.encode(name, x).float(), random_imagebind().encode(name, x).float()
            )
            assert cosine.min() > 0.999, name
        half = open_clip.create_model(NAME, precision="bf16").eval()
        assert half.encode_image(X["image"]).isfinite().all()


@pytest.mark.filterwarnings(
    "ignore:`torch.jit:FutureWarning",
    "ignore:`torch.jit:DeprecationWarning",
    "ignore::torch.jit.TracerWarning",
)
def test_tracing_works_as_upstreams(model):
    parts = {"forward": (X["image"], TOKENS), "encode_text": (TOKENS,), "encode_image": (X["image"],)}
    traced = torch.jit.trace_module(model, inputs=parts, check_trace=False)
    assert_close(traced.encode_image(X["image"]), model.encode_image(X["image"]), **CLOSE)
    assert_close(traced(X["image"], TOKENS)[1], model(X["image"], TOKENS)[1], **CLOSE)


@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning", "ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize("kind", ["open_clip", "openai", "upgraded"])
def test_scripting_works_as_upstreams_and_leaves_the_sensors_out(kind, model):
    if kind == "openai":
        model = clip.load(NAME, "cpu")[0]
    elif kind == "upgraded":
        original = real.CLIP(**open_clip.get_model_config(NAME))
        original.load_state_dict(to_open_clip(random_imagebind().official_state_dict()))
        model = bindplug.upgrade(original.eval())
    names = set(model.state_dict())
    with pytest.warns(UserWarning, match="scripted model has none"):
        scripted = torch.jit.script(model)
    with torch.inference_mode():
        assert_close(scripted.encode_image(X["image"]), model.encode_image(X["image"]), **CLOSE)
        assert_close(scripted.encode_text(TOKENS), model.encode_text(TOKENS), **CLOSE)
        for scripted_output, output in zip(
            scripted(X["image"], TOKENS), model(X["image"], TOKENS), strict=True
        ):
            assert_close(scripted_output, output, **CLOSE)
        assert model.encode_audio(X["audio"]).isfinite().all(), "the model itself keeps its sensors"
    assert set(model.state_dict()) == names
    assert not any("sensors" in name for name in scripted.state_dict())
    parameter = next(iter(scripted.parameters()))
    assert any(parameter.data_ptr() == p.data_ptr() for p in model.parameters()), "weights are shared"


@settings(max_examples=20)
@given(shape=st.lists(st.integers(1, 5), min_size=0, max_size=6))
def test_wrong_shapes_are_input_errors(shape):
    model = _shared()
    for name in ("image", "video", "audio", "depth", "thermal", "imu"):
        with pytest.raises(InputError, match=f"{name} input"):
            getattr(model, f"encode_{name}")(torch.zeros(shape))
    with pytest.raises(InputError, match="text input"):
        model.encode_text(torch.zeros(shape, dtype=torch.long))


_made: list = []


def _shared():
    if not _made:
        _made.append(open_clip.create_model(NAME).eval())
    return _made[0]


@pytest.mark.parametrize(
    ("call", "remedy"),
    [
        (lambda m: m.encode_image(X["image"][0]), "unsqueeze"),
        (lambda m: m.encode_image(torch.zeros(1, 3, 224, 224, dtype=torch.uint8)), "preprocess"),
        (lambda m: m.encode_image(X["image"].half()), "autocast"),
        (lambda m: m.encode_image(picture()), "preprocessed pictures"),
        (lambda m: m.encode_image(X["image"].to("meta")), ".to"),
        (lambda m: m.encode_text(["a dog"]), "tokenizer"),
        (lambda m: m.encode_text(TOKENS[:, :8]), "77"),
        (lambda m: m.encode_text(TOKENS.float()), "tokenizer"),
        (lambda m: m(audio=picture()), "preprocess"),
        (lambda m: m.encode_audio(X["depth"]), "128, 204"),
        (lambda m: m.encode_video(X["video"][..., ::2, ::2]), "224"),
    ],
)
def test_bad_input_names_the_remedy(model, call, remedy):
    with pytest.raises(InputError, match=remedy):
        call(model)


def test_a_tower_that_was_not_loaded_is_named():
    model = open_clip.create_model(NAME, modalities={"audio"})
    with pytest.raises(ModalityNotLoaded, match="depth"):
        model.encode_depth(X["depth"])
    with pytest.raises(ModalityNotLoaded, match="imu"):
        model(imu=X["imu"], text=TOKENS)
    with pytest.raises(ModalityNotLoaded):
        model.scale_of("thermal")


def test_lowering_precision_afterwards_covers_the_sensors(model):
    open_clip.convert_weights_to_lp(model, torch.bfloat16)
    with torch.inference_mode():
        for name, x in X.items():
            assert model.encode(name, x.bfloat16()).dtype == torch.bfloat16
        assert model.encode_text(TOKENS).isfinite().all()
    plain = real.CLIP(**open_clip.get_model_config(NAME))
    open_clip.convert_weights_to_fp16(plain)
    assert plain.visual.conv1.weight.dtype == torch.float16
