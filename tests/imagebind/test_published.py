"""The published figures: their inputs, and that verification can pass and fail."""

from __future__ import annotations

import json

import pytest
import torch

from bindplug.imagebind import ImageBind, published_figures
from bindplug.imagebind.published_figures import SEEDED_VECTORS, seeded_inputs, verify


def test_seeded_inputs_are_those_of_a_seeded_global_generator() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        ids = (torch.rand(3, 77) * 10).long()
        pixels = torch.rand(3, 3, 224, 224)
        audio = torch.rand(3, 3, 1, 128, 204)
    inputs = seeded_inputs()
    assert torch.equal(inputs["text"], ids)
    assert torch.equal(inputs["vision"], pixels)
    assert torch.equal(inputs["audio"], audio)


@pytest.fixture
def tokenised(tiny: ImageBind) -> ImageBind:
    tiny.__dict__["tokenizer"] = lambda texts: torch.tensor(
        [[49406, 320 + i, 49407] for i in range(len(texts))]
    )
    return tiny


def test_other_weights_fail(tokenised: ImageBind) -> None:
    report = verify(tokenised, images=torch.randn(3, 3, 224, 224), sounds=torch.randn(3, 3, 1, 128, 204))
    assert not report.passed
    assert [check.name for check in report.checks] == [
        "seeded text vector",
        "seeded vision vector",
        "seeded audio vector",
        "vision x text",
        "audio x text",
        "vision x audio",
    ]
    assert not report.skipped
    assert "FAIL seeded text vector" in str(report)
    json.dumps(report.to_dict())


@pytest.mark.parametrize("form", ["official", "unit", "raw"])
def test_the_form_that_fits_is_found(
    tokenised: ImageBind, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    inputs = seeded_inputs()
    with torch.inference_mode():
        rows = {
            "official": lambda m: tokenised({m: inputs[m]})[m],
            "unit": lambda m: tokenised.encode(m, inputs[m], normalize=True),
            "raw": lambda m: tokenised.encode(m, inputs[m]),
        }[form]
        vectors = {name: tuple(rows(name)[0, :5].tolist()) for name in SEEDED_VECTORS}
    monkeypatch.setattr(published_figures, "SEEDED_VECTORS", vectors)
    report = verify(tokenised)
    assert report.passed
    assert {check.form for check in report.checks if check.name != "seeded vision vector"} == {form}
    assert set(report.skipped) == {"vision x text", "audio x text", "vision x audio"}


def test_absent_towers_are_skipped_not_passed(tiny: ImageBind) -> None:
    model = ImageBind.from_official(tiny.official_state_dict(), tiny.config, modalities={"imu"})
    report = verify(model)
    assert not report.passed
    assert len(report.skipped) == 6
    assert "the audio tower is not loaded" in str(report)
