"""Detic's heads on detectron2: what a call makes is what our Detic makes of the same weights.

The heads are stand-ins of documented shape; see ``standin_detectron2``.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close

import bindplug
from bindplug.testing import FAKE_SPACE, FakeEncoder, difference, snapshot
from bindplug_detic import Detections
from bindplug_detic.competition import own_classes, survivors
from bindplug_detic.detectron2_heads import predictors_of
from bindplug_detic.postprocess import combine_scores, select_detections
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
