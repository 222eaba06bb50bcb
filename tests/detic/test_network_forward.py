"""The network as a whole, at a size that tests can afford."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bindplug.errors import InputError
from bindplug_detic.network import PIXEL_MEAN, DeticNetwork
from bindplug_detic.postprocess import RawDetections
from bindplug_detic.swin import relative_position_index
from tests.detic.toy import toy_classes, toy_config, toy_images, toy_network

KINDS = [("resnet", "frozen_batch"), ("resnet", "batch"), ("resnet", "group"), ("swin", "frozen_batch")]


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: "-".join(kind))
def network(request: pytest.FixtureRequest) -> DeticNetwork:
    return toy_network(*request.param)


def same(one: RawDetections, other: RawDetections) -> None:
    assert len(one) == len(other) > 0
    torch.testing.assert_close(one.scores, other.scores, atol=1e-5, rtol=0)
    torch.testing.assert_close(one.boxes, other.boxes, atol=1e-3, rtol=0)
    assert torch.equal(one.labels, other.labels)
    torch.testing.assert_close(one.mask_logits, other.mask_logits, atol=1e-4, rtol=0)


@torch.inference_mode()
def test_a_batch_gives_what_each_image_gives_alone(network: DeticNetwork) -> None:
    images = toy_images((64, 96), (50, 90), (100, 40), (64, 96), (33, 64))
    classes = toy_classes()
    together = network(images, classes)
    assert len(together) == len(images)
    for image, result in zip(images, together, strict=True):
        same(result, network([image], classes)[0])


@torch.inference_mode()
def test_detections_are_well_formed(network: DeticNetwork) -> None:
    result = network(toy_images((50, 90)), toy_classes(), score_threshold=0.1)[0]
    assert len(result) > 0
    assert result.boxes.dtype == result.scores.dtype == torch.float32
    assert result.labels.dtype == result.proposal_index.dtype == torch.int64
    assert result.mask_logits is not None
    assert result.mask_logits.shape == (len(result), 28, 28)
    assert (result.scores > 0.1).all()
    assert (result.scores.diff() <= 0).all()
    assert (result.boxes >= 0).all()
    assert (result.boxes <= torch.tensor([90.0, 50.0, 90.0, 50.0])).all()
    assert result.proposal_index.max() < network.config.post_nms_top_k
    assert set(result.labels.tolist()) <= set(range(4))


@torch.inference_mode()
def test_masks_are_those_of_the_boxes() -> None:
    network = toy_network()
    images = toy_images((64, 96), (64, 90))
    x, sizes = network.batch(images)
    assert sizes == [(64, 96), (64, 90)]
    features = network.features(x)
    result = network(images, toy_classes(), score_threshold=0.1)
    expected = network.predict_masks(features, [one.boxes for one in result])
    for one, logits in zip(result, expected, strict=True):
        assert len(one.proposal_index.unique()) < len(one), "some share a box"
        torch.testing.assert_close(one.mask_logits, logits, atol=1e-5, rtol=0)
    assert network(images[:1], toy_classes(), with_masks=False)[0].mask_logits is None


@settings(max_examples=8)
@given(scale=st.floats(1e-2, 1e2), seed=st.integers(0, 5))
def test_the_length_of_class_vectors_does_not_matter(scale: float, seed: int) -> None:
    network, images = toy_network(), toy_images((64, 64))
    classes = toy_classes(3, seed=seed)
    lengths = torch.tensor([1.0, scale, 1 / scale])[:, None]
    with torch.inference_mode():
        one, other = network(images, classes)[0], network(images, classes * lengths)[0]
    torch.testing.assert_close(one.scores, other.scores, atol=1e-4, rtol=0)


@torch.inference_mode()
def test_options() -> None:
    network, images, classes = toy_network(), toy_images((64, 96)), toy_classes()
    everything = network(images, classes, score_threshold=0.0)[0]
    best = network(images, classes, score_threshold=0.0, one_class_per_proposal=True)[0]
    assert len(best.proposal_index.unique()) == len(best)
    assert len(network(images, classes, top_k=2)[0]) == 2
    assert len(network(images, classes, nms_threshold=0.05)[0]) < len(network(images, classes)[0])
    label = int(everything.labels[0])
    each = torch.ones(4)
    each[label] = 0.0
    assert set(network(images, classes, score_threshold=each)[0].labels.tolist()) == {label}
    assert len(network(images, classes, score_threshold=torch.tensor(0.0))[0]) == len(everything)


@torch.inference_mode()
def test_nothing_found() -> None:
    network, images = toy_network(), toy_images((64, 96))
    result = network(images, toy_classes(), score_threshold=1.0)[0]
    assert len(result) == 0
    assert result.boxes.shape == (0, 4)
    assert result.mask_logits is not None
    assert result.mask_logits.shape == (0, 28, 28)
    torch.nn.init.constant_(network.proposal_generator.centernet_head.agn_hm.bias, -1e3)
    assert len(network(images, toy_classes())[0]) == 0
    assert network([], toy_classes()) == []


@pytest.mark.parametrize("size", [(1, 1), (1, 200), (31, 33)])
@pytest.mark.parametrize("backbone", ["resnet", "swin"])
@torch.inference_mode()
def test_images_of_any_size(backbone: str, size: tuple[int, int]) -> None:
    network = toy_network(backbone)
    result = network(toy_images(size), toy_classes(), score_threshold=0.0)[0]
    assert result.boxes.isfinite().all()


def test_normalization_and_padding() -> None:
    network = toy_network()
    image = torch.tensor(PIXEL_MEAN).view(3, 1, 1).expand(3, 40, 50)
    x, sizes = network.batch([image, image[:, :10, :10]])
    assert x.shape == (2, 3, 64, 64)
    assert sizes == [(40, 50), (10, 10)]
    torch.testing.assert_close(x, torch.zeros_like(x), atol=1e-6, rtol=0)
    x, _ = network.batch([torch.full((3, 32, 40), 255, dtype=torch.uint8)])
    assert float(x[0, 0, 0, 0]) == pytest.approx((255 - 123.675) / 58.395, abs=1e-5)
    assert not x[..., 40:].any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("backbone", ["resnet", "swin"])
@torch.inference_mode()
def test_half_precision(backbone: str, dtype: torch.dtype) -> None:
    network, images, classes = toy_network(backbone), toy_images((64, 96)), toy_classes()
    whole = network(images, classes, score_threshold=0.0)[0]
    half = copy.deepcopy(network).to(dtype)(images, classes, score_threshold=0.0)[0]
    assert half.boxes.dtype == half.scores.dtype == torch.float32
    assert half.mask_logits is not None
    assert half.mask_logits.dtype == torch.float32
    assert float(half.scores[0]) == pytest.approx(float(whole.scores[0]), abs=0.05)


@pytest.mark.parametrize(
    ("classes", "reason"),
    [
        (toy_classes(width=8), r"shape \(4, 8\)"),
        (toy_classes()[0], r"shape \(16,\)"),
        (toy_classes(0), r"shape \(0, 16\)"),
        (toy_classes() / 0, "not finite"),
        (toy_classes() * torch.tensor([1, 1, 0, 1])[:, None], "zero vector in row 2"),
    ],
)
def test_class_vectors_that_do_not_fit(classes: torch.Tensor, reason: str) -> None:
    with pytest.raises(InputError, match=rf"{reason}.*\(C, 16\)"):
        toy_network()(toy_images((32, 32)), classes)


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (torch.zeros(32, 32, 3), r"image 1.*\(32, 32, 3\)"),
        (torch.zeros(3, 0, 32), r"\(3, 0, 32\)"),
        (torch.zeros(1, 3, 32, 32), r"\(1, 3, 32, 32\)"),
        (torch.zeros(3, 32, 32, dtype=torch.int64), "int64"),
    ],
)
def test_images_that_do_not_fit(image: torch.Tensor, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        toy_network()([*toy_images((32, 32)), image], toy_classes())


def test_other_input_that_does_not_fit() -> None:
    network = toy_network()
    with pytest.raises(InputError, match="each of 4 classes"):
        network(toy_images((32, 32)), toy_classes(), score_threshold=torch.zeros(3))
    with pytest.raises(InputError, match="at least one"):
        network.batch([])


def test_every_parameter_gets_a_gradient() -> None:
    for backbone, norm in KINDS:
        network = toy_network(backbone, norm).train()
        with torch.inference_mode():  # what that keeps must not get into the way of training
            relative_position_index.cache_clear()
            network.features(network.batch(toy_images((64, 64)))[0])
        x, sizes = network.batch(toy_images((64, 96), (60, 64)))
        features = network.features(x)
        maps = network.proposal_maps(features)
        boxes = [result.boxes.detach() for result in network.propose(features, sizes)]
        loss = sum(part.square().mean() for level in maps for part in level)
        for stage in range(3):
            output = network.box_stage(stage, features, boxes)
            loss = loss + network.classify(output.embeddings, toy_classes()).square().mean()
            loss = loss + output.deltas.square().mean()
            boxes = [result.detach() for result in network.refine(stage, output, boxes, sizes)]
        loss = loss + torch.cat(network.predict_masks(features, boxes)).square().mean()
        loss.backward()
        missing = [name for name, parameter in network.named_parameters() if parameter.grad is None]
        assert missing == []


def test_a_call_changes_nothing_of_the_network() -> None:
    network = toy_network(norm="batch")
    before = copy.deepcopy(network.state_dict())
    one = network(toy_images((64, 64)), toy_classes())[0]
    other = network(toy_images((64, 64)), toy_classes())[0]
    assert torch.equal(one.scores, other.scores)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_a_small_detector_has_few_parameters() -> None:
    parameters = sum(parameter.numel() for parameter in DeticNetwork(toy_config()).parameters())
    assert parameters < 1_000_000
