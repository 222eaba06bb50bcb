"""Against open_clip's own CLIP class at a small random configuration, both ways."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bindplug.errors import CheckpointError
from bindplug.imagebind import ImageBind, ImageBindConfig, from_open_clip, to_open_clip
from bindplug.imagebind.official_names import TEXT_MASK, expected_shapes

open_clip_model = pytest.importorskip("open_clip.model")

SHAPE = {
    "out_embed_dim": 40,
    "vision_embed_dim": 64,
    "vision_num_blocks": 3,
    "vision_num_heads": 4,
    "text_embed_dim": 48,
    "text_num_blocks": 2,
    "text_num_heads": 3,
}


@pytest.fixture
def config() -> ImageBindConfig:
    return ImageBindConfig.from_official(SHAPE)


@pytest.fixture
def clip() -> nn.Module:
    torch.manual_seed(0)
    model = open_clip_model.CLIP(
        embed_dim=40,
        vision_cfg={"image_size": 224, "layers": 3, "width": 64, "head_width": 16, "patch_size": 14},
        text_cfg={"context_length": 77, "vocab_size": 49408, "width": 48, "heads": 3, "layers": 2},
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model.eval()


def with_our_epsilon(clip: nn.Module) -> nn.Module:
    for module in clip.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = 1e-6
    return clip


def batches() -> tuple[torch.Tensor, torch.Tensor]:
    ids = torch.zeros(3, 77, dtype=torch.long)
    for row, length in enumerate((1, 12, 76)):
        ids[row, :length] = torch.randint(1, 40000, (length,))
        ids[row, length] = 49407
    return torch.randn(2, 3, 224, 224), ids


def converted(clip: nn.Module, config: ImageBindConfig) -> ImageBind:
    return ImageBind.from_official(from_open_clip(clip.state_dict()), config, modalities={"image", "text"})


def test_our_towers_compute_what_open_clip_computes(clip: nn.Module, config: ImageBindConfig) -> None:
    model = converted(with_our_epsilon(clip), config)
    pixels, ids = batches()
    with torch.inference_mode():
        torch.testing.assert_close(
            model.encode_image(pixels), clip.encode_image(pixels), rtol=1e-4, atol=1e-5
        )
        torch.testing.assert_close(model.encode_text(ids), clip.encode_text(ids), rtol=1e-4, atol=1e-5)
        ours = model(pixels, ids, output_dict=False)
        for mine, theirs in zip(ours, clip(pixels, ids), strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


def test_open_clips_own_epsilon_moves_embeddings_little(clip: nn.Module, config: ImageBindConfig) -> None:
    model = converted(clip, config)
    pixels, ids = batches()
    with torch.inference_mode():
        for ours, theirs in (
            (model.encode_image(pixels, True), clip.encode_image(pixels, True)),
            (model.encode_text(ids, True), clip.encode_text(ids, True)),
        ):
            assert (ours * theirs).sum(-1).min() > 0.9999


def test_there_and_back_is_bit_equal(clip: nn.Module, config: ImageBindConfig) -> None:
    state = clip.state_dict()
    back = to_open_clip(from_open_clip(state))
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], tensor) for name, tensor in state.items())
    clip.load_state_dict(to_open_clip(converted(clip, config).official_state_dict()))


def test_official_weights_run_in_open_clip(clip: nn.Module, config: ImageBindConfig) -> None:
    torch.manual_seed(1)
    model = ImageBind(config, {"image", "text"}).eval()  # a patch projection whose two frames differ
    clip.load_state_dict(to_open_clip(model.official_state_dict()))
    with_our_epsilon(clip)
    pixels, ids = batches()
    with torch.inference_mode():
        torch.testing.assert_close(
            clip.encode_image(pixels), model.encode_image(pixels), rtol=1e-4, atol=1e-5
        )
        torch.testing.assert_close(clip.encode_text(ids), model.encode_text(ids), rtol=1e-4, atol=1e-5)


def test_every_official_name_of_both_towers_is_made(clip: nn.Module, config: ImageBindConfig) -> None:
    official = from_open_clip(clip.state_dict())
    expected = {n for n in expected_shapes(config) if n.split(".")[1] in ("vision", "text")}
    assert official.keys() == expected
    assert torch.isinf(official[TEXT_MASK][0, 1])


def test_other_frame_counts_keep_stills(clip: nn.Module) -> None:
    weight = clip.state_dict()["visual.conv1.weight"]
    spread = from_open_clip({"visual.conv1.weight": weight}, frames=4)
    (inflated,) = spread.values()
    assert inflated.shape == (64, 3, 4, 14, 14)
    torch.testing.assert_close(inflated.sum(2), weight)


def test_other_layouts_are_refused(clip: nn.Module) -> None:
    with pytest.raises(CheckpointError, match=r"visual\.attnpool\.c_proj\.weight"):
        from_open_clip(clip.state_dict() | {"visual.attnpool.c_proj.weight": torch.zeros(1)})
    with pytest.raises(CheckpointError, match="it is empty"):
        from_open_clip({})
    with pytest.raises(CheckpointError, match="neither an image nor a text tower"):
        to_open_clip({"modality_heads.audio.0.weight": torch.zeros(1)})
    with pytest.raises(CheckpointError, match=r"no place for modality_heads\.text\.hidden\.bias"):
        to_open_clip({"modality_heads.text.hidden.bias": torch.zeros(1)})
