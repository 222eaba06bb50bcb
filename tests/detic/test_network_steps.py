"""Single steps of the network against plain formulas."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from bindplug_detic.boxes import clip_boxes, decode_boxes, encode_boxes
from bindplug_detic.config import DeticConfig
from bindplug_detic.postprocess import PREFIX, keep_best_class, select_detections, suppress
from bindplug_detic.proposals import ProposalMaps, boxes_from_distances, cell_centers, select_proposals
from bindplug_detic.resnet import FrozenBatchNorm, conv_norm
from bindplug_detic.roi_heads import assign_levels, class_logits, pool
from bindplug_detic.swin import MASKED, from_windows, relative_position_index, shift_mask, to_windows
from tests.detic.toy import toy_config


def random_boxes(count: int, seed: int, extent: float = 100.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    low = torch.rand(count, 2, generator=generator) * extent
    return torch.cat((low, low + 1 + torch.rand(count, 2, generator=generator) * extent / 2), 1)


def iou(one: torch.Tensor, other: torch.Tensor) -> float:
    low, high = torch.maximum(one[:2], other[:2]), torch.minimum(one[2:], other[2:])
    common = float((high - low).clamp(min=0).prod())
    return common / (float((one[2:] - one[:2]).prod()) + float((other[2:] - other[:2]).prod()) - common)


def naive_suppress(
    boxes: torch.Tensor, scores: torch.Tensor, threshold: float, labels: torch.Tensor, top_k: int
) -> list[int]:
    kept: list[int] = []
    for index in scores.argsort(descending=True, stable=True).tolist():
        if len(kept) == top_k:
            break
        rivals = [other for other in kept if labels[other] == labels[index]]
        if all(iou(boxes[other], boxes[index]) <= threshold for other in rivals):
            kept.append(index)
    return kept


@given(
    count=st.integers(0, 30),
    classes=st.integers(1, 3),
    threshold=st.sampled_from([0.1, 0.5, 0.9]),
    top_k=st.integers(1, 40),
    seed=st.integers(0, 1000),
)
def test_suppression_is_greedy(count: int, classes: int, threshold: float, top_k: int, seed: int) -> None:
    boxes = random_boxes(count, seed)
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randint(0, 20, (count,), generator=generator) / 20  # with ties
    labels = torch.randint(0, classes, (count,), generator=generator)
    result = suppress(boxes, scores, threshold, top_k, labels=labels)
    assert result.tolist() == naive_suppress(boxes, scores, threshold, labels, top_k)


@pytest.mark.parametrize("levels", [50, 2**24])
@pytest.mark.parametrize("top_k", [5, 900, 1400])
def test_a_prefix_of_the_ranking_gives_what_all_of_it_gives(top_k: int, levels: int) -> None:
    count = PREFIX + 500
    generator = torch.Generator().manual_seed(0)
    boxes = random_boxes(count, 1, extent=4000)
    scores = torch.randint(0, levels, (count,), generator=generator) / levels  # 50 levels: with many ties
    labels = torch.randint(0, 1200, (count,), generator=generator)
    expected = naive_suppress(boxes, scores, 0.3, labels, top_k) if top_k == 5 else None
    result = suppress(boxes, scores, 0.3, top_k, labels=labels)
    assert len(result) == top_k
    assert (scores[result].diff() <= 0).all()
    if expected:
        assert result.tolist() == expected
    else:
        assert torch.equal(result, suppress(boxes, scores, 0.3, count, labels=labels)[:top_k])


def test_ties_with_the_last_survivor() -> None:
    boxes = torch.arange(6.0)[:, None] * 10 + torch.tensor([0.0, 0.0, 5.0, 5.0])
    scores = torch.tensor([0.9, 0.5, 0.5, 0.5, 0.4, 0.95])
    assert len(suppress(boxes, scores, 0.5, 3)) == 3
    assert sorted(suppress(boxes, scores, 0.5, 3, with_ties=True).tolist()) == [0, 1, 2, 3, 5]


def test_ties_beyond_the_prefix() -> None:
    count = PREFIX + 100
    boxes = torch.arange(float(count))[:, None] * 10 + torch.tensor([0.0, 0.0, 5.0, 5.0])
    assert len(suppress(boxes, torch.full((count,), 0.5), 0.5, 3, with_ties=True)) == count


@given(seed=st.integers(0, 1000), weights=st.sampled_from(DeticConfig().cascade_weights))
def test_encoding_inverts_decoding(seed: int, weights: tuple[float, float, float, float]) -> None:
    boxes, targets = random_boxes(7, seed), random_boxes(7, seed + 1)
    decoded = decode_boxes(encode_boxes(targets, boxes, weights), boxes, weights)
    torch.testing.assert_close(decoded, targets, atol=1e-3, rtol=1e-5)


def test_growth_is_bounded_and_shrinking_is_not() -> None:
    boxes = torch.tensor([[0.0, 0.0, 16.0, 16.0]])
    grown = decode_boxes(torch.tensor([[0.0, 0.0, 1e4, -1e4]]), boxes, (1, 1, 1, 1))
    torch.testing.assert_close(grown, torch.tensor([[-492.0, 8.0, 508.0, 8.0]]), atol=1e-2, rtol=0)


def test_clipping_to_height_and_width() -> None:
    boxes = torch.tensor([[-1.0, -2.0, 50.0, 60.0], [70.0, 5.0, 80.0, 6.0]])
    assert clip_boxes(boxes, (20, 30)).tolist() == [[0, 0, 30, 20], [30, 5, 30, 6]]


@given(scale=st.floats(1e-3, 1e3), seed=st.integers(0, 100))
def test_logits_are_cosines(scale: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    rows, classes = torch.randn(3, 8, generator=generator), torch.randn(5, 8, generator=generator)
    result = class_logits(rows * scale, classes / scale, 50.0)
    expected = 50 * F.cosine_similarity(rows[:, None], classes[None], dim=-1)
    torch.testing.assert_close(result, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("edge", "level"), [(1, 3), (111, 3), (223, 3), (225, 4), (447, 4), (449, 5), (5000, 5), (0, 3)]
)
def test_the_level_of_a_square(edge: float, level: int) -> None:
    assert assign_levels(torch.tensor([[5.0, 5.0, 5.0 + edge, 5.0 + edge]]), 224.0).tolist() == [level]


def test_pooling_keeps_the_order_of_boxes() -> None:
    # every level and image has one constant value, so a pooled region tells where it came from
    features = {
        level: torch.stack([torch.full((1, 64 >> n, 64 >> n), 10.0 * n + image) for image in (0, 1)])
        for n, level in enumerate(("p3", "p4", "p5"))
    }
    edges = [[30.0, 300.0, 60.0], [480.0, 40.0]]
    boxes = [torch.tensor([[0.0, 0.0, edge, edge] for edge in row]) for row in edges]
    pooled = pool(features, boxes, 2, 224.0)
    assert pooled.shape == (5, 1, 2, 2)
    assert pooled[:, 0, 0, 0].tolist() == [0.0, 10.0, 0.0, 21.0, 1.0]
    assert pool(features, [torch.zeros(0, 4), torch.zeros(0, 4)], 2, 224.0).shape == (0, 1, 2, 2)


def test_boxes_of_cells() -> None:
    assert cell_centers(2, 3, 8)[1, 2].tolist() == [20.0, 12.0]
    distances = torch.zeros(1, 4, 2, 3)
    distances[0, :, 1, 2] = torch.tensor([1.0, 2.0, 0.5, 0.25])
    boxes = boxes_from_distances(distances, 8)
    assert boxes[0, 1, 2].tolist() == [12.0, -4.0, 24.0, 14.0]
    torch.testing.assert_close(boxes[0, 0, 0], torch.tensor([4.0, 4.0, 4.01, 4.01]))


def proposal_maps(batch: int, height: int, width: int, logit: float) -> list[ProposalMaps]:
    shapes = [(math.ceil(height / s), math.ceil(width / s)) for s in (8, 16, 32, 64, 128)]
    return [
        ProposalMaps(torch.full((batch, 1, h, w), logit), torch.full((batch, 4, h, w), 0.1))
        for h, w in shapes
    ]


def test_cells_that_the_batch_added_propose_nothing() -> None:
    config = DeticConfig(post_nms_top_k=1000)
    wide, narrow = select_proposals(proposal_maps(2, 64, 128, 1.0), [(40, 100), (64, 33)], config)
    alone = select_proposals(proposal_maps(1, 64, 64, 1.0), None, config)[0]
    assert len(wide.boxes) == 8 * 16 + 4 * 8 + 2 * 4 + 2 + 1
    assert sorted(narrow.boxes.tolist()) == sorted(alone.boxes.tolist())


def test_improbable_cells_propose_nothing() -> None:
    maps = proposal_maps(1, 32, 32, math.log(1e-4) - 1)
    maps[1].heatmap[0, 0, 1, 0] = 0.0
    result = select_proposals(maps, None, DeticConfig())[0]
    assert result.scores.tolist() == pytest.approx([math.sqrt(0.5)])
    torch.testing.assert_close(result.boxes, torch.tensor([[6.4, 22.4, 9.6, 25.6]]))
    none = select_proposals(proposal_maps(1, 32, 32, -20.0), None, DeticConfig())[0]
    assert none.boxes.shape == (0, 4)


def test_one_class_per_proposal() -> None:
    scores = torch.tensor([[0.2, 0.7, 0.7], [0.9, 0.1, 0.3]])
    assert torch.equal(keep_best_class(scores), torch.tensor([[0.0, 0.7, 0.7], [0.9, 0.0, 0.0]]))


def test_selection() -> None:
    nan = float("nan")
    boxes = torch.tensor(
        [[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 9.0], [50.0, 0.0, 90.0, 9.0], [nan, 0.0, 1.0, 1.0]]
    )
    scores = torch.tensor([[0.9, 0.4], [0.8, 0.5], [0.3, 0.2], [0.99, 0.99]])
    result = select_detections(boxes, scores, (20, 60), score_threshold=0.2, nms_threshold=0.5, top_k=9)
    assert result.labels.tolist() == [0, 1, 0]
    assert result.proposal_index.tolist() == [0, 1, 2]
    assert result.scores.tolist() == pytest.approx([0.9, 0.5, 0.3])
    assert result.boxes[2].tolist() == [50.0, 0.0, 60.0, 9.0]
    each = torch.tensor([0.85, 0.45])
    result = select_detections(boxes, scores, (20, 60), score_threshold=each, nms_threshold=0.5, top_k=9)
    assert result.labels.tolist() == [0, 1]
    result = select_detections(boxes, scores, (20, 60), score_threshold=0.2, nms_threshold=0.5, top_k=1)
    assert result.labels.tolist() == [0]


def test_a_frozen_norm_within_the_kernel() -> None:
    conv, norm = torch.nn.Conv2d(3, 5, 3, 2, 1, bias=False), FrozenBatchNorm(5)
    for buffer in norm.buffers():
        buffer.uniform_(0.5, 2.0)
    x = torch.randn(2, 3, 9, 8)
    reference = torch.nn.BatchNorm2d(5).eval()
    reference.load_state_dict(norm.state_dict(), strict=False)
    expected = reference(conv(x))
    torch.testing.assert_close(norm(conv(x)), expected)
    torch.testing.assert_close(conv_norm(conv, norm, x), expected)
    assert not list(norm.parameters())


@given(rows=st.integers(1, 3), columns=st.integers(1, 3), window=st.sampled_from([2, 7]))
def test_windows_and_back(rows: int, columns: int, window: int) -> None:
    x = torch.randn(2, rows * window, columns * window, 3)
    windows = to_windows(x, window)
    assert torch.equal(windows[0].view(window, window, 3), x[0, :window, :window])
    assert torch.equal(from_windows(windows, window, rows * window, columns * window), x)


def test_relative_positions() -> None:
    index = relative_position_index(7)
    assert index[0, 48] == 0
    assert index[48, 0] == 168
    assert index[0, 1] == 6 * 13 + 5
    assert len(index.unique()) == 169


@pytest.mark.parametrize("size", [(14, 21), (7, 14), (7, 7)])
def test_only_tokens_that_were_neighbours_attend_to_each_other(size: tuple[int, int]) -> None:
    height, width = size
    mask = shift_mask(height, width, 7, torch.zeros(1))
    assert set(mask.unique().tolist()) <= {0.0, MASKED}
    # the roll brings the first rows and columns behind the last, where they were no neighbours
    wrapped = torch.stack(
        torch.meshgrid(torch.arange(height) >= height - 3, torch.arange(width) >= width - 3, indexing="ij"),
        -1,
    )
    wrapped = to_windows(wrapped[None], 7)
    apart = (wrapped[:, :, None] != wrapped[:, None]).any(-1)
    assert torch.equal(mask != 0, apart)


def test_configs_as_data() -> None:
    for config in (DeticConfig.resnet50(), DeticConfig.swin_b(), toy_config()):
        assert DeticConfig.from_dict(config.to_dict()) == config
        assert isinstance(config.to_dict()["cascade_weights"][0], list)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"backbone": "vgg"}, "resnet, swin"),
        ({"norm": "layer"}, "frozen_batch, batch, group"),
        ({"resnet_blocks": (1, 1)}, "four positive"),
        ({"swin_heads": (3, 4, 8, 16)}, "divide"),
        ({"fpn_channels": 0}, "fpn_channels must be positive"),
        ({"nms_threshold": float("nan")}, "nms_threshold must be positive"),
        ({"cascade_weights": ((1.0, 1.0),)}, "four positive numbers"),
        ({"cascade_ious": (0.5,)}, "as many"),
        ({"color": 1}, "unknown fields"),
        ({"cascade_ious": 3}, "wrong type"),
    ],
)
def test_configs_that_make_no_sense(values: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        DeticConfig.from_dict(DeticConfig().to_dict() | values)
