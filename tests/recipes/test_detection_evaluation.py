"""Counting detections: average precision by hand, absent things, prompts of every kind."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bindplug_toyworld.things import MOVING, NAMES, label_of
from recipes.detection_evaluation import (
    DEFAULT_THRESHOLD,
    FLOOR,
    Detections,
    GroundTruth,
    average_precision,
    cluttered_scenes,
    evaluate_detection,
    evaluate_own_words,
    false_positive_rate,
    format_measures,
    ground_truth_of,
    measure,
    overlaps,
    recordings,
)

SQUARE = (0, 0, 10, 10)
FAR = (50, 50, 60, 60)


def found(*entries):
    """Entries of (box, score, label)."""
    boxes, scores, labels = zip(*entries, strict=True) if entries else ((), (), ())
    return Detections(np.array(boxes, float).reshape(-1, 4), np.array(scores, float), np.array(labels, int))


def present(*entries):
    boxes, labels = zip(*entries, strict=True) if entries else ((), ())
    return GroundTruth(np.array(boxes, float).reshape(-1, 4), np.array(labels, int))


def test_overlap_of_boxes():
    others = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30], [3, 3, 3, 3]], float)
    assert overlaps(np.array(SQUARE, float), others) == pytest.approx([1, 50 / 150, 0, 0])
    assert overlaps(np.zeros(4), np.zeros((1, 4))) == pytest.approx([0])


@pytest.mark.parametrize(
    ("detections", "expected"),
    [
        ([(SQUARE, 0.9, 0), (FAR, 0.8, 0)], 1.0),
        ([(SQUARE, 0.9, 0)], 0.5),
        ([], 0.0),
        # a false alarm between the two: precision 1 up to half of them, then 2/3
        ([(SQUARE, 0.9, 0), ((100, 0, 110, 10), 0.8, 0), (FAR, 0.7, 0)], 0.5 * 1 + 0.5 * 2 / 3),
        # a false alarm first: precision at both hits is 1/2 and 2/3, and interpolated 2/3
        ([((100, 0, 110, 10), 0.95, 0), (SQUARE, 0.9, 0), (FAR, 0.7, 0)], 2 / 3),
        # the same thing twice: the second is a false alarm
        ([(SQUARE, 0.9, 0), (SQUARE, 0.8, 0)], 0.5),
        ([(SQUARE, 0.9, 0), (SQUARE, 0.8, 0), (FAR, 0.7, 0)], 0.5 + 0.5 * 2 / 3),
        # half of the box: IoU 1/3, or exactly 1/2
        ([((5, 0, 15, 10), 0.9, 0)], 0.0),
        ([((0, 0, 5, 10), 0.9, 0)], 0.5),
        ([(SQUARE, 0.9, 1), (FAR, 0.9, 1)], 0.0),
    ],
)
def test_average_precision_by_hand(detections, expected):
    truth = [present((SQUARE, 0), (FAR, 0))]
    assert average_precision([found(*detections)], truth, 0) == pytest.approx(expected)


def test_ranks_go_across_scenes_and_boxes_do_not():
    truth = [present((SQUARE, 0)), present((SQUARE, 0))]
    wrong_scene = [found((FAR, 0.9, 0)), found((SQUARE, 0.5, 0))]
    assert average_precision(wrong_scene, truth, 0) == pytest.approx(0.5 * 0.5)
    assert average_precision([found(), found((FAR, 0.9, 0))], [present((FAR, 0)), present()], 0) == 0


def test_a_detection_takes_the_box_it_overlaps_most():
    near = (2, 0, 12, 10)
    truth = [present((SQUARE, 0), (near, 0))]
    assert average_precision([found((near, 0.9, 0), (SQUARE, 0.8, 0))], truth, 0) == 1.0


def test_a_thing_that_no_scene_has_has_no_precision():
    assert average_precision([found((SQUARE, 0.9, 3))], [present((SQUARE, 0))], 3) is None


@settings(max_examples=40)
@given(st.lists(st.floats(0.01, 1), min_size=1, max_size=8), st.integers(0, 8))
def test_more_false_alarms_never_help(scores, hits):
    truth = [present(*(((20 * i, 0, 20 * i + 10, 10), 0) for i in range(8)))]
    right = [((20 * i, 0, 20 * i + 10, 10), 0.5, 0) for i in range(hits)]
    alarms = [((20 * i, 50, 20 * i + 10, 60), score, 0) for i, score in enumerate(scores)]
    alone = average_precision([found(*right)], truth, 0)
    assert alone == pytest.approx(hits / 8)
    assert average_precision([found(*right, *alarms)], truth, 0) <= alone + 1e-12


def test_false_positives_are_counted_among_absent_things_only():
    truth = [present((SQUARE, 0)), present((SQUARE, 1))]
    seen = [found((FAR, 0.9, 0), (FAR, 0.4, 1)), found((SQUARE, 0.9, 1), (FAR, 0.2, 0))]
    # absent: 1 and 2 in the first scene, 0 and 2 in the second; seen there above 0.3: 1 in the first
    assert false_positive_rate(seen, truth, [0, 1, 2], 0.3) == pytest.approx(1 / 4)
    assert false_positive_rate(seen, truth, [0, 1, 2], 0.1) == pytest.approx(2 / 4)
    assert false_positive_rate(seen[:1], truth[:1], [0], 0.1) == 0.0


def test_a_measure_averages_over_the_things_that_occur():
    truth = [present((SQUARE, 0), (FAR, 1), ((80, 80, 90, 90), 5))]
    one = measure("audio", "linear", [found((SQUARE, 0.9, 0))], truth, [0, 1, 2])
    assert one.ap50 == pytest.approx(0.5)
    assert one.per_thing == {NAMES[0]: 1.0, NAMES[1]: 0.0}
    assert (one.boxes, one.scenes, one.name) == (2, 1, "audio, linear")
    assert one.to_dict()["per_thing"][NAMES[0]] == 1.0


def test_recordings_are_of_each_thing_and_all_different():
    assert [query.modality for query in recordings("imu", 0)] == ["imu"] * len(MOVING)
    assert repr(recordings("text", 0)[2]).count(NAMES[2])
    depths = [query.terms[0][1].source for number in (0, 1) for query in recordings("depth", number)[:2]]
    assert len({depth.tobytes() for depth in depths}) == 4


class Oracle:
    """Knows the scenes; finds what it is asked for, and with every prompt for a bee a bee in the corner."""

    def __init__(self, count, blind=()):
        scenes = cluttered_scenes(count, side=128)
        self.truths = {scene.pixels.tobytes(): ground_truth_of(scene) for scene in scenes}
        self.blind, self.asked, self.routes = blind, 0, []

    def prepare(self, queries, route=None):
        self.asked += 1
        self.routes.append(route)
        return SimpleNamespace(queries=queries, routes=(route or "linear",) * len(queries))

    def __call__(self, picture, prompts=None, *, threshold, with_masks):
        assert threshold == FLOOR
        assert not with_masks
        truth = self.truths[np.asarray(picture).tobytes()]
        names = MOVING if prompts is not None and len(prompts.queries) == len(MOVING) else NAMES
        rows = [
            (box, 0.9, names.index(NAMES[label]))
            for box, label in zip(truth.boxes, truth.labels, strict=True)
            if NAMES[label] in names and label not in self.blind
        ]
        if "bee" in names:
            rows.append(((0, 0, 4, 4), 0.35, names.index("bee")))
        boxes, scores, labels = found(*rows)
        return SimpleNamespace(
            boxes=torch.tensor(boxes), scores=torch.tensor(scores), label_indices=torch.tensor(labels)
        )


def test_an_oracle_finds_everything_by_every_prompt():
    oracle = Oracle(24)
    by_text = evaluate_detection(oracle, "text", "vocabulary", scenes=24, side=128, quiet=True)
    assert by_text.ap50 == pytest.approx(1.0, abs=0.05)  # the bees in the corner rank last
    assert oracle.routes == ["vocabulary"]
    assert by_text.route == "vocabulary"
    bees = sum(label_of("bee") not in scene.labels.tolist() for scene in oracle.truths.values())
    absent = sum(len(NAMES) - len(set(scene.labels.tolist())) for scene in oracle.truths.values())
    assert by_text.false_positive_rate == pytest.approx(bees / absent)
    moving = evaluate_detection(oracle, "imu", scenes=24, recordings_of_each=2, side=128, quiet=True)
    assert set(moving.per_thing) <= set(MOVING)
    assert moving.ap50 == 1.0
    assert moving.false_positive_rate == 0
    assert oracle.asked == 1 + 2


def test_a_blind_spot_shows():
    oracle = Oracle(24, blind={label_of("dog")})
    own = evaluate_own_words(
        lambda picture: oracle(picture, threshold=FLOOR, with_masks=False), scenes=24, side=128, quiet=True
    )
    assert own.per_thing["dog"] == 0
    assert own.per_thing["train"] == 1
    assert own.boxes == sum(len(scene.labels) for scene in oracle.truths.values())
    assert own.threshold == DEFAULT_THRESHOLD


def test_the_table_compares_with_text_of_the_same_route():
    truth = [present((SQUARE, 0), (FAR, 1))]
    both = found((SQUARE, 0.9, 0), (FAR, 0.9, 1))
    measures = [
        measure("text", "linear", [both], truth, [0, 1]),
        measure("audio", "linear", [found((SQUARE, 0.9, 0))], truth, [0, 1]),
        measure("audio", "rescore", [both], truth, [0, 1]),
    ]
    rows = format_measures(measures).splitlines()[2:]
    assert rows[1] == "| audio | linear | 0.500 | 50 % | 0.0 % | 2 |"
    assert rows[2].split("|")[4].strip() == ""


def test_evaluation_scenes_are_cluttered():
    scenes = cluttered_scenes(30, side=64)
    assert {len(scene.labels) for scene in scenes} == {2, 3, 4, 5}
    assert {scene.split for scene in scenes} == {"eval"}
