import pytest
import torch

from bindplug import audio, classify, image, rank, text
from bindplug.errors import InputError
from bindplug.templates import GENERIC_TEMPLATES, OPENAI_IMAGENET_TEMPLATES, SIMPLE_IMAGENET_TEMPLATES
from bindplug.testing import FakeEncoder
from bindplug.zeroshot import zero_shot_classifier

NAMES = ["dog", "cat", "car"]


def test_classify_ranks_every_class_with_probabilities():
    model = FakeEncoder()
    first, second = classify(model, [image("a.png"), audio("b.wav")], NAMES)
    columns = zero_shot_classifier(model, NAMES, GENERIC_TEMPLATES)
    expected = (100 * model.embed([image("a.png")]) @ columns).softmax(-1)[0]
    assert sorted(first.labels) == sorted(NAMES)
    assert first.best.probability == pytest.approx(expected.max().item(), abs=1e-5)
    assert NAMES[first.best.index] == first.best.label
    assert sum(entry.probability for entry in second.entries) == pytest.approx(1.0)
    scores = [entry.score for entry in second.entries]
    assert scores == sorted(scores, reverse=True)


def test_a_query_equal_to_a_class_wins():
    (ranking,) = classify(FakeEncoder(), text("a cat"), NAMES, ["a {}"])
    assert ranking.best.label == "cat"
    assert ranking.best.score == pytest.approx(1.0)
    assert str(ranking).splitlines()[0] == "text('a cat')"


def test_top_k_keeps_the_best_and_their_probabilities():
    model = FakeEncoder()
    (full,), (best,) = (classify(model, [audio("x")], NAMES, top_k=k) for k in (None, 2))
    assert best.entries == full.entries[:2]
    with pytest.raises(InputError, match="top_k"):
        classify(model, [audio("x")], NAMES, top_k=0)


def test_scale_can_be_given():
    (flat,) = classify(FakeEncoder(), [audio("x")], NAMES, scale=0.0)
    assert torch.allclose(torch.tensor([e.probability for e in flat.entries]), torch.full((3,), 1 / 3))


def test_rank_orders_files_for_a_query():
    model = FakeEncoder()
    candidates = [audio("a.wav"), audio("b.wav"), text("rain")]
    ranking = rank(model, text("rain"), candidates)
    assert ranking.best.index == 2
    assert set(ranking.labels) == {"audio('a.wav')", "audio('b.wav')", "text('rain')"}
    with pytest.raises(InputError, match="no candidates"):
        rank(model, text("rain"), [])


def test_templates_are_the_published_ones():
    metadata = pytest.importorskip("open_clip.zero_shot_metadata")
    for ours, theirs in (
        (OPENAI_IMAGENET_TEMPLATES, metadata.OPENAI_IMAGENET_TEMPLATES),
        (SIMPLE_IMAGENET_TEMPLATES, metadata.SIMPLE_IMAGENET_TEMPLATES),
    ):
        assert [t.replace("{}", "x") for t in ours] == [t("x") for t in theirs]
