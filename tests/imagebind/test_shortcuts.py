"""Each shortcut gives what the long way gives, in evaluation and in training."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from bindplug.imagebind import ImageBind, ImageBindConfig
from bindplug.imagebind.towers import TextTower
from tests.imagebind.naive import naive_tower
from tests.imagebind.synthetic import golden_input, load_golden

END = 49407
CLOSE = {"rtol": 1e-4, "atol": 2e-5}


def text_of(lengths: list[int]) -> torch.Tensor:
    ids = torch.zeros(len(lengths), 77, dtype=torch.long)
    for row, length in enumerate(lengths):
        ids[row, 0], ids[row, length + 1] = 49406, END
        ids[row, 1 : length + 1] = torch.arange(320, 320 + length)
    return ids


@pytest.mark.parametrize("tower", ["vision", "audio_single_clip", "depth", "thermal", "imu", "text"])
def test_every_tower_equals_the_long_way(tiny: ImageBind, tower: str) -> None:
    x = golden_input(tower, load_golden("golden_tiny.npz"))
    built = tiny.towers[tower.removesuffix("_single_clip")]
    with torch.inference_mode():
        torch.testing.assert_close(built(x), naive_tower(built, x), **CLOSE)


def test_a_folded_still_equals_a_clip_of_equal_frames(tiny: ImageBind) -> None:
    still = torch.randn(2, 3, 224, 224)
    vision = tiny.towers["vision"]
    with torch.inference_mode():
        clip = still[:, :, None].repeat(1, 1, 2, 1, 1)
        torch.testing.assert_close(vision(still), vision(clip), **CLOSE)
        torch.testing.assert_close(vision(still), vision(still[:, :, None]), rtol=0, atol=0)
        torch.testing.assert_close(vision(still), naive_tower(vision, clip), **CLOSE)


def test_a_clip_whose_frames_differ_is_not_folded(tiny: ImageBind) -> None:
    clip = torch.randn(1, 3, 2, 224, 224)
    vision = tiny.towers["vision"]
    with torch.inference_mode():
        torch.testing.assert_close(vision(clip), naive_tower(vision, clip), **CLOSE)
        assert (vision(clip) - vision(clip[:, :, 0])).abs().max() > 1e-3


@settings(max_examples=12)
@given(lengths=st.lists(st.integers(0, 75), min_size=1, max_size=3))
def test_short_prompts_equal_all_77_positions(lengths: list[int]) -> None:
    tower = text_tower()
    ids = text_of(lengths)
    with torch.inference_mode():
        torch.testing.assert_close(tower(ids), naive_tower(tower, ids), **CLOSE)


def test_only_positions_up_to_the_last_end_are_computed(tiny: ImageBind) -> None:
    text = tiny.towers["text"]
    lengths: list[int] = []
    handle = text.blocks[0].register_forward_pre_hook(lambda module, args: lengths.append(args[0].shape[1]))
    with torch.inference_mode():
        text(text_of([2, 5]))
    handle.remove()
    assert lengths == [7]


def test_what_follows_the_end_token_changes_nothing(tiny: ImageBind) -> None:
    ids, noisy = text_of([3, 9]), text_of([3, 9])
    noisy[0, 5:] = 1000
    with torch.inference_mode():
        torch.testing.assert_close(tiny.encode("text", noisy), tiny.encode("text", ids), rtol=0, atol=0)


@pytest.mark.parametrize("name", ["image", "text", "audio", "imu"])
def test_gradients_equal_the_long_way(tiny: ImageBind, name: str) -> None:
    tower = tiny.towers["vision" if name == "image" else name]
    shapes = {"image": (2, 3, 224, 224), "audio": (2, 1, 128, 204), "imu": (2, 6, 2000)}
    x = text_of([2, 6]) if name == "text" else torch.randn(shapes[name])
    parameters = dict(tower.named_parameters())
    short = torch.autograd.grad(tower(x).square().sum(), list(parameters.values()))
    long = torch.autograd.grad(naive_tower(tower, x).square().sum(), list(parameters.values()))
    for key, a, b in zip(parameters, short, long, strict=True):
        assert (a - b).norm() <= 1e-4 * b.norm() + 1e-4, key


class CountRows:
    """Counts rows that pass through a tower."""

    def __init__(self, tower: torch.nn.Module) -> None:
        self.rows = 0
        self.handle = tower.register_forward_pre_hook(self.count)

    def count(self, module: torch.nn.Module, args: tuple[torch.Tensor, ...]) -> None:
        self.rows += len(args[0])


def test_equal_clips_are_embedded_once(tiny: ImageBind) -> None:
    clip = torch.randn(2, 1, 1, 128, 204)
    counter = CountRows(tiny.towers["audio"])
    with torch.inference_mode():
        rows = tiny({"audio": clip.repeat(1, 3, 1, 1, 1)})["audio"]
        assert counter.rows == 2
        torch.testing.assert_close(rows, tiny({"audio": clip})["audio"])


def test_equal_crops_amid_different_clips_keep_their_weight(tiny: ImageBind) -> None:
    a, b, c = torch.randn(3, 1, 1, 1, 128, 204)
    mixed = torch.cat([torch.cat([a, a, b], 1), torch.cat([c, a, a], 1)])
    counter = CountRows(tiny.towers["audio"])
    with torch.inference_mode():
        rows = tiny({"audio": mixed})["audio"]
        assert counter.rows == 4
        each = tiny({"audio": torch.cat([a, b, c])})["audio"]
    torch.testing.assert_close(rows, torch.stack([2 * each[0] + each[1], 2 * each[0] + each[2]]) / 3)


def test_equal_clips_are_all_embedded_where_dropout_or_gradients_tell_them_apart(tiny: ImageBind) -> None:
    clips = torch.randn(1, 1, 1, 128, 204).repeat(1, 3, 1, 1, 1)
    counter = CountRows(tiny.towers["audio"])
    tiny.train()
    tiny.encode("audio", clips)
    assert counter.rows == 3
    tiny.eval()
    leaf = clips.clone().requires_grad_()
    tiny.encode("audio", leaf).sum().backward()
    assert counter.rows == 6
    assert leaf.grad is not None
    assert leaf.grad.abs().amax(dim=(2, 3, 4)).min() > 0


def test_shortcuts_are_right_in_training_mode(tiny_config: ImageBindConfig) -> None:
    """Without dropout's randomness training mode must give evaluation's numbers."""
    model = ImageBind(tiny_config, {"text", "image"}).train()
    ids, pixels = text_of([1, 30]), torch.randn(2, 3, 224, 224)
    torch.testing.assert_close(model.encode("text", ids), naive_tower(model.towers["text"], ids), **CLOSE)
    torch.testing.assert_close(
        model.encode("image", pixels), naive_tower(model.towers["vision"], pixels), **CLOSE
    )


@pytest.mark.parametrize("part", ["", "attn", "norm_2", "mlp.fc2"])
@pytest.mark.parametrize("tower", ["vision", "text"])
def test_hooks_on_the_last_block_see_every_position(tiny: ImageBind, tower: str, part: str) -> None:
    x = golden_input(tower, load_golden("golden_tiny.npz"))
    built = tiny.towers[tower]
    lengths: list[int] = []
    with torch.no_grad():
        expected = built(x)
        module = built.blocks[-1].get_submodule(part)
        handle = module.register_forward_hook(lambda *call: lengths.append(call[2].shape[1]))
        try:
            torch.testing.assert_close(built(x), expected, **CLOSE)
        finally:
            handle.remove()
        assert len(lengths) == 1
        assert lengths[0] > 1
        built(x)
    assert len(lengths) == 1, "without its hook the block computes one position again"


@pytest.mark.parametrize("tower", ["vision", "text"])
def test_a_last_block_inside_another_module_is_called_as_the_others_are(tiny: ImageBind, tower: str) -> None:
    x = golden_input(tower, load_golden("golden_tiny.npz"))
    built = copy.deepcopy(tiny.towers[tower])
    with torch.no_grad():
        expected = built(x)
        built.blocks[-1] = Wrapper(built.blocks[-1])
        torch.testing.assert_close(built(x), expected, **CLOSE)


class Wrapper(nn.Module):
    """As parallel and offloading libraries put around blocks."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: torch.Tensor, **options: bool) -> torch.Tensor:
        return self.block(x, **options)


def text_tower() -> TextTower:
    torch.manual_seed(0)
    config = ImageBindConfig.from_official(
        {
            "out_embed_dim": 16,
            **{f"{t}_{k}": v for t in ("vision", "text") for k, v in SMALL.items()},
        }
    )
    tower = ImageBind(config, {"text"}).towers["text"]
    assert isinstance(tower, TextTower)
    with torch.no_grad():
        for parameter in tower.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return tower


SMALL = {"embed_dim": 32, "num_blocks": 3, "num_heads": 4}
