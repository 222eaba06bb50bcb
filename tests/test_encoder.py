import numpy as np
import pytest
import torch
from torch import nn

from bindplug import audio, depth, embedding, image, text, video
from bindplug.embed import SkippedInputs
from bindplug.encoder import Encoder
from bindplug.errors import InputError, ModalityNotLoaded, NoDirection, SpaceMismatch
from bindplug.space import EmbeddingSpace
from bindplug.templates import OPENAI_IMAGENET_TEMPLATES
from bindplug.testing import FakeEncoder


class Recording(FakeEncoder):
    """Notes every pass through a tower, and cannot read sources named "bad"."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.passes = []
        for preprocess in self.preprocess.values():
            preprocess.read = self._refuse_bad(preprocess.read)

    @staticmethod
    def _refuse_bad(read):
        def checked(source, **options):
            if "bad" in str(source):
                raise InputError(str(source), found="noise", expected="a signal")
            return read(source, **options)

        return checked

    def encode(self, modality, x, normalize=False):
        assert torch.is_inference_mode_enabled()
        self.passes.append((modality, len(x)))
        return super().encode(modality, x, normalize)


class InTraining(nn.Module, FakeEncoder):
    """A network with drop-out, left in training mode."""

    def __init__(self):
        nn.Module.__init__(self)
        FakeEncoder.__init__(self)
        self.drop = nn.Dropout(0.9)
        self.frozen = nn.Dropout(0.9).eval()

    def encode(self, modality, x, normalize=False):
        return super().encode(modality, self.frozen(self.drop(x)), normalize)


def test_every_distinct_source_is_encoded_once_in_batches_of_one_modality():
    model = Recording()
    queries = [text("a") + audio("x.wav"), text("a") - 2 * text("b"), audio("x.wav"), text("c")]
    rows = model.embed(queries, batch_size=2)
    assert rows.shape == (4, 16)
    assert model.passes == [("text", 2), ("text", 1), ("audio", 1)]


def test_rows_come_in_the_order_given_whatever_the_batching():
    queries = [audio(f"{i}.wav") if i % 3 else image(f"{i}.png") for i in range(11)]
    model = FakeEncoder()
    together, alone = model.embed(queries, batch_size=4), torch.cat([model.embed(q) for q in queries])
    assert torch.allclose(together, alone, atol=1e-6)


def test_texts_of_like_length_share_a_batch():
    model, read = FakeEncoder(), []
    plain = model.preprocess["text"].read
    model.preprocess["text"].read = lambda source, **options: read.append(source) or plain(source, **options)
    words = [
        "a dog that barks at a train in the rain",
        "rain",
        "a frog that sits beside a pond at night",
        "dog",
    ]
    rows = model.embed([text(word) for word in words], batch_size=2)
    # the short ones do not pay for the long ones
    assert [set(read[:2]), set(read[2:])] == [{"rain", "dog"}, {words[0], words[2]}]
    assert torch.allclose(rows, torch.cat([FakeEncoder().embed(text(word)) for word in words]), atol=1e-6)


def test_clips_count_against_the_batch_size():
    model = Recording()
    model.embed([video(f"{i}.mp4") for i in range(4)], batch_size=30)
    assert model.passes == [("video", 2), ("video", 2)]


def test_sources_of_several_shapes_are_stacked_apart():
    class Clips(Recording):
        def encode(self, modality, x, normalize=False):
            return super().encode(modality, x.mean(1), normalize)

    def clips(source, **options):
        return read(source, **options).expand(5 if "long" in source else 3, 16)

    model = Clips()
    audio_preprocess = model.preprocess["audio"]
    read, audio_preprocess.read = audio_preprocess.read, clips
    queries = [audio("long 1"), audio("short"), audio("long 2")]
    assert torch.allclose(model.embed(queries), FakeEncoder().embed(queries), atol=1e-6)
    assert model.passes == [("audio", 2), ("audio", 1)]


def test_rows_can_take_part_in_training():
    rows = FakeEncoder().embed([text("a")])
    assert not rows.is_inference()
    weight = nn.Parameter(torch.ones(16))
    (rows @ weight).sum().backward()
    assert weight.grad is not None


def test_embedding_is_in_evaluation_mode_and_restores_each_module():
    model = InTraining()
    expected = FakeEncoder().embed([text("a")])
    assert torch.equal(model.embed([text("a")]), expected)
    assert (model.training, model.drop.training, model.frozen.training) == (True, True, False)


def test_autocast_of_the_caller_is_left_out():
    seen = []

    class Asking(FakeEncoder):
        def encode(self, modality, x, normalize=False):
            seen.append(torch.is_autocast_enabled("cpu"))
            return super().encode(modality, x, normalize)

    with torch.autocast("cpu", dtype=torch.bfloat16):
        Asking().embed([text("a")])
    assert seen == [False]


def test_input_takes_the_models_dtype_and_rows_are_float32():
    seen = []

    class Half(FakeEncoder):
        def encode(self, modality, x, normalize=False):
            seen.append(x.dtype)
            return super().encode(modality, x, normalize)

    model = Half()
    model.dtype = torch.bfloat16
    rows = model.embed([text("a")])
    assert seen == [torch.bfloat16]
    assert rows.dtype == torch.float32
    assert torch.allclose(rows.norm(dim=-1), torch.ones(1), atol=1e-6)


@pytest.mark.parametrize(
    ("queries", "remedy"),
    [
        (["a dog"], r"text\('a dog'\)"),
        ("a dog", r"text\('a dog'\)"),
        ([["a", "b"]], "Say what it is"),
        (torch.zeros(2, 3), "encode_image"),
        ({"text": "a"}, "Say what it is"),
        (3, "Say what it is"),
    ],
)
def test_things_that_are_no_query_are_refused_with_the_remedy(queries, remedy):
    with pytest.raises(InputError, match=remedy):
        FakeEncoder().embed(queries)


def test_wrong_options_are_refused():
    with pytest.raises(InputError, match="on_error"):
        FakeEncoder().embed([text("a")], on_error="ignore")
    with pytest.raises(InputError, match="batch_size"):
        FakeEncoder().embed([text("a")], batch_size=0)


def test_no_queries_make_no_rows():
    assert FakeEncoder().embed([]).shape == (0, 16)


def test_a_tower_not_loaded_is_named():
    with pytest.raises(ModalityNotLoaded, match="'audio'"):
        FakeEncoder(["text"]).embed([text("a"), text("a") + audio("b.wav")])


def test_vectors_of_another_space_are_refused():
    elsewhere = EmbeddingSpace("elsewhere", 16)
    with pytest.raises(SpaceMismatch, match="bridge from 'elsewhere' to 'bindplug:fake'"):
        FakeEncoder().embed([text("a") + embedding(np.ones(16), elsewhere)])


def test_bad_sources_raise_or_are_skipped_with_a_report():
    model = Recording()
    queries = [text("a"), audio("d.wav"), audio("bad.wav"), image("c.png") - audio("bad.wav")]
    with pytest.raises(InputError, match=r"bad\.wav"):
        model.embed(queries)
    with pytest.warns(SkippedInputs, match=r"left out 2 of 4[\s\S]*\[2\].*bad\.wav[\s\S]*\[3\]"):
        rows = model.embed(queries, on_error="skip")
    report = model.embed_with_report(queries)
    assert report.kept == [0, 1]
    assert [skip.index for skip in report.skipped] == [2, 3]
    assert "noise" in report.skipped[0].reason
    assert torch.equal(rows, report.rows)
    assert torch.allclose(rows, model.embed(queries[:2]), atol=1e-6)


def test_scores_are_cosines():
    model = FakeEncoder()
    a, b = [text("a"), text("b")], [audio("c.wav")]
    expected = model.embed(a) @ model.embed(b).T
    assert torch.allclose(model.scores(a, b), expected)
    assert torch.allclose(model.scores(7 * model.embed(a), model.embed(b).numpy()), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("a", "b", "scale"),
    [
        (image("a"), text("b"), 100.0),
        (audio("a"), image("b"), 20.0),
        (audio("a"), video("b"), 20.0),
        (audio("a"), text("b"), 20.0),
        (depth("a"), audio("b"), 5.0),
        (image("a"), image("b"), 100.0),
        (image("a"), video("b"), 100.0),
        (text("a"), text("b"), 100.0),
        (0.9 * image("a") + audio("z"), image("b"), 20.0),
        (depth("a"), np.ones((1, 16)), 5.0),
        (torch.ones(1, 16), depth("b"), 5.0),
    ],
)
def test_the_scale_follows_the_modalities(a, b, scale):
    model = FakeEncoder()
    assert torch.allclose(model.logits(a, b), scale * model.scores(a, b), atol=1e-5)


def test_each_row_has_its_own_scale_the_smallest_of_its_pairs():
    model = FakeEncoder()
    a, b = [image("a"), depth("b")], [text("c"), audio("d")]
    assert model.scales(a, b).tolist() == [[20.0], [5.0]]


def test_similarity_is_a_softmax_over_the_second_side():
    model = FakeEncoder()
    a, b = [audio("a"), depth("b")], [text("c"), text("d"), image("e")]
    found = model.similarity(a, b)
    assert found.shape == (2, 3)
    assert torch.allclose(found.sum(1), torch.ones(2))
    assert torch.allclose(found, model.logits(a, b).softmax(1))
    assert torch.allclose(model.similarity(a, b, scale=2.0), (2 * model.scores(a, b)).softmax(1))
    assert torch.allclose(model.similarity(iter(a), iter(b)), found)


def test_similarity_refuses_to_guess():
    model = FakeEncoder()
    with pytest.raises(InputError, match="scale="):
        model.similarity(torch.ones(2, 16), torch.ones(1, 16))
    assert model.similarity(torch.ones(2, 16), torch.ones(1, 16), scale=1.0).shape == (2, 1)
    with pytest.raises(InputError, match="without text"):
        FakeEncoder(["image"]).similarity([image("a")], [image("b")])
    with pytest.raises(InputError, match=r"\(N, 16\)"):
        model.similarity([text("a")], torch.ones(1, 8))


def test_zero_shot_classifier_normalizes_averages_and_normalizes_again():
    model = FakeEncoder()
    templates = ["a photo of a {}.", lambda name: f"{name}!"]
    found = model.zero_shot_classifier(["dog", "cat"], templates)
    rows = model.embed([text("a photo of a cat."), text("cat!")])
    assert found.shape == (16, 2)
    assert torch.allclose(found[:, 1], nn.functional.normalize(rows.mean(0), dim=-1), atol=1e-6)
    assert model.zero_shot_classifier(["dog"]).shape == (16, 1)
    assert len(OPENAI_IMAGENET_TEMPLATES) == 80


@pytest.mark.parametrize(
    ("names", "templates", "found"),
    [("dog", ["{}"], "'dog'"), ([], ["{}"], r"\[\]"), (["dog"], [], "no template"), ([3], ["{}"], "3"),
     (["dog"], "a {}", "one string"), (["dog"], ["a photo"], "a photo")],
)  # fmt: skip
def test_zero_shot_classifier_refuses(names, templates, found):
    with pytest.raises(InputError, match=found):
        FakeEncoder().zero_shot_classifier(names, templates)


def test_encode_methods_name_their_modality():
    class Naming(Encoder):
        def encode(self, modality, x, normalize=False):
            return modality, normalize

    for modality in FAKE_MODALITIES:
        assert getattr(Naming(), f"encode_{modality}")(None, normalize=True) == (modality, True)


FAKE_MODALITIES = FakeEncoder().modalities


def test_a_mixin_without_a_network_says_so():
    with pytest.raises(NotImplementedError, match="encode"):
        Encoder().encode_image(torch.zeros(1))
    with pytest.raises(NotImplementedError, match="scale_of"):
        Encoder().scale_of("text")


def test_a_query_without_terms_is_named_by_its_place():
    with pytest.raises(NoDirection, match="item 1"):
        FakeEncoder().embed([text("a"), 0 * text("b")])


class Overflowing(FakeEncoder):
    """Makes NaN of one source and zeros of another."""

    def encode(self, modality, x, normalize=False):
        rows = super().encode(modality, x, normalize)
        for source, value in (("huge", float("nan")), ("void", 0.0)):
            rows[(x == self.preprocess["image"](source)).all(1)] = value
        return rows


def test_a_source_of_which_the_model_makes_no_direction_is_skipped_or_named():
    model = Overflowing()
    queries = [image("a"), image("huge"), image("void"), image("a") + image("huge"), image("b")]
    report = model.embed_with_report(queries)
    assert report.kept == [0, 4]
    assert [skip.source for skip in report.skipped] == ["huge", "void", "huge"]
    assert report.rows.isfinite().all()
    with pytest.raises(InputError, match="huge: data of which the model makes no direction"):
        model.embed(queries)


def test_terms_that_cancel_once_they_are_read_do_not_end_a_job():
    model = FakeEncoder()
    model.preprocess["image"].read = lambda source, **options: torch.ones(16)
    report = model.embed_with_report([image("a"), image("a") - image("same"), image("b")])
    assert report.kept == [0, 2]
    assert "cancel" in report.skipped[0].reason
    with pytest.raises(NoDirection, match="cancel"):
        model.embed([image("a") - image("same")])
