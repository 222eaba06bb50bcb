"""How to bind a modality: the published hyper-parameters, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True)
class BindingRecipe:
    """Hyper-parameters of one binding run.

    Attributes:
        epochs: passes over the pairs, data replication included.
        batch_size: pairs in a step; every other pair of the batch is a negative.
        learning_rate: peak of a cosine schedule that ends at zero.
        warmup_epochs: epochs of linear warm-up, at most half of the run.
        weight_decay: AdamW's, on matrices only.
        betas: AdamW's.
        clip_grad_norm: largest gradient norm let through.
        temperature: of InfoNCE; its inverse becomes the modality's output scale.
        learn_temperature: start at ``temperature`` and learn it.
        drop_path: stochastic depth of the tower while it is trained.
        head: ``"linear"`` or ``"mlp"``.
        frequency_mask: widest band of mel bins hidden in training (audio), 0 for none.
        random_erase: probability that a patch of the input is erased (depth, thermal).
        seed: of parameters, order and augmentation.
    """

    epochs: float
    batch_size: int
    learning_rate: float
    weight_decay: float
    temperature: float
    clip_grad_norm: float = 1.0
    warmup_epochs: float = 2.0
    betas: tuple[float, float] = (0.9, 0.95)
    learn_temperature: bool = False
    drop_path: float = 0.0
    head: str = "linear"
    frequency_mask: int = 0
    random_erase: float = 0.0
    seed: int = 0

    def but(self, **changes: Any) -> BindingRecipe:
        """A copy with some fields changed."""
        return replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a model's card."""
        return asdict(self)


PUBLISHED: Mapping[str, BindingRecipe] = MappingProxyType(
    {
        "audio": BindingRecipe(
            epochs=64, batch_size=2048, learning_rate=1.6e-3, weight_decay=0.2, temperature=0.05,
            drop_path=0.1, frequency_mask=12,
        ),
        "depth": BindingRecipe(
            epochs=64, batch_size=512, learning_rate=1.6e-3, weight_decay=0.2, temperature=0.2, random_erase=0.25,
        ),
        "thermal": BindingRecipe(
            epochs=64, batch_size=512, learning_rate=5e-4, weight_decay=0.05, temperature=0.1, clip_grad_norm=5.0,
            random_erase=0.25,
        ),
        "imu": BindingRecipe(
            epochs=8, batch_size=512, learning_rate=5e-4, weight_decay=0.5, temperature=0.2, drop_path=0.7,
        ),
    }
)  # fmt: skip
"""The recipes of the released model. Source: ImageBind (arXiv 2305.05665), appendix B.1, tables 10 and 11."""
