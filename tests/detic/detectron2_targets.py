"""Detectors on stand-ins of detectron2, and our Detic of the same weights."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

import bindplug
from bindplug import embedding
from bindplug.testing import FAKE_SPACE, FakeEncoder
from bindplug_detic import Detic, Vocabulary
from tests.detic import standin_detectron2 as d2
from tests.detic.toy import toy_classes, toy_network

NAMES = [f"thing {row}" for row in range(12)]
ROWS = toy_classes(12, seed=1)
"""Random directions: with random weights, scores of all classes are of one size, and each wins somewhere."""
PICTURE = Image.effect_noise((128, 96), 90).convert("RGB")
BGR = np.ascontiguousarray(np.asarray(PICTURE)[:, :, ::-1])
PROMPTS = [embedding(row, FAKE_SPACE) for row in toy_classes(3, seed=5)]
KINDS = ("buffer", "parameter", "attribute")


def make_network():
    """A network with box heads whose regions differ, as those of a trained network do."""
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
