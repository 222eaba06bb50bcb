"""The toy detector's recipe: its losses against hand cases, and the whole of it at smoke size."""

from __future__ import annotations

import json
import math

import pytest
import torch
import torch.nn.functional as F

from bindplug.errors import InputError
from bindplug_detic.detector import Detic
from bindplug_detic.directory import NETWORK
from bindplug_detic.network import DeticNetwork
from bindplug_detic.proposals import ProposalMaps, Proposals, boxes_from_distances
from bindplug_detic.pyramid import STRIDES
from bindplug_detic.roi_heads import pool
from bindplug_toyworld.things import CLASSNAMES, label_of
from recipes import detector, detector_data
from recipes.detection_evaluation import measure
from recipes.detector import build_network, losses_of, main, nearby, train_detector
from recipes.detector_data import (
    NOTHING,
    Truth,
    augment,
    render_for_detection,
    training_scene,
)
from recipes.detector_loss import (
    class_loss,
    heatmap_loss,
    match,
    overlaps,
    proposal_losses,
    proposal_targets,
    sample_regions,
    visible_in,
)
from recipes.detector_pooling import pool_by_products
from recipes.detector_ship import write_measures
from recipes.detector_size import FULL, SMOKE

SIDE = 128


def truth_of(*rows, side=SIDE):
    """One scene; rows of (box, class)."""
    boxes, classes = zip(*rows, strict=True)
    owners = torch.zeros(1, side, side, dtype=torch.uint8)
    for number, box in enumerate(boxes, start=1):
        x0, y0, x1, y1 = (int(edge) for edge in box)
        owners[0, y0:y1, x0:x1] = number
    return Truth(torch.tensor([boxes], dtype=torch.float32), torch.tensor([classes]), owners)


def silent_maps(side=SIDE):
    return [
        ProposalMaps(torch.full((1, 1, cells, cells), -8.0), torch.ones(1, 4, cells, cells))
        for cells in (max(1, side // stride) for stride in STRIDES)
    ]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    root = tmp_path_factory.mktemp("detector")
    arguments = ["--smoke", "--encoder", "imagebind_tiny", "--workspace", str(root)]
    main([*arguments, "--output", str(root / "toy_detic"), "--threads", "1", "--quiet"])
    return root


# -- the whole ----------------------------------------------------------------------------------------------------


def test_it_leaves_a_detector_that_loads(workspace):
    found = Detic.from_pretrained(workspace / "toy_detic")
    assert found.vocabulary.names == CLASSNAMES
    assert found.embedding_space.name == "bindplug:toy_clip"
    detections = found(training_scene(3, 256).image, threshold=0.0)
    assert detections.image_size == (256, 256)
    assert detections.masks.shape[1:] == (256, 256)


def test_the_directory_says_what_it_is(workspace):
    directory = workspace / "toy_detic"
    card = json.loads((directory / "card.json").read_text())
    assert card["recipe"]["steps"] == SMOKE.steps
    assert set(card["training"]["losses"]) >= {"heatmap", "proposal_boxes", "classes 3", "boxes 3", "masks"}
    assert card["evaluation"]["text, own words"]["scenes"] == SMOKE.evaluation_scenes
    readme = (directory / "README.md").read_text()
    assert "| text | own words |" in readme
    assert "AP50" in (directory / "training.log").read_text()


def test_it_ships_under_five_megabytes(workspace):
    assert 1e6 < (workspace / "toy_detic" / NETWORK).stat().st_size < 5e6


def test_later_figures_replace_earlier_ones(workspace, tmp_path):
    import shutil

    directory = shutil.copytree(workspace / "toy_detic", tmp_path / "copy")
    write_measures(directory, [measure("audio", "linear", [], [], [0])])
    card = json.loads((directory / "card.json").read_text())
    assert list(card["evaluation"]) == ["audio, linear"]
    assert "| audio | linear |" in (directory / "README.md").read_text()
    assert Detic.from_pretrained(directory).vocabulary is not None


def test_a_rerun_trains_and_renders_nothing(workspace, monkeypatch):
    vectors = Detic.from_pretrained(workspace / "toy_detic").vocabulary.embeddings
    monkeypatch.setattr(detector, "fit", None)
    monkeypatch.setattr(detector_data, "_results", None)
    network, figures = train_detector(vectors, CLASSNAMES, SMOKE, workspace / "smoke", quiet=True)
    stored = Detic.from_pretrained(workspace / "toy_detic").network.state_dict()
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(tensor, stored[name].to(tensor.dtype), rtol=0, atol=0)
    assert figures["samples_seen"] == SMOKE.steps * SMOKE.batch_size
    with pytest.raises(TypeError):  # other vectors are another training
        train_detector(vectors.flip(0), CLASSNAMES, SMOKE, workspace / "smoke", quiet=True)


def test_one_vector_for_each_name():
    with pytest.raises(InputError, match="a row for each name"):
        train_detector(torch.eye(20), CLASSNAMES[:3], SMOKE, None)


# -- data -----------------------------------------------------------------------------------------------------------


def test_rendered_scenes_are_the_world_s(workspace):
    scenes = render_for_detection(workspace / "smoke" / "detection", start=0, count=SMOKE.scenes, side=256)
    pixels, truth = scenes.batch(torch.tensor([5]))
    scene = training_scene(5, 256)
    assert torch.equal(pixels[0], torch.from_numpy(scene.pixels.transpose(2, 0, 1).copy()))
    count = len(scene.labels)
    assert torch.equal(truth.boxes[0, :count], torch.from_numpy(scene.boxes))
    assert truth.classes[0].tolist() == [label_of(name) for name in scene.labels] + [NOTHING] * (5 - count)
    assert torch.equal(truth.owners[0], torch.from_numpy(scene.mask))
    assert {len(training_scene(i, 64).labels) for i in range(60)} == {1, 2, 3, 4, 5}


def test_mirroring_moves_boxes_and_owners_together():
    truth = truth_of(((10, 20, 40, 60), 3), ((70, 5, 90, 30), 4))
    pixels = (truth.owners[:, None].expand(-1, 3, -1, -1) * 100).contiguous()
    mirrored = 0
    for seed in range(12):
        seen, moved = augment(pixels, truth, torch.Generator().manual_seed(seed))
        mirrored += not torch.equal(moved.boxes, truth.boxes)
        for row, (x0, y0, x1, y1) in enumerate(moved.boxes[0].int().tolist(), start=1):
            assert (moved.owners[0, y0:y1, x0:x1] == row).all()
            assert (seen[0, :, y0:y1, x0:x1] > 0).all()
        assert seen.max() <= 255
    assert 0 < mirrored < 12


def test_class_vectors_are_moved_a_little():
    vectors = F.normalize(torch.randn(20, 64, generator=torch.Generator().manual_seed(1)), dim=1)
    moved = nearby(vectors, 0.2, torch.Generator().manual_seed(0))
    torch.testing.assert_close(moved.norm(dim=1), torch.ones(20))
    assert (moved * vectors).sum(1).mean() == pytest.approx(1 / math.hypot(1, 0.2), abs=0.01)
    torch.testing.assert_close(nearby(vectors, 0.0, torch.Generator()), vectors)


# -- proposals ------------------------------------------------------------------------------------------------------


def test_bumps_stand_at_centers_on_the_levels_that_fit():
    truth = truth_of(((20, 28, 60, 60), 0), ((64, 0, 128, 100), 1), ((0, 0, 0, 0), NOTHING))
    targets = proposal_targets(truth, silent_maps())
    by_level = targets.heat[0].split(targets.levels)
    assert [int((heat == 1).sum()) for heat in by_level] == [1, 1, 0, 0, 0]
    # p3: the 40 x 32 box around (40, 44), whose nearest cell center is (36 or 44, 44)
    small = by_level[0].view(16, 16)
    assert small[5, 4:6].amax() == 1
    assert small[5, 7] < small[5, 6] < 1
    chosen = targets.boxes[0].split(targets.levels)
    assert torch.equal(chosen[0][small.flatten().argmax()], truth.boxes[0, 0])
    assert torch.equal(chosen[1][by_level[1].argmax()], truth.boxes[0, 1])


def test_a_perfect_head_has_no_loss_and_a_silent_one_has():
    truth = truth_of(((20, 28, 60, 60), 0), ((70, 0, 120, 50), 1))
    targets = proposal_targets(truth, silent_maps())
    perfect = []
    heats = targets.heat.split(targets.levels, dim=1)
    wanted = targets.boxes.split(targets.levels, dim=1)
    for (heatmap, _), stride, heat, boxes in zip(silent_maps(), STRIDES, heats, wanted, strict=True):
        cells = heatmap.shape[-1]
        centers = boxes_from_distances(torch.zeros(1, 4, cells, cells), stride)[..., :2].view(1, -1, 2)
        reach = torch.cat((centers - boxes[..., :2], boxes[..., 2:] - centers), -1).clamp(min=0) / stride
        logits = torch.where(heat == 1, 12.0, -12.0).view_as(heatmap)
        perfect.append(ProposalMaps(logits, reach.view(1, cells, cells, 4).permute(0, 3, 1, 2)))
    good, bad = proposal_losses(perfect, truth), proposal_losses(silent_maps(), truth)
    assert good["heatmap"] < 1e-3
    assert good["proposal_boxes"] < 1e-4
    assert bad["heatmap"] > 5
    assert bad["proposal_boxes"] > 0.5


def test_the_focal_loss_by_hand():
    logits, heat = torch.tensor([[0.0, 0.0, 0.0]]), torch.tensor([[1.0, 0.5, 0.0]])
    expected = 0.25 * math.log(2) * (1 + 0.5**4 + 1)
    assert heatmap_loss(logits, heat) == pytest.approx(expected)
    assert heatmap_loss(logits, torch.zeros(1, 3)) == pytest.approx(3 * 0.25 * math.log(2))


# -- cascade --------------------------------------------------------------------------------------------------------


def test_overlaps_and_matches():
    truth = truth_of(((0, 0, 10, 10), 7), ((20, 0, 40, 20), 8), ((0, 0, 0, 0), NOTHING))
    boxes = torch.tensor([[[0.0, 0, 10, 10], [20, 0, 40, 10], [60, 60, 70, 70], [0, 0, 0, 0]]])
    assert overlaps(boxes, truth.boxes)[0, 1].tolist() == pytest.approx([0, 0.5, 0])
    matches = match(boxes, truth, 0.5)
    assert matches.is_thing[0].tolist() == [True, True, False, False]
    assert matches.rows[0, :2].tolist() == [0, 1]
    assert match(boxes, truth, 0.6).is_thing[0].tolist() == [True, False, False, False]


def test_regions_hold_things_up_to_their_share():
    truth = truth_of(((10, 10, 50, 50), 2), ((70, 70, 110, 120), 5))
    generator = torch.Generator().manual_seed(0)
    lows = torch.rand(60, 2, generator=generator) * 90
    proposals = [Proposals(torch.cat((lows, lows + 30), 1), torch.ones(60))]
    options = {"iou": 0.6, "generator": generator}
    regions = sample_regions(proposals, truth, (SIDE, SIDE), regions=20, things=0.25, **options)
    assert regions.boxes.shape == (1, 20, 4)
    assert regions.used.all()
    assert match(regions.boxes, truth, 0.6).is_thing.sum() == 5
    assert regions.boxes.min() >= 0
    assert regions.boxes.max() <= SIDE
    few = [Proposals(torch.zeros(0, 4), torch.zeros(0))]
    regions = sample_regions(few, truth, (SIDE, SIDE), regions=40, things=1.0, **options)
    assert regions.boxes.shape[1] == 14
    assert 2 <= match(regions.boxes, truth, 0.6).is_thing.sum() <= 14


def test_an_empty_scene_gives_regions_that_are_not_used():
    truth = truth_of(((0, 0, 0, 0), NOTHING))
    few = [Proposals(torch.tensor([[0.0, 0, 20, 20]]), torch.ones(1))]
    regions = sample_regions(
        few, truth, (SIDE, SIDE), regions=4, things=0.5, iou=0.6, generator=torch.Generator().manual_seed(0)
    )
    assert regions.used.sum() == 1


def test_the_class_loss_by_hand():
    logits = torch.zeros(3, 4)
    used = torch.tensor([True, True, False])
    assert class_loss(logits, torch.tensor([1, 4, 2]), used) == pytest.approx(4 * math.log(2))
    confident = torch.full((2, 4), -20.0)
    confident[0, 1] = 20.0
    assert class_loss(confident, torch.tensor([1, 4]), used[:2]) < 1e-6
    assert class_loss(confident, torch.tensor([2, 4]), used[:2]) == pytest.approx(20, rel=1e-3)


def test_pooling_by_products_is_roi_align():
    generator = torch.Generator().manual_seed(0)
    sizes = {"p3": (32, 40), "p4": (16, 20), "p5": (8, 10)}
    features = {name: torch.randn(2, 6, *size, generator=generator) for name, size in sizes.items()}
    low = torch.rand(2, 30, 2, generator=generator) * 280 - 30
    boxes = torch.cat((low, low + 4 + 250 * torch.rand(2, 30, 2, generator=generator) ** 2), -1)
    for resolution in (7, 14):
        expected = pool(features, list(boxes), resolution, 96.0)
        found = pool_by_products(features, boxes, resolution, 96.0)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_masks_are_what_is_visible_within_a_box():
    truth = truth_of(((0, 0, 64, 64), 0), ((32, 0, 64, 64), 1))  # the second hides half of the first
    boxes = torch.tensor([[[0.0, 0, 64, 64], [32, 32, 96, 96]]])
    seen = visible_in(truth.owners, boxes, torch.tensor([[1, 2]]), 8)
    assert seen[0, :, :4].all()
    assert not seen[0, :, 4:].any()
    assert seen[1, :4, :4].all()
    assert seen[1].sum() == 16


# -- training -------------------------------------------------------------------------------------------------------


def test_every_parameter_learns_and_a_batch_can_be_learnt():
    vectors = F.normalize(torch.randn(20, 16, generator=torch.Generator().manual_seed(1)), dim=1)
    network: DeticNetwork = build_network(16, seed=0).train()
    truth = truth_of(((10, 10, 50, 60), 3), ((66, 40, 120, 110), 8))
    pixels = torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(2)) * 255
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)
    totals = []
    for step in range(16):
        generator = torch.Generator().manual_seed(step)
        total = torch.stack(list(losses_of(network, pixels, truth, vectors, SMOKE, generator).values())).sum()
        optimizer.zero_grad()
        total.backward()
        if step == 0:
            without = [name for name, p in network.named_parameters() if p.grad is None]
            assert not without
        optimizer.step()
        totals.append(float(total.detach()))
    assert sum(totals[-3:]) / 3 < totals[0] / 3


def test_the_full_recipe_is_reproducible_data():
    assert FULL.scenes * 5 > FULL.steps * FULL.batch_size, "each scene is seen a few times at most"
    first, second = build_network(16, FULL.seed), build_network(16, FULL.seed)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
