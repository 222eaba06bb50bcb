"""detectron2's Detic: its classifier is lent for a call and put back; a stand-in has its shape."""

from __future__ import annotations

import threading
import weakref
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import bindplug
from bindplug import EmbeddingSpace, audio, text
from bindplug.errors import InputError, SpaceMismatch, UnsupportedTarget
from bindplug.testing import difference, same, snapshot
from bindplug_detic import Detections
from bindplug_detic.adapter import upgrade
from bindplug_detic.detectron2 import Detectron2WithQueries, VocabularyMismatch
from bindplug_detic.detectron2_heads import (
    Selection,
    exchanged_classifier,
    lock_of,
    surviving_boxes,
    zero_shot_heads,
)
from tests.detic.planted import NAMES, THERE, THINGS, PlantedEncoder, planted_picture, there

pytestmark = pytest.mark.filterwarnings("ignore::bindplug.bridges.BridgeQuality")
PICTURE = planted_picture()
STAGES = 3


SELECTION = Selection(torch.tensor([0.1, 0.2]))


class Instances:
    """What detectron2 answers with."""

    def __init__(self, image_size, **fields):
        self.image_size = image_size
        self.__dict__.update(fields)

    def to(self, device):
        return Instances(**vars(self))

    def __len__(self):
        return len(self.scores)


class ZeroShotClassifier(nn.Module):
    """Stage k's; the weight is a buffer, or after a change of vocabulary an attribute."""

    def __init__(self, as_buffer):
        super().__init__()
        self.linear = nn.Linear(4, 48)
        weight = torch.cat([torch.stack([there(n) for n in NAMES]), torch.zeros(1, 48)]).T.contiguous()
        if as_buffer:
            self.register_buffer("zs_weight", weight)
        else:
            self.zs_weight = weight


class Predictor(nn.Module):
    def __init__(self, as_buffer):
        super().__init__()
        self.cls_score = ZeroShotClassifier(as_buffer)
        self.test_score_thresh = 0.5


class GeneralizedRCNN(nn.Module):
    """Sees the planted things; a detection for every class above the threshold, best first."""

    def __init__(self, as_buffer=True, things=THINGS):
        super().__init__()
        self.roi_heads = nn.Module()
        self.roi_heads.box_predictor = nn.ModuleList(Predictor(as_buffer) for _ in range(STAGES))
        self.roi_heads.num_classes = len(NAMES)
        self.roi_heads.one_class_per_proposal = True
        self.things, self.calls, self.fault = things, [], None

    def forward(self, batched_inputs):
        return [{"instances": self.found(one)} for one in batched_inputs]

    def found(self, one):
        if self.fault:
            raise self.fault
        stages = [stage.cls_score.zs_weight for stage in self.roi_heads.box_predictor]
        assert all(torch.equal(stages[0], other) for other in stages)
        assert stages[0].shape[1] == self.roi_heads.num_classes + 1
        assert not stages[0][:, -1].any()
        self.calls.append((one["image"].shape, self.roi_heads.num_classes, self.training))
        regions = torch.stack([0.8 * there(t.concept) + 0.2 * there("wind") for t in self.things])
        logits = 50 * nn.functional.normalize(regions, dim=1) @ stages[0][:, :-1]
        scores = ((logits - 42).sigmoid() * 0.9).sqrt()
        if self.roi_heads.one_class_per_proposal:
            scores = scores * (scores == scores.amax(1, keepdim=True))
        rows, classes = (scores > self.roi_heads.box_predictor[0].test_score_thresh).nonzero(as_tuple=True)
        height, width = one["height"], one["width"]
        boxes = torch.tensor([t.box for t in self.things]) * torch.tensor([width, height] * 2)
        order = scores[rows, classes].argsort(descending=True)
        masks = torch.zeros(len(rows), height, width, dtype=torch.bool)
        for mask, (x1, y1, x2, y2) in zip(masks, boxes[rows].round().int().tolist(), strict=True):
            mask[y1:y2, x1:x2] = True
        return Instances(
            (height, width),
            pred_boxes=SimpleNamespace(tensor=boxes[rows][order]),
            scores=scores[rows, classes][order],
            pred_classes=classes[order],
            pred_masks=masks[order],
        )


class DefaultPredictor:
    """Takes BGR pictures."""

    input_format = "RGB"

    def __init__(self, as_buffer=True, things=THINGS):
        self.model = GeneralizedRCNN(as_buffer, things).eval()
        self.metadata = SimpleNamespace(thing_classes=list(NAMES))
        self.seen = []

    def __call__(self, original_image):
        self.seen.append(original_image)
        height, width = original_image.shape[:2]
        pixels = torch.as_tensor(original_image[:, :, ::-1].astype("float32").transpose(2, 0, 1))
        with torch.no_grad():
            return self.model([{"image": pixels, "height": height, "width": width}])[0]


GeneralizedRCNN.__module__ = "detectron2.modeling.meta_arch.rcnn"
DefaultPredictor.__module__ = "detectron2.engine.defaults"
BGR = np.ascontiguousarray(np.asarray(PICTURE)[:, :, ::-1])


def querying(as_buffer=True, **options):
    options.setdefault("space", THERE)
    return upgrade(DefaultPredictor(as_buffer), PlantedEncoder(), **options)


def state_of(model):
    heads = zero_shot_heads(model)
    return (
        [
            (id(h.zs_weight), "zs_weight" in h._buffers, "zs_weight" in vars(h), list(model.state_dict()))
            for h in heads
        ]
        + [vars(model.roi_heads)["num_classes"], model.roi_heads.one_class_per_proposal]
        + [stage.test_score_thresh for stage in model.roi_heads.box_predictor]
    )


class TestPrompts:
    @pytest.mark.parametrize("as_buffer", [True, False])
    @pytest.mark.parametrize("route", ["vocabulary", "rescore"])
    def test_a_sound_finds_its_thing(self, as_buffer, route):
        upgraded = querying(as_buffer)
        before = state_of(upgraded.original.model)
        detections = upgraded(BGR, [audio("train.wav"), "dog", audio("bee.wav")], route=route)
        assert isinstance(detections, Detections)
        assert sorted(detections.labels) == ["audio train.wav", "dog"]
        assert detections.info["routes"] == [route] * 3
        expected = torch.tensor(THINGS[0].box) * torch.tensor([128, 64, 128, 64])
        assert (detections.boxes[detections.labels.index("dog")] - expected).abs().max() < 1e-4
        assert detections.masks.shape == (2, 64, 128)
        assert state_of(upgraded.original.model) == before

    def test_paths_pictures_and_arrays_are_seen_alike(self, tmp_path):
        PICTURE.save(tmp_path / "p.png")
        upgraded = querying()
        detections = upgraded([BGR, PICTURE, tmp_path / "p.png"], "dog", with_masks=False)
        assert [one.labels for one in detections] == [["dog"]] * 3
        assert all((seen == BGR).all() for seen in upgraded.original.seen)
        assert np.array_equal(np.asarray(detections[0].picture), np.asarray(PICTURE)), "drawn in RGB"
        assert detections[0].masks is None

    def test_a_model_takes_its_own_input(self):
        model = GeneralizedRCNN().eval()
        upgraded = upgrade(model, PlantedEncoder(), space=THERE, names=NAMES)
        pixels = torch.as_tensor(np.array(PICTURE)).permute(2, 0, 1).float()
        detections = upgraded([{"image": pixels, "height": 32, "width": 64}], [audio("car.wav")])
        assert [one.labels for one in detections] == [["audio car.wav"]]
        assert detections[0].image_size == (32, 64)
        assert detections[0].picture.size == (64, 32)
        with pytest.raises(InputError, match="DefaultPredictor"):
            upgraded("street.jpg", ["dog"])
        with pytest.raises(InputError, match=r"model\.eval\(\)"):
            upgrade(model.train(), PlantedEncoder(), space=THERE, names=NAMES)(
                [{"image": pixels, "height": 1, "width": 1}], "dog"
            )

    def test_modes_casts_and_settings_reach_the_model(self):
        model = GeneralizedRCNN()
        model.input_format = "RGB"  # as detectron2's
        upgraded = upgrade(model, PlantedEncoder(), space=THERE, names=NAMES)
        assert upgraded.train() is upgraded.eval() is upgraded.to("cpu") is upgraded
        assert not model.training
        upgraded.input_format = "BGR"
        assert model.input_format == "BGR"

    def test_competition_and_thresholds(self):
        upgraded = querying()
        assert len(upgraded(BGR, [audio("bee.wav")], threshold=0.01)) == 0
        assert len(upgraded(BGR, [audio("bee.wav")], threshold=0.01, suppress=False)) == 3
        assert upgraded(BGR, ["dog", "car"], threshold=[0.99, 0.3]).labels == ["car"]
        with pytest.raises(TypeError, match="top_k"):
            upgraded(BGR, ["dog"], top_k=3)

    def test_boxes_at_one_place_compete(self):
        boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [50, 0, 60, 10], [0, 0, 10, 10]])
        scores, labels = torch.tensor([0.5, 0.8, 0.3, 0.45]), torch.tensor([0, 2, 0, 1])
        own = torch.tensor([[False], [True]])
        assert surviving_boxes(boxes, scores, labels, own, 1.0).tolist() == [2, 3]
        assert surviving_boxes(boxes, scores, labels, own, 0.6).tolist() == [0, 2, 3]
        assert surviving_boxes(boxes[:0], scores[:0], labels[:0], own, 1.0).tolist() == []

    @pytest.mark.parametrize(
        "wrong", [np.zeros((4, 4)), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8), 3, None]
    )
    def test_what_is_no_picture(self, wrong):
        with pytest.raises(InputError, match="BGR"):
            querying()(wrong, ["dog"])


class TestWithoutPrompts:
    def test_the_originals_answer(self):
        upgraded = querying()
        detections, own = upgraded(BGR), upgraded.original(BGR)
        assert list(detections) == ["instances"]
        assert type(detections["instances"]) is Instances
        assert same(detections["instances"].scores, own["instances"].scores)
        assert upgraded.metadata is upgraded.original.metadata
        assert upgraded.input_format == "RGB"


class TestLending:
    @pytest.mark.parametrize("as_buffer", [True, False])
    def test_everything_is_put_back(self, as_buffer):
        predictor = DefaultPredictor(as_buffer)
        model = predictor.model
        before, trace = state_of(model), snapshot(model)
        rows = 7 * torch.stack([there("dog"), there("bee")])
        with exchanged_classifier(model, rows, Selection(torch.tensor([0.1, 0.1]))):
            for head in zero_shot_heads(model):
                torch.testing.assert_close(head.zs_weight[:, :2], rows.T / 7)
                assert not head.zs_weight[:, 2].any()
                assert ("zs_weight" in head._buffers) is as_buffer
            assert model.roi_heads.num_classes == 2
            assert model.roi_heads.box_predictor[1].test_score_thresh == pytest.approx(0.1)
            assert state_of(model) != before
        assert state_of(model) == before
        assert difference(trace, snapshot(model)) == set()

    @pytest.mark.parametrize("as_buffer", [True, False])
    @pytest.mark.parametrize("fault", [RuntimeError("out of memory"), KeyboardInterrupt()])
    def test_after_an_exception_too(self, as_buffer, fault):
        upgraded = querying(as_buffer)
        model = upgraded.original.model
        before = state_of(model)
        model.fault = fault
        with pytest.raises(type(fault)):
            upgraded(BGR, ["dog"])
        assert state_of(model) == before
        model.fault = None
        assert upgraded(BGR, ["dog"]).labels == ["dog"], "the lock is free again"

    def test_after_a_fault_half_way(self):
        model = GeneralizedRCNN()
        before = state_of(model)
        with (
            pytest.raises((RuntimeError, IndexError)),
            exchanged_classifier(model, torch.zeros(2), SELECTION),
        ):
            pass
        assert state_of(model) == before

    def test_attributes_of_a_class_stay_there(self):
        model = GeneralizedRCNN()
        del model.roi_heads.box_predictor[0].test_score_thresh
        Predictor.test_score_thresh = 0.7
        try:
            with exchanged_classifier(model, torch.eye(2, 48), Selection(torch.tensor([0.1, 0.2]))):
                assert model.roi_heads.box_predictor[0].test_score_thresh == pytest.approx(0.1)
            assert "test_score_thresh" not in vars(model.roi_heads.box_predictor[0])
        finally:
            del Predictor.test_score_thresh

    def test_one_stage_in_several_places(self):
        model = GeneralizedRCNN()
        model.roi_heads.box_predictor = nn.ModuleList([model.roi_heads.box_predictor[0]] * 3)
        before = state_of(model)
        assert len(zero_shot_heads(model)) == 1
        with exchanged_classifier(model, torch.eye(2, 48), Selection(torch.tensor([0.1, 0.2]))):
            pass
        assert state_of(model) == before

    def test_wrappers_of_one_model_take_turns(self):
        predictor = DefaultPredictor()
        wrappers = [upgrade(predictor, PlantedEncoder(), space=THERE) for _ in range(2)]
        detections, faults = {}, []

        def look(place, name):
            try:
                detections[place] = [
                    wrappers[place % 2](BGR, [audio(f"{name}.wav")]).labels for _ in range(5)
                ]
                detections[place, "own"] = len(wrappers[place % 2](BGR)["instances"])
            except BaseException as error:
                faults.append(error)

        names = ["dog", "car", "train", "dog"]
        threads = [threading.Thread(target=look, args=pair) for pair in enumerate(names)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not faults
        assert all(detections[i] == [[f"audio {name}.wav"]] * 5 for i, name in enumerate(names))
        assert {detections[i, "own"] for i in range(4)} == {3}

    def test_a_call_waits_for_the_lock(self):
        upgraded = querying()
        done = threading.Event()
        thread = threading.Thread(target=lambda: (upgraded(BGR), done.set()))
        with lock_of(upgraded.original.model):
            thread.start()
            assert not done.wait(0.05)
        thread.join()
        assert done.is_set()

    def test_locks_do_not_keep_models_alive(self):
        model = GeneralizedRCNN()
        assert lock_of(model) is lock_of(model)
        gone = weakref.ref(model)
        del model
        assert gone() is None


class TestUpgrade:
    @pytest.mark.parametrize("part", ["model", "predictor"])
    def test_found_by_shape_without_detectron2(self, part):
        predictor = DefaultPredictor()
        target = predictor.model if part == "model" else predictor
        assert isinstance(bindplug.upgrade(target, PlantedEncoder(), space=THERE), Detectron2WithQueries)

    def test_a_network_without_a_zero_shot_classifier(self):
        plain = DefaultPredictor()
        for stage in plain.model.roi_heads.box_predictor:
            del stage.cls_score.zs_weight
        single = DefaultPredictor()
        single.model.roi_heads.box_predictor = nn.Linear(2, 2)
        for target in (plain, plain.model, single, object()):
            with pytest.raises(UnsupportedTarget, match="this detectron2 model has no zero-shot classifier"):
                upgrade(target, PlantedEncoder())

    def test_the_space_is_never_guessed(self):
        with pytest.raises(InputError, match=r"width 48.*space=EmbeddingSpace"):
            upgrade(DefaultPredictor(), PlantedEncoder())
        with pytest.raises(InputError, match="width 48"):
            upgrade(DefaultPredictor(), PlantedEncoder(), space=EmbeddingSpace("test:three", 3))

    def test_names_of_the_classes(self):
        predictor = DefaultPredictor()
        predictor.metadata = SimpleNamespace(thing_classes=["only", "two"])
        with pytest.warns(VocabularyMismatch, match="names 2 classes"):
            unnamed = upgrade(predictor, PlantedEncoder(), space=THERE)
        assert unnamed.router.classes.names is None
        assert unnamed.router.choose(text("dog")) == "rescore"
        assert upgrade(predictor, PlantedEncoder(), space=THERE, names=NAMES).router.classes.names == NAMES
        with pytest.raises(InputError, match="2 names for a classifier of 24"):
            upgrade(predictor, PlantedEncoder(), space=THERE, names=["a", "b"])

    def test_a_new_vocabulary_is_noticed(self):
        upgraded = querying()
        assert upgraded.router.classes.embeddings.shape == (24, 48)
        for head in zero_shot_heads(upgraded.original.model):
            head.zs_weight = torch.cat([there("dog")[:, None], torch.zeros(48, 1)], dim=1)
        with pytest.warns(VocabularyMismatch, match="its classifier has 1"):
            assert upgraded.router.classes.embeddings.shape == (1, 48)

    def test_no_route(self):
        predictor = DefaultPredictor()
        predictor.metadata = None
        with pytest.raises(SpaceMismatch, match="bindplug bridge fit"):
            upgrade(predictor, PlantedEncoder(["audio"]), space=THERE)(
                Image.new("RGB", (8, 8)), audio("dog.wav")
            )
