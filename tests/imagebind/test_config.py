"""Configs: the published shape, the original's keywords, JSON, and shapes that cannot be."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from bindplug.imagebind import ImageBind, ImageBindConfig, TowerConfig
from bindplug.imagebind.config import default_space
from bindplug.imagebind.official_names import TEXT_MASK, expected_shapes, model_shapes
from bindplug.space import IMAGEBIND_SPACE
from tests.imagebind.synthetic import GOLDEN


@pytest.mark.parametrize("size", ["tiny", "huge"])
def test_every_official_name_and_shape(size: str, tiny_config: ImageBindConfig) -> None:
    keys = json.loads((GOLDEN / f"keys_{size}.json").read_text())
    config = ImageBindConfig.huge() if size == "huge" else tiny_config
    assert {name: list(shape) for name, shape in expected_shapes(config).items()} == {
        name: shape for name, (shape, _) in keys.items()
    }
    assert len(keys) == {"tiny": 211, "huge": 1311}[size]


def test_shapes_of_a_shallow_build_are_those_of_the_whole(tiny_config: ImageBindConfig) -> None:
    built = ImageBind(tiny_config, device="meta").state_dict()
    assert model_shapes(tiny_config) == {name: tuple(tensor.shape) for name, tensor in built.items()}


def test_huge_has_the_published_number_of_parameters() -> None:
    counts: dict[str, float] = {}
    for name, shape in expected_shapes(ImageBindConfig.huge()).items():
        if name != TEXT_MASK and "postprocessors" not in name:
            tower = name.split(".")[1]
            counts[tower] = counts.get(tower, 0) + torch.Size(shape).numel() / 1e6
    assert {tower: round(count, 1) for tower, count in counts.items()} == {
        "vision": 632.8,
        "text": 354.0,
        "audio": 86.2,
        "depth": 21.9,
        "thermal": 86.2,
        "imu": 19.6,
    }


def test_positions_follow_the_patches() -> None:
    huge = ImageBindConfig.huge()
    assert [huge.positions(t) for t in ("vision", "text", "audio", "depth", "thermal", "imu")] == [
        257, 77, 229, 197, 197, 251
    ]  # fmt: skip
    other = replace(
        huge,
        vision=TowerConfig(64, 2, 4, kernel=(2, 28, 28)),
        audio=TowerConfig(64, 2, 4, kernel=(16, 16)),
        depth=TowerConfig(64, 2, 4, kernel=(32, 32)),
        imu=TowerConfig(60, 2, 4, kernel=(20,)),
    )
    assert [other.positions(t) for t in ("vision", "audio", "depth", "imu")] == [65, 97, 50, 101]


def test_json_round_trip(tiny_config: ImageBindConfig) -> None:
    for config in (tiny_config, ImageBindConfig.huge()):
        assert ImageBindConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_official_keywords_describe_huge() -> None:
    description = {"out_embed_dim": 1024, "audio_drop_path": 0.1, "imu_drop_path": 0.7}
    for tower, (width, blocks, heads) in {"vision": (1280, 32, 16), "text": (1024, 24, 16)}.items():
        description |= {
            f"{tower}_embed_dim": width,
            f"{tower}_num_blocks": blocks,
            f"{tower}_num_heads": heads,
        }
    assert ImageBindConfig.from_official(description) == ImageBindConfig.huge()
    assert description["out_embed_dim"] == 1024


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vision_width": 3}, "vision_width"),
        ({"text_num_heads": None}, "text_num_heads"),
        ({"video_frames": 3}, "video_frames 3"),
        ({"text_num_heads": 5}, "not divisible by 5 heads"),
        ({"kernel_size": (2, 500, 500)}, "exceeds its input"),
    ],
)
def test_impossible_keywords_are_refused(change: dict[str, object], message: str) -> None:
    description = json.loads((GOLDEN / "golden_tiny.json").read_text())["config"] | change
    with pytest.raises(ValueError, match=message):
        ImageBindConfig.from_official({k: v for k, v in description.items() if v is not None})


@pytest.mark.parametrize(
    "fields",
    [
        {"width": 0},
        {"heads": 3},
        {"drop_path": 1.0},
        {"head": "cubic"},
        {"kernel": (2, 2), "stride": (2,)},
    ],
)
def test_impossible_towers_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - one message a case, all name what was found
        TowerConfig(**{"width": 64, "blocks": 2, "heads": 4, **fields})


def test_damaged_json_is_refused(tiny_config: ImageBindConfig) -> None:
    description = tiny_config.to_dict()
    with pytest.raises(ValueError, match="not a network's description"):
        ImageBindConfig.from_dict({k: v for k, v in description.items() if k != "imu"})
    with pytest.raises(ValueError, match="not a network's description"):
        ImageBindConfig.from_dict(description | {"smell": 1})


def test_only_the_published_shape_claims_imagebinds_space(tiny_config: ImageBindConfig) -> None:
    assert default_space(ImageBindConfig.huge()) == IMAGEBIND_SPACE
    assert default_space(tiny_config) != IMAGEBIND_SPACE
