import pickle
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bindplug import audio, depth, embedding, image, imu, interpolate, text, thermal, video
from bindplug.errors import InputError, NoDirection
from bindplug.modality import Modality
from bindplug.query import Leaf, Query
from bindplug.testing import FAKE_SPACE, FakeEncoder

MODEL = FakeEncoder()
weights = st.floats(0.1, 10.0) | st.floats(-10.0, -0.1)
leaves = st.sampled_from(
    [text("a dog"), text("a car"), audio("rain.wav"), image("crane.jpg"), imu("walk.csv")]
)
queries = st.lists(st.tuples(weights, leaves), min_size=1, max_size=4, unique_by=lambda t: repr(t[1])).map(
    lambda parts: Query((w, leaf) for w, q in parts for _, leaf in q.terms)
)


def rows(*given_queries):
    return MODEL.embed(list(given_queries))


def added(a, b):
    try:
        return a + b
    except NoDirection:
        return None


@given(queries, queries)
def test_addition_commutes(a, b):
    if added(a, b) is not None:
        assert a + b == b + a
        one, other = rows(a + b, b + a)
        assert torch.allclose(one, other, atol=1e-4)


@given(st.permutations([text("a dog"), 0.7 * text("a car"), -0.4 * audio("rain.wav")]))
def test_addition_is_associative(parts):
    a, b, c = parts
    one, other = rows((a + b) + c, a + (b + c))
    assert torch.allclose(one, other, atol=1e-5)


@given(queries, st.floats(1e-3, 1e3))
def test_a_query_has_no_length(query, factor):
    one, other = rows(query, factor * query)
    assert torch.allclose(one, other, atol=1e-5)


@given(queries)
def test_negation_turns_a_query_round(query):
    one, other = rows(query, -query)
    assert torch.allclose(one, -other, atol=1e-6)


@given(queries)
def test_rows_have_unit_length(query):
    assert torch.allclose(rows(query).norm(dim=-1), torch.ones(1), atol=1e-6)


@given(queries)
def test_a_query_minus_itself_has_no_direction(query):
    with pytest.raises(NoDirection, match="cancel"):
        query - query


def test_embedding_is_the_weighted_sum_of_unit_leaves():
    dog, rain = rows(text("a dog"), audio("rain.wav"))
    expected = torch.nn.functional.normalize(0.5 * dog - 0.8 * rain, dim=-1)
    assert torch.allclose(rows(0.5 * text("a dog") - 0.8 * audio("rain.wav"))[0], expected, atol=1e-6)


def test_a_leaf_of_weight_0_is_gone():
    assert image("crane.jpg") + 0 * audio("waves.wav") == image("crane.jpg")
    with pytest.raises(NoDirection):
        rows(0 * text("a dog"))


def test_sources_that_cancel_numerically_have_no_direction():
    vector = np.arange(1, 17, dtype=np.float32)
    opposed = embedding(vector, FAKE_SPACE) + embedding(-vector, FAKE_SPACE)
    with pytest.raises(NoDirection, match="cancel"):
        rows(opposed)


def test_equal_leaves_merge():
    assert text("a") + text("a") == 2 * text("a")
    assert text("a") / 2 == 0.5 * text("a")
    assert sum([text("a"), text("b")]) == text("a") + text("b")
    assert hash(text("a") + text("b")) == hash(text("b") + text("a"))
    assert (text("a") + 2 * text("b") - text("a")).terms == ((2.0, Leaf(Modality.TEXT, "b")),)


def test_equality_goes_by_modality_source_and_options():
    assert image("a.png") == image(Path("a.png"))
    assert image("a.png") != depth("a.png")
    assert depth("a.png", unit="mm") != depth("a.png")
    assert audio(b"abc") == audio(b"abc")
    samples = np.zeros(8)
    assert audio(samples, sample_rate=8) == audio(samples, sample_rate=8)
    assert audio(samples) != audio(samples.copy())
    assert text("a") != "a"


def test_repr_reads_as_it_was_written():
    query = image("crane.jpg") + 0.8 * audio(Path("waves.wav"), sample_rate=16000) - text("beach")
    assert repr(query) == "image('crane.jpg') + 0.8 * audio('waves.wav', sample_rate=16000) - text('beach')"
    assert repr(-2 * text("a")) == "-2 * text('a')"
    assert repr(video(np.zeros((2, 3)))) == "video(<ndarray (2, 3)>)"
    assert repr(thermal(b"12345")) == "thermal(<5 bytes>)"
    assert len(repr(text("long " * 100))) < 100


@pytest.mark.parametrize("make", [image, video, audio, depth, thermal, imu])
def test_every_constructor_states_its_modality(make):
    (weight, leaf), *others = make("file").terms
    assert (weight, leaf.modality.value, leaf.source, others) == (1.0, make.__name__, "file", [])
    with pytest.raises(InputError, match="one source"):
        make(None)
    with pytest.raises(InputError, match=rf"\[{make.__name__}\(s\) for s in sources\]"):
        make(["a", "b"])
    with pytest.raises(TypeError, match="query already"):
        make(text("a"))
    assert make(BytesIO(b"x")) != make(BytesIO(b"x"))


def test_text_takes_one_string():
    with pytest.raises(InputError, match=r"\[text\(s\) for s in sentences\]"):
        text(["a", "b"])
    with pytest.raises(InputError, match="one string"):
        text(3)


@pytest.mark.parametrize("operate", [lambda q: q + "a dog", lambda q: "a dog" + q, lambda q: q - "a dog"])
def test_adding_a_bare_string_says_what_to_write(operate):
    with pytest.raises(TypeError, match=r"text\('a dog'\)"):
        operate(text("a cat"))


@pytest.mark.parametrize("factor", ["2", None, True, text("a")])
def test_weights_are_numbers(factor):
    with pytest.raises(TypeError, match="weighted by a number"):
        text("a") * factor


def test_weights_are_finite():
    with pytest.raises(InputError, match="finite"):
        text("a") * float("nan")
    with pytest.raises(ZeroDivisionError):
        text("a") / 0


def test_numpy_and_torch_numbers_are_weights():
    assert np.float64(2) * text("a") == text("a") * torch.tensor(2.0) == 2 * text("a")
    assert torch.tensor(2.0) * text("a") == 2 * text("a")


def test_a_query_is_no_list():
    with pytest.raises(TypeError, match=r"\[query\]"):
        list(text("a"))


def test_queries_survive_pickling():
    query = image("a.png", size=3) + embedding(np.ones(16), FAKE_SPACE, modality="audio")
    assert pickle.loads(pickle.dumps(query)) == query


def test_interpolation_reaches_both_ends_and_keeps_to_directions():
    steps = interpolate(5 * text("a"), text("b"), 5)
    assert len(steps) == 5
    assert torch.allclose(rows(steps[0], steps[-1]), rows(text("a"), text("b")), atol=1e-6)
    assert steps[2] == 0.5 * text("a") + 0.5 * text("b")
    with pytest.raises(InputError, match="at least 2"):
        interpolate(text("a"), text("b"), 1)
    with pytest.raises(TypeError, match="joins queries"):
        interpolate(text("a"), "b", 3)


@pytest.mark.parametrize("vector", [np.ones(16), torch.ones(16, requires_grad=True), [1.0] * 16])
def test_embedding_takes_any_vector(vector):
    assert torch.allclose(rows(embedding(vector, FAKE_SPACE)), torch.full((1, 16), 0.25))


@pytest.mark.parametrize(
    ("vector", "expected"),
    [(np.ones(8), "16"), (np.ones((1, 16)), "16"), (np.zeros(16), "not all 0"), ("a dog", "vector of numbers"),
     (np.full(16, np.nan), "finite")],
)  # fmt: skip
def test_embedding_refuses_what_has_no_direction(vector, expected):
    with pytest.raises(InputError, match=expected):
        embedding(vector, FAKE_SPACE)


def test_the_heaviest_term_gives_the_modality():
    assert (0.5 * text("a") - audio("b.wav")).modality == "audio"
    assert (text("a") + audio("b.wav")).modality == "text"
    assert embedding(np.ones(16), FAKE_SPACE, modality="depth").modality is Modality.DEPTH
