"""bindplug.upgrade(Detic, model): prompts to boxes by every route, and nothing changed for those without."""

from __future__ import annotations

import threading

import pytest
import torch
from PIL import Image
from torch.testing import assert_close

import bindplug
from bindplug import EmbeddingSpace, audio, depth, text
from bindplug.bridges import LinearBridge
from bindplug.errors import InputError, ModalityNotLoaded, SpaceMismatch
from bindplug.testing import FAKE_SPACE, AdapterContract, FakeEncoder
from bindplug_detic import Detections, Detic, DeticConfig, DeticNetwork, Vocabulary
from bindplug_detic.adapter import DeticWithQueries, upgrade
from bindplug_detic.competition import own_classes, survivors
from tests.detic.planted import (
    HERE,
    NAMES,
    THERE,
    THINGS,
    PlantedEncoder,
    Thing,
    here,
    planted_detector,
    planted_picture,
    there,
)

pytestmark = pytest.mark.filterwarnings("ignore::bindplug.bridges.BridgeQuality")
ROUTES = ("direct", "linear", "vocabulary", "rescore")
PICTURE = planted_picture()


def linear_bridge():
    rows = [torch.stack([side(name) for name in NAMES]) for side in (here, there)]
    return LinearBridge.fit(*rows, source=HERE, target=THERE)


def querying(route=None, things=THINGS, **options):
    """An upgraded planted detector for which a route is possible."""
    if route == "direct":
        vocabulary = Vocabulary(NAMES, torch.stack([there(name) for name in NAMES]))
        detector = planted_detector(things, names=None, **options)
        detector.vocabulary = vocabulary
        return upgrade(detector, Direct())
    bridge = linear_bridge() if route == "linear" else None
    return upgrade(planted_detector(things, **options), PlantedEncoder(), bridge=bridge)


class Direct(PlantedEncoder):
    """Lives in the detector's space: its rows are the detector's."""

    def __init__(self):
        super().__init__(space=THERE)
        self.centers = {}

    def encode(self, modality, x, normalize=False):
        at = torch.stack([torch.stack([here(n, modality) for n in NAMES]) @ row for row in x]).argmax(1)
        return torch.stack([there(NAMES[i]) for i in at.tolist()])


def small_detic():
    config = DeticConfig(
        norm="group", norm_groups=4, resnet_blocks=(1, 1, 1, 1), resnet_stem_width=8, fpn_channels=16, tower_depth=1,
        box_head_width=16, embedding_width=16, mask_channels=8, mask_convs=1, post_nms_top_k=10, short_edge=64,
        long_edge=96,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = DeticNetwork(config)
    words = FakeEncoder().embed([text(name) for name in ("dog", "cat")])
    return Detic(network, Vocabulary(("dog", "cat"), words), FAKE_SPACE)


class TestContract(AdapterContract):
    """In one space, a text prompt with a weightless sound is the detector's own class."""

    def make_target(self):
        return small_detic()

    def use_original(self, target):
        rows = FakeEncoder().embed([text("bird")])
        detections = target(PICTURE, vocabulary=Vocabulary(("bird",), rows), threshold=0.0)
        return detections.boxes, detections.scores, detections.mask_logits

    def use_upgraded(self, upgraded, weight):
        prompt = text("bird") + weight * audio("bark.wav")
        detections = upgraded(PICTURE, [prompt], threshold=0.0, suppress=False)
        return detections.boxes, detections.scores, detections.mask_logits


class TestWithoutPrompts:
    def test_the_originals_answer(self):
        detector = small_detic()
        upgraded = bindplug.upgrade(detector, FakeEncoder())
        assert isinstance(upgraded, DeticWithQueries)
        own, detections = detector(PICTURE, threshold=0.1, top_k=3), upgraded(PICTURE, threshold=0.1, top_k=3)
        assert detections.labels == own.labels
        assert torch.equal(detections.boxes, own.boxes)
        assert upgraded.vocabulary is detector.vocabulary
        assert [len(one) for one in upgraded([PICTURE, PICTURE])] == [
            len(one) for one in detector([PICTURE] * 2)
        ]


class TestSettings:
    def test_a_vocabulary_that_is_set_counts(self):
        detector = small_detic()
        upgraded = bindplug.upgrade(detector, FakeEncoder())
        upgraded.vocabulary = Vocabulary(("cow", "bee"), FakeEncoder().embed([text("cow"), text("bee")]))
        assert detector.vocabulary is upgraded.vocabulary
        assert set(upgraded(PICTURE, threshold=0.0).labels) <= {"cow", "bee"}
        assert upgraded.router.classes.names == ("cow", "bee")
        upgraded.route = "direct"
        assert not hasattr(detector, "route")

    def test_moving_it_keeps_the_prompts(self):
        detector = small_detic()
        upgraded = bindplug.upgrade(detector, FakeEncoder())
        assert upgraded.to("cpu", torch.float64) is upgraded
        assert detector.dtype == torch.float64


class TestRoutes:
    @pytest.mark.parametrize("route", ROUTES)
    @pytest.mark.parametrize("kind", [audio, text, depth])
    def test_every_route_finds_what_a_prompt_means(self, route, kind):
        detections = querying(route)(PICTURE, [kind("train.wav"), kind("dog.wav")], route=route)
        assert isinstance(detections, Detections)
        assert detections.label_indices.tolist() == [1, 0]
        expected = torch.tensor([THINGS[0].box, THINGS[2].box]) * torch.tensor([128, 64, 128, 64])
        assert_close(detections.boxes, expected, atol=1.0, rtol=0)
        assert detections.routes == [route, route]
        assert detections.info["routes"] == [route, route]
        assert detections.picture.size == PICTURE.size

    @pytest.mark.parametrize("route", ROUTES)
    def test_a_sum_finds_both(self, route):
        detections = querying(route)(PICTURE, [audio("dog.wav") + text("car")], route=route, threshold=0.2)
        assert len(detections) == 2
        assert detections.labels == ["audio('dog.wav') + text('car')"] * 2

    @pytest.mark.parametrize("route", ROUTES)
    def test_an_absent_sound_finds_nothing(self, route):
        assert len(querying(route)(PICTURE, [audio("bee.wav"), "violin"], route=route, threshold=0.01)) == 0

    def test_routes_may_differ_between_prompts(self):
        detections = querying()(
            PICTURE, [audio("car.wav"), "dog", "train"], route=["rescore", "vocabulary", "rescore"]
        )
        assert detections.info["routes"] == ["rescore", "vocabulary", "rescore"]
        assert sorted(zip(detections.labels, detections.routes, strict=True)) == [
            ("audio car.wav", "rescore"), ("dog", "vocabulary"), ("train", "rescore"),
        ]  # fmt: skip
        assert detections.scores.tolist() == sorted(detections.scores.tolist(), reverse=True)
        assert detections.masks.shape == (3, 64, 128)

    def test_the_upgrades_route_and_a_calls(self):
        upgraded = upgrade(planted_detector(), PlantedEncoder(), route="rescore")
        assert upgraded(PICTURE, "dog").info["routes"] == ["rescore"]
        assert upgraded(PICTURE, "dog", route="vocabulary").info["routes"] == ["vocabulary"]
        with pytest.raises(InputError, match="route"):
            upgrade(planted_detector(), PlantedEncoder(), route="magic")

    def test_crops_of_a_detector_without_vocabulary(self):
        upgraded = upgrade(planted_detector(names=None), PlantedEncoder())
        # the encoder of this test knows no walls and skies
        detections = upgraded(
            PICTURE, [audio("dog.wav"), "bee"], distractors=["a horse", "the wind", "a car"]
        )
        assert detections.info["routes"] == ["rescore", "rescore"]
        assert detections.labels == ["audio dog.wav"]
        assert detections.has_masks

    def test_a_vocabulary_of_vectors_alone_has_no_words(self):
        detector = planted_detector()
        detector.set_vocabulary(embeddings=torch.stack([there(name) for name in NAMES]))
        upgraded = upgrade(detector, PlantedEncoder())
        assert upgraded.router.choose(text("dog")) == "rescore"
        with pytest.raises(InputError, match="class names"):
            upgraded(PICTURE, "dog", route="vocabulary")


class TestCompetition:
    def test_without_it_a_low_threshold_lets_everything_stand(self):
        upgraded = querying("linear")
        assert len(upgraded(PICTURE, [audio("bee.wav")], threshold=0.01)) == 0
        assert len(upgraded(PICTURE, [audio("bee.wav")], threshold=0.01, suppress=False)) == 3
        assert len(upgraded(PICTURE, [audio("bee.wav")], threshold=0.01, suppress=0)) == 3
        assert len(upgraded(PICTURE, [audio("bee.wav")], threshold=0.01, suppress=0.01)) == 3

    def test_own_classes_do_not_compete(self):
        rows = torch.stack([there(name) for name in NAMES])
        assert torch.equal(own_classes(rows, rows), torch.eye(len(NAMES), dtype=torch.bool))
        novel = torch.nn.functional.normalize(rows.mean(0) + 0.01 * torch.ones(len(rows[0])), dim=0)
        assert own_classes(novel[None], rows).sum() < len(NAMES)
        assert own_classes(rows[:1], rows[:1]).all(), "one word alone is compared as it is"

    def test_the_rule(self):
        prompts = torch.tensor([[0.5, 0.5], [0.2, 0.5], [0.9, 0.1]])
        words = torch.tensor([[0.6, 0.1], [0.6, 0.9], [0.1, 0.95]])
        own = torch.tensor([[True, False], [False, False]])
        kept = survivors(prompts, words, own, 1.0)
        assert kept.tolist() == [[True, False], [False, False], [False, False]]
        assert survivors(prompts, words, own, 0.9).tolist() == [[True, False], [False, False], [True, False]]
        assert survivors(prompts, words, own, 0.0).all()

    @pytest.mark.parametrize("wrong", [-1, float("inf"), "no", None])
    def test_its_number_is_checked(self, wrong):
        with pytest.raises(InputError, match="suppress"):
            querying()(PICTURE, "dog", suppress=wrong)


class TestCalls:
    def test_thresholds_for_each_prompt(self):
        upgraded = querying("linear")
        best = dict(_scores(upgraded(PICTURE, ["dog", "train"])))
        assert set(best) == {"dog", "train"}
        assert upgraded(PICTURE, ["dog", "train"], threshold=[best["dog"], 0.1]).labels == ["train"]
        assert len(upgraded(PICTURE, ["dog", "train"], threshold=1.0)) == 0
        for wrong in ([0.5], [0.5, 0.5, 0.5], 1.5, -0.1, "high", [[0.5, 0.5]], float("nan")):
            with pytest.raises(InputError, match="threshold"):
                upgraded(PICTURE, ["dog", "train"], threshold=wrong)

    def test_one_in_one_out_lists_in_lists_out(self):
        upgraded = querying()
        detections = upgraded([PICTURE, PICTURE], "dog")
        assert [one.labels for one in detections] == [["dog"], ["dog"]]
        assert upgraded([], ["dog"]) == []
        assert upgraded([], ["dog"], route="rescore") == []

    def test_nothing_found_is_an_empty_result_with_its_routes(self):
        for route in ("vocabulary", "rescore"):
            detections = querying(things=(Thing((0.1, 0.1, 0.5, 0.5), "dog", 0.0),))(
                PICTURE, "dog", route=route
            )
            assert len(detections) == 0
            assert detections.info["routes"] == [route]
            assert detections.draw().size == PICTURE.size

    def test_masks_are_made_only_if_wanted(self):
        upgraded = querying()
        assert upgraded(PICTURE, ["dog"]).masks.any()
        assert upgraded(PICTURE, ["dog"], with_masks=False).masks is None
        assert upgraded(PICTURE, ["dog"], with_masks=False, route="rescore").masks is None

    def test_options_of_the_detectors_own_call(self):
        upgraded = querying("linear")
        assert len(upgraded(PICTURE, ["dog", "car"], top_k=1)) == 1
        same = upgraded(PICTURE.resize((64, 32)), ["dog"], resize=False)
        assert same.image_size == (32, 64)
        for options in ({"top_k": 0}, {"top_k": 1.5}, {"nms_threshold": 2}, {"resize": (0, 3)}):
            with pytest.raises(InputError, match=next(iter(options))):
                upgraded(PICTURE, ["dog"], **options)
        with pytest.raises(TypeError, match="vocabulary"):
            upgraded(PICTURE, ["dog"], vocabulary=["dog"])

    def test_prepared_prompts_are_embedded_once(self):
        upgraded = querying()
        ready = upgraded.prepare([audio("dog.wav"), "car"], ["vocabulary", "rescore"])
        upgraded(PICTURE, ready)
        embedded = len(upgraded.model.embedded)
        detections = upgraded(PICTURE, ready)
        crops = upgraded.model.embedded[embedded:]
        assert len(crops) == 1, "one pass for all crops"
        assert len(crops[0]) == len(THINGS)
        assert (
            detections.labels
            == upgraded(PICTURE, [audio("dog.wav"), "car"], route=["vocabulary", "rescore"]).labels
        )
        assert len(ready) == 2
        with pytest.raises(InputError, match="prepare"):
            upgraded(PICTURE, ready, route="rescore")

    def test_rows_in_the_detectors_space(self):
        rows = querying().prompt_vectors(["dog", audio("dog.wav")])
        assert (rows @ there("dog") > 0.99).all()
        with pytest.raises(InputError, match="rescore"):
            querying().prompt_vectors(["dog"], route="rescore")

    @pytest.mark.parametrize("prompts", [[], [3], b"dog"])
    def test_prompts_that_are_none(self, prompts):
        with pytest.raises(InputError, match="queries or strings"):
            querying()(PICTURE, prompts)

    def test_pictures_that_are_none(self, tmp_path):
        for picture in (tmp_path / "none.png", Image.new("RGB", (0, 4)), None):
            with pytest.raises(InputError):
                querying()(picture, ["dog"])

    def test_a_prompt_without_its_tower(self):
        with pytest.raises(ModalityNotLoaded, match="imu"):
            querying()(PICTURE, [bindplug.imu("dog.csv")])

    def test_threads_share_one_detector(self):
        upgraded, detections = querying(), {}

        def look(name):
            detections[name] = upgraded(PICTURE, [audio(f"{name}.wav")]).labels

        threads = [threading.Thread(target=look, args=(t.concept,)) for t in THINGS]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert detections == {t.concept: [f"audio {t.concept}.wav"] for t in THINGS}


class TestUpgrade:
    def test_a_model_is_needed(self):
        with pytest.raises(InputError, match="the encoder that embeds queries"):
            upgrade(planted_detector())

    def test_a_bridge_from_its_directory(self, tmp_path):
        linear_bridge().save(tmp_path / "bridge")
        upgraded = upgrade(planted_detector(), PlantedEncoder(), bridge=tmp_path / "bridge")
        assert upgraded(PICTURE, audio("dog.wav")).info["routes"] == ["linear"]

    def test_a_bridge_to_elsewhere(self):
        other = planted_detector(names=None, space=EmbeddingSpace("test:other:planted", 48))
        with pytest.raises(SpaceMismatch, match="this detector"):
            upgrade(other, PlantedEncoder(), bridge=linear_bridge())


def _scores(detections):
    return zip(detections.labels, detections.scores.tolist(), strict=True)
