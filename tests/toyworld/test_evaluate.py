"""The counting: evaluation says what is right and wrong on answers known beforehand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bindplug_toyworld.evaluation import (
    Measure,
    classification,
    evaluation_scenes,
    format_confusion,
    query_of,
    retrieval,
    things_of,
)
from bindplug_toyworld.things import MOVING, NAMES


class Oracle:
    """Text prompts of class k are the k-th unit vector."""

    def zero_shot_classifier(self, classnames, progress=None):
        return torch.eye(len(classnames))


def rows_for(answers: list[int], width: int) -> torch.Tensor:
    return torch.eye(width)[answers]


def test_classification_counts_into_the_confusion_matrix():
    answers = [index % 20 for index in range(40)]
    answers[3], answers[23] = 7, 3  # one of the two scenes of class 3 is taken for class 7
    measure = classification(Oracle(), "audio", rows_for(answers, 20))
    assert measure.value == pytest.approx(39 / 40)
    confusion = np.array(measure.confusion)
    assert confusion.sum() == 40
    assert confusion[3, 7] == 1
    assert confusion[3, 3] == 1
    assert confusion.trace() == 39
    assert (measure.name, measure.chance) == ("audio -> text", 0.05)


def test_imu_is_classified_among_what_moves_one():
    measure = classification(Oracle(), "imu", rows_for([i % len(MOVING) for i in range(16)], len(MOVING)))
    assert measure.value == 1.0
    assert measure.chance == pytest.approx(1 / len(MOVING))
    assert measure.classnames[list(MOVING).index("walking")] == "person walking"


def test_retrieval_compares_classes_that_both_sensors_know():
    audio = torch.eye(20)[[i % 20 for i in range(40)]]
    motion = torch.stack([torch.eye(20)[NAMES.index(MOVING[i % len(MOVING)])] for i in range(16)])
    measure = retrieval("audio", "imu", audio, motion)
    assert measure.value == 1.0
    assert measure.count == 2 * len(MOVING)
    assert measure.chance == pytest.approx(1 / len(MOVING))
    shifted = retrieval("audio", "imu", audio.roll(1, dims=1), motion)
    assert shifted.value < 0.5


def test_promises_are_held_or_not():
    assert Measure("audio -> text", 0.93, 100, 0.05).holds
    assert not Measure("audio -> text", 0.91, 100, 0.05).holds
    assert Measure("image -> audio", 0.1, 100, 0.05).holds, "nothing is promised of it"


def test_measures_turn_into_plain_values():
    measure = classification(Oracle(), "imu", rows_for([i % 8 for i in range(16)], 8))
    plain = measure.to_dict()
    assert plain["threshold"] == 0.9
    assert plain["confusion"][0][0] == 2
    assert "person walking" in format_confusion(measure)


def test_evaluation_scenes_are_balanced_and_from_the_evaluation_split():
    scenes = list(evaluation_scenes(things_of("imu"), 16, 500))
    assert {scene.split for scene in scenes} == {"eval"}
    assert [scene.label for scene in scenes] == list(MOVING) * 2
    assert len({scene.seed for scene in scenes}) == 16


def test_every_sensor_becomes_a_query_of_its_own_modality():
    scene = next(evaluation_scenes(["train"], 1, 0))
    for modality in ("image", "video", "text", "audio", "depth", "thermal", "imu"):
        assert query_of(scene, modality).modality == modality
