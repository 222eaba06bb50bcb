"""A small tower and pairs that runs of these tests share."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch

from bindplug.imagebind import ImageBind
from bindplug.training import BindingRecipe
from tests.small import SMALL

RECIPE = BindingRecipe(
    epochs=2, batch_size=8, learning_rate=1e-2, weight_decay=0.1, temperature=0.2, warmup_epochs=1
)


class SmallTower(torch.nn.Module):
    """(B, 6) to (B, 8); ``before`` is called with each batch."""

    def __init__(self, width: int = 8, before: Callable[[torch.Tensor], None] | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.hidden = torch.nn.Linear(6, 16)
        self.head = torch.nn.Linear(16, width)
        self.before = before

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.before is not None:
            self.before(x)
        return self.head(self.hidden(x).relu())


class DrawnPairs:
    """Windows drawn from series; pictures' and samples' windows agree. ``on_read`` is called at each read."""

    def __init__(self, count: int = 24, seed: int = 1, on_read: Callable[[], None] | None = None) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.pictures = torch.randn(count, 12, generator=generator)
        self.series = self.pictures @ torch.randn(12, 10, generator=generator)
        self.starts: dict[str, list[int]] = {"anchors": [], "samples": []}
        self.on_read = on_read

    def __len__(self) -> int:
        return len(self.series)

    def _columns(
        self, side: str, indices: torch.Tensor, generator: torch.Generator, width: int
    ) -> torch.Tensor:
        starts = torch.randint(4, (len(indices),), generator=generator)
        self.starts[side] += starts.tolist()
        return starts[:, None] + torch.arange(width)

    def anchors(self, indices: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        return self.pictures[indices[:, None], self._columns("anchors", indices, generator, 8)]

    def samples(self, indices: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        if self.on_read is not None:
            self.on_read()
        return self.series[indices[:, None], self._columns("samples", indices, generator, 6)]


@pytest.fixture
def recipe():
    return RECIPE


@pytest.fixture
def small_tower():
    return SmallTower


@pytest.fixture
def drawn_pairs():
    return DrawnPairs


@pytest.fixture(scope="module")
def small() -> ImageBind:
    """A random ImageBind of every tower, for the tests of one file."""
    torch.manual_seed(0)
    return ImageBind(SMALL).eval()


@pytest.fixture
def model(small: ImageBind) -> ImageBind:
    """A copy of it that a test may change."""
    return copy.deepcopy(small)
