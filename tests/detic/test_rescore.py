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
    Alternatives,
    best_boxes,
    crop_probabilities,
    distinct_regions,
    leaf_rows,
    square_crops,
)
from tests.detic.planted import HERE, NAMES, THINGS, PlantedEncoder, here, planted_detector, planted_picture

PICTURE = planted_picture()
BOXES = torch.tensor([t.box for t in THINGS]) * torch.tensor([128, 64, 128, 64])
TEXTS = torch.stack([here(name) for name in NAMES])


def alternatives(queries, texts=TEXTS, model=None):
    model = model or PlantedEncoder()
    return Alternatives.of(model, queries, leaf_rows(model, queries), texts)


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
    colors = {color for _, color in crop.getcolors()}
    assert (255, 0, 0) in colors
    assert colors <= {(255, 0, 0), FILL}


def test_a_crop_lies_in_the_middle_with_a_little_around_it():
    picture = Image.new("RGB", (100, 100), "blue")
    picture.paste("red", (40, 20, 60, 80))
    crop = square_crops(picture, torch.tensor([[40.0, 20.0, 60.0, 80.0]]))[0]
    assert crop.size == (72, 72)
    assert crop.getpixel((36, 36)) == (255, 0, 0)
    assert crop.getpixel((36, 2)) == (0, 0, 255), "context"
    assert crop.getpixel((2, 36)) == FILL == crop.getpixel((69, 36))


def test_probabilities_name_the_crops():
    probabilities = crop_probabilities(
        PlantedEncoder(), PICTURE, BOXES, alternatives([audio("car.wav"), text("dog"), text("bee")])
    )
    assert probabilities.shape == (3, 3)
    assert probabilities.argmax(0)[:2].tolist() == [1, 0]
    assert (probabilities[[1, 0], [0, 1]] > 0.9).all()
    assert probabilities[:, 2].max() < 0.01


def test_a_probability_does_not_depend_on_the_other_crops():
    shared = alternatives([audio("car.wav"), text("dog")])
    together = crop_probabilities(PlantedEncoder(), PICTURE, BOXES, shared)
    alone = torch.cat([crop_probabilities(PlantedEncoder(), PICTURE, box[None], shared) for box in BOXES])
    assert_close(together, alone)


def test_prompts_of_one_meaning_do_not_share_a_probability():
    both = crop_probabilities(PlantedEncoder(), PICTURE, BOXES, alternatives([audio("dog.wav"), text("dog")]))
    one = crop_probabilities(PlantedEncoder(), PICTURE, BOXES, alternatives([text("dog")]))
    assert_close(both[:, 1:], one, atol=1e-3, rtol=0)
    assert both[0, 0] > 0.9


def test_no_boxes_no_pass():
    model = PlantedEncoder()
    shared = alternatives([text("dog")], model=model)
    before = len(model.embedded)
    assert crop_probabilities(model, PICTURE, torch.zeros(0, 4), shared).shape == (0, 1)
    assert len(model.embedded) == before


def test_a_sound_needs_known_centers():
    model = PlantedEncoder(knows_centers=False)
    with pytest.raises(InputError, match=r"audio.*measure_centers"):
        leaf_rows(model, [audio("dog.wav")])
    with pytest.raises(InputError, match="unknown modality"):
        leaf_rows(PlantedEncoder(), [embedding(here("dog"), HERE)])
    probabilities = crop_probabilities(model, PICTURE, BOXES, alternatives([text("dog")], model=model))
    assert probabilities.argmax() == 0, "texts are compared with texts as they are"


def test_a_model_that_sees_no_pictures():
    with pytest.raises(ModalityNotLoaded, match="image"):
        leaf_rows(PlantedEncoder(["text"]), [text("dog")])


@pytest.mark.parametrize("wrong", ["a wall", [], ()])
def test_distractors_are_several(wrong):
    with pytest.raises(InputError, match="distractors"):
        upgrade(planted_detector(), PlantedEncoder(), route="rescore")(PICTURE, "dog", distractors=wrong)


def test_scores_are_a_probability_times_a_certainty():
    upgraded = upgrade(planted_detector(), PlantedEncoder(), route="rescore")
    detections = upgraded(PICTURE, ["dog"])
    regions = upgraded._regions([PICTURE], with_masks=False)[0]
    best = crop_probabilities(upgraded.model, PICTURE, detections.boxes, alternatives([text("dog")]))[0, 0]
    assert float(detections.scores[0]) == pytest.approx(float(best * regions.scores[0]), abs=1e-5)


def test_regions_and_boxes_do_not_repeat():
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9.5], [20, 0, 30, 10], [20, 0, 30, 5.5]])
    scores = torch.tensor([0.5, 0.9, 0.3, 0.2])
    assert distinct_regions(boxes, scores).tolist() == [1, 2, 3]
    assert distinct_regions(boxes, scores, 1).tolist() == [1]
    assert best_boxes(boxes, scores, 0.25).tolist() == [1, 2]
    assert best_boxes(boxes, scores, 0.95).tolist() == []
    assert len(set(DISTRACTORS)) == len(DISTRACTORS) > 10
