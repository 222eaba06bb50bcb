"""The LanceDB store against a plain search in numpy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bindplug.errors import InputError, UnknownModality
from bindplug.indexes import (
    Condition,
    IndexRow,
    VectorIndex,
    create_vector_index,
    find_index_card,
    open_vector_index,
)
from bindplug.space import EmbeddingSpace
from bindplug_search.table import metadata_column, metadata_key

SPACE = EmbeddingSpace("test:space", 8, "fingerprint")
KINDS = ("audio", "image", "text")
PLACES = ("garden", "o'hara's", 'a "b" \\ `c`', "100%_", "日本")
COUNT = 300


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def vectors():
    return unit(np.random.default_rng(0).normal(size=(COUNT, SPACE.width)))


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(1)
    rows = []
    for place in range(COUNT):
        metadata = {"year": float(rng.integers(2000, 2006)), "place": str(rng.choice(PLACES))}
        if place % 3 == 0:
            metadata = {"loud": bool(rng.integers(2))}
        span = (float(place % 4), float(place % 4 + 1)) if place % 2 else None
        rows.append(IndexRow(f"/files/{place // 4}", str(rng.choice(KINDS)), span, metadata))
    return list({row.key: row for row in rows}.values())


@pytest.fixture(scope="module")
def store(tmp_path_factory, vectors, rows):
    path = tmp_path_factory.mktemp("store") / "rows.lance"
    index = create_vector_index(path, model="a_model", space=SPACE)
    half = len(rows) // 2
    index.add(vectors[:half], rows[:half])
    index.add(vectors[half : len(rows)], rows[half:])
    return open_vector_index(path)


def plain_search(vectors, rows, vector, k, kinds, conditions):
    """Scores and keys of the nearest rows, best first."""
    compare = {
        "=": lambda a, b: a == b,
        "!=": lambda a, b: a != b,
        "<": lambda a, b: a < b,
        "<=": lambda a, b: a <= b,
        ">": lambda a, b: a > b,
        ">=": lambda a, b: a >= b,
    }

    def meets(row):
        return all(
            c.key in row.metadata and compare[c.operator](row.metadata[c.key], c.value) for c in conditions
        )

    allowed = [i for i, row in enumerate(rows) if (not kinds or row.kind in kinds) and meets(row)]
    scored = sorted(((float(vectors[i] @ vector), rows[i].key) for i in allowed), reverse=True)
    return scored[:k]


CONDITIONS = st.one_of(
    st.builds(Condition, st.just("year"), st.sampled_from(["=", "!=", "<", "<=", ">", ">="]), st.integers(1999, 2007)),
    st.builds(Condition, st.just("place"), st.sampled_from(["=", "!="]), st.sampled_from([*PLACES, "a' OR '1'='1"])),
    st.builds(Condition, st.just("loud"), st.just("="), st.booleans()),
)  # fmt: skip


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    k=st.integers(1, 40),
    kinds=st.lists(st.sampled_from(KINDS), unique=True, max_size=2),
    conditions=st.lists(CONDITIONS, max_size=2),
)
def test_search_is_the_plain_search(store, vectors, rows, seed, k, kinds, conditions):
    vector = unit(np.random.default_rng(seed).normal(size=SPACE.width))
    matches = store.search(vector, k, kinds=kinds, where=conditions)
    expected = plain_search(vectors, rows, vector, k, kinds, conditions)
    assert [match.row.key for match in matches] == [key for _, key in expected]
    np.testing.assert_allclose([m.score for m in matches], [score for score, _ in expected], atol=1e-5)
    by_key = {row.key: row for row in rows}
    assert all(match.row == by_key[match.row.key] for match in matches)


@settings(max_examples=25)
@given(key=st.text(min_size=1))
def test_a_metadata_key_is_recovered_from_its_column(key):
    column = metadata_column(key)
    assert column.isascii()
    assert column.replace("_", "").isalnum()
    assert metadata_key(column) == key


def test_the_store_is_found_by_what_lies_at_the_path(store, tmp_path):
    assert isinstance(store, VectorIndex)
    assert find_index_card(store.path).card.name == "lance"
    assert find_index_card(tmp_path / "new.lance").card.name == "lance"
    info = store.info()
    assert (info.store, info.model, info.space) == ("lance", "a_model", SPACE)
    assert info.rows == sum(info.kinds.values()) == store.row_count
    assert set(info.details["metadata"]) == {"place", "year", "loud"}


def test_rows_of_the_same_key_are_replaced_and_paths_deleted(tmp_path, vectors):
    index = create_vector_index(tmp_path / "a.lance", model="m", space=SPACE)
    rows = [IndexRow("/a", "image"), IndexRow("/a", "depth"), IndexRow("/b", "audio", (0.0, 1.0))]
    index.add(vectors[:3], rows)
    index.add(vectors[3:5], [rows[0], IndexRow("/b", "audio", (1.0, 2.0))])
    assert index.row_count == 4
    assert index.search(vectors[3], 1)[0].row == rows[0]
    assert index.search(vectors[0], 1)[0].score < 0.999
    assert index.delete(["/a", "/nowhere"]) == 2
    assert {match.row.key for match in index.search(vectors[0], 9)} == {
        ("/b", "audio", (0.0, 1.0)),
        ("/b", "audio", (1.0, 2.0)),
    }


def test_the_mean_is_that_of_the_rows_of_the_kinds(store, vectors, rows):
    for kinds in ((), ("audio",), ("audio", "text")):
        chosen = vectors[: len(rows)][[not kinds or row.kind in kinds for row in rows]]
        np.testing.assert_allclose(store.mean(kinds), chosen.mean(0), atol=1e-6)
    with pytest.raises(InputError, match="no rows of depth"):
        store.mean(["depth"])


def test_the_mean_follows_what_is_added(tmp_path, vectors):
    index = create_vector_index(tmp_path / "a.lance", model="m", space=SPACE)
    index.add(vectors[:1], [IndexRow("/a", "image")])
    np.testing.assert_allclose(index.mean(), vectors[0], atol=1e-6)
    index.add(vectors[1:2], [IndexRow("/b", "image")])
    np.testing.assert_allclose(index.mean(), vectors[:2].mean(0), atol=1e-6)


def test_paths_that_are_not_utf8_come_back(tmp_path, vectors):
    index = create_vector_index(tmp_path / "a.lance", model="m", space=SPACE)
    path = "/files/caf\udce9.png"
    index.add(vectors[:1], [IndexRow(path, "image")])
    assert index.search(vectors[0], 1)[0].row.path == path
    assert index.delete([path]) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v, r: (v[:1], r), "vectors of shape"),
        (lambda v, r: (v * 2, r), "another length"),
        (lambda v, r: (v, [r[0], r[0]]), "span twice"),
        (lambda v, r: (v, [r[0], IndexRow("/c", "image", None, {"year": "no number"})]), "expected numbers"),
        (lambda v, r: (v, [r[0], IndexRow("/c", "image", None, {"": 1.0})]), "a key without letters"),
        (lambda v, r: (v, [r[0], IndexRow("/c", "image", None, {"tags": ["a"]})]), "found a list|a list"),
    ],
)
def test_bad_rows_are_refused_and_nothing_is_written(tmp_path, vectors, change, message):
    index = create_vector_index(tmp_path / "a.lance", model="m", space=SPACE)
    index.add(vectors[:1], [IndexRow("/old", "image", None, {"year": 2001.0})])
    rows = [IndexRow("/a", "image"), IndexRow("/b", "image")]
    with pytest.raises(InputError, match=message):
        index.add(*change(vectors[:2], rows))
    assert index.row_count == 1


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        (Condition("yeer", "=", 1), "expected one of '"),
        (Condition("year", "=", "soon"), "expected numbers"),
        (Condition("loud", "=", 3), "truth values"),
        (Condition("place", "=", 3), "expected text"),
    ],
)
def test_conditions_that_no_row_can_meet_are_refused(store, vectors, condition, message):
    with pytest.raises(InputError, match=message):
        store.search(vectors[0], 1, where=[condition])


def test_bad_searches_are_refused(store, vectors):
    with pytest.raises(InputError, match="k=0"):
        store.search(vectors[0], 0)
    with pytest.raises(InputError, match=r"shape \(3,\)"):
        store.search(vectors[0][:3], 1)
    with pytest.raises(UnknownModality):
        store.search(vectors[0], 1, kinds=["smell'"])
    with pytest.raises(InputError, match="operator"):
        Condition("year", "LIKE", "a")
