"""A network that finds what it is told to, and a small real one."""

from types import SimpleNamespace
from typing import NamedTuple

import pytest
import torch
from PIL import Image
from torch import nn

from bindplug import EmbeddingSpace
from bindplug_detic import Detections, Detic, Vocabulary

WIDTH = 4
SPACE = EmbeddingSpace("test:clip:random", WIDTH)
NAMES = ("dog", "bird cage", "car")


class Planned(NamedTuple):
    """A detection at given fractions of the picture."""

    box: tuple[float, float, float, float]
    score: float
    label: int
    logit: float = 8.0


PLAN = (
    Planned((0.1, 0.2, 0.5, 0.8), 0.9, 0),
    Planned((0.4, 0.4, 1.0, 1.0), 0.6, 2),
    Planned((0.0, 0.0, 0.3, 0.3), 0.3, 1, -8.0),
)


class FakeNetwork(nn.Module):
    """Finds its plan in every picture, and notes what it was asked."""

    def __init__(self, plan=PLAN):
        super().__init__()
        self.config = SimpleNamespace(embedding_width=WIDTH, short_edge=32, long_edge=64)
        self.weight = nn.Parameter(torch.zeros(1))
        self.plan = plan
        self.calls = []

    def forward(self, images, classifier, *, score_threshold, with_masks=True, **options):
        self.calls.append(
            {"sizes": [tuple(i.shape[1:]) for i in images], "classifier": classifier, **options}
        )
        least = torch.as_tensor(score_threshold, dtype=torch.float32).expand(len(classifier))
        return [self._found(image, len(classifier), least, with_masks) for image in images]

    def _found(self, image, classes, least, with_masks):
        rows = [p for p in self.plan if p.label < classes and p.score > least[p.label]]
        height, width = image.shape[1:]
        return SimpleNamespace(
            boxes=torch.tensor([p.box for p in rows]).reshape(-1, 4) * torch.tensor([width, height] * 2),
            scores=torch.tensor([p.score for p in rows]),
            labels=torch.tensor([p.label for p in rows], dtype=torch.long),
            mask_logits=torch.stack([torch.full((28, 28), p.logit) for p in rows])
            if with_masks and rows
            else torch.zeros(0, 28, 28)
            if with_masks
            else None,
            proposal_index=torch.arange(len(rows)),
        )

    def batch(self, images):
        return images, [tuple(image.shape[1:]) for image in images]

    def features(self, x):
        return x

    def propose(self, features, sizes):
        inside = torch.tensor([p.box for p in self.plan])
        outside = torch.tensor([[-0.5, -0.5, 0.5, 0.5], [1.1, 0.0, 1.5, 0.5]])
        fractions = torch.cat([inside, outside])
        scores = torch.linspace(0.9, 0.1, len(fractions))
        return [(fractions * torch.tensor([w, h, w, h]), scores) for h, w in sizes]


def make_vocabulary(names=NAMES):
    """Random rows for names."""
    rows = torch.randn(len(names), WIDTH, generator=torch.Generator().manual_seed(0))
    return Vocabulary(tuple(names), rows)


def make_detections(count=3, size=(60, 90), picture=None, **fields):
    """Detections without a detector."""
    height, width = size
    corners = torch.rand(count, 2, 2, generator=torch.Generator().manual_seed(1)).sort(1).values
    given = {
        "boxes": (corners * torch.tensor([width, height])).reshape(count, 4),
        "scores": torch.linspace(0.9, 0.3, count),
        "labels": [NAMES[i % 3] for i in range(count)],
        "label_indices": torch.arange(count) % 3,
        "image_size": size,
        "mask_logits": torch.randn(count, 28, 28, generator=torch.Generator().manual_seed(2)),
        "picture": picture or Image.new("RGB", (width, height), "gray"),
    }
    return Detections(**{**given, **fields})


@pytest.fixture
def fake():
    return FakeNetwork()


@pytest.fixture
def detector(fake):
    return Detic(fake, make_vocabulary(), SPACE)


@pytest.fixture
def vocabulary():
    return make_vocabulary()


@pytest.fixture
def picture():
    return Image.linear_gradient("L").resize((96, 48)).convert("RGB")


@pytest.fixture(scope="session")
def small_network():
    """A DeticNetwork of random weights with every part, small enough for a test."""
    from bindplug_detic import DeticConfig, DeticNetwork

    config = DeticConfig(
        norm="group",
        resnet_blocks=(1, 1, 1, 1),
        resnet_stem_width=8,
        fpn_channels=64,
        tower_depth=1,
        box_head_width=32,
        embedding_width=WIDTH,
        mask_channels=16,
        mask_convs=1,
        post_nms_top_k=20,
        short_edge=64,
        long_edge=128,
    )
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return DeticNetwork(config).eval()
