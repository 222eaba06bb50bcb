"""Protocols on planted rows: perfect ones give 1, random ones chance, and no query finds itself."""

import numpy as np
import pytest

from bindplug import Query, text
from bindplug.errors import InputError
from bindplug_lab.evaluation.embedding import Embedder
from bindplug_lab.evaluation.measures import Accuracy, MeanPrecision, Recall, figures_of
from bindplug_lab.evaluation.protocols import measure_task, modalities_of
from bindplug_lab.tasks import FewShotItems, LabeledItems, PairedItems
from tests.lab.planted import (
    NAMES,
    paired_items,
    right_items,
    small_model,
    task,
    unit_rows,
    vector_queries,
)


def figures(protocol, items, **fields):
    measured = measure_task(task(protocol, **fields), items, Embedder(small_model(), "small"))
    return {n: f.value for m in measured.measures for n, f in figures_of(m, draws=10).items()}, measured


def test_sentences_that_are_their_class_are_all_right():
    values, measured = figures("zero_shot", right_items())
    assert values == {"accuracy": 1.0, "accuracy@5": 1.0, "mean_class_accuracy": 1.0}
    assert measured.measures[0].chance == pytest.approx(
        {"accuracy": 1 / 8, "accuracy@5": 5 / 8, "mean_class_accuracy": 1 / 8}
    )


def test_the_order_of_items_changes_nothing():
    items = right_items()
    labels = tuple(((label + place) % 8,) for place, (label,) in enumerate(items.labels))
    mixed = LabeledItems(items.ids, items.queries, labels, NAMES)
    order = np.random.default_rng(0).permutation(len(items))
    assert figures("zero_shot", mixed)[0] == pytest.approx(figures("zero_shot", mixed.subset(order))[0])


def test_a_class_is_found_by_any_of_its_synonyms():
    items = right_items(synonyms=tuple(("something else", name) for name in NAMES))
    assert figures("zero_shot", items)[0]["accuracy"] == 1.0


def test_templates_are_averaged():
    items = LabeledItems(("0",), [0.5 * text("a dog") + 0.5 * text("the dog")], ((0,),), NAMES)
    embedder = Embedder(small_model(), "small")
    measured = measure_task(task(templates=("a {}", "the {}")), items, embedder)
    assert measured.measures[0].hits["accuracy"].tolist() == [1.0]


def test_folds_count_alike_however_many_items_they_have():
    hits_rows, relevant = np.eye(4)[[0, 1, 2, 3]], np.eye(4, dtype=bool)[[0, 1, 2, 0]]
    measure = Accuracy(hits_rows, np.eye(4), np.arange(4), relevant, folds=np.array([1, 1, 1, 2]))
    assert measure.figures(np.ones(4))["accuracy"] == 0.5
    assert measure.figures(np.array([1.0, 1, 1, 0]))["accuracy"] == 1.0  # a resample without the second fold


def test_random_rows_score_at_chance():
    rows, names = unit_rows(4000, 1), unit_rows(8, 2)
    labels = np.random.default_rng(3).integers(0, 8, 4000)
    measure = Accuracy(rows, names, np.arange(8), np.eye(8, dtype=bool)[labels])
    for name, figure in figures_of(measure, draws=200).items():
        low, high = np.quantile(figure.draws, [0.001, 0.999])
        assert low <= measure.chance[name] <= high, name
    recall = Recall(unit_rows(600, 4), unit_rows(600, 5), [frozenset({i}) for i in range(600)])
    for name, figure in figures_of(recall, draws=200).items():
        low, high = np.quantile(figure.draws, [0.0, 1.0])
        assert low <= recall.chance[name] <= high, name


def test_a_model_whose_rows_are_all_alike_is_measured_at_chance_exactly():
    rows = np.tile(unit_rows(1), (20, 1))
    measure = Accuracy(
        rows, np.tile(unit_rows(1), (8, 1)), np.arange(8), np.eye(8, dtype=bool)[np.arange(20) % 8]
    )
    assert measure.figures(np.ones(20)) == pytest.approx(measure.chance)
    recall = Recall(rows, rows, [frozenset({i}) for i in range(20)])
    assert recall.figures(np.ones(20)) == pytest.approx(recall.chance)
    assert recall.chance["recall@5"] == pytest.approx(0.25)


def test_mean_average_precision_of_items_with_several_classes():
    items = LabeledItems(
        ("a", "b", "c"),
        [text("dog") + text("cat"), text("cow"), text("bell")],
        ((0, 1), (2,), (3,)),
        NAMES,
    )
    values, measured = figures("multi_label", items)
    assert values["mAP"] == 1.0
    assert measured.measures[0].chance["mAP"] == pytest.approx(1 / 3)
    assert len(measured.measures[0].rankings) == 4  # classes that no item has do not count


def test_mean_average_precision_against_scikit_learn():
    from sklearn.metrics import average_precision_score

    rows, names = unit_rows(60, 1), unit_rows(6, 2)
    relevant = np.random.default_rng(0).random((60, 6)) < 0.3
    value = MeanPrecision(rows, names, np.arange(6), relevant).figures(np.ones(60))["mAP"]
    assert value == pytest.approx(average_precision_score(relevant, rows @ names.T), abs=1e-6)


def test_retrieval_in_both_directions_with_several_captions():
    right = unit_rows(12, 0)
    left = np.repeat(right, 5, axis=0)
    matches = [frozenset({place // 5}) for place in range(60)]
    values, measured = figures("retrieval", paired_items(left, right, matches))
    assert values["text_to_audio recall@1"] == values["audio_to_text recall@1"] == 1.0
    assert set(values) == {f"{d} recall@{k}" for d in ("text_to_audio", "audio_to_text") for k in (1, 5, 10)}
    forward, back = measured.measures
    assert (forward.count, len(set(forward.clusters))) == (
        60,
        12,
    )  # captions of a sound are resampled together
    assert back.count == 12


def test_one_caption_of_two_sounds_leaves_the_captions_of_others_together():
    right = unit_rows(12, 0)
    left = np.repeat(right, 5, axis=0)
    matches = [frozenset({place // 5}) for place in range(60)]
    matches[0] = frozenset({0, 1})
    forward = figures("retrieval", paired_items(left, right, matches))[1].measures[0]
    assert len(set(forward.clusters)) == 13


def test_a_wrong_caption_is_counted_in_both_directions():
    right = unit_rows(12, 0)
    values, _ = figures("retrieval", paired_items(right[[1, 0, *range(2, 12)]], right))
    assert values["text_to_audio recall@1"] == pytest.approx(10 / 12)
    assert values["audio_to_text recall@1"] == pytest.approx(10 / 12)


def test_ranks_beyond_the_candidates_are_left_out():
    assert set(figures("retrieval", paired_items(unit_rows(3), unit_rows(3)))[0]) == {
        "text_to_audio recall@1",
        "audio_to_text recall@1",
    }


def test_arithmetic_finds_what_both_terms_show_and_never_a_term():
    names = [text(name) for name in NAMES]
    wholes = [text(f"{a} and {b}") for a, b in zip(NAMES[::2], NAMES[1::2], strict=True)]
    left = [0.5 * a + 0.5 * b for a, b in zip(names[::2], names[1::2], strict=True)]
    gallery = [*names, *left[:2], *wholes[2:]]  # the terms themselves lie nearer than anything but the sums
    items = PairedItems(
        tuple("abcd"), left, tuple(map(str, range(len(gallery)))), gallery,
        tuple(frozenset({8 + i}) for i in range(4)), "sum", "image",
    )  # fmt: skip
    values, measured = figures("arithmetic_retrieval", items, metrics=("recall@1",))
    assert list(values) == ["sum_to_image recall@1", "sum_to_image recall@5", "sum_to_image recall@10"]
    assert values["sum_to_image recall@1"] >= 0.5
    assert len(measured.measures) == 1


def test_a_query_never_finds_itself():
    queries = [text(name) for name in NAMES]
    classes = [frozenset(p for p in range(8) if p % 4 == place % 4) for place in range(8)]
    items = PairedItems(NAMES, queries, NAMES, queries, tuple(classes), "text", "same")
    values, _ = figures("cross_sensor_retrieval", items)
    assert values["text_to_same recall@1"] < 1.0  # the query itself would always come first
    alone = PairedItems(
        NAMES, queries, NAMES, queries, tuple(frozenset({p}) for p in range(8)), "text", "same"
    )
    with pytest.raises(InputError, match="no query with a match"):
        figures("cross_sensor_retrieval", alone)


def test_few_shot_figures_stand_beside_zero_shot():
    items = FewShotItems(right_items(4), right_items(2, ids=tuple(f"t{i}" for i in range(16))))
    with pytest.raises(InputError, match="in the support and in the test"):
        figures("few_shot", items, shots=(1, 2))
    test = right_items(2, queries=[text(f"{name} {name}") for name in NAMES for _ in range(2)])
    values, _ = figures("few_shot", FewShotItems(right_items(4), test), shots=(1, 2))
    names = [f"{learner} {k}-shot" for k in (1, 2) for learner in ("logistic", "prototypes", "cache")]
    assert set(values) == {"accuracy", "accuracy@5", "mean_class_accuracy", *names}


def test_a_class_with_too_few_examples_is_named():
    items = FewShotItems(right_items(2), right_items(1, queries=[text(f"a {name}") for name in NAMES]))
    with pytest.raises(InputError, match=r"'dog' with 2.*expected 4 readable examples"):
        figures("few_shot", items, shots=(4,))


def test_items_that_cannot_be_read_are_left_out_and_listed(tmp_path):
    from bindplug import audio
    from tests.lab.miniature import write_sound

    good = [audio(write_sound(tmp_path / f"{i}.wav", tone_hz=200 + i)) for i in range(3)]
    (tmp_path / "bad.wav").write_bytes(b"no sound")
    queries: list[Query] = [good[0], audio(tmp_path / "bad.wav"), *good[1:]]
    items = LabeledItems(("a", "bad", "b", "c"), queries, ((0,), (1,), (2,), (3,)), NAMES)
    _, measured = figures("zero_shot", items, modalities=("audio",))
    assert measured.count == 3
    assert [item["item"] for item in measured.skipped] == ["bad"]
    embedder = Embedder(small_model(), "small")
    with pytest.raises(InputError, match=r"bad\.wav"):
        measure_task(task(), items, embedder, strict=True)
    with pytest.raises(InputError, match=r"none of 1 items.*bad.wav"):
        measure_task(task(), items.subset([1]), embedder)


def test_what_a_model_must_have():
    assert modalities_of(task(modalities=("audio",))) == ("audio", "text")
    assert modalities_of(task("retrieval", modalities=("audio", "image"))) == ("audio", "image")


def test_planted_rows_reach_the_measure_unchanged():
    rows = unit_rows(5)
    embedded = Embedder(small_model(), "small").embed(vector_queries(rows))
    assert embedded.rows == pytest.approx(rows, abs=1e-6)
