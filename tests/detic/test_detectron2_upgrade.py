"""Targets of detectron2 that are upgraded: the exchange of classifiers, pictures, vocabularies and results."""

from __future__ import annotations

import sys
import types
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

import bindplug
from bindplug import EmbeddingSpace
from bindplug.errors import InputError, UnsupportedTarget
from bindplug.testing import FAKE_SPACE, FakeEncoder, difference, snapshot
from bindplug_detic.detectron2 import Detectron2WithQueries, VocabularyMismatch
from bindplug_detic.detectron2_heads import Selection, exchanged_classifier, predictors_of
from tests.detic import standin_detectron2 as d2
from tests.detic.detectron2_targets import (
    BGR,
    KINDS,
    NAMES,
    PICTURE,
    PROMPTS,
    ROWS,
    make_network,
    ours,
    upgraded,
)


@pytest.fixture(scope="module")
def network():
    return make_network()


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
