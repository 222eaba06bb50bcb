"""A world small enough to know every answer: concepts, an encoder of them, and a detector that sees them.

Every concept has a direction. The encoder's rows are that direction beside the mean of the modality; the detector's
class vectors are the same directions, turned, beside a mean of their own, as CLIP's are.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from PIL import Image, ImageDraw
from torch import nn

from bindplug import EmbeddingSpace
from bindplug.testing import FakeEncoder, FakePreprocess
from bindplug_detic import Detic, Vocabulary
from bindplug_detic.network import CascadeOutput
from bindplug_detic.postprocess import combine_scores
from bindplug_detic.proposals import Proposals
from bindplug_detic.roi_heads import class_logits

WIDTH = 48
HERE = EmbeddingSpace("test:here:planted", WIDTH)
THERE = EmbeddingSpace("test:there:planted", WIDTH)
NAMES = (
    "dog", "cat", "car", "train", "bell", "rain", "bird", "drum", "boat", "clock", "horse", "saw",
    "frog", "plane", "phone", "fire", "wolf", "cow", "kettle", "violin", "door", "wind", "truck", "bee",
)  # fmt: skip
COLORS = {name: (10 * i + 5, 255 - 10 * i, 120) for i, name in enumerate(NAMES)}


def _rows(count: int, seed: int) -> torch.Tensor:
    return nn.init.orthogonal_(torch.empty(count, WIDTH), generator=torch.Generator().manual_seed(seed))


CONCEPTS = dict(zip(NAMES, _rows(WIDTH, 0)[: len(NAMES)], strict=True))
MEANS = dict(zip(("text", "audio", "image", "depth", "target"), _rows(WIDTH, 0)[30:35], strict=True))
MEANS["audio"] = nn.functional.normalize(MEANS["audio"] + CONCEPTS["saw"], dim=0)
"""All sounds sound a little like a saw: what they have in common would mislead a bridge between texts."""
TURN = _rows(WIDTH, 7)
"""From directions here to directions there."""


def here(name: str, modality: str = "text") -> torch.Tensor:
    """The unit row of a concept in the encoder's space."""
    return nn.functional.normalize(1.5 * MEANS[modality] + CONCEPTS[name], dim=0)


def there(name: str) -> torch.Tensor:
    """The unit row of a concept in the detector's space."""
    return nn.functional.normalize(1.5 * MEANS["target"] @ TURN + CONCEPTS[name] @ TURN, dim=0)


def concept_of(source: Any) -> str:
    """What a source shows: the concept in its words or file name, or of the color in its middle."""
    if isinstance(source, Image.Image):
        color = source.getpixel((source.width // 2, source.height // 2))
        return min(NAMES, key=lambda name: sum(abs(a - b) for a, b in zip(COLORS[name], color, strict=True)))
    return next(name for name in NAMES if name in str(source))


class ConceptReader(FakePreprocess):
    """Reads the concept of a source."""

    def read(self, source: object, **options: Any) -> torch.Tensor:
        return here(concept_of(source), self.kind.value if self.kind.value in MEANS else "audio")


class PlantedEncoder(FakeEncoder):
    """Embeds text, images, sounds and depth of the concepts; ``knows_centers`` as measured ones would be."""

    def __init__(self, modalities=("text", "image", "audio", "depth"), space=HERE, knows_centers=True):
        super().__init__(modalities, space)
        self.preprocess = {n: ConceptReader(p.kind, WIDTH) for n, p in self.preprocess.items()}
        if knows_centers:
            self.centers = {n: torch.stack([here(c, n) for c in NAMES]).mean(0) for n in modalities}
        self.embedded = []

    def embed(self, queries, **options):
        queries = list(queries)
        self.embedded.append(queries)
        return super().embed(queries, **options)


class Thing(NamedTuple):
    """A proposal: box in fractions of the picture, what it shows, and how much of an object it is."""

    box: tuple[float, float, float, float]
    concept: str
    objectness: float = 0.9


THINGS = (
    Thing((0.0, 0.0, 0.3, 0.6), "dog"),
    Thing((0.4, 0.1, 0.7, 0.9), "car"),
    Thing((0.75, 0.2, 0.95, 0.6), "train", 0.8),
)


class PlantedNetwork(nn.Module):
    """Sees its things in every picture; classifies as the real one does."""

    def __init__(self, things=THINGS):
        super().__init__()
        self.config = SimpleNamespace(
            embedding_width=WIDTH,
            short_edge=64,
            long_edge=128,
            nms_threshold=0.5,
            top_k=300,
            norm_temperature=50.0,
        )
        self.weight = nn.Parameter(torch.zeros(1))
        self.things = things
        self.looked = 0

    @property
    def device(self):
        return self.weight.device

    def batch(self, images):
        return images, [tuple(image.shape[1:]) for image in images]

    def features(self, x):
        self.looked += 1
        return {"p3": x}

    def propose(self, features, sizes):
        height, width = sizes[0]
        boxes = torch.tensor([t.box for t in self.things]).reshape(-1, 4)
        boxes = boxes * torch.tensor([width, height] * 2)
        return [Proposals(boxes, torch.tensor([t.objectness for t in self.things]))]

    def cascade(self, features, proposals, sizes, classifier):
        # A third of a region's direction is its own: no prompt meets it in full.
        own = [0.8 * there(t.concept) + 0.2 * there("wind") for t in self.things]
        logits = class_logits(torch.stack(own), classifier, self.config.norm_temperature)
        chances = (logits - 42).sigmoid()
        scores = combine_scores(chances, proposals[0].scores)
        return [CascadeOutput(proposals[0].boxes, chances, scores)]

    def predict_masks(self, features, boxes):
        return [torch.full((len(boxes_), 28, 28), 4.0) for boxes_ in boxes]

    def forward(self, images, classifier, **options):
        raise AssertionError("prompts go through the steps of the network")


def planted_detector(things=THINGS, names=NAMES, **options):
    """A Detic that sees things and has the concepts as its vocabulary."""
    vocabulary = (
        None if names is None else Vocabulary(tuple(names), 10 * torch.stack([there(n) for n in names]))
    )
    return Detic(PlantedNetwork(things), vocabulary, options.pop("space", THERE), **options)


def planted_picture(things=THINGS, size=(128, 64)):
    """A picture of the things, each a rectangle of its color."""
    picture = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(picture)
    for thing in things:
        x1, y1, x2, y2 = (f * edge for f, edge in zip(thing.box, (*size, *size), strict=True))
        draw.rectangle((x1, y1, x2 - 1, y2 - 1), fill=COLORS[thing.concept])
    return picture
