"""Encoders at hand: named, bundled, and of other libraries, whose own rows are recognized."""

import json

import numpy as np
import pytest
from PIL import Image

from bindplug_search.adopt import adopt, encoders_at_hand
from bindplug_search.adopt.candidates import cached_names


@pytest.fixture
def no_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_named_encoders_come_first_and_bundled_ones_follow(no_cache):
    names = [candidate.name for candidate in encoders_at_hand(["toy_foreign_clip", "some/path"])]
    assert names[:2] == ["toy_foreign_clip", "some/path"]
    assert "imagebind_tiny" in names[2:]
    assert len(names) == len(set(names))


def test_an_encoder_that_cannot_be_loaded_is_passed_over(no_cache, adopt_world):
    np.save(adopt_world.directory / "named.npy", adopt_world.rows["imagebind_tiny"])
    adoption = adopt(
        adopt_world.directory / "named.npy",
        [*encoders_at_hand(["no/such/model"])[:1], *adopt_world.candidates],
        paths=str(adopt_world.directory / "paths.txt"),
        progress=False,
        write=False,
    )
    assert adoption.identification.verdict == "identified"
    assert any(line.startswith("no/such/model: ") for line in adoption.identification.passed_over)


def test_clips_in_the_cache_of_hugging_face_are_at_hand(no_cache):
    for name, kind, weights in (
        ("openai--clip", "clip", "model.safetensors"),
        ("google--bert", "bert", "model.safetensors"),
        ("half--here", "clip", "nothing.txt"),
    ):
        snapshot = no_cache / f"models--{name}" / "snapshots" / "abc"
        snapshot.mkdir(parents=True)
        (snapshot / "config.json").write_text(json.dumps({"model_type": kind}))
        (snapshot / weights).touch()
    assert cached_names() == ["transformers:openai/clip"]
    assert "transformers:openai/clip" in [candidate.name for candidate in encoders_at_hand([])]


def test_rows_that_transformers_made_are_recognized(no_cache, tmp_path, adopt_world):
    """The rows are those of transformers' own CLIPModel and processor, as people compute them: not normalized."""
    transformers = pytest.importorskip("transformers")
    import torch

    from tests.small_foreign import clip

    directory = clip(tmp_path / "clip")
    model = transformers.CLIPModel.from_pretrained(directory).eval()
    processor = transformers.AutoImageProcessor.from_pretrained(directory)
    names = adopt_world.names[:24]
    pictures = [Image.open(adopt_world.pictures / name).convert("RGB") for name in names]
    with torch.inference_mode():
        features = model.get_image_features(**processor(images=pictures, return_tensors="pt"))
    rows = getattr(features, "pooler_output", features).numpy()
    np.savez(tmp_path / "rows.npz", clip=rows, path=np.array(names))
    candidates = encoders_at_hand([f"transformers:{directory}"])[:1]
    adoption = adopt(tmp_path / "rows.npz", candidates, root=adopt_world.pictures, progress=False)
    identification = adoption.identification
    assert identification.verdict == "identified", identification.reason
    assert adoption.record.encoder == f"transformers:{directory}"
    assert adoption.record.space.width == 24
    assert any("unnormalized" in line or "scaled" in line for line in identification.remarks)
