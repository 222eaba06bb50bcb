"""Detic's heads on detectron2: what a call makes is what our Detic makes of the same weights.

The heads are stand-ins of documented shape; see ``standin_detectron2``.
"""

from __future__ import annotations

import sys
import types
import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.testing import assert_close

import bindplug
from bindplug import EmbeddingSpace, embedding
from bindplug.errors import InputError, UnsupportedTarget
from bindplug.testing import FAKE_SPACE, FakeEncoder, difference, snapshot
from bindplug_detic import Detections, Detic, Vocabulary
from bindplug_detic.checkpoint import network_from_official
from bindplug_detic.competition import own_classes, survivors
from bindplug_detic.detectron2 import Detectron2WithQueries, VocabularyMismatch
from bindplug_detic.detectron2_heads import Selection, exchanged_classifier, predictors_of
from bindplug_detic.postprocess import combine_scores, select_detections
from tests.detic import standin_detectron2 as d2
from tests.detic.toy import toy_classes, toy_config, toy_network

NAMES = [f"thing {row}" for row in range(12)]
ROWS = toy_classes(12, seed=1)
"""Random directions: with random weights, scores of all classes are of one size, and each wins somewhere."""
PICTURE = Image.effect_noise((128, 96), 90).convert("RGB")
BGR = np.ascontiguousarray(np.asarray(PICTURE)[:, :, ::-1])
PROMPTS = [embedding(row, FAKE_SPACE) for row in toy_classes(3, seed=5)]
KINDS = ("buffer", "parameter", "attribute")


@pytest.fixture(scope="module")
def network():
    """With box heads whose regions differ, as those of a trained network do."""
    network = toy_network("resnet", "frozen_batch")
    with torch.no_grad():
        for head in network.roi_heads.box_head:
            for layer in (head.fc1, head.fc2):
                generator = torch.Generator().manual_seed(layer.in_features)
                layer.weight.normal_(std=1.5 * (2 / layer.in_features) ** 0.5, generator=generator)
                layer.bias.zero_()
    return network


def ours(network):
    """Our Detic over the network, upgraded; pictures keep their size."""
    return bindplug.upgrade(Detic(network, Vocabulary(tuple(NAMES), ROWS), FAKE_SPACE), FakeEncoder())


def upgraded(network, kind="buffer", make=d2.cascade_predictor, **options):
    return bindplug.upgrade(make(network, ROWS, NAMES, kind, **options), FakeEncoder(), space=FAKE_SPACE)


def assert_same(detections, expected):
    assert detections.label_indices.tolist() == expected.label_indices.tolist()
    assert_close(detections.boxes, expected.boxes, atol=1e-3, rtol=0)
    assert_close(detections.scores, expected.scores, atol=1e-5, rtol=0)


class TestEqualToDetic:
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("suppress", [False, True, 1.0, 1.05])
    def test_boxes_scores_and_masks(self, network, kind, suppress):
        options = {"threshold": 0.3, "suppress": suppress}
        expected = ours(network)(PICTURE, PROMPTS, resize=False, **options)
        detections = upgraded(network, kind)(BGR, PROMPTS, **options)
        assert len(expected) > 5
        assert_same(detections, expected)
        assert (detections.masks != expected.masks).sum() <= 2

    def test_competition_decides(self, network):
        detector = ours(network)
        lengths = [
            len(detector(PICTURE, PROMPTS, resize=False, threshold=0.3, suppress=s)) for s in (0, 1.0, 1.05)
        ]
        assert lengths[0] > lengths[1] > lengths[2] > 0, "the cases above differ"

    def test_thresholds_of_each_prompt(self, network):
        everything = ours(network)(PICTURE, PROMPTS, resize=False, threshold=0.0, suppress=False)
        limits = []
        for p in range(3):  # between two scores
            scores = everything.scores[everything.label_indices == p]
            gap = (scores[:-1] - scores[1:]).argmax()
            limits.append(float(scores[gap : gap + 2].mean()))
        expected = ours(network)(PICTURE, PROMPTS, resize=False, threshold=limits, suppress=False)
        detections = upgraded(network)(BGR, PROMPTS, threshold=limits, suppress=False)
        assert 3 <= len(expected) < len(everything)
        assert_same(detections, expected)

    def test_models_that_do_not_multiply_by_the_proposals_scores(self, network):
        wrapper = upgraded(network)
        wrapper.original.model.roi_heads.mult_proposal_score = False
        everything = wrapper(BGR, PROMPTS, threshold=0.0, suppress=False)
        strict = wrapper(BGR, PROMPTS, threshold=0.0, suppress=1.0)
        assert 0 < len(strict) < len(everything)

    def test_regions_of_the_rescore_route(self, network):
        expected = ours(network)._regions([PICTURE], with_masks=False, resize=False)[0]
        regions = upgraded(network)._regions([BGR], with_masks=False)[0]
        assert len(expected) > 3
        assert_same(regions, expected)
        assert len(regions.boxes.unique(dim=0)) == len(regions), "one box of a proposal"


class TestCrowds:
    """Many boxes of the detector's own classes must not push out those of prompts."""

    def test_the_limit_of_detections_counts_prompts_alone(self, network):
        wrapper = upgraded(network)
        for predictor in predictors_of(wrapper.original.model):
            predictor.test_topk_per_image = 10
        detections = wrapper(BGR, PROMPTS, threshold=0.0, suppress=0.5)
        assert len(detections) == 10
        expected = ours(network)(PICTURE, PROMPTS, resize=False, threshold=0.0, suppress=0.5, top_k=10)
        assert_same(detections, expected)
        assert predictors_of(wrapper.original.model)[0].test_topk_per_image == 10

    def test_a_strict_prompt_leaves_its_places_to_others(self, network):
        wrapper = upgraded(network)
        for predictor in predictors_of(wrapper.original.model):
            predictor.test_topk_per_image = 5
        best = wrapper(BGR, PROMPTS, threshold=0.0, suppress=False)
        first = int(best.label_indices[0])
        limits = [1.0 if p == first else 0.0 for p in range(3)]
        others = wrapper(BGR, PROMPTS, threshold=limits, suppress=False)
        assert len(others) == 5
        assert first not in others.label_indices.tolist()

    def test_masks_are_computed_of_what_is_reported(self, network):
        wrapper = upgraded(network)
        heads = wrapper.original.model.roi_heads
        detections = wrapper(BGR, PROMPTS, threshold=0.3, suppress=1.0)
        assert heads.masked == len(detections) > 0
        heads.masked = 0
        assert wrapper(BGR, PROMPTS, threshold=0.3, with_masks=False).masks is None
        assert heads.masked == 0
        assert heads.mask_on is True

    def test_a_model_without_masks_gets_none(self, network):
        wrapper = upgraded(network)
        wrapper.original.model.roi_heads.mask_on = False
        assert wrapper(BGR, PROMPTS, threshold=0.3).masks is None


class HeadsOfTheirOwn(d2.DeticCascadeROIHeads):
    """Heads that compute probabilities without ``predict_probs``."""

    def _forward_box(self, features, proposals, **options):
        scores = sum(self._probabilities(features, proposals)) / self.num_cascade_stages
        scores = (scores * proposals[0].scores[:, None]) ** 0.5
        last = self.box_predictor[-1]
        instances, _ = d2.fast_rcnn_inference(
            (self.boxes,), (scores,), [proposals[0].image_size],
            last.test_score_thresh, last.test_nms_thresh, last.test_topk_per_image,
        )  # fmt: skip
        return instances

    def _probabilities(self, features, proposals):
        boxes, size = proposals[0].proposal_boxes.tensor, proposals[0].image_size
        for stage in range(self.num_cascade_stages):
            output = self.ours.box_stage(stage, features, [boxes])
            yield self.box_predictor[stage](output.features)[0].sigmoid()
            self.boxes = self.ours.refine(stage, output, [boxes], [size] if stage < 2 else None)[0]
            boxes = self.boxes


class TestHeadsOfTheirOwn:
    """Where probabilities cannot be read, final boxes compete, before masks are computed."""

    def test_prompts_alone_are_reported(self, network):
        model = d2.GeneralizedRCNN(network, HeadsOfTheirOwn(network, ROWS, "buffer"))
        wrapper = bindplug.upgrade(d2.DefaultPredictor(model, NAMES), FakeEncoder(), space=FAKE_SPACE)
        for predictor in predictors_of(model):
            predictor.test_topk_per_image = 20
        expected = ours(network)(PICTURE, PROMPTS, resize=False, threshold=0.3, suppress=False)
        assert_same(wrapper(BGR, PROMPTS, threshold=0.3, suppress=False), expected[:20])
        model.roi_heads.masked = 0
        strict = wrapper(BGR, PROMPTS, threshold=0.3, suppress=1.0)
        assert 0 < len(strict) < len(expected)
        assert model.roi_heads.masked == len(strict)
        assert set(strict.label_indices.tolist()) <= {0, 1, 2}


class TestC4:
    @staticmethod
    @torch.no_grad()
    def expected(network, suppress, geometric):
        """Our network's first stage alone."""
        x, sizes = network.batch([torch.from_numpy(np.array(PICTURE)).permute(2, 0, 1)])
        features = network.features(x)
        proposals = network.propose(features, sizes)[0]
        output = network.box_stage(0, features, [proposals.boxes])
        boxes = network.refine(0, output, [proposals.boxes])[0]
        prompts = torch.stack([torch.tensor(prompt.terms[0][1].vector) for prompt in PROMPTS])
        scores = network.classify(output.embeddings, torch.cat([prompts, ROWS])).sigmoid()
        scores = combine_scores(scores, proposals.scores) if geometric else scores
        own = own_classes(nn.functional.normalize(prompts), nn.functional.normalize(ROWS))
        passing = scores[:, :3] * survivors(scores[:, :3], scores[:, 3:], own, suppress)
        raw = select_detections(boxes, passing, sizes[0], score_threshold=0.0, nms_threshold=0.5, top_k=300)
        return Detections.from_raw(raw, PICTURE, sizes[0])

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("geometric", [True, False])
    def test_one_predictor_without_a_cascade(self, network, kind, geometric):
        wrapper = upgraded(network, kind, d2.c4_predictor)
        predictor = wrapper.original.model.roi_heads.box_predictor
        predictor.mult_proposal_score = geometric
        before = snapshot(wrapper.original.model)
        lengths = []
        for suppress in (0.0, 0.5, 0.6, 0.7, 0.8):
            detections = wrapper(BGR, PROMPTS, threshold=0.0, suppress=suppress)
            assert detections.masks is None
            assert_same(detections, self.expected(network, suppress, geometric))
            lengths.append(len(detections))
        assert lengths[0] > lengths[-1]
        assert any(0 < length < lengths[0] for length in lengths), lengths
        regions = wrapper._regions([BGR], with_masks=True)[0]
        assert len(regions.boxes.unique(dim=0)) == len(regions) > 0
        assert difference(before, snapshot(wrapper.original.model)) == set()
        assert len(wrapper(BGR)["instances"]) > 0


class TestExchange:
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("make", [d2.cascade_predictor, d2.c4_predictor])
    def test_nothing_is_left_of_it(self, network, kind, make):
        wrapper = upgraded(network, kind, make)
        model = wrapper.original.model
        expected, before = wrapper(BGR)["instances"], snapshot(model)
        names = {name for name, _ in model.named_parameters()}
        for route in (None, "rescore"):
            wrapper(BGR, ["a dog"], route=route, threshold=0.0, distractors=["a wall"])
        assert difference(before, snapshot(model)) == set()
        assert {name for name, _ in model.named_parameters()} == names
        again = wrapper(BGR)["instances"]
        assert torch.equal(again.scores, expected.scores)
        assert torch.equal(again.pred_boxes.tensor, expected.pred_boxes.tensor)

    def test_an_exception_among_the_stages(self, network, monkeypatch):
        wrapper = upgraded(network)
        model = wrapper.original.model
        before = snapshot(model)
        monkeypatch.setattr(d2.DeticFastRCNNOutputLayers, "predict_probs", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            wrapper(BGR, PROMPTS)
        monkeypatch.undo()
        assert difference(before, snapshot(model)) == set()
        assert len(wrapper(BGR, PROMPTS, threshold=0.0)) > 0

    def test_settings_during_the_exchange(self, network):
        model = d2.cascade_predictor(network, ROWS, NAMES).model
        selection = Selection(torch.tensor([0.25, 0.5]))
        with exchanged_classifier(model, ROWS[:2], selection, with_masks=False, nms_threshold=0.6):
            for predictor in model.roi_heads.box_predictor:
                assert (predictor.test_score_thresh, predictor.test_nms_thresh) == (0.25, 0.6)
                assert predictor.test_topk_per_image > 100_000
            assert model.roi_heads.mask_on is False
            assert model.roi_heads.one_class_per_proposal is False
        assert selection.top_k == 300
        assert model.roi_heads.one_class_per_proposal is True


class TestPictures:
    def test_paths_and_lists_without_prompts(self, network, tmp_path):
        PICTURE.save(tmp_path / "p.png")
        wrapper = upgraded(network)
        expected = wrapper(BGR)["instances"]
        assert wrapper.original.pictures[0] is BGR, "an array is passed as it is"
        for picture in (tmp_path / "p.png", str(tmp_path / "p.png"), PICTURE):
            assert torch.equal(wrapper(picture)["instances"].scores, expected.scores)
        several = wrapper([BGR, PICTURE])
        assert [type(one["instances"]) for one in several] == [d2.Instances] * 2
        with pytest.raises(InputError, match="BGR"):
            wrapper(None)

    def test_a_bare_model_without_prompts(self, network):
        model = d2.cascade_predictor(network, ROWS, NAMES).model
        wrapper = bindplug.upgrade(model, FakeEncoder(), space=FAKE_SPACE, names=NAMES)
        given = {
            "image": torch.from_numpy(np.array(PICTURE)).permute(2, 0, 1).float(),
            "height": 48,
            "width": 64,
        }
        assert len(wrapper([given, given])) == 2
        assert wrapper(given)["instances"].image_size == (48, 64)

    @pytest.mark.parametrize("input_format", ["RGB", "BGR"])
    def test_a_bare_models_order_of_channels(self, network, input_format):
        red = Image.new("RGB", (64, 64), (250, 10, 20))
        pixels = torch.from_numpy(np.array(red)).permute(2, 0, 1)
        model = d2.cascade_predictor(network, ROWS, NAMES, input_format=input_format).model
        wrapper = bindplug.upgrade(model, FakeEncoder(), space=FAKE_SPACE, names=NAMES)
        given = {"image": pixels if input_format == "RGB" else pixels.flip(0), "height": 64, "width": 64}
        assert wrapper(given, PROMPTS, threshold=0.0).picture.getpixel((5, 5)) == (250, 10, 20)
        model.input_format = "YUV-BT.601"
        with pytest.raises(InputError, match="input_format='YUV"):
            wrapper(given, PROMPTS)

    def test_a_predictor_turns_channels_itself(self, network):
        red = np.zeros((64, 64, 3), np.uint8)
        red[..., 2] = 250
        wrapper = upgraded(network, input_format="BGR")
        assert wrapper(red, PROMPTS, threshold=0.0).picture.getpixel((5, 5)) == (250, 0, 0)

    def test_a_model_in_training_mode(self, network):
        wrapper = upgraded(network)
        wrapper.original.model.train()
        with pytest.raises(InputError, match=r"model\.eval\(\)"):
            wrapper(BGR, PROMPTS)


class TestVocabulary:
    def test_names_of_another_number_warn(self, network):
        predictor = d2.cascade_predictor(network, ROWS, NAMES[:5])
        with pytest.warns(VocabularyMismatch, match="names 5 classes, and its classifier has 12") as caught:
            wrapper = bindplug.upgrade(predictor, FakeEncoder(), space=FAKE_SPACE)
        assert caught[0].filename == __file__
        assert wrapper.router.classes.names is None
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert upgraded(network).router.classes.names == tuple(NAMES)
            named = bindplug.upgrade(predictor, FakeEncoder(), space=FAKE_SPACE, names=NAMES)
        assert named.router.classes.names == tuple(NAMES)

    @pytest.mark.parametrize("edit", ["copy_", "data", "numpy"])
    def test_an_edit_in_place_is_noticed(self, network, edit):
        wrapper = upgraded(network, kind="attribute")
        before = wrapper.router.classes.embeddings.clone()
        for predictor in predictors_of(wrapper.original.model):
            weight = predictor.cls_score.zs_weight
            changed = weight.roll(1, 0)
            if edit == "copy_":
                weight.copy_(changed)
            elif edit == "data":
                weight.data[:] = changed
            else:
                weight.numpy()[:] = changed.numpy()
        assert torch.equal(wrapper.router.classes.embeddings, before.roll(1, 1))

    def test_the_vocabulary_bridge_follows_an_edit(self, network):
        wrapper = upgraded(network, kind="attribute")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", bindplug.bridges.BridgeQuality)
            first = wrapper.router.vocabulary_bridge()
            assert wrapper.router.vocabulary_bridge() is first
            for predictor in predictors_of(wrapper.original.model):
                predictor.cls_score.zs_weight.copy_(predictor.cls_score.zs_weight.roll(1, 0))
            assert wrapper.router.vocabulary_bridge() is not first


class TestUpgrade:
    def test_a_demo_names_its_predictor(self, network):
        for predictor in (d2.cascade_predictor(network, ROWS, NAMES), d2.AsyncPredictor()):
            with pytest.raises(UnsupportedTarget, match=r"upgrade demo\.predictor"):
                bindplug.upgrade(d2.VisualizationDemo(predictor), FakeEncoder())

    def test_upgrading_twice(self, network):
        once = upgraded(network)
        assert isinstance(once, Detectron2WithQueries)
        for detector in (once, ours(network)):
            with pytest.raises(InputError, match=r"takes prompts already.*detector\.original"):
                bindplug.upgrade(detector, FakeEncoder())

    @pytest.mark.parametrize("make", [d2.cascade_predictor, d2.c4_predictor])
    def test_a_mask_rcnn_hears_what_it_lacks(self, network, make):
        predictor = make(network, ROWS, NAMES)
        for one in predictors_of(predictor.model):
            one.cls_score = torch.nn.Linear(32, 13)
        for target in (predictor, predictor.model):
            with pytest.raises(UnsupportedTarget, match="has no zero-shot classifier"):
                bindplug.upgrade(target, FakeEncoder())

    def test_a_space_of_another_width(self, network):
        predictor = d2.c4_predictor(network, ROWS, NAMES)
        with pytest.raises(InputError, match=r"width 16.*space=EmbeddingSpace"):
            bindplug.upgrade(predictor, FakeEncoder())
        with pytest.raises(InputError, match="width 16"):
            bindplug.upgrade(predictor, FakeEncoder(), space=EmbeddingSpace("test:other", 3))


def test_results_as_detectron2s_instances(network, monkeypatch):
    structures = types.ModuleType("detectron2.structures")
    structures.Instances, structures.Boxes = d2.Instances, d2.Boxes
    monkeypatch.setitem(sys.modules, "detectron2", types.ModuleType("detectron2"))
    monkeypatch.setitem(sys.modules, "detectron2.structures", structures)
    detections = upgraded(network)(BGR, PROMPTS, threshold=0.3)
    instances = detections.to_detectron2()
    assert type(instances) is d2.Instances
    assert instances.image_size == (96, 128)
    assert torch.equal(instances.pred_boxes.tensor, detections.boxes)
    assert instances.pred_masks.shape == (len(detections), 96, 128)


def test_checkpoints_with_frequencies_of_classes():
    """Fifteen of Detic's twenty CenterNet2 configurations register them."""
    state = dict(toy_network("resnet", "frozen_batch").state_dict())
    extra = {f"roi_heads.box_predictor.{k}.freq_weight": torch.rand(1203) for k in range(3)}
    loaded = network_from_official({**state, **extra}, toy_config())
    assert loaded.state_dict().keys() == state.keys()
