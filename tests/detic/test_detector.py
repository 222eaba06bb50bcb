"""The detector a person calls, with a network that finds what it is told to."""

import threading

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bindplug import EmbeddingSpace, ModelCard
from bindplug.errors import InputError, SpaceMismatch, UnknownModel, WeightsNotFound
from bindplug.testing import FakeEncoder
from bindplug_detic import Detections, Detic, Vocabulary
from bindplug_detic.boxes import scale_boxes
from bindplug_detic.directory import save_directory
from tests.detic.conftest import NAMES, PLAN, SPACE, WIDTH, FakeNetwork, make_vocabulary


def test_boxes_come_back_in_the_pictures_own_pixels(detector, picture):
    detections = detector(picture)
    assert isinstance(detections, Detections)
    assert detections.labels == ["dog", "car"]
    assert detections.label_indices.tolist() == [0, 2]
    assert detections.image_size == (48, 96)
    expected = torch.tensor([p.box for p in PLAN[:2]]) * torch.tensor([96, 48, 96, 48])
    torch.testing.assert_close(detections.boxes, expected)
    assert detections.picture.size == picture.size


def test_masks_lie_in_their_boxes(detector, picture):
    detections = detector(picture, threshold=0)
    assert detections.masks.shape == (3, 48, 96)
    assert [int(m.sum()) > 0 for m in detections.masks] == [True, True, False]
    assert not detections.masks[0][:, :9].any()
    assert detector(picture, with_masks=False).masks is None


def test_one_in_one_out_and_lists_in_lists_out(detector, fake, picture):
    assert detector([]) == []
    detections = detector([picture, np.zeros((30, 20, 3), np.uint8), picture], batch_size=2)
    assert [one.image_size for one in detections] == [(48, 96), (30, 20), (48, 96)]
    assert [len(call["sizes"]) for call in fake.calls] == [2, 1]


def test_the_configurations_edges_and_others(detector, fake, picture):
    for resize in (None, False, (16, 20)):
        detector(picture, resize=resize)
    assert [call["sizes"] for call in fake.calls] == [[(32, 64)], [(48, 96)], [(10, 20)]]


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (4000, 2)])
def test_any_size_has_an_outcome(detector, size):
    detections = detector(Image.new("RGB", size), threshold=0)
    assert detections.image_size == size[::-1]
    assert detections.masks.shape == (len(detections), *size[::-1])
    assert (detections.boxes[:, 2:] > detections.boxes[:, :2]).all()
    detections.draw()


def test_nothing_found(detector, picture):
    detections = detector(picture, threshold=0.95)
    assert (len(detections), detections.labels, tuple(detections.boxes.shape)) == (0, [], (0, 4))
    assert detections.masks.shape == (0, 48, 96)
    assert np.array_equal(np.array(detections.draw()), np.array(picture))


def test_a_threshold_for_each_class(detector, picture):
    assert detector(picture, threshold=[0.95, 0.2, 0.95]).labels == ["bird cage"]
    for wrong in ([0.5, 0.5], -0.1, 1.1, float("nan"), "high", [[0.1] * 3]):
        with pytest.raises(InputError, match="threshold"):
            detector(picture, threshold=wrong)


@pytest.mark.parametrize(
    "option", [{"top_k": 0}, {"top_k": True}, {"batch_size": 0}, {"nms_threshold": 2}, {"resize": 3}]
)
def test_options_out_of_range_are_named(detector, picture, option):
    with pytest.raises(InputError, match=next(iter(option))):
        detector(picture, **option)


def test_options_reach_the_network(detector, fake, picture):
    detector(picture, nms_threshold=0.3, top_k=7, one_class_per_proposal=True)
    requests = fake.calls[0]
    assert (requests["nms_threshold"], requests["top_k"], requests["one_class_per_proposal"]) == (
        0.3,
        7,
        True,
    )


def test_a_bad_picture_in_a_list_is_named(detector, tmp_path, picture):
    with pytest.raises(InputError, match=r"absent\.png"):
        detector([picture, tmp_path / "absent.png"])


def test_results_can_be_trained_on_and_changed(detector, picture):
    detections = detector(picture)
    detections.boxes.add_(1)
    (detections.scores * torch.ones(2, requires_grad=True)).sum().backward()


def test_a_call_leaves_the_detector_as_it_was(detector, picture):
    before = detector.vocabulary
    assert detector(picture, vocabulary=Vocabulary("only", torch.ones(WIDTH))).labels == ["only"]
    assert detector(picture, vocabulary=["bird cage", "dog"]).labels == ["bird cage"]
    assert detector(picture, vocabulary=torch.ones(2, WIDTH)).labels == ["class 0"]
    assert detector.vocabulary is before


def test_threads_with_vocabularies_of_their_own_do_not_mix(detector, picture):
    wrong = []

    def look(word):
        one = Vocabulary(word, torch.ones(WIDTH))
        for _ in range(20):
            if detector(picture, vocabulary=one, with_masks=False).labels != [word]:
                wrong.append(word)

    threads = [threading.Thread(target=look, args=(word,)) for word in ("a", "b", "c", "d")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_set_vocabulary_in_each_of_its_forms(detector, fake, picture):
    rows = torch.rand(2, WIDTH) + 1
    detector.set_vocabulary(embeddings=rows.numpy())
    assert detector.vocabulary.names == ("class 0", "class 1")
    detector.set_vocabulary(["cat", "sofa"], rows)
    assert detector.vocabulary.names == ("cat", "sofa")
    detector(picture)
    torch.testing.assert_close(fake.calls[-1]["classifier"], rows)
    detector.set_vocabulary("sofa")
    torch.testing.assert_close(detector.vocabulary.embeddings, rows[1:])
    detector.set_vocabulary(make_vocabulary())
    assert detector.vocabulary.names == NAMES


@pytest.mark.parametrize(("given", "detections"), [
    ({}, "neither"),
    ({"embeddings": torch.ones(2, 7)}, r"width 7; expected 4.*bridge"),
    ({"names": ["a"], "embeddings": torch.ones(2, WIDTH)}, "1 names for 2 rows"),
    ({"names": ["zebra"]}, "zebra"),
    ({"names": []}, "no names"),
    ({"embeddings": torch.zeros(1, WIDTH)}, "only zeros"),
])  # fmt: skip
def test_vocabularies_that_do_not_fit(detector, given, detections):
    before = detector.vocabulary
    with pytest.raises(InputError, match=detections):
        detector.set_vocabulary(**given)
    assert detector.vocabulary is before


def test_without_a_vocabulary_the_remedy_is_named(fake, picture):
    detector = Detic(fake, None, SPACE)
    with pytest.raises(InputError, match="set_vocabulary"):
        detector(picture)
    assert detector(picture, vocabulary=make_vocabulary()).labels == ["dog", "car"]
    assert len(detector.propose(picture)[0]) == 4


def test_a_text_encoder_embeds_names_as_detic_writes_them(fake):
    seen = []

    def encoder(prompts):
        seen.extend(prompts)
        return torch.ones(len(prompts), WIDTH)

    detector = Detic(fake, None, SPACE, encoder)
    detector.set_vocabulary(["zebra", "fire_hydrant"])
    assert seen == ["a zebra", "a fire hydrant"]
    assert len(detector.vocabulary) == 2


def test_an_encoder_of_another_space_is_refused(fake):
    encoder = FakeEncoder()
    with pytest.raises(SpaceMismatch, match="text encoder"):
        Detic(fake, None, SPACE, encoder)
    fake.config.embedding_width = encoder.embedding_space.width
    detector = Detic(fake, None, encoder.embedding_space, encoder)
    detector.set_vocabulary(["dog", "cat"])
    assert detector.vocabulary.embeddings.shape == (2, encoder.embedding_space.width)


def test_a_space_of_another_width_than_the_network_is_refused(fake):
    with pytest.raises(SpaceMismatch, match="4-d"):
        Detic(fake, None, EmbeddingSpace("test:clip:wide", 5))


def test_proposals_are_clipped_and_empty_ones_dropped(detector, picture):
    boxes, scores = detector.propose(picture)
    assert boxes.shape == (4, 4)
    assert scores.tolist() == sorted(scores.tolist(), reverse=True)
    assert boxes[3].tolist() == pytest.approx([0, 0, 48, 24])
    assert len(detector.propose([picture, picture], top_k=2)) == 2
    assert len(detector.propose(picture, top_k=2)[0]) == 2


@settings(max_examples=50)
@given(
    st.lists(st.tuples(*[st.floats(-50, 150)] * 4), max_size=8),
    st.tuples(st.integers(1, 90), st.integers(1, 90)),
    st.tuples(st.integers(1, 900), st.integers(1, 900)),
)
def test_scaled_boxes_are_inside_and_not_empty(boxes, seen, size):
    given_boxes = torch.tensor(boxes).reshape(-1, 4)
    scaled, kept = scale_boxes(given_boxes, seen, size)
    assert len(scaled) == int(kept.sum())
    assert (scaled >= 0).all()
    assert (scaled <= torch.tensor([size[1], size[0]] * 2)).all()
    assert (scaled[:, 2:] > scaled[:, :2]).all()


def test_scaling_drops_what_the_original_dropped():
    from tests.detic.test_results import golden

    data = golden()
    scaled, kept = scale_boxes(torch.from_numpy(data["swinb_network_boxes"]), (266, 332), (256, 320))
    np.testing.assert_array_equal(kept.numpy(), data["swinb_nonempty"])
    assert not kept.all()
    np.testing.assert_allclose(scaled.numpy(), data["swinb_out_boxes"], atol=1e-4)


def test_names_and_paths_that_lead_nowhere(tmp_path):
    with pytest.raises(UnknownModel, match="no detector is named 'nothing'"):
        Detic.from_pretrained("nothing")
    for path in (tmp_path / "detic", "./nothing", "detic.pth"):
        with pytest.raises(WeightsNotFound, match="no file or directory"):
            Detic.from_pretrained(path)


def test_a_real_network_detects_in_any_picture(small_network):
    detector = Detic(small_network, make_vocabulary(), SPACE)
    pictures = [Image.effect_noise(size, 90).convert("RGB") for size in ((80, 60), (200, 9), (1, 1))]
    detections = detector(pictures, threshold=0.0, top_k=9, batch_size=3)
    assert [one.image_size for one in detections] == [(60, 80), (9, 200), (1, 1)]
    assert len(detections[0]) > 0
    for one in detections:
        height, width = one.image_size
        assert one.masks.shape == (len(one), height, width)
        assert (one.boxes <= torch.tensor([width, height] * 2)).all()
    boxes, scores = detector.propose(pictures[0], top_k=5)
    assert len(boxes) == len(scores) <= 5


def test_from_a_directory_and_a_registered_name(small_network, tmp_path, monkeypatch, picture):
    words = make_vocabulary()
    directory = tmp_path / "small"
    save_directory(small_network, directory, vocabulary=(words.names, words.embeddings), space=SPACE)
    card = ModelCard(
        name="small_detic", modalities=(), space=SPACE, license="MIT", weights="here:small", tool="detector"
    )
    monkeypatch.setattr("bindplug_detic.detector.list_models", lambda tool: [card])
    monkeypatch.setattr(
        "bindplug_detic.detector.find_model", lambda name, tool: {"small_detic": directory}[name]
    )
    for source in (directory, str(directory / "config.json"), "small_detic"):
        detector = Detic.from_pretrained(source)
        assert detector.vocabulary.names == NAMES
        assert detector.embedding_space == SPACE
        assert detector.dtype == torch.float32  # stored in half precision, which is slower on the CPU
    assert isinstance(detector(picture), Detections)
    half = Detic.from_pretrained(
        directory, dtype=torch.float16, vocabulary=Vocabulary("one", torch.ones(WIDTH))
    )
    assert (half.dtype, half.vocabulary.names) == (torch.float16, ("one",))


def test_moving_the_detector():
    detector = Detic(FakeNetwork(), make_vocabulary(), SPACE)
    assert detector.to("cpu", torch.float64) is detector
    assert (detector.device.type, detector.dtype) == ("cpu", torch.float64)
    assert "bird cage" in repr(detector)
