"""Measurements: equality first, rates and shares, memory, and what is drawn of them."""

from __future__ import annotations

import sys
from functools import partial

import pytest
import torch

import bindplug
from bindplug.bench import Measurement, measure
from bindplug.bench.clock import own_rate, passes_needed, square_product
from bindplug.bench.flops import Product
from bindplug.bench.machine import PeakMemory, describe
from bindplug.bench.plan import default_modalities, modality_names, parse_dtypes, prepared
from bindplug.bench.synthetic import synthetic
from bindplug.bench.throughput import products_of, reference_rows
from bindplug.errors import InputError, UnknownModality
from bindplug.imagebind import ImageBind, ImageBindConfig
from bindplug.imagebind.config import TowerConfig
from bindplug.testing import FakeEncoder

TINY = TowerConfig(16, 2, 2, kernel=(32, 32))
CONFIG = ImageBindConfig(
    vision=TowerConfig(16, 2, 2, kernel=(2, 32, 32)),
    text=TowerConfig(16, 2, 2),
    audio=TINY,
    depth=TINY,
    thermal=TINY,
    imu=TowerConfig(16, 2, 2, kernel=(8,)),
    embed_dim=12,
    image_size=64,
    imu_steps=80,
)


def test_every_modality_is_given_what_its_tower_takes() -> None:
    model = ImageBind(CONFIG).eval()
    for modality in model.modalities:
        x = synthetic(model, modality, 2)
        assert reference_rows(model, modality, x).shape == (2, 12)
        assert products_of(model, modality, x)


def test_prompts_are_equally_long() -> None:
    ids = synthetic(ImageBind(CONFIG, ["text"]), "text", 16)
    assert ids.argmax(-1).unique().tolist() == [11]


def test_any_encoder_can_be_measured() -> None:
    model = FakeEncoder()
    x = synthetic(model, "image", 2)
    found = measure(model, "image", x, reference_rows(model, "image", x), dtype="fp32", repeats=2)
    assert found.equal
    assert len(found.items_per_s) == 2
    described = found.to_dict()
    assert described["gflop_per_item"] is described["share_of_square_product"] is None


def test_numbers_are_held_to_their_dtypes_bound() -> None:
    def one(dtype: str, deviation: float, cosine: float) -> bool:
        return Measurement("image", dtype, 1, [1.0], deviation, cosine).equal

    assert one("fp32", 1e-5, 1.0)
    assert not one("fp32", 1e-3, 0.9999999)
    assert one("bf16", 1e-2, 0.9995)
    assert not one("bf16", 1e-2, 0.998)


def test_other_rows_are_noticed() -> None:
    model = ImageBind(CONFIG, ["imu"]).eval()
    x = synthetic(model, "imu", 2)
    wrong = -reference_rows(model, "imu", x)
    found = measure(model, "imu", x, wrong, dtype="bf16", repeats=1)
    assert not found.equal
    assert found.cosine == pytest.approx(-1)


def test_rate_and_shares_follow_from_the_counts() -> None:
    found = Measurement("image", "fp32", 4, [1.0, 2.0, 8.0], 0, 1, flops=8 * 10**9, square_rate=8e9)
    assert found.rate == 4e9
    described = found.to_dict()
    assert (described["gflop_per_item"], described["gflop_per_s"]) == (2.0, 4.0)
    assert described["share_of_square_product"] == 0.5
    assert described["share_of_own_products"] is None


def test_own_rate_needs_blocks() -> None:
    assert own_rate([Product("head", 1, 8, 8)], torch.float32, "cpu") is None
    assert (own_rate([Product("block", 8, 8, 8, 3)], torch.float32, "cpu", 1) or 0) > 0
    assert square_product("cpu", 32).flops == 2 * 32**3


def test_short_work_is_repeated() -> None:
    assert passes_needed(lambda: None) > 100


def test_peak_memory_forgets_what_was_before() -> None:
    held = torch.ones(256 << 20, dtype=torch.uint8)
    before = PeakMemory("cpu").bytes()
    del held
    after = PeakMemory("cpu")
    if not sys.platform.startswith("linux") or not after.known or before is None:
        assert after.bytes() is None or not sys.platform.startswith("linux")
        return
    assert before - (after.bytes() or 0) > 128 << 20


def test_machine_is_described() -> None:
    described = describe()
    assert described["device"] == described["processor"]
    assert described["cores"] >= 1


@pytest.mark.parametrize(
    ("text", "names"),
    [("fp32,bf16", ["fp32", "bf16"]), (" float16 , FP16", ["fp16"]), ("int8,float32", ["int8", "fp32"])],
)
def test_dtypes_by_either_name(text: str, names: list[str]) -> None:
    assert parse_dtypes(text) == names


@pytest.mark.parametrize("text", ["", "fp8", "fp32;bf16"])
def test_unknown_dtypes_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="fp32, bf16, fp16, int8"):
        parse_dtypes(text)


def test_video_is_measured_only_when_named() -> None:
    assert default_modalities(["image", "video", "audio"]) == ["image", "audio"]
    assert default_modalities(["video"]) == ["video"]
    assert modality_names("video, image", ["image", "video"]) == ["video", "image"]
    with pytest.raises(UnknownModality):
        modality_names("smell", ["image"])
    with pytest.raises(InputError, match="some of image"):
        modality_names("audio", ["image"])


def test_variants_go_through_the_public_functions(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []

    def seen(model: FakeEncoder, name: str) -> FakeEncoder:
        called.append(name)
        return model

    for name in ("quantize", "pack", "compile"):
        monkeypatch.setattr(bindplug, name, partial(seen, name=name))
    model = FakeEncoder()
    assert prepared(model, "fp32") is model
    assert called == []
    prepared(model, "int8", packed=True, compiled=True)
    prepared(model, "bf16", packed=True)
    assert called == ["quantize", "compile", "pack"]
