"""Judging generated pictures: queries, counts, methods and contact sheets, with a judge that knows colors."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import bindplug
from bindplug.errors import InputError
from bindplug_toyworld.things import CLASSNAMES, MOVING, NAMES, label_of
from recipes.generation_evaluation import (
    BLENDS,
    MODALITIES,
    Judge,
    QuerySet,
    blend_queries,
    contact_sheet,
    evaluate_generation,
    format_measures,
    generate_all,
    judge_pictures,
    sensor_queries,
)


def painted(label, second=None):
    """A picture that :class:`Painter`'s judge takes for a thing, and next for another."""
    return Image.new("RGB", (8, 8), (label, label if second is None else second, 0))


class ColorJudge(Judge):
    """Reads labels from the color of pictures."""

    def __init__(self):
        pass

    def scores(self, pictures):
        rows = torch.zeros(len(pictures), len(NAMES))
        for row, picture in zip(rows, pictures, strict=True):
            first, second, _ = picture.getpixel((0, 0))
            row[second], row[first] = 0.5, 1.0
        return rows


class Painter:
    """Paints what its queries are about, or with ``wrong`` another thing; remembers how it was called."""

    def __init__(self, query_set):
        self.of = dict(zip(map(id, query_set.queries), query_set.labels, strict=True))
        self.calls = []

    def __call__(self, queries, *, seed, wrong=False):
        self.calls.append((len(queries), seed))
        labels = [self.of[id(query)] for query in queries]
        images = [painted(*((label + wrong) % len(NAMES) for label in each)) for each in labels]
        return SimpleNamespace(images=images)


def asked_for(*labels):
    queries = [bindplug.text(str(number)) for number in range(len(labels))]
    scenes = [SimpleNamespace(image=painted(each[0])) for each in labels]
    return QuerySet("audio" if len(labels[0]) == 1 else "image + audio", queries, labels, scenes)


@pytest.mark.parametrize("modality", MODALITIES)
def test_queries_go_round_the_things(modality):
    query_set = sensor_queries(modality, 21 if modality == "text" else 9)
    things = MOVING if modality == "imu" else NAMES
    assert [scene.label for scene in query_set.scenes] == [
        things[n % len(things)] for n in range(len(query_set.labels))
    ]
    assert [NAMES[label] for (label,) in query_set.labels] == [scene.label for scene in query_set.scenes]
    assert all(scene.split == "eval" for scene in query_set.scenes)
    assert {leaf.modality.value for query in query_set.queries for _, leaf in query.terms} == {modality}


def test_no_scene_is_asked_about_twice():
    seeds = [scene.seed for modality in MODALITIES for scene in sensor_queries(modality, 4).scenes]
    seeds += [scene.seed for pair in BLENDS for scene in blend_queries(*pair, 4).scenes]
    assert len(set(seeds)) == len(seeds)


def test_blends_are_of_two_different_things():
    query_set = blend_queries("text", "audio", 30)
    assert query_set.modality == "text + audio"
    assert all(a != b for a, b in query_set.labels)
    assert all(len(query.terms) == 2 for query in query_set.queries)
    assert [scene.label for scene in query_set.scenes] == [NAMES[a] for a, _ in query_set.labels]
    assert blend_queries("text", "audio", 30).labels == query_set.labels


def test_an_unknown_modality_is_refused():
    with pytest.raises(InputError, match="one of image, text"):
        sensor_queries("video", 3)


def test_counting_by_hand():
    query_set = asked_for((0,), (1,), (2,), (2,))
    measure = judge_pictures(
        ColorJudge(), query_set, [painted(0), painted(1), painted(5, 2), painted(2)], "method"
    )
    assert (measure.value, measure.count, measure.chance) == (0.75, 4, 0.05)
    assert measure.both is None
    assert measure.name == "audio, method"
    matrix = np.array(measure.confusion)
    assert matrix.shape == (20, 20)
    assert matrix[2, 5] == matrix[2, 2] == matrix[0, 0] == 1
    assert matrix.sum() == 4
    assert measure.to_dict()["classnames"] == list(CLASSNAMES)


def test_counting_blends_by_hand():
    query_set = asked_for((0, 1), (0, 1), (0, 1), (0, 1))
    pictures = [painted(0, 1), painted(1, 0), painted(1, 7), painted(7, 1)]
    measure = judge_pictures(ColorJudge(), query_set, pictures)
    assert (measure.value, measure.both, measure.chance) == (0.75, 0.5, 0.1)
    assert measure.confusion == ()
    assert measure.to_dict()["both"] == 0.5


def test_imu_s_matrix_has_the_things_that_move():
    label = label_of("train")
    query_set = QuerySet("imu", [bindplug.text("x")], [(label,)], [SimpleNamespace(image=painted(label))])
    measure = judge_pictures(ColorJudge(), query_set, [painted(3)])
    assert np.array(measure.confusion).shape == (8, 20)
    assert measure.confusion[MOVING.index("train")][3] == 1


def test_a_picture_for_each_query():
    with pytest.raises(InputError, match="2, one for each query"):
        judge_pictures(ColorJudge(), asked_for((0,), (1,)), [painted(0)])


@settings(max_examples=15)
@given(st.integers(1, 130), st.integers(0, 1000))
def test_every_picture_has_a_seed_of_its_own(count, seed):
    query_set = asked_for(*[(number % 20,) for number in range(count)])
    painter = Painter(query_set)
    pictures = generate_all(painter, query_set, seed=seed, quiet=True)
    assert [picture.getpixel((0, 0))[0] for picture in pictures] == [n % 20 for n in range(count)]
    assert [one for _, seeds in painter.calls for one in seeds] == list(range(seed, seed + count))
    assert max(size for size, _ in painter.calls) <= 50


def test_methods_are_measured_side_by_side():
    query_set = asked_for((3,), (4,))
    methods = {"as they are": {"wrong": True}, "cured": {}}
    measures, pictures = evaluate_generation(Painter(query_set), ColorJudge(), query_set, methods, quiet=True)
    assert [measure.value for measure in measures] == [0.0, 1.0]
    assert list(pictures) == list(methods)
    blend = judge_pictures(ColorJudge(), asked_for((0, 1)), [painted(0, 1)], "cured")
    table = format_measures([*measures, blend]).splitlines()
    assert table[0] == "| picture of | as they are | cured | chance | pictures |"
    assert table[2] == "| audio | 0.0 % (0 to 66) | 100.0 % (34 to 100) | 5 % | 2 |"
    assert table[3] == "| image + audio |  | 100.0 % (21 to 100), both 100 % | 10 % | 1 |"
    assert {line.count("|") for line in table} == {6}


def test_the_contact_sheet_frames_what_the_judge_says():
    query_set = asked_for((0,), (1,), (0,))
    sheet = contact_sheet(query_set, [painted(0)] * 3, [0, 0, 0], title="t")
    colors = {color for _, color in sheet.getcolors(1 << 16)}
    assert {(23, 118, 74), (178, 51, 43)} <= colors
    agreed = contact_sheet(query_set, [painted(0)] * 3, [0, 1, 0], title="t")
    assert (178, 51, 43) not in {color for _, color in agreed.getcolors(1 << 16)}
    assert sheet.width > sheet.height


def test_the_judge_knows_the_scenes_themselves():
    judge = Judge(bindplug.load("imagebind_tiny", modalities=["image", "text"]))
    query_set = sensor_queries("image", 10)
    pictures = [scene.image.resize((64, 64)) for scene in query_set.scenes]
    assert judge_pictures(judge, query_set, pictures).value >= 0.5
    assert judge.answers(pictures) == judge.scores(pictures).argmax(1).tolist()
