"""Items: what they refuse, samples and subsets, laziness."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bindplug import text
from bindplug.errors import InputError, OptionError
from bindplug_lab.tasks import FewShotItems, LabeledItems, PairedItems, Queries


def make_labeled(count=6, **changes):
    """Items of three classes."""
    names = [f"item {number}" for number in range(count)]
    fields = {
        "ids": tuple(names),
        "queries": Queries(names, text),
        "labels": tuple((number % 3,) for number in range(count)),
        "class_names": ("a", "b", "c"),
    }
    return LabeledItems(**{**fields, **changes})


def make_paired(count=4, **changes):
    """Two captions for each of ``count`` candidates."""
    lefts = [f"caption {number}" for number in range(2 * count)]
    rights = [f"sound {number}" for number in range(count)]
    fields = {
        "left_ids": tuple(lefts),
        "left": Queries(lefts, text),
        "right_ids": tuple(rights),
        "right": Queries(rights, text),
        "matches": tuple(frozenset({number // 2}) for number in range(2 * count)),
    }
    return PairedItems(**{**fields, **changes})


def test_queries_are_made_when_they_are_taken():
    records, calls = ["a", "b", "c"], []

    def make(record):
        calls.append(record)
        return text(record)

    queries = Queries(records, make)
    part = queries[1:]
    assert len(queries) == 3
    assert len(part) == 2
    assert calls == []
    assert part[0] == text("b")
    assert calls == ["b"]
    assert list(queries) == [text(record) for record in records]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ids": ("item 0",) * 6}, "5 ids twice, as 'item 0'"),
        ({"labels": ((0,),) * 5}, "5 labels for 6 ids"),
        ({"labels": ((3,),) * 6}, "indices of 3 classes"),
        ({"labels": ((-1,),) * 6}, "indices of 3 classes"),
        ({"labels": ((),) * 6}, "each label once, at least one"),
        ({"labels": ((1, 1),) * 6}, "each label once"),
        ({"class_names": ("a", "b", "a")}, "'a' twice"),
        ({"synonyms": (("a",), ("b",))}, "2 synonyms for 3 ids"),
        ({"synonyms": (("a",), ("b",), ())}, "no synonyms"),
        ({"folds": (1, 2)}, "2 folds for 6 ids"),
        ({"ids": (), "queries": [], "labels": ()}, "none; expected at least one"),
    ],
)
def test_labeled_items_that_are_wrong(changes, message):
    with pytest.raises(InputError, match=message):
        make_labeled(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"matches": (frozenset(),) * 8}, "at least one index"),
        ({"matches": (frozenset({4}),) * 8}, "at least one index of 4 candidates"),
        ({"right_ids": ("x",) * 4}, "3 ids twice"),
        ({"left": []}, "0 left for 8 ids"),
    ],
)
def test_paired_items_that_are_wrong(changes, message):
    with pytest.raises(InputError, match=message):
        make_paired(**changes)


def test_few_shot_items_share_their_classes():
    with pytest.raises(InputError, match="another order"):
        FewShotItems(make_labeled(), make_labeled(class_names=("b", "a", "c")))


@given(st.integers(1, 12), st.integers(0, 3))
def test_samples_of_labeled_items_keep_order_and_labels(count, seed):
    items = make_labeled(9, folds=tuple(range(9)))
    sample = items.sample(count, seed=seed)
    assert len(sample) == min(count, 9)
    places = [items.ids.index(name) for name in sample.ids]
    assert places == sorted(places)
    assert sample.folds == tuple(places)
    assert [sample.labels[i] for i in range(len(sample))] == [items.labels[place] for place in places]
    assert [query.terms[0][1].source for query in sample.queries] == list(sample.ids)
    assert sample.ids == items.sample(count, seed=seed).ids


@given(st.integers(1, 6), st.integers(0, 3))
def test_samples_of_pairs_keep_every_match(count, seed):
    items = make_paired(4)
    sample = items.sample(count, seed=seed)
    assert len(sample.right_ids) == min(count, 4)
    assert len(sample) == 2 * len(sample.right_ids)
    for name, matches in zip(sample.left_ids, sample.matches, strict=True):
        (old,) = items.matches[items.left_ids.index(name)]
        assert {sample.right_ids[place] for place in matches} == {items.right_ids[old]}


def test_directions_reversed_twice_are_the_first():
    items = make_paired(3)
    back = items.reverse()
    np.testing.assert_array_equal(back.match_matrix, items.match_matrix.T)
    np.testing.assert_array_equal(back.reverse().match_matrix, items.match_matrix)


@pytest.mark.parametrize("count", [0, -1, True, 1.5])
def test_samples_of_no_size(count):
    with pytest.raises(OptionError, match="count"):
        make_labeled().sample(count)
