"""Every kind of directory of weights, damaged in every way: a CheckpointError names it, and nothing else leaves."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

import bindplug
from bindplug.bridges import LinearBridge, VocabularyBridge, load_bridge
from bindplug.errors import CheckpointError, WeightsNotFound
from bindplug.imagebind import ImageBind, save_directory
from bindplug.space import EmbeddingSpace
from tests.damaged import FILE_DAMAGES, JSON_DAMAGES, TENSOR_DAMAGES, replace, replace_tensors, sign_again
from tests.small import SMALL

HERE, THERE = EmbeddingSpace("test:here", 12), EmbeddingSpace("test:there", 9)


@dataclass(frozen=True)
class Kind:
    """A kind of directory.

    Args:
        build: writes one to a path.
        load: loads it.
        weights: its safetensors files, each with a tensor to damage.
        json: its JSON files.
        manifest: the JSON file with checksums; empty if there is none.
        edits: wrong contents of JSON files, by what is wrong: the file, and what changes in place.
        needs: a package.
    """

    build: Callable[[Path], Any]
    load: Callable[[Path], Any]
    weights: tuple[tuple[str, str], ...] = ()
    json: tuple[str, ...] = ("config.json",)
    manifest: str = ""
    edits: dict[str, tuple[str, Callable[[Any], Any]]] = field(default_factory=dict)
    needs: str = ""


def network() -> ImageBind:
    torch.manual_seed(1)
    return ImageBind(SMALL).eval()


def rows(count: int, width: int) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(count, width) + 0.3, dim=1)


def build_bridge(kind: type, path: Path) -> None:
    source = rows(200, 12)
    options = {"names": [f"word {i}" for i in range(200)]} if kind is VocabularyBridge else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kind.fit(source, source[:, :9], source=HERE, target=THERE, **options).save(path)


def build_detector(path: Path) -> None:
    from bindplug_detic.directory import save_directory as save
    from tests.detic.toy import toy_classes, toy_network

    space = EmbeddingSpace("toy:clip:test", 16)
    save(toy_network(), path, vocabulary=(("a", "b", "c", "d"), toy_classes()), space=space)


def load_detector(path: Path) -> Any:
    from bindplug_detic import Detic

    return Detic.from_pretrained(path)


def transformers_model(name: str, **options: Any) -> tuple[Callable[[Path], Any], Callable[[Path], Any]]:
    def build(path: Path) -> None:
        import bindplug_transformers as bt

        bt.ImageBindModel.from_bindplug(network()).save_pretrained(path)

    def load(path: Path) -> Any:
        import bindplug_transformers as bt

        return getattr(bt, name).from_pretrained(path, **options)

    return build, load


def build_processor(path: Path) -> None:
    import bindplug_transformers as bt

    bt.ImageBindProcessor.from_bindplug(network()).save_pretrained(path)


def load_processor(path: Path) -> Any:
    import bindplug_transformers as bt

    return bt.ImageBindProcessor.from_pretrained(path)


def build_pipeline(path: Path) -> None:
    from tests.diffusers.tiny import unclip

    unclip().save_pretrained(path)


def load_pipeline(path: Path) -> Any:
    from bindplug_diffusers.pipeline_loader import load_pipeline as load

    return load(str(path), "cpu", None)


def build_prototypes(path: Path) -> None:
    from bindplug_diffusers import Prototypes

    path.mkdir()
    Prototypes(rows(8, 12), HERE).save(path / "prototypes.safetensors")


def load_prototypes(path: Path) -> Any:
    from bindplug_diffusers import Prototypes

    return Prototypes.load(path / "prototypes.safetensors")


IMU = "modality_trunks.imu.blocks.0.attn.in_proj_weight"
SCALE = "modality_postprocessors.imu.1.log_logit_scale"
KINDS = {
    "model": Kind(
        lambda path: save_directory(network(), path),
        bindplug.load,
        (("imu.safetensors", IMU), ("imu.safetensors", SCALE)),
        manifest="config.json",
    ),
    "linear bridge": Kind(
        lambda path: build_bridge(LinearBridge, path),
        load_bridge,
        (("bridge.safetensors", "target_mean"),),
        ("card.json",),
        "card.json",
    ),
    "vocabulary bridge": Kind(
        lambda path: build_bridge(VocabularyBridge, path),
        load_bridge,
        (("bridge.safetensors", "center.text"),),
        ("card.json",),
        "card.json",
    ),
    "detector": Kind(
        build_detector,
        load_detector,
        (
            ("network.safetensors", "roi_heads.mask_head.predictor.weight"),
            ("vocabulary.safetensors", "embeddings"),
        ),
        manifest="config.json",
    ),
    "transformers model": Kind(
        *transformers_model("ImageBindModel"),
        (
            ("model.safetensors", "network.towers.imu.blocks.0.attn.q_proj.weight"),
            ("model.safetensors", "network.logit_scale"),
            ("model.safetensors", "network.towers.imu.log_scale"),
        ),
        needs="transformers",
    ),
    "transformers vision tower": Kind(
        *transformers_model("ImageBindVisionModelWithProjection"),
        (("model.safetensors", "network.towers.vision.head.proj.weight"),),
        needs="transformers",
    ),
    "transformers processor": Kind(
        build_processor, load_processor, json=("processor_config.json",), needs="transformers"
    ),
    "pipeline": Kind(
        build_pipeline,
        load_pipeline,
        (
            ("unet/diffusion_pytorch_model.safetensors", "conv_in.weight"),
            ("image_encoder/model.safetensors", "visual_projection.weight"),
        ),
        (
            "model_index.json",
            "unet/config.json",
            "image_encoder/config.json",
            "scheduler/scheduler_config.json",
        ),
        needs="diffusers",
    ),
    "prototypes": Kind(
        build_prototypes, load_prototypes, (("prototypes.safetensors", "rows"),), json=(), needs="diffusers"
    ),
}


RENAMED = ("pipeline", "visual_projection.weight", "another name")
"""transformers itself says of a component which tensors it made anew; the count of numbers is right."""


def cases() -> Iterator[Any]:
    for kind, about in KINDS.items():
        for file in about.json:
            for damage in JSON_DAMAGES:
                yield pytest.param(kind, "json", file, "", damage, id=f"{kind}-{file}-{damage}")
        for file in sorted({file for file, _ in about.weights}):
            for damage in FILE_DAMAGES:
                yield pytest.param(kind, "bytes", file, "", damage, id=f"{kind}-{file}-{damage}")
        for file, tensor in about.weights:
            for damage in TENSOR_DAMAGES:
                if (kind, tensor, damage) != RENAMED:
                    yield pytest.param(kind, "tensor", file, tensor, damage, id=f"{kind}-{tensor}-{damage}")


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A whole directory of a kind, written once."""
    root = tmp_path_factory.mktemp("whole")

    def get(name: str) -> Path:
        kind = KINDS[name]
        if kind.needs:
            pytest.importorskip(kind.needs)
        path = root / name.replace(" ", "-")
        if not path.exists():
            kind.build(path)
            kind.load(path)
        return path

    return get


@pytest.mark.filterwarnings("ignore::bindplug.bridges.BridgeQuality")
@pytest.mark.parametrize(("name", "part", "file", "tensor", "damage"), list(cases()))
def test_damage_is_a_checkpoint_error_that_names_the_place(whole, tmp_path, name, part, file, tensor, damage):
    kind = KINDS[name]
    path = tmp_path / "damaged-place"
    shutil.copytree(whole(name), path)
    if part == "tensor":
        replace_tensors(path / file, TENSOR_DAMAGES[damage], tensor)
        if kind.manifest:
            sign_again(path / kind.manifest)
    else:
        replace(path / file, {"json": JSON_DAMAGES, "bytes": FILE_DAMAGES}[part][damage])
    with pytest.raises((CheckpointError, WeightsNotFound)) as raised:
        kind.load(path)
    assert "damaged-place" in str(raised.value)
