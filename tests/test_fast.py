"""Packed, quantized and compiled models give the plain model's numbers, and refuse what they cannot do."""

from __future__ import annotations

import pickle

import pytest
import torch
import torch.nn.functional as F

import bindplug
from bindplug.errors import InputError
from bindplug.imagebind import ImageBind
from bindplug.imagebind.inference_linear import Int8Linear, PackedLinear, packing_obstacle
from bindplug.imagebind.layers import attend

MODALITIES = ("image", "video", "text", "audio", "depth", "thermal", "imu")
needs_packing = pytest.mark.skipif(bool(packing_obstacle(torch.float32)), reason="no oneDNN here")
needs_bf16 = pytest.mark.skipif(bool(packing_obstacle(torch.bfloat16)), reason="no bfloat16 products here")


def example(modality: str, count: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(len(modality))
    if modality == "text":
        return torch.tensor([[49406, 320, 1929, 49407, *[0] * 73], [49406, 320, 49407, *[0] * 74]])[:count]
    shape = {
        "image": (3, 224, 224), "video": (2, 3, 2, 224, 224), "audio": (3, 1, 128, 204),
        "depth": (1, 224, 224), "thermal": (1, 224, 224), "imu": (6, 2000),
    }[modality]  # fmt: skip
    return torch.randn(count, *shape, generator=generator)


def tiny(*modalities: str, dtype: torch.dtype | None = None) -> ImageBind:
    model = bindplug.load("imagebind_tiny", modalities=modalities or None, dtype=dtype)
    assert isinstance(model, ImageBind)
    return model


def rows(model: ImageBind, modality: str) -> torch.Tensor:
    x = example(modality)
    with torch.inference_mode():
        return model.encode(modality, x if modality == "text" else x.to(model.dtype)).float()


@needs_packing
@pytest.mark.parametrize("modality", MODALITIES)
def test_packed_numbers_are_the_plain_ones(modality: str) -> None:
    model = tiny(modality)
    plain = rows(model, modality)
    torch.testing.assert_close(rows(bindplug.pack(model), modality), plain, rtol=1e-4, atol=1e-5)


@needs_bf16
@pytest.mark.parametrize("modality", MODALITIES)
def test_packed_bfloat16_points_where_float32_points(modality: str) -> None:
    plain = rows(tiny(modality), modality)
    packed = rows(bindplug.pack(tiny(modality, dtype=torch.bfloat16)), modality)
    assert float(F.cosine_similarity(packed, plain).min()) >= 0.999


@pytest.mark.parametrize("modality", MODALITIES)
def test_bfloat16_points_where_float32_points(modality: str) -> None:
    plain = rows(tiny(modality), modality)
    assert (
        float(F.cosine_similarity(rows(tiny(modality, dtype=torch.bfloat16), modality), plain).min()) >= 0.999
    )


@pytest.mark.parametrize(
    ("causal", "masked", "extra"), [(False, False, True), (True, False, False), (False, True, True)]
)
def test_attention_in_half_precision_is_attention(causal: int, masked: int, extra: int) -> None:
    generator = torch.Generator().manual_seed(0)
    qkv = [torch.randn(2, 5, 16, generator=generator) for _ in range(3)]
    more = tuple(torch.randn(2, 1, 1, 16, generator=generator)) if extra else None
    mask = torch.rand(2, 1, 5, 6, generator=generator) < 0.7 if masked else None
    if mask is not None:
        mask[..., 0] = True
    full = attend(*qkv, 4, extra=more, mask=mask, causal=bool(causal))
    half = attend(*(t.bfloat16() for t in qkv), 4, extra=more, mask=mask, causal=bool(causal))
    torch.testing.assert_close(half.float(), full, rtol=0.05, atol=0.03)


@pytest.mark.parametrize("modality", MODALITIES)
def test_eight_bits_lose_little(modality: str) -> None:
    model = tiny(modality)
    plain = rows(model, modality)
    quantized = rows(bindplug.quantize(model), modality)
    cosine = float(F.cosine_similarity(quantized, plain).min())
    assert 0.999 <= cosine < 1 - 1e-9


def test_eight_bits_are_a_quarter_of_the_bytes() -> None:
    weight = torch.randn(256, 128)
    layer = Int8Linear(weight, torch.zeros(256))
    stored = layer.weight.nbytes + layer.scale.nbytes
    assert stored <= 0.26 * weight.nbytes
    # rounding is to half a step of each row
    step = weight.abs().amax(1, keepdim=True) / 127
    assert ((layer(torch.eye(128)).T - weight).abs() <= step * 0.501).all()


def test_a_row_of_zeros_stays_zero() -> None:
    layer = Int8Linear(torch.zeros(2, 3), torch.tensor([0.5, -1.0]))
    torch.testing.assert_close(layer(torch.ones(1, 3)), torch.tensor([[0.5, -1.0]]))


@pytest.mark.parametrize("change", [pytest.param(bindplug.pack, marks=needs_packing), bindplug.quantize])
def test_what_it_cannot_do_is_refused(change) -> None:
    model = change(tiny("image"))
    with pytest.raises(InputError, match="plain weights"):
        model.state_dict()
    with pytest.raises(InputError, match="Load the model again"):
        model.to(torch.float64)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    with pytest.raises(InputError, match="gradients"):
        model.encode_image(example("image").requires_grad_())
    for again in (bindplug.pack, bindplug.quantize, bindplug.compile):
        with pytest.raises(InputError, match="packed or quantized"):
            again(model)
    assert model.to("cpu") is model
    assert model.train().eval() is model


@pytest.mark.parametrize("change", [pytest.param(bindplug.pack, marks=needs_packing), bindplug.quantize])
def test_it_works_outside_inference_mode_and_through_pickle(change) -> None:
    model = change(tiny("depth"))
    before = model.encode_depth(example("depth"))
    assert not before.requires_grad
    torch.testing.assert_close(pickle.loads(pickle.dumps(model)).encode_depth(example("depth")), before)


@pytest.mark.parametrize("change", [bindplug.pack, bindplug.quantize, bindplug.compile])
def test_other_models_are_refused(change) -> None:
    with pytest.raises(InputError, match=r"a Linear; expected a model that bindplug\.load"):
        change(torch.nn.Linear(2, 2))


@pytest.mark.parametrize("dtype", [torch.float64, torch.int8])
def test_a_dtype_without_packed_products_says_so(dtype: torch.dtype) -> None:
    assert "no torch." in packing_obstacle(dtype)


def test_no_packing_without_the_operators(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object) -> None:
        raise RuntimeError("no such operator\nand a trace")

    monkeypatch.setattr(PackedLinear, "__init__", gone)
    assert packing_obstacle(torch.float32).endswith("packs in another way (no such operator)")
    with pytest.raises(InputError, match="works as it is"):
        bindplug.pack(tiny("imu"))


def test_embed_on_a_packed_model_gives_the_same_rows() -> None:
    queries = [
        bindplug.text("a dog"),
        bindplug.text("a train at night") - 0.2 * bindplug.text("rain"),
    ]
    model = tiny("text")
    plain = model.embed(queries)
    torch.testing.assert_close(bindplug.quantize(model).embed(queries), plain, rtol=0, atol=0.02)


@torch.no_grad()
def test_compiling_does_not_follow_the_batch() -> None:
    from torch._dynamo.testing import CompileCounter

    torch._dynamo.reset()
    counter = CompileCounter()
    model = tiny("depth")
    plain = {n: model.encode_depth(example("depth", n)) for n in (2, 3, 5, 8)}
    bindplug.compile(model, backend=counter)
    for count, expected in plain.items():
        compiled = model.encode_depth(example("depth", count))
        torch.testing.assert_close(compiled, expected, rtol=1e-4, atol=1e-5)
    assert counter.frame_count == 1
