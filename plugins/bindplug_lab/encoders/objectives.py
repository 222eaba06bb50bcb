"""What encoders learn from: captions, labels, or nothing but the pictures themselves.

Each objective holds the networks that only training needs, and gives the loss of a batch.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bindplug.training import symmetric_info_nce
from bindplug_lab.encoders.augment import ViewRecipe, random_views
from bindplug_lab.encoders.network import SIDE, ImageEncoder, normalize
from bindplug_lab.encoders.pictures import Pictures

MAX_SCALE = 100.0
"""Largest inverse temperature of CLIP. Source: CLIP (arXiv 2103.00020), section 2.5."""

COLOR_CHANGES: Mapping[str, float] = MappingProxyType(
    {"color": 0.6, "gray": 0.2, "hue": 1.0, "solarize": 0.2}
)
"""Of the views that self-supervised encoders compare. With weaker ones a scene is known by its background's color."""


class Objective(nn.Module):
    """The loss of one method of training; its state is all that training changes.

    Args:
        encoder: to train.
    """

    def __init__(self, encoder: ImageEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def trained_parameters(self) -> list[tuple[str, nn.Parameter]]:
        """What the optimizer changes, by name."""
        raise NotImplementedError

    def loss(
        self, pictures: Pictures, indices: Tensor, generator: torch.Generator, progress: float
    ) -> Tensor:
        """The loss of the scenes at ``indices`` (B,) when ``progress`` of the run, 0 to 1, is over."""
        raise NotImplementedError

    def after_step(self, progress: float) -> None:
        """Called after each optimizer step when ``progress`` of the run is over."""


class ClipObjective(Objective):
    """Symmetric InfoNCE between images and captions with a learned temperature.

    Captions name sides of the picture, so that images are not mirrored and hardly cropped.

    Source: CLIP (arXiv 2103.00020), section 2.3.
    """

    views = ViewRecipe(SIDE, (0.8, 1.0), flip=0.0, color=0.2)

    def trained_parameters(self) -> list[tuple[str, nn.Parameter]]:
        """Both towers and the scale."""
        return list(self.encoder.named_parameters())

    def loss(
        self, pictures: Pictures, indices: Tensor, generator: torch.Generator, progress: float
    ) -> Tensor:
        """InfoNCE over the batch."""
        assert self.encoder.text is not None
        images = random_views(pictures.pixels[indices], self.views, generator)
        rows = self.encoder(normalize(images))
        texts = self.encoder.text(pictures.captions(indices, generator))
        return symmetric_info_nce(rows, texts, self.encoder.log_scale.exp())

    @torch.no_grad()
    def after_step(self, progress: float) -> None:
        """Keep the scale within its bound."""
        self.encoder.log_scale.clamp_(0, math.log(MAX_SCALE))


class SupervisedObjective(Objective):
    """Cross entropy of a linear classifier on the encoder's rows, with label smoothing.

    Source: DeiT (arXiv 2012.12877), section 6, for smoothing and crops.
    """

    views = ViewRecipe(SIDE, (0.35, 1.0), color=0.4)
    smoothing = 0.1

    def __init__(self, encoder: ImageEncoder, classes: int) -> None:
        super().__init__(encoder)
        self.classifier = nn.Linear(encoder.width, classes)

    def trained_parameters(self) -> list[tuple[str, nn.Parameter]]:
        """The image tower and the classifier."""
        return [*self.encoder.visual.named_parameters(), *self.classifier.named_parameters("classifier")]

    def loss(
        self, pictures: Pictures, indices: Tensor, generator: torch.Generator, progress: float
    ) -> Tensor:
        """Cross entropy over the batch."""
        images = random_views(pictures.pixels[indices], self.views, generator)
        logits = self.classifier(self.encoder(normalize(images)))
        return F.cross_entropy(logits.float(), pictures.labels[indices], label_smoothing=self.smoothing)


def projection_head(width: int, hidden: int, projected: int) -> nn.Sequential:
    """An MLP of three layers from rows to what a self-supervised loss compares.

    Batch normalization keeps a batch's views apart while the encoder still gives all pictures nearly the same row.
    It uses the batch's own statistics always, so that its running averages play no part.
    """

    def hidden_layer(inputs: int) -> list[nn.Module]:
        return [nn.Linear(inputs, hidden), nn.BatchNorm1d(hidden, track_running_stats=False), nn.GELU()]

    head = nn.Sequential(*hidden_layer(width), *hidden_layer(hidden), nn.Linear(hidden, projected))
    for layer in head:
        if isinstance(layer, nn.Linear):
            nn.init.trunc_normal_(layer.weight, std=layer.in_features**-0.5)
            nn.init.zeros_(layer.bias)
    return head


class DinoHead(nn.Module):
    """Rows to prototypes' logits: an MLP, a unit bottleneck, and weight-normalized prototypes.

    The bottleneck is batch-normalized. Without this its outputs draw together until every picture has the same answer,
    which centering and sharpening prevent in long trainings only.

    Source: DINO (arXiv 2104.14294), section 3.1 and appendix C.
    """

    def __init__(self, width: int, hidden: int = 256, bottleneck: int = 64, prototypes: int = 256) -> None:
        super().__init__()
        self.mlp = projection_head(width, hidden, bottleneck)
        self.norm = nn.BatchNorm1d(bottleneck, affine=False, track_running_stats=False)
        self.prototypes = nn.Parameter(torch.randn(prototypes, bottleneck) * bottleneck**-0.5)

    def forward(self, rows: Tensor) -> Tensor:
        """(B, D) -> (B, prototypes) cosines."""
        bottleneck = self.norm(self.mlp(rows).float())
        return F.normalize(bottleneck, dim=-1) @ F.normalize(self.prototypes, dim=-1).T


class DinoObjective(Objective):
    """Self-distillation without labels.

    A student sees two large and several small crops of each image. Its distribution over prototypes follows the one
    that a teacher gives another crop of the same image. The teacher is the moving average of the student; its
    logits are centered and sharpened, which keeps it from giving every image the same answer.

    Source: DINO (arXiv 2104.14294), section 3.1, algorithm 1.
    """

    large = ViewRecipe(48, (0.5, 1.0), **COLOR_CHANGES)
    small = ViewRecipe(32, (0.25, 0.6), **COLOR_CHANGES)
    small_crops = 2
    student_temperature = 0.1
    teacher_temperature = 0.04
    momentum = (0.99, 1.0)
    center_momentum = 0.9
    center: Tensor

    def __init__(self, encoder: ImageEncoder) -> None:
        super().__init__(encoder)
        self.head = DinoHead(encoder.width)
        self.teacher = copy.deepcopy(nn.ModuleList([encoder.visual, self.head])).requires_grad_(False)
        self.register_buffer("center", torch.zeros(1, len(self.head.prototypes)))

    def trained_parameters(self) -> list[tuple[str, nn.Parameter]]:
        """The student: image tower and head."""
        return [*self.encoder.visual.named_parameters(), *self.head.named_parameters("head")]

    def loss(
        self, pictures: Pictures, indices: Tensor, generator: torch.Generator, progress: float
    ) -> Tensor:
        """Cross entropy between teacher and student over all pairs of different crops."""
        pixels, count = pictures.pixels[indices], len(indices)
        large = torch.cat([normalize(random_views(pixels, self.large, generator)) for _ in range(2)])
        small = torch.cat(
            [normalize(random_views(pixels, self.small, generator)) for _ in range(self.small_crops)]
        )
        with torch.no_grad():
            tower, head = self.teacher
            logits = head(tower(large)).float()
            targets = ((logits - self.center) / self.teacher_temperature).softmax(-1).split(count)
            mean = logits.mean(0, keepdim=True)
            self.center = self.center * self.center_momentum + mean * (1 - self.center_momentum)
        # crops of one size go through the student together: (crops * B, prototypes) -> crops of (B, prototypes)
        student = [
            (self.head(self.encoder(views)).float() / self.student_temperature).log_softmax(-1).split(count)
            for views in (large, small)
        ]
        views = [*student[0], *student[1]]
        losses = [
            -(target * view).sum(-1).mean()
            for number, target in enumerate(targets)
            for place, view in enumerate(views)
            if place != number
        ]
        return torch.stack(losses).mean()

    @torch.no_grad()
    def after_step(self, progress: float) -> None:
        """Move the teacher towards the student, ever more slowly."""
        first, last = self.momentum
        momentum = last - (last - first) * (math.cos(math.pi * progress) + 1) / 2
        student = [*self.encoder.visual.parameters(), *self.head.parameters()]
        for slow, fast in zip(self.teacher.parameters(), student, strict=True):
            slow.lerp_(fast, 1 - momentum)


class SimclrObjective(Objective):
    """Two views of a picture are nearer to each other than to any view of the others in the batch.

    Source: SimCLR (arXiv 2002.05709), section 2.1, with its loss at a fixed temperature.
    """

    views = ViewRecipe(48, (0.5, 1.0), **COLOR_CHANGES)
    temperature = 0.2

    def __init__(self, encoder: ImageEncoder, hidden: int = 256, projected: int = 64) -> None:
        super().__init__(encoder)
        self.head = projection_head(encoder.width, hidden, projected)

    def trained_parameters(self) -> list[tuple[str, nn.Parameter]]:
        """Image tower and head."""
        return [*self.encoder.visual.named_parameters(), *self.head.named_parameters("head")]

    def loss(
        self, pictures: Pictures, indices: Tensor, generator: torch.Generator, progress: float
    ) -> Tensor:
        """Cross entropy of each view's likeness to the others, whose right answer is the same picture's view."""
        pixels, count = pictures.pixels[indices], len(indices)
        views = torch.cat([normalize(random_views(pixels, self.views, generator)) for _ in range(2)])
        rows = F.normalize(self.head(self.encoder(views)).float(), dim=-1)
        # (2 * B, 2 * B): row i and row i + B are views of one picture; no view is compared with itself
        logits = (rows @ rows.T / self.temperature).fill_diagonal_(float("-inf"))
        return F.cross_entropy(logits, torch.arange(2 * count).roll(count))


def objective_of(encoder: ImageEncoder, classes: int) -> Objective:
    """The objective of the encoder's method."""
    if encoder.method == "clip":
        return ClipObjective(encoder)
    if encoder.method == "supervised":
        return SupervisedObjective(encoder, classes)
    if encoder.method == "simclr":
        return SimclrObjective(encoder)
    return DinoObjective(encoder)
