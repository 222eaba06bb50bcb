"""Crops of anything, classified among the prompts and what else they may show."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.testing import assert_close

from bindplug import audio, embedding, text
from bindplug.errors import InputError, ModalityNotLoaded
from bindplug_detic.adapter import upgrade
from bindplug_detic.rescore import (
    DISTRACTORS,
    FILL,
    best_boxes,
    chances,
    contest,
    distinct,
    leaf_rows,
    square_crops,
)
from tests.detic.planted import HERE, NAMES, THINGS, PlantedEncoder, here, planted_detector, planted_picture

PICTURE = planted_picture()
BOXES = torch.tensor([t.box for t in THINGS]) * torch.tensor([128, 64, 128, 64])
WORDS = torch.stack([here(name) for name in NAMES])


def asked(queries, words=WORDS, model=None):
    model = model or PlantedEncoder()
    return contest(model, queries, leaf_rows(model, queries), words)


@settings(max_examples=60)
@given(st.floats(-20, 120), st.floats(-20, 70), st.floats(0, 90), st.floats(0, 50), st.floats(0, 0.5))
def test_crops_are_squares_that_hold_their_box(x, y, width, height, context):
    picture = Image.new("RGB", (100, 50), "red")
    box = torch.tensor([[x, y, x + width, y + height]])
    crop = square_crops(picture, box, context)[0]
    assert crop.width == crop.height >= 1
    inside = torch.minimum(box.clamp(min=0), torch.tensor([100.0, 50.0, 100.0, 50.0]))[0]
    assert crop.width >= int(inside[2] - inside[0])
    assert crop.height >= int(inside[3] - inside[1])
    seen = {color for _, color in crop.getcolors()}
    assert (255, 0, 0) in seen
    assert seen <= {(255, 0, 0), FILL}


def test_a_crop_lies_in_the_middle_with_a_little_around_it():
    picture = Image.new("RGB", (100, 100), "blue")
    picture.paste("red", (40, 20, 60, 80))
    crop = square_crops(picture, torch.tensor([[40.0, 20.0, 60.0, 80.0]]))[0]
    assert crop.size == (72, 72)
    assert crop.getpixel((36, 36)) == (255, 0, 0)
    assert crop.getpixel((36, 2)) == (0, 0, 255), "context"
    assert crop.getpixel((2, 36)) == FILL == crop.getpixel((69, 36))


def test_chances_name_the_crops():
    found = chances(PlantedEncoder(), PICTURE, BOXES, asked([audio("car.wav"), text("dog"), text("bee")]))
    assert found.shape == (3, 3)
    assert found.argmax(0)[:2].tolist() == [1, 0]
    assert (found[[1, 0], [0, 1]] > 0.9).all()
    assert found[:, 2].max() < 0.01


def test_a_chance_does_not_depend_on_the_other_crops():
    contested = asked([audio("car.wav"), text("dog")])
    together = chances(PlantedEncoder(), PICTURE, BOXES, contested)
    alone = torch.cat([chances(PlantedEncoder(), PICTURE, box[None], contested) for box in BOXES])
    assert_close(together, alone)


def test_prompts_of_one_meaning_do_not_share_a_chance():
    both = chances(PlantedEncoder(), PICTURE, BOXES, asked([audio("dog.wav"), text("dog")]))
    one = chances(PlantedEncoder(), PICTURE, BOXES, asked([text("dog")]))
    assert_close(both[:, 1:], one, atol=1e-3, rtol=0)
    assert both[0, 0] > 0.9


def test_no_boxes_no_pass():
    model = PlantedEncoder()
    contested = asked([text("dog")], model=model)
    before = len(model.embedded)
    assert chances(model, PICTURE, torch.zeros(0, 4), contested).shape == (0, 1)
    assert len(model.embedded) == before


def test_a_sound_needs_known_centers():
    model = PlantedEncoder(knows_centers=False)
    with pytest.raises(InputError, match=r"audio.*measure_centers"):
        leaf_rows(model, [audio("dog.wav")])
    with pytest.raises(InputError, match="unknown modality"):
        leaf_rows(PlantedEncoder(), [embedding(here("dog"), HERE)])
    found = chances(model, PICTURE, BOXES, asked([text("dog")], model=model))
    assert found.argmax() == 0, "texts stand among texts as they are"


def test_a_model_that_sees_no_pictures():
    with pytest.raises(ModalityNotLoaded, match="image"):
        leaf_rows(PlantedEncoder(["text"]), [text("dog")])


@pytest.mark.parametrize("wrong", ["a wall", [], ()])
def test_distractors_are_several(wrong):
    with pytest.raises(InputError, match="distractors"):
        upgrade(planted_detector(), PlantedEncoder(), route="rescore")(PICTURE, "dog", distractors=wrong)


def test_scores_are_a_chance_times_a_certainty():
    upgraded = upgrade(planted_detector(), PlantedEncoder(), route="rescore")
    found = upgraded(PICTURE, ["dog"])
    regions = upgraded._regions([PICTURE], with_masks=False)[0]
    best = chances(upgraded.model, PICTURE, found.boxes, asked([text("dog")]))[0, 0]
    assert float(found.scores[0]) == pytest.approx(float(best * regions.scores[0]), abs=1e-5)


def test_regions_and_boxes_do_not_repeat():
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9.5], [20, 0, 30, 10], [20, 0, 30, 5.5]])
    scores = torch.tensor([0.5, 0.9, 0.3, 0.2])
    assert distinct(boxes, scores).tolist() == [1, 2, 3]
    assert distinct(boxes, scores, 1).tolist() == [1]
    assert best_boxes(boxes, scores, 0.25).tolist() == [1, 2]
    assert best_boxes(boxes, scores, 0.95).tolist() == []
    assert len(set(DISTRACTORS)) == len(DISTRACTORS) > 10
