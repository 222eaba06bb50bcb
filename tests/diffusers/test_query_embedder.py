"""The way from a query to a direction: recentering, prototypes, bridges."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import bindplug
from bindplug import audio, embedding, image, text
from bindplug.embed import SkippedInputs
from bindplug.errors import CheckpointError, InputError, SpaceMismatch
from bindplug.space import EmbeddingSpace
from bindplug.testing import FAKE_SPACE, FakeEncoder
from bindplug_diffusers import Prototypes
from bindplug_diffusers.query_embedder import QueryEmbedder
from tests.diffusers import tiny

SOUND, PICTURE, WORDS = audio("a.wav"), image("b.png"), text("c")


@pytest.fixture
def centered(model):
    """An encoder that ships centers of image and audio, not of text."""
    generator = torch.Generator().manual_seed(2)
    model.centers = {name: torch.randn(16, generator=generator) * 0.3 for name in ("image", "audio")}
    return model


def rows_of(*queries, **how):
    return QueryEmbedder(**how).embed(queries)


def test_recentering_is_on_where_the_centers_are(centered):
    by_default = rows_of(SOUND, WORDS, PICTURE, SOUND + WORDS, model=centered)
    assert torch.equal(by_default[0], centered.embed([SOUND], recenter="image")[0])
    assert torch.equal(by_default[1], centered.embed([WORDS])[0])
    assert torch.equal(by_default[3], centered.embed([SOUND + WORDS])[0])
    assert not torch.equal(by_default[0], centered.embed([SOUND])[0])


def test_recentering_can_be_forced_and_forbidden(centered):
    assert torch.equal(rows_of(SOUND, model=centered, recenter=False), centered.embed([SOUND]))
    with pytest.raises(InputError, match="no center of text"):
        rows_of(WORDS, model=centered, recenter=True)
    upgraded = bindplug.upgrade(tiny.unclip(), centered)
    moved, unmoved = (
        upgraded.conditioning(SOUND, **how)["image_embeds"] for how in ({}, {"recenter": False})
    )
    assert not torch.allclose(moved, unmoved)


def test_a_model_without_centers_is_left_alone(model):
    assert torch.equal(rows_of(SOUND, model=model), model.embed([SOUND]))
    with pytest.raises(InputError, match="Measure it"):
        rows_of(SOUND, model=model, recenter=True)


def test_vectors_of_unknown_modality_are_not_recentered(centered):
    vector = embedding(torch.ones(16), FAKE_SPACE)
    assert torch.allclose(rows_of(vector, model=centered), torch.full((1, 16), 0.25))


def prototypes(count=5, **how):
    rows = torch.randn(count, 16, generator=torch.Generator().manual_seed(1))
    return Prototypes(rows, FAKE_SPACE, **how)


def test_prototypes_lead_other_modalities_and_leave_images(model):
    some = prototypes()
    plain, led = rows_of(SOUND, PICTURE, model=model), rows_of(SOUND, PICTURE, model=model, prototypes=some)
    assert torch.equal(plain[1], led[1])
    cosines = some.rows @ plain[0]
    mean = torch.nn.functional.normalize((20 * cosines).softmax(0) @ some.rows, dim=0)
    expected = torch.nn.functional.normalize(0.5 * plain[0] + 0.5 * mean, dim=0)
    assert torch.allclose(led[0], expected, atol=1e-6)


@given(st.integers(1, 8), st.floats(0.1, 60), st.floats(0, 1))
@settings(max_examples=30)
def test_blends_are_unit_and_go_from_the_query_to_the_images(top_k, scale, weight):
    some = prototypes(top_k=top_k, scale=scale, weight=weight)
    rows = torch.nn.functional.normalize(
        torch.randn(3, 16, generator=torch.Generator().manual_seed(4)), dim=1
    )
    blended = some.blend(rows)
    assert torch.allclose(blended.norm(dim=1), torch.ones(3), atol=1e-5)
    if weight == 0:
        assert torch.allclose(blended, rows, atol=1e-6)
    nearest = some.nearest(rows)
    assert all(len(listed) == min(top_k, 5) for listed in nearest)
    assert all(listed[0][1] >= listed[-1][1] for listed in nearest)


def test_one_prototype_of_full_weight_is_where_all_queries_go():
    some = prototypes(weight=1.0, top_k=1)
    assert torch.allclose(some.blend(some.rows[:2]), some.rows[:2], atol=1e-6)
    assert [listed[0][0] for listed in some.nearest(some.rows[:2])] == ["image 0", "image 1"]


def test_prototypes_of_a_folder_are_saved_and_loaded(model, tmp_path):
    folder = tmp_path / "pictures"
    (folder / "more").mkdir(parents=True)
    for name, color in (("b.png", "red"), ("more/a.jpg", "blue"), ("note.txt", "")):
        if color:
            Image.new("RGB", (8, 8), color).save(folder / name)
        else:
            (folder / name).write_text("no picture")
    made = Prototypes.from_folder(model, folder, top_k=3)
    assert (len(made), made.names, made.top_k) == (2, ("b.png", "more/a.jpg"), 3)
    made.save(tmp_path / "p.safetensors")
    loaded = Prototypes.load(tmp_path / "p.safetensors")
    assert torch.equal(loaded.rows, made.rows)
    assert (loaded.names, loaded.space, loaded.top_k) == (made.names, made.space, 3)
    pipe = tiny.unclip()
    found = [
        bindplug.upgrade(pipe, model, prototypes=p).conditioning(SOUND)["image_embeds"]
        for p in (folder, tmp_path / "p.safetensors", str(tmp_path / "p.safetensors"))
    ]
    assert torch.equal(found[1], found[2])
    assert not torch.allclose(found[1], bindplug.upgrade(pipe, model).conditioning(SOUND)["image_embeds"])
    called = bindplug.upgrade(pipe, model).conditioning(SOUND, prototypes=made)["image_embeds"]
    assert torch.equal(called, found[1])


@given(st.integers(0, 2**32 - 1), st.sampled_from([2, 16, 1024]), st.floats(-6, 6))
def test_prototypes_made_of_prototypes_are_the_same_bit_for_bit(seed, width, magnitude):
    """A row normalized again may move by a rounding; what was saved must be what is loaded."""
    rows = 10**magnitude * torch.randn(50, width, generator=torch.Generator().manual_seed(seed))
    made = Prototypes(rows, EmbeddingSpace("some:space", width))
    assert torch.allclose(made.rows.norm(dim=1), torch.ones(50), atol=1e-6)
    assert torch.equal(Prototypes(made.rows, made.space).rows, made.rows)


@pytest.fixture
def shipping(tmp_path):
    """A pipeline loaded from a directory that holds prototypes of its own."""
    tiny.unclip(encoder=False).save_pretrained(tmp_path / "pipe")
    prototypes(weight=0.7).save(tmp_path / "pipe" / "prototypes.safetensors")
    return type(tiny.unclip()).from_pretrained(tmp_path / "pipe", image_encoder=None)


def embeds(upgraded, **how):
    return upgraded.conditioning(SOUND, **how)["image_embeds"]


def test_a_pipelines_own_prototypes_are_the_default(model, shipping):
    by_default = bindplug.upgrade(shipping, model)
    own = by_default.embedder.prototypes
    assert torch.equal(own.rows, prototypes().rows)
    assert own.weight == 0.7
    without = bindplug.upgrade(shipping, model, prototypes=False)
    assert without.embedder.prototypes is None
    assert torch.equal(embeds(by_default, prototypes=False), embeds(without))
    assert torch.equal(embeds(without, prototypes=own), embeds(by_default))
    assert not torch.allclose(embeds(without), embeds(by_default))
    others = bindplug.upgrade(shipping, model, prototypes=prototypes(count=2))
    assert len(others.embedder.prototypes) == 2


def test_prototypes_are_saved_with_the_pipeline(model, shipping, tmp_path):
    upgraded = bindplug.upgrade(shipping, model)
    upgraded.save_pretrained(tmp_path / "saved")
    again = type(shipping).from_pretrained(tmp_path / "saved", image_encoder=None)
    assert torch.equal(embeds(bindplug.upgrade(again, model)), embeds(upgraded))
    without = bindplug.upgrade(shipping, model, prototypes=False)
    without.save_pretrained(tmp_path / "without")
    assert not (tmp_path / "without" / "prototypes.safetensors").exists()


def test_a_pipelines_own_prototypes_are_for_the_space_they_are_of(shipping):
    other = FakeEncoder(space=EmbeddingSpace("another", 16))
    assert bindplug.upgrade(shipping, other).embedder.prototypes is None


def test_damaged_prototypes_of_a_pipeline_are_told(model, shipping, tmp_path):
    (tmp_path / "pipe" / "prototypes.safetensors").write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match=r"pipe/prototypes\.safetensors is no whole file"):
        bindplug.upgrade(shipping, model)
    assert bindplug.upgrade(shipping, model, prototypes=False).embedder.prototypes is None


def test_a_pipeline_made_in_code_has_none(model, tmp_path, monkeypatch):
    prototypes().save(tmp_path / "prototypes.safetensors")
    monkeypatch.chdir(tmp_path)
    assert bindplug.upgrade(tiny.unclip(), model).embedder.prototypes is None


def test_unreadable_images_are_told(tmp_path, monkeypatch):
    """With a real reader: the fake one opens no file."""
    from bindplug.inputs import ImagePreprocess

    model = FakeEncoder()
    reader = ImagePreprocess(image_size=8)
    model.preprocess = {"image": reader}
    monkeypatch.setattr(model, "encode", lambda name, x, normalize=False: x.flatten(1)[:, :16])
    Image.new("RGB", (8, 8), "red").save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with pytest.warns(SkippedInputs, match="bad.png"):
        made = Prototypes.from_folder(model, tmp_path)
    assert made.names == ("good.png",)
    (tmp_path / "good.png").unlink()
    with pytest.warns(SkippedInputs), pytest.raises(InputError, match="no image that can be read"):
        Prototypes.from_folder(model, tmp_path)


def test_bad_prototypes_are_refused(model, tmp_path):
    for rows in (
        torch.ones(2, 15),
        torch.empty(0, 16),
        torch.zeros(2, 16),
        torch.full((2, 16), math.nan),
        torch.full((2, 16), 1e30),
    ):
        with pytest.raises(InputError, match="Prototypes"):
            Prototypes(rows, FAKE_SPACE)
    with pytest.raises(InputError, match="weight in"):
        prototypes(weight=2.0)
    with pytest.raises(InputError, match="3 names"):
        prototypes(names=("a", "b", "c"))
    with pytest.raises(InputError, match="no such folder"):
        Prototypes.from_folder(model, tmp_path / "absent")
    with pytest.raises(InputError, match="no image"):
        Prototypes.from_folder(model, tmp_path)
    (tmp_path / "p.safetensors").write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match=r"p\.safetensors"):
        Prototypes.load(tmp_path / "p.safetensors")
    with pytest.raises(CheckpointError, match=r"there is no file .*absent"):
        bindplug.upgrade(tiny.unclip(), model, prototypes=tmp_path / "absent")
    with pytest.raises(InputError, match="Prototypes"):
        QueryEmbedder(model, prototypes=3)
    other = Prototypes(torch.ones(1, 16), EmbeddingSpace("elsewhere", 16))
    with pytest.raises(SpaceMismatch, match="elsewhere"):
        QueryEmbedder(model, prototypes=other)


class Bridge:
    """Doubles the width: to another CLIP's space."""

    kind, target_mean, modalities = "linear", None, ("text", "audio", "image")
    source, target = FAKE_SPACE, EmbeddingSpace("open_clip:ViT-bigG-14:laion2b_s39b_b160k", 32)

    def __init__(self):
        self.mapped = []

    def __call__(self, rows, modality="text"):
        self.mapped += modality
        return torch.nn.functional.normalize(torch.cat([rows, -rows], dim=1), dim=1)


def test_a_bridge_leads_into_another_clips_space(model):
    pipe, bridge = tiny.stable_diffusion(width=32), Bridge()
    with pytest.raises(SpaceMismatch, match="takes embeddings of 32 numbers"):
        bindplug.upgrade(pipe, model)
    upgraded = bindplug.upgrade(pipe, model, bridge=bridge)
    rows = upgraded.conditioning(SOUND, guidance_scale=1.0)["ip_adapter_image_embeds"][0]
    assert rows.shape == (1, 1, 32)
    assert bridge.mapped == ["audio"]
    assert torch.allclose(rows[:, 0].norm(dim=1), torch.tensor(20.0))
    assert upgraded(SOUND, num_inference_steps=1, output_type="np").images.shape == (1, 16, 16, 3)


def test_rows_led_to_images_cross_the_bridge_as_images(model):
    bridge = Bridge()
    rows_of(SOUND, WORDS, model=model, bridge=bridge, prototypes=prototypes())
    assert bridge.mapped == ["image", "image"]


def test_wrong_bridges_are_refused(model, tmp_path):
    bridge = Bridge()
    with pytest.raises(SpaceMismatch, match="takes embeddings of 16 numbers"):
        bindplug.upgrade(tiny.unclip(), model, bridge=bridge)
    bridge.source = EmbeddingSpace("elsewhere", 16)
    with pytest.raises(SpaceMismatch, match="elsewhere"):
        bindplug.upgrade(tiny.stable_diffusion(width=32), model, bridge=bridge)
    with pytest.raises(InputError, match="bridge: a int"):
        bindplug.upgrade(tiny.unclip(), model, bridge=3)
    with pytest.raises(bindplug.BindplugError, match="absent"):
        bindplug.upgrade(tiny.unclip(), model, bridge=tmp_path / "absent")
