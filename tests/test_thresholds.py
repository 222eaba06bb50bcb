"""Cut-offs keep what they promise, whatever the scores' distribution, and refuse what they cannot promise."""

import json
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import bindplug
from bindplug import Cutoffs, audio, classify, embedding, text
from bindplug.errors import CheckpointError, InputError, SpaceMismatch, WeightsNotFound
from bindplug.space import EmbeddingSpace
from bindplug.testing import FAKE_SPACE, FakeEncoder
from bindplug.thresholds import DifferentData, exact_interval, least_sample_size
from bindplug.thresholds.bounds import cumulative, most_above, rate_interval
from bindplug.zeroshot import NONE_OF_THESE, class_queries

NAMES = ["dog", "cat", "car"]


class Scores:
    """A tool whose items are their own scores."""

    score_name = "planted"
    score_space = EmbeddingSpace("test:planted", 4)

    def match_scores(self, known, items):
        return torch.tensor(items, dtype=torch.float64).reshape(len(items), -1), ["image"] * len(items)


def sounds(count, start=0):
    return [audio(f"{index}.wav") for index in range(start, start + count)]


def limits_of(scores, **options):
    return bindplug.cutoffs(Scores(), [text("a")], list(scores), **options)


def exact_cumulative(count, total, rate):
    return float(sum(math.comb(total, k) * rate**k * (1 - rate) ** (total - k) for k in range(count + 1)))


@pytest.mark.parametrize(
    ("count", "total", "rate"), [(0, 10, 0.1), (3, 17, 0.4), (16, 17, 0.4), (5, 400, 0.01), (60, 100, 0.5)]
)
def test_the_binomial_distribution_is_exact(count, total, rate):
    expected = exact_cumulative(count, total, Fraction(rate))
    assert cumulative(count, total, rate) == pytest.approx(expected, abs=1e-12)


def test_the_least_sample_sizes_are_the_textbook_ones():
    assert least_sample_size(0.01) == 99
    assert least_sample_size(0.05) == 19
    assert least_sample_size(0.01, "binomial", 0.95) == 299  # Wilks: 0.99**299 < 0.05 <= 0.99**298
    assert least_sample_size(0.05, "binomial", 0.95) == 59
    assert least_sample_size(0.05, "binomial", 0.99) == 90


@given(
    st.floats(0.002, 0.5),
    st.integers(0, 2000),
    st.sampled_from(["conformal", "binomial"]),
    st.sampled_from([0.8, 0.95, 0.99]),
)
@settings(max_examples=60)
def test_the_largest_number_above_that_keeps_the_promise_is_allowed(fpr, extra, bound, confidence):
    size = least_sample_size(fpr, bound, confidence)
    assert most_above(size - 1, fpr, bound, confidence) is None
    above = most_above(size + extra, fpr, bound, confidence)
    if bound == "conformal":
        assert (above + 1) / (size + extra + 1) <= fpr + 1e-9
        assert (above + 2) / (size + extra + 1) > fpr - 1e-9
    else:
        assert cumulative(above, size + extra, fpr) <= 1 - confidence + 1e-9
        assert cumulative(above + 1, size + extra, fpr) > 1 - confidence - 1e-9


@given(
    st.lists(st.one_of(st.floats(-1, 1, width=32), st.sampled_from([0.0, 0.5])), min_size=19, max_size=60),
    st.floats(0.05, 0.4),
)
def test_every_item_of_an_exchangeable_sequence_exceeds_the_others_cutoff_at_the_promised_rate(scores, fpr):
    """Leave each item out in turn: the average over exchangeable orders is at most fpr, with ties as well."""
    exceeding = 0
    size = len(scores) - 1
    if size < least_sample_size(fpr):
        return
    for index, score in enumerate(scores):
        others = scores[:index] + scores[index + 1 :]
        exceeding += score > sorted(others, reverse=True)[most_above(size, fpr, "conformal", 0.95)]
    assert exceeding / len(scores) <= fpr + 1e-9


@pytest.mark.parametrize("draw", ["normal", "heavy", "coarse", "constant"])
def test_the_bounds_hold_on_fresh_scores(draw):
    random = np.random.default_rng(5)
    makers = {
        "normal": lambda size: random.normal(size=size),
        "heavy": random.standard_cauchy,
        "coarse": lambda size: random.integers(0, 12, size).astype(float),
        "constant": lambda size: np.full(size, 0.25),
    }
    rates = {"conformal": [], "binomial": []}
    for _ in range(60):
        sample, fresh = makers[draw](400), makers[draw](2000)
        for bound, list_of_rates in rates.items():
            limit = limits_of(sample.tolist(), fpr=0.05, bound=bound).threshold("text", "image")
            list_of_rates.append(float((fresh > limit).mean()))
    # 60 means of 2000 draws: a standard error of 0.0016 on the average, a 95 % promise misses some 3 of 60
    assert np.mean(rates["conformal"]) <= 0.05 + 0.005
    assert np.mean(np.array(rates["binomial"]) > 0.05 + 0.01) <= 0.1
    if draw == "normal":
        assert np.mean(rates["conformal"]) >= 0.05 - 0.008
        assert np.mean(rates["binomial"]) < np.mean(rates["conformal"])


def test_a_small_case_by_hand():
    limits = limits_of([i / 100 for i in range(100)], fpr=0.05, present=[0.5, 0.97, 0.99, 0.2])
    (pair,) = limits.pairs
    # floor(0.05 * 101) - 1 = 4 may lie above: the fifth greatest of 0.00 ... 0.99
    assert (pair.threshold, pair.above, pair.sample_size, pair.known) == (0.95, 4, 100, 1)
    assert (pair.kept, pair.kept_size) == (0.5, 4)
    assert (pair.kept_low, pair.kept_high) == pytest.approx((0.0676, 0.9324), abs=1e-4)
    assert limits.score == "planted"
    assert "text -> image: above 0.9500, from 100 absent" in str(limits)


def test_ties_at_the_threshold_count_as_no_match():
    limits = limits_of([0.0] * 50 + [0.5] * 50, fpr=0.1)
    assert limits.threshold("text", "image") == 0.5
    assert limits.pairs[0].above == 0


def test_the_highest_score_over_the_known_counts():
    rows = [[0.0, i / 100] for i in range(100)]
    limits = bindplug.cutoffs(Scores(), [text("a"), text("b")], rows, fpr=0.05)
    assert limits.threshold("text", "image") == pytest.approx(0.95)


def test_clopper_pearson():
    assert exact_interval(0, 10) == pytest.approx((0.0, 0.30850), abs=1e-5)
    assert exact_interval(10, 10) == pytest.approx((0.69150, 1.0), abs=1e-5)
    assert exact_interval(50, 5000) == pytest.approx((0.00743, 0.01317), abs=1e-5)
    low, high = rate_interval(49, 5000)  # Beta(50, 4951)
    assert (low, high) == pytest.approx((0.00743, 0.01294), abs=2e-5)


def test_an_encoder_gives_a_cutoff_for_every_pair_of_modalities(tmp_path):
    model = FakeEncoder()
    known = [text("a dog"), text("a cat"), audio("bark.wav")]
    absent = sounds(200) + [bindplug.image(f"{i}.png") for i in range(120)]
    limits = bindplug.cutoffs(model, known=known, absent=absent, fpr=0.02)
    names = {(pair.query_modality, pair.row_modality, pair.sample_size, pair.known) for pair in limits.pairs}
    assert names == {
        ("text", "audio", 200, 2), ("text", "image", 120, 2), ("audio", "audio", 200, 1), ("audio", "image", 120, 1),
    }  # fmt: skip
    scores = model.scores(sounds(200), known[:2]).amax(1).double().sort(descending=True).values
    assert limits.threshold("text", "audio") == float(scores[math.floor(0.02 * 201) - 1])
    path = limits.save(tmp_path / "cutoffs.json")
    assert Cutoffs.load(path) == limits
    assert json.loads(path.read_text())["format_version"] == 1
    assert [file.name for file in tmp_path.iterdir()] == ["cutoffs.json"]
    with pytest.raises(CheckpointError, match="exists"):
        limits.save(path)
    limits.save(path, overwrite=True)
    with pytest.raises(InputError, match="the pair text -> depth"):
        limits.threshold("text", "depth")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"absent": sounds(98)}, "98 absent items of audio.*at least 99.*Give more"),
        ({"absent": sounds(298), "bound": "binomial"}, "at least 299"),
        ({"absent": []}, "no absent queries"),
        ({"known": []}, "no known queries"),
        ({"known": text("a")}, "sequence"),
        ({"known": ["a dog"]}, r"text\('a dog'\)"),
        ({"known": [embedding([1.0] * 16, FAKE_SPACE)]}, "modality is not known"),
        ({"fpr": 0.0}, "fpr=0.0"),
        ({"fpr": float("nan")}, "fpr=nan"),
        ({"bound": "hoeffding"}, "hoeffding"),
        ({"confidence": 1.0, "bound": "binomial"}, "confidence=1.0"),
        ({"model": object()}, "an Encoder"),
        ({"model": Scores(), "absent": [float("nan")] * 100}, "not finite"),
    ],
)
def test_what_cannot_be_promised_is_refused(change, says):
    arguments = {"model": FakeEncoder(), "known": [text("a dog")], "absent": sounds(99)} | change
    with pytest.raises(InputError, match=says):
        bindplug.cutoffs(**arguments)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("format", "other"),
        ("format_version", 2),
        ("fpr", 2.0),
        ("bound", "none"),
        ("score", 3),
        ("pairs", []),
        ("pairs.threshold", 9.0),
        ("pairs.threshold", float("nan")),
        ("pairs.sample_size", 98),
        ("pairs.sample_size", True),
        ("pairs.query_modality", "smell"),
        ("pairs.score_quantiles", [0.0]),
        ("pairs.mean_row", [0.0]),
        ("pairs.more", 1),
        ("fpr", 0.5),
        ("bound", "binomial"),
        ("pairs.above", 50),
        ("pairs.sample_size", 20_000),
        ("pairs.rate_high", 0.9),
        ("pairs.kept", 5.0),
        ("pairs.spread", -1.0),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, field, value):
    file = bindplug.cutoffs(FakeEncoder(), [text("a")], sounds(100)).save(tmp_path / "c.json")
    content = json.loads(file.read_text())
    place, _, name = field.rpartition(".")
    (content["pairs"][0] if place else content)[name] = value
    file.write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=r"damaged|does not hold|version"):
        Cutoffs.load(file)


def test_a_file_whose_threshold_was_moved_is_refused(tmp_path):
    limits = bindplug.cutoffs(FakeEncoder(), [text("a")], sounds(400), fpr=0.05, present=sounds(20, 900))
    file = limits.save(tmp_path / "c.json")
    assert Cutoffs.load(file) == limits
    content = json.loads(file.read_text())
    content["pairs"][0]["threshold"] = content["pairs"][0]["score_quantiles"][180]
    file.write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match="score_quantiles do not have 19 of 400 above the threshold"):
        Cutoffs.load(file)


def test_a_stricter_promise_than_was_made_is_refused(tmp_path):
    file = bindplug.cutoffs(FakeEncoder(), [text("a")], sounds(400), fpr=0.05).save(tmp_path / "c.json")
    file.write_text(file.read_text().replace('"fpr": 0.05', '"fpr": 0.01'))
    with pytest.raises(CheckpointError, match=r"19 of 400 above the threshold promise no rate of 0.01"):
        Cutoffs.load(file)


@pytest.mark.parametrize("size", [1, 2, 3, 99, 100, 201, 500])
@pytest.mark.parametrize("digits", [0, 1, 15])
def test_files_of_any_sample_are_read_again(tmp_path, size, digits):
    scores = np.random.default_rng(size).normal(size=size).round(digits)
    for fpr in (0.3, 0.6, 0.95):
        if size >= least_sample_size(fpr):
            limits = limits_of(scores.tolist(), fpr=fpr)
            assert Cutoffs.load(limits.save(tmp_path / "c.json", overwrite=True)) == limits


def test_a_directory_that_does_not_exist_is_told(tmp_path):
    limits = limits_of([0.0] * 50 + [0.5] * 50, fpr=0.1)
    with pytest.raises(CheckpointError, match=r"there is no directory .*missing"):
        limits.save(tmp_path / "missing" / "c.json")


def test_the_interval_of_the_rate_holds_where_many_scores_are_equal():
    """A detector that finds nothing in most pictures gives most of them one score."""
    random = np.random.default_rng(2)

    def scores(size):
        return np.where(random.random(size) < 0.9, 0.0, random.random(size))

    inside = 0
    for _ in range(100):
        pair = limits_of(scores(200).tolist(), fpr=0.2).pairs[0]
        inside += pair.rate_low <= 0.1 <= pair.rate_high
    assert inside >= 90
    constant = limits_of([0.5] * 100, fpr=0.1).pairs[0]
    assert (constant.above, constant.rate_low) == (0, 0.0)


def test_files_that_are_none(tmp_path):
    with pytest.raises(WeightsNotFound, match="bindplug cutoffs"):
        Cutoffs.load(tmp_path / "none.json")
    (tmp_path / "text.json").write_text("hello")
    with pytest.raises(CheckpointError, match="damaged"):
        Cutoffs.load(tmp_path / "text.json")
    with pytest.raises(InputError, match="a int"):
        classify(FakeEncoder(), audio("a"), NAMES, none_of_these=3)


def test_classify_says_none_of_these(tmp_path):
    model = FakeEncoder()
    classes = class_queries(model, NAMES)
    limits = bindplug.cutoffs(model, classes, sounds(300), fpr=0.05)
    file = limits.save(tmp_path / "cutoffs.json")
    queries = [
        *sounds(200, start=1000),
        *(embedding(model.embed([c])[0], FAKE_SPACE, modality="audio") for c in classes),
    ]
    rankings = classify(model, queries, NAMES, none_of_these=file)
    plain = classify(model, queries, NAMES)
    threshold = limits.threshold("text", "audio")
    for ranking, other in zip(rankings, plain, strict=True):
        assert ranking.is_none_of_these is (other.best.score <= threshold)
        if ranking.is_none_of_these:
            assert (ranking.best.label, ranking.best.index, ranking.best.score) == (
                NONE_OF_THESE,
                -1,
                threshold,
            )
            assert ranking.entries[1:] == other.entries
        else:
            assert ranking.entries == other.entries
    assert [ranking.best.label for ranking in rankings[-3:]] == NAMES
    assert 0.8 < np.mean([ranking.is_none_of_these for ranking in rankings[:-3]]) < 1.0
    with pytest.raises(InputError, match="text -> image"):
        classify(model, [bindplug.image("a.png")], NAMES, none_of_these=limits)


def test_cutoffs_of_other_weights_are_refused():
    model = FakeEncoder(space=EmbeddingSpace("test:fake", 16, "aaaa"))
    limits = bindplug.cutoffs(model, class_queries(model, NAMES), sounds(100))
    other = FakeEncoder(space=EmbeddingSpace("test:fake", 16, "bbbb"))
    with pytest.raises(SpaceMismatch, match="cut-offs"):
        classify(other, audio("a.wav"), NAMES, none_of_these=limits)
    planted = limits_of([i / 100 for i in range(100)])
    with pytest.raises(InputError, match="'planted'"):
        classify(model, audio("a.wav"), NAMES, none_of_these=planted)


def test_data_that_differ_visibly_are_told():
    model = FakeEncoder()
    limits = bindplug.cutoffs(model, class_queries(model, NAMES), sounds(400), fpr=0.05)
    draw = torch.Generator().manual_seed(3)
    mean = torch.nn.functional.normalize(torch.randn(16, generator=draw), dim=0)
    moved = [
        embedding(mean + 0.05 * torch.randn(16, generator=draw), FAKE_SPACE, modality="audio")
        for _ in range(60)
    ]
    with pytest.warns(DifferentData, match="audio: .*scores of the .* turned down.*; .*spreads from"):
        classify(model, moved, NAMES, none_of_these=limits)
    with pytest.warns(DifferentData, match="1 of 4 queries are none of the 3 known"):
        classify(model, sounds(60, start=900), [*NAMES, "bus"], none_of_these=limits)
    # The same kind of data, in part or whole: nothing to tell (warnings are errors here).
    classify(model, sounds(200, start=900), NAMES[:2], none_of_these=limits)
    classify(model, sounds(5, start=900), NAMES, none_of_these=limits)


@pytest.mark.parametrize("fpr", [5e-324, 1e-13, float("nan"), 0.0, 1.0, True, "0.1"])
def test_rates_that_no_sample_can_promise_are_refused(fpr: object) -> None:
    with pytest.raises(InputError, match="fpr"):
        least_sample_size(fpr)  # type: ignore[arg-type]


def test_rates_of_numpy_are_numbers() -> None:
    assert least_sample_size(np.float32(0.25)) == least_sample_size(0.25) == 3
