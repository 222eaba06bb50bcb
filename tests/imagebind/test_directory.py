"""Model directories: round trips, checksums, and refusals that name the tower."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from bindplug.errors import CheckpointError, WeightsNotFound
from bindplug.imagebind import ImageBind, load_directory, read_manifest, save_directory
from bindplug.query import embedding
from bindplug.space import EmbeddingSpace

TOWERS = ("vision", "text", "audio", "depth", "thermal", "imu")


@pytest.fixture
def saved(tiny: ImageBind, tmp_path: Path) -> Path:
    return save_directory(tiny, tmp_path / "tiny", license="Apache-2.0", source="made by name")


def test_round_trip_is_bit_equal(tiny: ImageBind, saved: Path) -> None:
    loaded = load_directory(saved)
    expected = tiny.official_state_dict()
    exported = loaded.official_state_dict()
    assert exported.keys() == expected.keys()
    assert all(torch.equal(exported[name], expected[name]) for name in expected)
    assert loaded.config == tiny.config
    assert loaded.embedding_space == tiny.embedding_space
    assert not loaded.training


def test_files_hold_official_names(saved: Path) -> None:
    assert sorted(p.name for p in saved.iterdir()) == sorted(
        [*(f"{t}.safetensors" for t in TOWERS), "config.json"]
    )
    with safe_open(str(saved / "audio.safetensors"), framework="pt") as file:
        assert "modality_trunks.audio.blocks.0.attn.bias_k" in set(file.keys())
    manifest = read_manifest(saved)
    assert manifest["license"] == "Apache-2.0"
    assert manifest["towers"].keys() == set(TOWERS)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_dtypes(tiny: ImageBind, tmp_path: Path, dtype: torch.dtype) -> None:
    path = save_directory(tiny, tmp_path / "m", dtype=dtype)
    loaded = load_directory(path)
    assert loaded.dtype == dtype
    assert loaded.scale_of("audio") == tiny.scale_of("audio")
    assert load_directory(path, dtype=torch.float32).dtype == torch.float32
    assert torch.equal(loaded.towers["imu"].pos_embed, tiny.towers["imu"].pos_embed.to(dtype))
    with pytest.raises(CheckpointError, match="float64"):
        save_directory(tiny, tmp_path / "n", dtype=torch.float64)


def test_one_tower_needs_only_its_file(tiny: ImageBind, saved: Path) -> None:
    for tower in TOWERS:
        if tower != "imu":
            (saved / f"{tower}.safetensors").unlink()
    model = load_directory(saved, {"imu"})
    assert model.modalities == ("imu",)
    assert model.logit_scale.item() == pytest.approx(tiny.logit_scale.item())
    with pytest.raises(CheckpointError, match="the vision tower is missing"):
        load_directory(saved)


def test_a_part_of_a_model_can_be_saved(tiny: ImageBind, tmp_path: Path) -> None:
    part = ImageBind.from_official(tiny.official_state_dict(), tiny.config, modalities={"audio"})
    path = save_directory(part, tmp_path / "part")
    assert load_directory(path).modalities == ("audio",)
    with pytest.raises(CheckpointError, match="has no text tower; it has audio"):
        load_directory(path, {"text"})


@pytest.mark.parametrize("tower", TOWERS)
def test_damage_is_named(saved: Path, tower: str) -> None:
    file = saved / f"{tower}.safetensors"
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(CheckpointError, match=f"the {tower} tower is damaged.*checksum"):
        load_directory(saved)
    file.write_bytes(content[:-1])
    with pytest.raises(CheckpointError, match=f"the {tower} tower is damaged.*bytes"):
        load_directory(saved)


def test_damaged_manifests(saved: Path, tmp_path: Path) -> None:
    file = saved / "config.json"
    good = json.loads(file.read_text())

    def without(name: str) -> dict[str, object]:
        return {key: value for key, value in good.items() if key != name}

    cases = [
        ("{", "is damaged"),
        ("[]", "does not describe a bindplug model"),
        (json.dumps(without("format")), "does not describe a bindplug model"),
        (json.dumps(good | {"format_version": 9}), "format version 9"),
        (json.dumps(without("towers")), "lacks towers"),
        (json.dumps(good | {"config": {}}), "is damaged"),
        (json.dumps(good | {"embedding_space": {"nom": 1}}), "is damaged"),
        (json.dumps(good | {"towers": {"imu": {}}}), "no checksum of the imu tower"),
        (json.dumps(good | {"similarity_scales": {"imu": -3.0}}), "similarity_scales"),
        (json.dumps(good | {"similarity_scales": {"smell": 3.0}}), "similarity_scales"),
        (json.dumps(good | {"similarity_scales": [3.0]}), "similarity_scales"),
    ]
    for content, message in cases:
        file.write_text(content)
        with pytest.raises(CheckpointError, match=message):
            load_directory(saved)
    file.unlink()
    with pytest.raises(WeightsNotFound, match=r"no config\.json"):
        load_directory(saved)
    with pytest.raises(WeightsNotFound):
        load_directory(tmp_path / "absent")


def test_a_config_of_another_network_is_refused(saved: Path) -> None:
    file = saved / "config.json"
    manifest = json.loads(file.read_text())
    manifest["config"]["imu"]["blocks"] = 3
    file.write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match=r"missing: .*modality_trunks\.imu\.blocks\.2"):
        load_directory(saved)


def test_writing_is_all_or_nothing(tiny: ImageBind, saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CheckpointError, match="exists"):
        save_directory(tiny, saved)
    before = {path.name: path.read_bytes() for path in saved.iterdir()}

    def fail(*args: object, **options: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("bindplug.directories.sha256_of", fail)
    with pytest.raises(OSError, match="disk full"):
        save_directory(tiny, saved, overwrite=True)
    assert {path.name: path.read_bytes() for path in saved.iterdir()} == before
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


def test_overwriting_a_directory_the_model_is_mapped_from(saved: Path) -> None:
    model = load_directory(saved)
    model.set_scale("imu", 9.0)
    save_directory(model, saved, overwrite=True, extra={"note": "again"})
    assert load_directory(saved).scale_of("imu") == pytest.approx(9.0)
    assert read_manifest(saved)["note"] == "again"
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


def test_the_space_is_kept(tiny: ImageBind, tmp_path: Path) -> None:
    tiny.embedding_space = EmbeddingSpace("open_clip:toy:1", 32, "abc")
    assert load_directory(save_directory(tiny, tmp_path / "m")).embedding_space == tiny.embedding_space


def test_fitted_scales_are_kept_beside_those_of_training(
    tiny: ImageBind, saved: Path, tmp_path: Path
) -> None:
    assert load_directory(saved).similarity_scales == {}
    tiny.similarity_scales = {"depth": 13.5, "text": 31.0}
    loaded = load_directory(save_directory(tiny, tmp_path / "m"), {"depth", "text"})
    assert loaded.similarity_scales == tiny.similarity_scales
    assert loaded.scale_of("depth") == pytest.approx(tiny.scale_of("depth"))
    depth, words = (embedding(torch.ones(32), tiny.embedding_space, modality=m) for m in ("depth", "text"))
    assert loaded.scales([depth], [words]).item() == 13.5
    assert loaded.scales([words], [words]).item() == 31.0
