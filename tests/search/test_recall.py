"""The approximate search of a large index, measured against the exact one."""

import numpy as np
import pytest

from bindplug.indexes import Condition, IndexRow, create_vector_index, open_vector_index
from bindplug.space import EmbeddingSpace
from bindplug_search.recall import refresh_approximation

SPACE = EmbeddingSpace("test:space", 16)
COUNT = 1500


def clusters(seed, count):
    rng = np.random.default_rng(seed)
    centers = np.random.default_rng(0).normal(size=(30, SPACE.width))
    rows = centers[rng.integers(30, size=count)] + 0.3 * rng.normal(size=(count, SPACE.width))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def rows(start, count):
    kinds = ("image", "audio")
    return [IndexRow(f"/{n}", kinds[n % 2], None, {"n": float(n % 500)}) for n in range(start, start + count)]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    index = create_vector_index(tmp_path_factory.mktemp("large") / "a.lance", model="m", space=SPACE)
    index.add(clusters(1, COUNT), rows(0, COUNT))
    assert refresh_approximation(index, limit=COUNT) is None
    assert index.info().details["search"] == "exact"
    refresh_approximation(index, limit=1000)
    return index


def test_the_recall_is_measured_and_told(store):
    description = store.info().details["search"]
    assert description["recall"] >= 0.9
    assert description["rows"] == COUNT
    assert open_vector_index(store.path).info().details["search"] == description


def test_the_recall_is_that_of_searches(store):
    hits = 0
    queries = clusters(2, 20)
    for vector in queries:
        exact = {match.row.key for match in store.search(vector, 10, exact=True)}
        hits += len(exact & {match.row.key for match in store.search(vector, 10)})
    assert hits / 200 > 0.8


def test_a_filter_that_few_rows_meet_is_answered_in_full(store):
    vector = clusters(3, 1)[0]
    matches = store.search(vector, 5, where=[Condition("n", "=", 7)])
    assert matches == store.search(vector, 5, where=[Condition("n", "=", 7)], exact=True)
    assert len(matches) == 3


def test_rows_that_are_added_later_are_found(store):
    new = clusters(4, 20)
    store.add(new, rows(COUNT, 20))
    assert store.search(new[0], 1)[0].row.path == f"/{COUNT}"
    approximation = refresh_approximation(store, limit=1000)
    assert approximation is not None
    assert approximation.rows == COUNT + 20
    assert store.unindexed_rows == 0
    assert refresh_approximation(store, limit=1000) == approximation  # nothing is due
    assert refresh_approximation(store, limit=10_000) is None
    assert store.manifest.approximation is None
