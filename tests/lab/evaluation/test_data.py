"""Items of a task as an evaluation takes them: balanced limits."""

import numpy as np
import pytest

from bindplug_lab.evaluation.data import balanced_places, read_data
from bindplug_lab.evaluation.results import Settings
from bindplug_lab.tasks import load_task


@pytest.mark.parametrize("count", [1, 4, 7, 30, 500])
def test_a_limit_takes_equally_many_of_each_class_while_there_are(count):
    labels = [0] * 50 + [1] * 50 + [2] * 3 + [3] * 20
    places = balanced_places(labels, count, seed=0)
    assert places == sorted(set(places))
    assert len(places) == min(count, len(labels))
    drawn = np.bincount([labels[place] for place in places], minlength=4)
    full = np.bincount(labels)
    unused = drawn < full
    assert drawn[unused].max(initial=0) - drawn[unused].min(initial=100) <= 1
    assert places == balanced_places(labels, count, seed=0)


def test_another_seed_draws_others():
    labels = [0, 1] * 50
    assert balanced_places(labels, 20, seed=0) != balanced_places(labels, 20, seed=1)


def test_limited_data_say_so(esc50):
    data = read_data(load_task("esc50"), esc50, Settings(limit=50))
    assert (len(data.items), data.size, data.is_limited) == (50, 100, True)
    assert len({labels[0] for labels in data.items.labels}) == 50
    assert data.remarks == ["50 of 100 items, drawn with seed 0"]
    assert not read_data(load_task("esc50"), esc50, Settings(limit=100)).is_limited
