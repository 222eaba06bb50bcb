from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from bindplug.errors import CheckpointError, WeightsNotFound
from bindplug.space import EmbeddingSpace
from bindplug_detic.directory import load_directory, save_directory
from tests.detic.toy import toy_classes, toy_images, toy_network

SPACE = EmbeddingSpace("toy:clip:test", 16)
NAMES = ("bell", "drum", "horn", "fiddle")


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return save_directory(
        toy_network(norm="batch"),
        tmp_path / "detector",
        vocabulary=(NAMES, toy_classes()),
        space=SPACE,
        dtype=torch.float32,
        license="Apache-2.0",
        source="a test",
        extra={"calibration": {"threshold": 0.25}},
    )


def edit(path: Path, **values: object) -> None:
    manifest = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(manifest | values))


def test_a_detector_comes_back_as_it_was(saved: Path) -> None:
    loaded = load_directory(saved)
    assert loaded.names == NAMES
    assert loaded.space == SPACE
    assert torch.equal(loaded.embeddings, toy_classes())
    assert loaded.manifest["calibration"] == {"threshold": 0.25}
    assert not loaded.network.training
    assert {file.name for file in saved.iterdir()} == {
        "config.json",
        "network.safetensors",
        "vocabulary.safetensors",
    }
    images = toy_images((64, 96))
    with torch.inference_mode():
        expected = toy_network(norm="batch")(images, toy_classes())[0]
        result = loaded.network(images, loaded.embeddings)[0]
    assert len(result) > 0
    assert torch.equal(result.boxes, expected.boxes)
    assert torch.equal(result.scores, expected.scores)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_storage_in_half_precision(tmp_path: Path, dtype: torch.dtype) -> None:
    network = toy_network(norm="batch")
    path = save_directory(
        network, tmp_path / "half", vocabulary=(NAMES, toy_classes()), space=SPACE, dtype=dtype
    )
    assert load_directory(path).network.dtype == dtype
    whole = load_directory(path, dtype=torch.float32)
    assert whole.network.dtype == torch.float32
    assert torch.equal(whole.embeddings, toy_classes()), "class vectors stay float32"
    weight = network.backbone.top_block.p6.weight
    assert torch.equal(whole.network.backbone.top_block.p6.weight, weight.to(dtype).float())


def test_an_occupied_directory_is_kept(saved: Path) -> None:
    arguments = {"vocabulary": (NAMES[:2], toy_classes(2)), "space": SPACE}
    with pytest.raises(CheckpointError, match="overwrite=True"):
        save_directory(toy_network(), saved, **arguments)
    assert load_directory(saved).names == NAMES
    save_directory(toy_network(), saved, overwrite=True, **arguments)
    assert load_directory(saved).names == NAMES[:2]
    assert [entry.name for entry in saved.parent.iterdir()] == ["detector"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"vocabulary": (NAMES[:3], toy_classes())}, "3 names do not go with"),
        ({"vocabulary": ((), torch.zeros(0, 16))}, "a name for every class"),
        ({"vocabulary": (NAMES, toy_classes(width=8))}, "width 8"),
        ({"space": EmbeddingSpace("toy:clip:test", 12)}, "the space's 12"),
        ({"vocabulary": (NAMES, toy_classes() / 0)}, "not finite"),
        ({"dtype": torch.float64}, "float32, float16, bfloat16"),
    ],
)
def test_what_does_not_belong_together_is_not_written(
    tmp_path: Path, changes: dict[str, object], reason: str
) -> None:
    arguments = {"vocabulary": (NAMES, toy_classes()), "space": SPACE} | changes
    with pytest.raises(CheckpointError, match=reason):
        save_directory(toy_network(), tmp_path / "detector", **arguments)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["network.safetensors", "vocabulary.safetensors"])
def test_a_damaged_file_is_named(saved: Path, name: str) -> None:
    content = bytearray((saved / name).read_bytes())
    content[-1] ^= 1
    (saved / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"{name} .*checksum"):
        load_directory(saved)
    (saved / name).write_bytes(content[:-8])
    with pytest.raises(CheckpointError, match=rf"{name} .*bytes"):
        load_directory(saved)
    (saved / name).unlink()
    with pytest.raises(CheckpointError, match=f"{name} is missing"):
        load_directory(saved)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"format": "bindplug-imagebind"}, "does not describe a detector"),
        ({"format_version": 9}, "format version 9"),
        ({"network": None}, "lacks network"),
        ({"config": {"backbone": "vgg"}}, "backbone must be one of"),
        ({"config": {"depth": 3}}, "unknown fields"),
        ({"embedding_space": {"title": "x"}}, "damaged"),
    ],
)
def test_a_manifest_of_something_else(saved: Path, values: dict[str, object], reason: str) -> None:
    edit(saved, **values)
    with pytest.raises(CheckpointError, match=reason):
        load_directory(saved)


def test_a_config_of_another_network(saved: Path) -> None:
    config = json.loads((saved / "config.json").read_text())["config"]
    edit(saved, config=config | {"mask_convs": 2})
    with pytest.raises(CheckpointError, match=r"missing: roi_heads\.mask_head\.mask_fcn2"):
        load_directory(saved)
    edit(saved, config=config | {"mask_channels": 8})
    with pytest.raises(CheckpointError, match=r"of another shape: roi_heads\.mask_head"):
        load_directory(saved)


def test_names_that_do_not_match_the_vectors(saved: Path) -> None:
    entry = json.loads((saved / "config.json").read_text())["vocabulary"]
    edit(saved, vocabulary=entry | {"names": ["bell"]})
    with pytest.raises(CheckpointError, match="1 names"):
        load_directory(saved)
    edit(saved, vocabulary={key: value for key, value in entry.items() if key != "names"})
    with pytest.raises(CheckpointError, match="lacks names"):
        load_directory(saved)


def test_no_directory(tmp_path: Path) -> None:
    with pytest.raises(WeightsNotFound, match=r"config\.json"):
        load_directory(tmp_path / "nowhere")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match="damaged"):
        load_directory(tmp_path)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path to every entry of a JSON value."""
    entries = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, entry in entries:
        yield (*path, key)
        yield from places(entry, (*path, key))


def test_a_damaged_manifest_is_refused_or_loads(saved: Path) -> None:
    """One entry at a time becomes something else; no other error than a CheckpointError leaves the reader."""
    content = (saved / "config.json").read_text()
    wrong = [None, -1, 0, float("nan"), float("inf"), 2**63, "x", [], {}, [[[]]], True]
    cases = [(place, value) for place in places(json.loads(content)) for value in wrong]
    refused = 0
    for place, value in random.Random(0).sample(cases, 250):
        manifest = json.loads(content)
        parent = manifest
        for key in place[:-1]:
            parent = parent[key]
        parent[place[-1]] = value
        (saved / "config.json").write_text(json.dumps(manifest))
        try:
            load_directory(saved)
        except CheckpointError:
            refused += 1
    assert refused > 150
    (saved / "config.json").write_text("[" * 100_000)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        load_directory(saved)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite(tmp_path: Path, value: float) -> None:
    network = toy_network(norm="batch")
    with torch.no_grad():
        network.proposal_generator.centernet_head.scales[2].scale.fill_(value)
    path = save_directory(network, tmp_path / "nan", vocabulary=(NAMES, toy_classes()), space=SPACE)
    with pytest.raises(CheckpointError, match=r"not finite: .*scales\.2\.scale"):
        load_directory(path)
