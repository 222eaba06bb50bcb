"""The annotated picture."""

import colorsys
import itertools

import numpy as np
import pytest
import torch
from PIL import Image

from bindplug.errors import InputError
from bindplug_detic import Detections
from bindplug_detic.drawing import colors_of, text_color_on
from tests.detic.conftest import make_detections


def one_box(size, box, label="dog", **fields):
    height, width = size
    given = {"picture": Image.new("RGB", (width, height), "black"), **fields}
    return Detections(torch.tensor([box]), torch.tensor([0.9]), [label], torch.tensor([0]), size, **given)


@pytest.mark.parametrize("size", [(1, 1), (3, 500), (16, 16), (64, 64), (480, 640)])
def test_any_size_keeps_its_size(size):
    detections = make_detections(3, size)
    before = np.array(detections.picture)
    drawn = detections.draw()
    assert drawn.size == (size[1], size[0])
    assert drawn.mode == "RGB"
    np.testing.assert_array_equal(np.array(detections.picture), before)


def test_a_large_picture_gets_thick_lines():
    detections = one_box((3000, 4000), [1000.0, 1000.0, 3000.0, 2000.0])
    row = np.array(detections.draw())[1500].any(1)
    assert row[1000:1008].all()
    assert not row[1100:2900].any()
    assert not row[:1000].any()


def test_masks_tint_and_can_be_left_out():
    logits = torch.full((1, 28, 28), 9.0)
    detections = one_box((100, 100), [20.0, 20.0, 80.0, 80.0], mask_logits=logits)
    color = np.array(colors_of([0])[0])
    np.testing.assert_allclose(np.array(detections.draw())[60, 50], color * 0.4, atol=1)
    assert not np.array(detections.draw(masks=False))[60, 50].any()
    assert not np.array(detections.draw())[95, 50].any()


def test_chosen_colors_and_wrong_ones():
    detections = one_box((100, 100), [20.0, 20.0, 80.0, 80.0])
    assert tuple(np.array(detections.draw(colors={"dog": "#ff8800"}))[50, 20]) == (255, 136, 0)
    with pytest.raises(InputError, match="orange"):
        detections.draw(colors={"dog": "no color"})


@pytest.mark.parametrize("corner", [(0.0, 0.0), (280.0, 0.0), (0.0, 180.0), (280.0, 180.0)])
def test_labels_stay_inside(corner):
    """A chip over the edge would lose pixels: as many must be colored in every corner."""
    x, y = corner
    detections = one_box((200, 300), [x, y, x + 20, y + 20], label="a rather long label")
    chip = (np.array(detections.draw()) == np.array(colors_of([0])[0])).all(2)
    middle = one_box((200, 300), [140.0, 90.0, 160.0, 110.0], label="a rather long label")
    whole = (np.array(middle.draw()) == np.array(colors_of([0])[0])).all(2)
    assert abs(int(chip.sum()) - int(whole.sum())) < 80
    assert whole.sum() > 600


def test_very_long_labels_and_line_breaks_end_in_the_picture():
    detections = one_box((100, 100), [20.0, 40.0, 80.0, 80.0], label="the quick\nbrown fox " * 20)
    assert np.array(detections.draw())[:, 99].any()
    assert not np.array(detections.draw())[10].any()


def test_labels_do_not_hide_each_other():
    boxes = torch.tensor([[50.0, 60.0, 250.0, 180.0]] * 3)
    rows, picture = torch.tensor([0, 1, 2]), Image.new("RGB", (300, 200))
    scores = torch.tensor([0.9, 0.8, 0.7])
    detections = Detections(boxes, scores, ["aa", "bb", "cc"], rows, (200, 300), picture=picture)
    pixels = np.array(detections.draw())
    counts = [(pixels == np.array(color)).all(2).sum() for color in colors_of([0, 1, 2])]
    assert min(counts[1:]) > 200


def test_labels_leave_most_of_a_small_picture_free():
    boxes = torch.tensor([[4.0, 4.0, 60.0, 60.0]] * 12)
    detections = Detections(boxes, torch.linspace(0.9, 0.3, 12), ["dog"] * 12, torch.arange(12), (64, 64),
                       picture=Image.new("RGB", (64, 64)))  # fmt: skip
    assert np.array(detections.draw()).any(2).mean() < 0.4


def test_a_font_that_is_none(tmp_path):
    with pytest.raises(InputError, match=r"none\.ttf"):
        make_detections().draw(font=tmp_path / "none.ttf")


def test_enlarging_a_small_picture():
    detections = make_detections(2, (40, 50))
    assert detections.draw(scale=4).size == (200, 160)
    pasted = make_detections(2, (40, 50), mask_logits=None, masks=torch.rand(2, 40, 50) > 0.5)
    assert pasted.draw(scale=3).size == (150, 120)
    for wrong in (0, 1.5, 17, True):
        with pytest.raises(InputError, match="scale"):
            detections.draw(scale=wrong)


def test_pictures_that_do_not_fit():
    detections = make_detections()
    detections.picture = None
    with pytest.raises(InputError, match="picture="):
        detections.draw()
    with pytest.raises(InputError, match="90x60"):
        detections.draw(picture=Image.new("RGB", (60, 90)))
    assert detections.draw(picture=Image.new("L", (90, 60))).mode == "RGB"


def test_saving(tmp_path):
    drawn = make_detections().draw(tmp_path / "out.png")
    np.testing.assert_array_equal(np.array(Image.open(tmp_path / "out.png")), np.array(drawn))


def test_colors_are_distinct_stable_and_few_rows_of_a_large_vocabulary_differ():
    assert len(set(colors_of(range(24)))) == 24
    assert colors_of([5, 3])[0] == colors_of([5])[0]
    few = colors_of([1100, 3, 700, 3])
    assert few[1] == few[3]
    for one, other in itertools.combinations(few[:3], 2):
        assert np.abs(np.subtract(one, other)).sum() > 100
    hues = [colorsys.rgb_to_hls(*(c / 255 for c in color))[0] for color in colors_of(range(6))]
    assert min(abs(a - b) for a, b in itertools.combinations(hues, 2)) > 0.08


def test_ink_reads_on_its_color():
    assert text_color_on((255, 255, 0)) == (0, 0, 0)
    assert text_color_on((0, 0, 128)) == (255, 255, 255)
