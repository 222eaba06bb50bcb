"""The model's two call forms, its refusals, and that it survives what people do to modules."""

from __future__ import annotations

import copy
import io
import json
import math
import pickle
from dataclasses import replace

import pytest
import torch

from bindplug.encoder import Encoder
from bindplug.errors import InputError, ModalityNotLoaded, UnknownModality
from bindplug.imagebind import ImageBind, ImageBindConfig
from bindplug.imagebind.tower_inputs import average_raw, unit
from tests.imagebind.naive import naive_tokens
from tests.imagebind.synthetic import GOLDEN, golden_input, load_golden
from tests.small import SMALL

BATCHES = {
    "image": (2, 3, 224, 224),
    "video": (1, 2, 3, 2, 224, 224),
    "audio": (2, 3, 1, 128, 204),
    "depth": (2, 1, 224, 224),
    "thermal": (2, 1, 224, 224),
    "imu": (2, 6, 2000),
}


def batch(modality: str) -> torch.Tensor:
    if modality == "text":
        return golden_input("text", load_golden("golden_tiny.npz"))
    generator = torch.Generator().manual_seed(7)
    return torch.randn(BATCHES[modality], generator=generator)


ALL = ("image", "video", "text", "audio", "depth", "thermal", "imu")


@pytest.mark.parametrize("modality", ALL)
def test_encode_gives_raw_or_unit_rows(tiny: ImageBind, modality: str) -> None:
    x = batch(modality)
    with torch.inference_mode():
        raw, normed = tiny.encode(modality, x), tiny.encode(modality, x, normalize=True)
        by_method = getattr(tiny, f"encode_{modality}")(x, normalize=True)
    assert raw.shape == normed.shape == (len(x), 32)
    torch.testing.assert_close(normed.norm(dim=-1), torch.ones(len(x)))
    torch.testing.assert_close(raw / raw.norm(dim=-1, keepdim=True), normed)
    torch.testing.assert_close(by_method, normed, rtol=0, atol=0)
    assert isinstance(tiny, Encoder)


def test_official_scale_is_that_of_scale_of(tiny: ImageBind) -> None:
    expected = {
        "image": 1.0,
        "video": 1.0,
        "text": 1 / 0.07,
        "audio": 20,
        "depth": 5,
        "thermal": 10,
        "imu": 5,
    }
    for modality, scale in expected.items():
        assert tiny.scale_of(modality) == pytest.approx(scale, rel=1e-5)
    with torch.inference_mode():
        norm = tiny({"thermal": batch("thermal")})["thermal"].norm(dim=-1)
    torch.testing.assert_close(norm, torch.full((2,), 10.0))


def test_scales_are_clipped_at_100_and_can_be_set(tiny: ImageBind) -> None:
    tiny.set_scale("text", 1000.0)
    tiny.set_scale("imu", 7.5)
    assert tiny.scale_of("text") == pytest.approx(100.0)
    assert tiny.scale_of("imu") == pytest.approx(7.5)
    assert tiny.logit_scale.item() == pytest.approx(math.log(1000))
    with torch.inference_mode():
        norm = tiny({"text": batch("text")})["text"].norm(dim=-1)
    torch.testing.assert_close(norm, torch.full((7,), 100.0))
    for modality, scale in (("image", 2.0), ("text", 0.0), ("text", math.inf)):
        with pytest.raises(ValueError, match="cannot set"):
            tiny.set_scale(modality, scale)


def test_clips_are_averaged_as_each_form_says(tiny: ImageBind) -> None:
    x = batch("audio")
    with torch.inference_mode():
        each = tiny.encode("audio", x.flatten(0, 1)).unflatten(0, (2, 3))
        directions = each / each.norm(dim=-1, keepdim=True)
        official = tiny({"audio": x})["audio"]
        raw = tiny.encode("audio", x)
    torch.testing.assert_close(official, 20 * directions.mean(1), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(raw.norm(dim=-1), each.norm(dim=-1).mean(1), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(unit(raw), unit(directions.mean(1)), rtol=1e-4, atol=1e-5)
    assert (official.norm(dim=-1) <= 20.0001).all()


@pytest.mark.parametrize("modality", ["imu", "depth", "thermal"])
def test_clips_of_other_sensors_are_averaged_too(tiny: ImageBind, modality: str) -> None:
    x = torch.randn(2, 3, *BATCHES[modality][1:])
    with torch.inference_mode():
        each = torch.stack([tiny({modality: x[:, s]})[modality] for s in range(3)])
        torch.testing.assert_close(tiny({modality: x})[modality], each.mean(0), rtol=1e-4, atol=1e-5)


def test_a_still_clip_of_a_video_counts_as_a_picture(tiny: ImageBind) -> None:
    x = torch.randn(1, 2, 3, 224, 224)
    with torch.inference_mode():
        torch.testing.assert_close(tiny.encode("video", x), tiny.encode("video", x[:, :, :, None]))


def test_average_of_one_clip_is_that_clip() -> None:
    rows = torch.randn(4, 1, 8)
    torch.testing.assert_close(average_raw(rows), rows[:, 0])


def test_clip_form(tiny: ImageBind) -> None:
    with torch.inference_mode():
        out = tiny(image=batch("image"), audio=batch("audio"))
        assert list(out) == ["image_features", "audio_features", "logit_scale"]
        image, text, scale = tiny(batch("image"), batch("text"), output_dict=False)
        assert list(tiny(text=batch("text"))) == ["text_features", "logit_scale"]
    torch.testing.assert_close(image, out["image_features"])
    torch.testing.assert_close(text.norm(dim=-1), torch.ones(7))
    assert float(scale) == pytest.approx(1 / 0.07)


def test_official_form_keeps_names_and_leaves_out_none(tiny: ImageBind) -> None:
    with torch.inference_mode():
        out = tiny({"vision": batch("image"), "depth": None, "image": batch("image")})
    assert list(out) == ["vision", "image"]
    torch.testing.assert_close(out["vision"], out["image"])


def test_forms_are_not_mixed(tiny: ImageBind) -> None:
    with pytest.raises(InputError, match="one of the two call forms"):
        tiny({"vision": batch("image")}, text=batch("text"))
    with pytest.raises(InputError, match="no input"):
        tiny()


WRONG = [
    ("image", torch.zeros(3, 224, 224), "(3, 224, 224)", "(B, 3, 224, 224)"),
    ("image", torch.zeros(1, 4, 224, 224), "(1, 4, 224, 224)", "(B, 3, 224, 224)"),
    ("image", torch.zeros(1, 3, 225, 224), "(1, 3, 225, 224)", "multiples of the patch, 14 by 14"),
    ("image", torch.zeros(1, 3, 224, 224, dtype=torch.uint8), "uint8", "model.preprocess['image']"),
    ("video", torch.zeros(1, 3, 2, 224, 224), "(1, 3, 2, 224, 224)", "(B, S, 3, 2, 224, 224)"),
    ("video", torch.zeros(1, 2, 3, 3, 224, 224), "(1, 2, 3, 3, 224, 224)", "(B, S, 3, 2, 224, 224)"),
    ("text", torch.zeros(2, 78, dtype=torch.long), "(2, 78)", "up to 77"),
    ("text", torch.zeros(77, dtype=torch.long), "(77,)", "(B, L)"),
    ("text", torch.zeros(2, 77), "float32", "token ids"),
    ("text", torch.full((1, 77), 49408), "0 to 49407", "49408"),
    ("text", torch.full((1, 77), -1), "-1", "ids from 0"),
    ("audio", torch.zeros(2, 128, 204), "(2, 128, 204)", "(B, S, 1, 128, 204)"),
    ("audio", torch.zeros(2, 1, 204, 128), "(2, 1, 204, 128)", "(B, S, 1, 128, 204)"),
    ("audio", torch.zeros(2, 0, 1, 128, 204), "(2, 0, 1, 128, 204)", "S clips"),
    ("depth", torch.zeros(2, 3, 224, 224), "(2, 3, 224, 224)", "(B, 1, 224, 224)"),
    ("thermal", torch.full((1, 1, 224, 224), math.inf), "50176 NaN or infinite", "finite"),
    ("imu", torch.zeros(2, 2000, 6), "(2, 2000, 6)", "(B, 6, 2000)"),
    ("imu", torch.full((1, 6, 2000), math.nan), "12000 NaN or infinite", "finite"),
    ("depth", [[0.0]], "a list", "a tensor"),
    ("imu", torch.zeros(2, 6, 2000, dtype=torch.complex64), "complex64", "floating-point"),
]


@pytest.mark.parametrize(("modality", "x", "found", "expected"), WRONG)
def test_wrong_input_is_refused(tiny: ImageBind, modality: str, x: object, found: str, expected: str) -> None:
    with pytest.raises(InputError) as caught:
        tiny.encode(modality, x)  # type: ignore[arg-type]
    message = str(caught.value)
    assert message.startswith(f"{modality} input")
    assert found in message
    assert expected in message


def test_towers_that_are_absent_are_named(tiny_config: ImageBindConfig) -> None:
    model = ImageBind(tiny_config, {"audio"})
    assert model.modalities == ("audio",)
    assert list(model.towers) == ["audio"]
    with pytest.raises(ModalityNotLoaded, match="'image'"):
        model.encode_image(batch("image"))
    with pytest.raises(ModalityNotLoaded):
        model({"vision": batch("image")})
    with pytest.raises(UnknownModality):
        model.encode("smell", batch("image"))
    with pytest.raises(UnknownModality):
        ImageBind(tiny_config, {"smell"})
    assert ImageBind(tiny_config, {"video"}).modalities == ("image", "video")
    assert ImageBind(tiny_config, "audio").modalities == ("audio",)
    with pytest.raises(ValueError, match="no modalities"):
        ImageBind(tiny_config, ())


def test_readers_and_tokenizer_fit_the_towers(tiny: ImageBind, tiny_config: ImageBindConfig) -> None:
    assert set(tiny.preprocess) == set(ALL)
    assert set(ImageBind(tiny_config, {"depth"}).preprocess) == {"depth"}
    texts = json.loads((GOLDEN / "golden_tiny.json").read_text())["texts"]
    golden = load_golden("golden_tiny.npz")
    assert torch.equal(tiny.tokenizer(texts), torch.from_numpy(golden["text_tokens"]))
    twin = pickle.loads(pickle.dumps(tiny))
    assert "tokenizer" not in twin.__dict__


def test_empty_batches_give_no_rows(tiny: ImageBind) -> None:
    for modality in ALL:
        assert tiny.encode(modality, batch(modality)[:0], normalize=True).shape == (0, 32)


def test_other_image_sizes_interpolate_positions(tiny: ImageBind) -> None:
    vision = tiny.towers["vision"]
    with torch.inference_mode():
        for size in ((280, 280), (224, 112), (14, 14)):
            assert tiny.encode("image", torch.randn(1, 3, *size)).shape == (1, 32)
            rows, columns = size[0] // 14, size[1] // 14
            assert vision.positions((1, rows, columns)).shape == (1, 1 + rows * columns, 64)
        torch.testing.assert_close(vision.positions((1, 16, 16)), vision.pos_embed)
        assert tiny.encode("depth", torch.randn(1, 1, 320, 320)).shape == (1, 32)


def test_interpolated_positions_keep_a_smooth_field(tiny_config: ImageBindConfig) -> None:
    model = ImageBind(tiny_config, {"image"})
    vision = model.towers["vision"]
    ramp = torch.linspace(-1, 1, 16)[:, None].expand(16, 16).reshape(1, 256, 1)
    with torch.no_grad():
        vision.pos_embed[:, 1:] = ramp
    field = vision.positions((1, 32, 32))[0, 1:, 0].unflatten(0, (32, 32)).detach()
    assert (field - field[:, :1]).abs().max() < 1e-5
    assert (field[4:-4].diff(dim=0) > 0).all()
    torch.testing.assert_close(field.mean(), torch.tensor(0.0), atol=1e-5, rtol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("modality", ALL)
def test_half_precision_is_close(tiny: ImageBind, modality: str, dtype: torch.dtype) -> None:
    x = batch(modality)
    with torch.inference_mode():
        expected = tiny.encode(modality, x, normalize=True)
        half = copy.deepcopy(tiny).to(dtype)
        rows = half.encode(modality, x, normalize=True)
    assert rows.dtype == half.dtype == dtype
    assert (rows.float() * expected).sum(-1).min() > 0.99


@pytest.mark.parametrize("modality", ALL)
def test_autocast_is_close(tiny: ImageBind, modality: str) -> None:
    x = batch(modality)
    with torch.inference_mode():
        expected = tiny.encode(modality, x, normalize=True)
        with torch.autocast("cpu", torch.bfloat16):
            rows = tiny.encode(modality, x, normalize=True)
    assert (rows.float() * expected).sum(-1).min() > 0.99


@pytest.mark.parametrize("modality", ["image", "video", "audio", "depth", "thermal", "imu"])
def test_gradients_reach_inputs_and_every_parameter(tiny: ImageBind, modality: str) -> None:
    tiny.train()
    torch.manual_seed(0)
    x = batch(modality).requires_grad_()
    tower = tiny.towers["vision" if modality in ("image", "video") else modality]
    for block in tower.blocks:
        block.drop_path = 0.0
    tiny.encode(modality, x).square().sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in tower.parameters())


def test_text_gradients_reach_the_scale(tiny: ImageBind) -> None:
    out = tiny({"text": batch("text")})["text"]
    out.sum().backward()
    assert tiny.logit_scale.grad is not None


def test_drop_path_and_dropout_act_in_training_only(tiny_config: ImageBindConfig) -> None:
    torch.manual_seed(0)
    model = ImageBind(tiny_config, {"imu"})
    assert [block.drop_path for block in model.towers["imu"].blocks] == [0.0, 0.7]
    x = batch("imu")
    model.train()
    assert not torch.equal(model.encode("imu", x), model.encode("imu", x))
    model.eval()
    assert torch.equal(model.encode("imu", x), model.encode("imu", x))


def test_drop_path_keeps_the_mean(tiny_config: ImageBindConfig) -> None:
    torch.manual_seed(0)
    block = ImageBind(tiny_config, {"imu"}).towers["imu"].blocks[1].train()
    branch = block._drop_path(torch.ones(20_000, 1, 1))
    torch.testing.assert_close(branch.unique(), torch.tensor([0.0, 1 / 0.3]))
    assert float(branch.mean()) == pytest.approx(1.0, abs=0.05)


def test_copies_and_pickles_give_the_same(tiny: ImageBind) -> None:
    x = batch("audio")
    buffer = io.BytesIO()
    torch.save(tiny, buffer)
    buffer.seek(0)
    with torch.inference_mode():
        expected = tiny.encode("audio", x)
        for twin in (
            copy.deepcopy(tiny),
            pickle.loads(pickle.dumps(tiny)),
            torch.load(buffer, weights_only=False),
        ):
            torch.testing.assert_close(twin.encode("audio", x), expected, rtol=0, atol=0)
            assert twin.config == tiny.config
            assert twin.embedding_space == tiny.embedding_space


def test_data_parallel_and_compiled_give_the_same(tiny: ImageBind) -> None:
    inputs = {"vision": batch("image"), "text": batch("text"), "audio": batch("audio")}
    with torch.inference_mode():
        expected = tiny(inputs)
    parallel = torch.nn.DataParallel(tiny)
    compiled = torch.compile(tiny, backend="eager", fullgraph=True)
    for other in (parallel, compiled):
        with torch.no_grad():
            output = other(inputs)
        for name, rows in expected.items():
            torch.testing.assert_close(output[name], rows, rtol=1e-4, atol=1e-5)


def test_mlp_head(tiny_config: ImageBindConfig) -> None:
    config = replace(tiny_config, depth=replace(tiny_config.depth, head="mlp"))
    model = ImageBind(config, {"depth"}).eval()
    tower = model.towers["depth"]
    x = batch("depth")
    with torch.inference_mode():
        tokens = naive_tokens(tower, x)
        for block in tower.blocks:
            tokens = block(tokens)
        token = tower.head.norm(tokens[:, 0])
        hidden = torch.nn.functional.gelu(tower.head.hidden(token))
        torch.testing.assert_close(model.encode("depth", x), tower.head.proj(hidden), rtol=1e-4, atol=1e-5)
    state = model.official_state_dict()
    assert "modality_heads.depth.hidden.weight" in state
    again = ImageBind.from_official(state, config, modalities={"depth"})
    torch.testing.assert_close(again.encode("depth", x), model.encode("depth", x))


def test_initialization_is_reproducible_and_sane(tiny_config: ImageBindConfig) -> None:
    first, second = ImageBind(tiny_config), ImageBind(tiny_config)
    for model in (first, second):
        model.reset_parameters(torch.Generator().manual_seed(3))
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name]), name
        assert torch.isfinite(tensor).all(), name
    assert first.scale_of("audio") == pytest.approx(20.0)
    with torch.inference_mode():
        rows = first.encode("image", batch("image"))
    assert 0.1 < float(rows.std()) < 10


def test_meta_builds_have_no_numbers(tiny_config: ImageBindConfig) -> None:
    model = ImageBind(tiny_config, device="meta")
    assert model.device.type == "meta"
    assert all(tensor.is_meta for tensor in model.state_dict().values())


def test_dtype_is_honoured(tiny_config: ImageBindConfig) -> None:
    model = ImageBind(tiny_config, {"text"}, dtype=torch.bfloat16)
    assert model.dtype == torch.bfloat16


def test_a_space_of_another_width_is_refused(tiny_config: ImageBindConfig) -> None:
    from bindplug.space import IMAGEBIND_SPACE

    with pytest.raises(ValueError, match="width 32"):
        ImageBind(tiny_config, {"text"}, space=IMAGEBIND_SPACE)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_converted_weights_have_memory_of_their_own(dtype):
    """Checkpoint writers, as accelerate's, keep one of several views of a tensor."""
    state = ImageBind(SMALL).official_state_dict()
    model = ImageBind.from_official(state, SMALL, dtype=dtype)
    assert all(p.untyped_storage().nbytes() == p.nbytes for p in model.parameters())
    for name, tensor in model.official_state_dict().items():
        torch.testing.assert_close(tensor, state[name].to(tensor.dtype))
