"""`bindplug convert` and `bindplug verify`."""

from __future__ import annotations

import json
import shutil
import sys

import pytest
import torch
from safetensors.torch import load_file

import bindplug as package
from bindplug.imagebind import read_manifest


def test_round_trip_through_the_official_layout(bindplug, model_directory, tmp_path):
    official = tmp_path / "small.pth"
    ran = bindplug("convert", model_directory, official, "--to", "official", "--json")
    assert ran.code == 0
    assert set(ran.json["towers"]) == {"vision", "text", "audio", "depth", "thermal", "imu"}
    config = tmp_path / "config.json"
    config.write_text(json.dumps(read_manifest(model_directory)["config"]))
    back = tmp_path / "back"
    ran = bindplug(
        "convert", official, back, "--config", config, "--license", "MIT", "--modalities", "audio,text"
    )
    assert ran.code == 0
    assert read_manifest(back)["license"] == "MIT"
    assert sorted(path.name for path in back.iterdir()) == [
        "audio.safetensors",
        "config.json",
        "text.safetensors",
    ]
    first, second = (package.load(path, modalities={"audio"}) for path in (model_directory, back))
    x = torch.randn(1, 1, 128, 204)
    torch.testing.assert_close(first.encode_audio(x), second.encode_audio(x))


def test_shape_is_asked_for_where_weights_do_not_tell(bindplug, model_directory, tmp_path):
    official = tmp_path / "small.pth"
    bindplug("convert", model_directory, official, "--to", "official")
    (tmp_path / "small.config.json").unlink()
    ran = bindplug("convert", official, tmp_path / "back")
    assert ran.code == 1
    assert "config" in ran.err
    assert not (tmp_path / "back").exists()


def test_half_precision(bindplug, model_directory, tmp_path):
    half = tmp_path / "half"
    assert bindplug("convert", model_directory, half, "--dtype", "float16").code == 0
    assert package.load(half, modalities={"imu"}, dtype="auto").dtype == torch.float16
    assert bindplug("convert", half, tmp_path / "again").code == 0
    assert read_manifest(tmp_path / "again")["dtype"] == "float16", "what is not asked for is not changed"
    assert read_manifest(half)["license"] == "Apache-2.0", "the license goes with the weights"


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_open_clip_and_back(bindplug, model_directory, tmp_path, suffix):
    theirs = tmp_path / f"clip{suffix}"
    assert bindplug("convert", model_directory, theirs, "--to", "open-clip").code == 0
    state = load_file(theirs) if suffix == ".safetensors" else torch.load(theirs, weights_only=True)
    assert {"visual.proj", "text_projection", "logit_scale"} <= set(state)
    config = tmp_path / "config.json"
    config.write_text(json.dumps(read_manifest(model_directory)))
    back = tmp_path / "back"
    assert bindplug("convert", theirs, back, "--from", "open-clip", "--config", config).code == 0
    first, second = (package.load(path, modalities={"image", "text"}) for path in (model_directory, back))
    torch.testing.assert_close(
        first.embed([package.text("a dog")]), second.embed([package.text("a dog")]), atol=1e-5, rtol=1e-5
    )
    x = torch.randn(2, 3, 224, 224)
    torch.testing.assert_close(first.encode_image(x), second.encode_image(x), atol=1e-4, rtol=1e-4)


def test_nothing_is_overwritten_unasked(bindplug, model_directory, tmp_path):
    taken = tmp_path / "taken.pth"
    taken.write_bytes(b"precious")
    ran = bindplug("convert", model_directory, taken, "--to", "official")
    assert ran.code == 2
    assert "--overwrite" in ran.err
    assert taken.read_bytes() == b"precious"
    assert bindplug("convert", model_directory, taken, "--to", "official", "--overwrite").code == 0
    assert taken.stat().st_size > 1000


def test_a_small_network_survives_the_official_layout(bindplug, model_directory, tmp_path):
    """Shapes do not tell the number of heads: it is written beside the weights."""
    path = tmp_path / "small.pth"
    assert bindplug("convert", model_directory, path, "--to", "official").code == 0
    before, after = package.load(model_directory), package.load(path)
    assert after.embedding_space == before.embedding_space
    words = [package.text("a dog"), package.text("a car")]
    torch.testing.assert_close(after.embed(words), before.embed(words), atol=1e-6, rtol=0)
    assert bindplug("convert", path, tmp_path / "again").code == 0
    (tmp_path / "small.config.json").write_text("[]")
    ran = bindplug("compare", "--text", "a", "--text", "b", "--model", path)
    assert ran.code == 1
    assert "small.config.json" in ran.err


def test_open_clip_layout_names_the_towers_that_it_wrote(bindplug, model_directory, tmp_path):
    ran = bindplug("convert", model_directory, tmp_path / "clip.safetensors", "--to", "open-clip", "--json")
    assert ran.json["towers"] == ["vision", "text"]
    ran = bindplug(
        "convert",
        model_directory,
        tmp_path / "x.pt",
        "--to",
        "open-clip",
        "--modalities",
        "image",
        "--modalities",
        "audio",
    )
    assert ran.code == 2
    assert "image,text" in ran.err


@pytest.mark.parametrize("content", [b"", b"no weights", b"PK\x03\x04 cut"])
def test_damaged_sources_are_refused(bindplug, tmp_path, content):
    source = tmp_path / "damaged.pth"
    source.write_bytes(content)
    for origin in ("imagebind", "open-clip"):
        ran = bindplug("convert", source, tmp_path / "out", "--from", origin)
        assert ran.code == 1
        assert "damaged.pth" in ran.err
        assert ran.err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["damaged.pth"]


def test_verify_confirms_a_directory(bindplug, model_directory):
    ran = bindplug("verify", model_directory, "--json")
    assert ran.code == 0
    (result,) = ran.json
    assert result["passed"] is True
    assert [check["name"] for check in result["checks"]].count("loads") == 1
    assert len(result["checks"]) == 7
    assert "ok" in bindplug("verify", model_directory).out


def test_verify_finds_damage(bindplug, model_directory, tmp_path):
    damaged = shutil.copytree(model_directory, tmp_path / "damaged")
    file = damaged / "depth.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    (damaged / "imu.safetensors").unlink()
    ran = bindplug("verify", damaged)
    assert ran.code == 1
    assert "FAIL depth.safetensors" in ran.out
    assert "FAIL imu.safetensors: missing" in ran.out
    assert "ok   audio.safetensors" in ran.out


def test_verify_loads_other_layouts_though_they_record_no_checksums(bindplug):
    ran = bindplug("verify", "toy_clap", "--json")
    assert ran.code == 0
    assert [(check["name"], check["passed"]) for check in ran.json[0]["checks"]] == [
        ("checksums", None),
        ("loads", True),
    ]


def test_verify_of_all_passes_over_models_whose_package_is_absent(bindplug, monkeypatch):
    monkeypatch.setattr("bindplug.cli.verify._names_here", lambda: ["toy_clap"])
    monkeypatch.setitem(sys.modules, "transformers", None)
    ran = bindplug("verify")
    assert ran.code == 0
    assert "skip loads" in ran.out
    assert "bindplug[transformers]" in ran.out
    assert bindplug("verify", "toy_clap").code == 1


def test_verify_of_something_absent(bindplug, tmp_path):
    ran = bindplug("verify", tmp_path / "absent.pth")
    assert ran.code == 1
    assert "absent.pth" in "".join(ran.out.split()), "long paths are wrapped"


def test_published_figures_that_differ_fail(bindplug, model_directory, monkeypatch):
    """A model with the published network's shape but other weights must not pass."""
    monkeypatch.setattr("bindplug.cli.verify.has_published_shape", lambda model: True)
    ran = bindplug("verify", model_directory, "--json")
    assert ran.code == 1
    checks = {check["name"]: check for result in ran.json for check in result["checks"]}
    seeded = [check for name, check in checks.items() if "seeded" in name]
    assert len(seeded) == 3
    assert not any(check["passed"] for check in seeded)
    assert any(check["passed"] is None and "--samples" in check["note"] for check in checks.values())
