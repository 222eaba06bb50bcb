"""Queries through the real network and the real readers, at a size that costs nothing."""

import numpy as np
import pytest
import torch
from PIL import Image

import bindplug
from bindplug import audio, depth, image, imu, text, thermal, video
from bindplug.errors import CheckpointError, InputError, ModalityNotLoaded
from bindplug.imagebind import ImageBind, ImageBindConfig, TowerConfig, save_directory

RNG = np.random.default_rng(0)
PICTURE = Image.fromarray(RNG.integers(0, 256, (48, 64, 3), dtype=np.uint8))
SOUND = audio(RNG.normal(0, 0.1, 16000 * 3).astype(np.float32), sample_rate=16000)
QUERIES = [
    text("a dog"),
    image(PICTURE),
    video(RNG.integers(0, 256, (20, 48, 64, 3), dtype=np.uint8), fps=10.0),
    SOUND,
    depth(RNG.uniform(0.5, 5.0, (48, 64)).astype(np.float32), preset="metric", unit="m"),
    thermal(RNG.uniform(10, 40, (48, 64)).astype(np.float32), unit="celsius"),
    imu(RNG.normal(0, 1, (6, 1000)).astype(np.float32), sample_rate=200.0),
]


def shape(kernel=()):
    return TowerConfig(width=16, blocks=1, heads=2, kernel=kernel)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    config = ImageBindConfig(
        vision=shape((2, 56, 56)), text=shape(), audio=shape((32, 34)), depth=shape((56, 56)),
        thermal=shape((56, 56)), imu=shape((200,)), embed_dim=24,
    )  # fmt: skip
    return ImageBind(config).eval()


@pytest.fixture(scope="module")
def directory(model, tmp_path_factory):
    return save_directory(model, tmp_path_factory.mktemp("models") / "small", license="Apache-2.0")


def test_every_modality_becomes_a_unit_row_whatever_the_batch(model):
    rows = model.embed(QUERIES)
    assert rows.shape == (7, 24)
    assert torch.allclose(rows.norm(dim=-1), torch.ones(7), atol=1e-5)
    assert torch.allclose(rows, torch.cat([model.embed(query, batch_size=1) for query in QUERIES]), atol=1e-5)


def test_embed_equals_preprocess_and_encode(model):
    leaf = SOUND.terms[0][1]
    x = model.preprocess["audio"](leaf.source, **leaf.options)
    assert torch.allclose(model.embed(SOUND), model.encode_audio(x[None], normalize=True), atol=1e-5)
    sentences = model.tokenizer(["a dog", "a much longer sentence about a dog"])
    expected = model.encode_text(sentences, normalize=True)
    found = model.embed([text("a dog"), text("a much longer sentence about a dog")])
    assert torch.allclose(found, expected, atol=1e-5)


def test_recordings_of_different_numbers_of_clips_share_a_batch(model):
    samples = RNG.normal(0, 0.1, 16000 * 10).astype(np.float32)
    several = [audio(samples, sample_rate=16000, clips=clips) for clips in (1, 3, 5)]
    rows = model.embed(several)
    assert torch.allclose(rows, torch.cat([model.embed(query) for query in several]), atol=1e-5)
    assert not torch.allclose(rows[0], rows[2], atol=1e-3)


def test_unreadable_files_are_skipped_with_their_names(model, tmp_path):
    (tmp_path / "noise.png").write_bytes(b"no picture")
    queries = [image(tmp_path / "noise.png"), QUERIES[0], audio(tmp_path / "absent.wav")]
    report = model.embed_with_report(queries)
    assert report.kept == [1]
    assert ["noise.png" in report.skipped[0].source, "absent.wav" in report.skipped[1].source] == [True, True]
    with pytest.raises(InputError, match=r"noise\.png"):
        model.embed(queries)


def test_a_directory_is_loaded_by_path_whole_or_in_part(model, directory):
    loaded = bindplug.load(directory)
    assert not loaded.training
    assert torch.allclose(loaded.embed(QUERIES), model.embed(QUERIES), atol=1e-6)
    part = bindplug.load(str(directory), modalities={"audio"})
    assert part.modalities == ("audio",)
    assert torch.allclose(part.embed(SOUND), model.embed(SOUND), atol=1e-6)
    with pytest.raises(ModalityNotLoaded, match="'text'"):
        part.similarity([SOUND], [text("a dog")])


def test_half_precision_stays_near(directory, model):
    rows = bindplug.load(directory, dtype="bfloat16").embed(QUERIES)
    assert rows.dtype == torch.float32
    assert torch.allclose(rows, model.embed(QUERIES), atol=0.05)


def test_a_damaged_file_is_refused(directory, tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in directory.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    (copy / "audio.safetensors").write_bytes(b"no weights")
    with pytest.raises(CheckpointError, match=r"audio"):
        bindplug.load(copy)
    assert bindplug.load(copy, modalities={"text"}).modalities == ("text",)


def test_scales_follow_the_network(model):
    assert model.scales([QUERIES[1]], [QUERIES[0]]).item() == pytest.approx(model.logit_scale.exp().item())
    assert model.scales([SOUND], [QUERIES[1]]).item() == pytest.approx(20.0, rel=1e-3)
