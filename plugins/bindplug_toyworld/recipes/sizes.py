"""How much of everything: the full recipe, and the smoke run that tests walk through."""

from __future__ import annotations

from dataclasses import dataclass, field

from bindplug.training import PUBLISHED, BindingRecipe


@dataclass(frozen=True)
class ClipSize:
    """Contrastive pre-training of one toy CLIP.

    Attributes:
        scenes: scenes rendered, each with several captions.
        patch_dropout: fraction of patches hidden from the image tower.
        whole_images: fraction of the run, at its end, that sees whole images again.
    """

    scenes: int
    steps: int
    batch_size: int
    warmup_steps: int
    patch_dropout: float = 0.25
    whole_images: float = 0.2
    learning_rate: float = 1e-3
    weight_decay: float = 0.1
    seed: int = 0


@dataclass(frozen=True)
class RecipeSize:
    """Everything that `make weights` runs.

    The recipes keep the published temperature, optimiser, schedule and augmentation; the toy data sets and
    towers are some thousand times smaller, so batches, epochs and learning rates are fitted to them.
    """

    clip: ClipSize
    pairs: dict[str, int]
    recipes: dict[str, BindingRecipe] = field(default_factory=dict)


def _toy(modality: str, epochs: float, batch_size: int, drop_path: float) -> BindingRecipe:
    return PUBLISHED[modality].but(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=1e-3,
        weight_decay=0.05,
        warmup_epochs=1.0,
        drop_path=drop_path,
    )


FULL = RecipeSize(
    clip=ClipSize(scenes=32_000, steps=2400, batch_size=192, warmup_steps=200),
    pairs={"audio": 8000, "depth": 8000, "thermal": 8000, "imu": 6400},
    recipes={
        "audio": _toy("audio", 12, 256, 0.1),
        "depth": _toy("depth", 14, 256, 0.0),
        "thermal": _toy("thermal", 14, 256, 0.0),
        "imu": _toy("imu", 14, 256, 0.1),
    },
)

SMOKE = RecipeSize(
    clip=ClipSize(scenes=200, steps=6, batch_size=32, warmup_steps=2),
    pairs=dict.fromkeys(("audio", "depth", "thermal", "imu"), 64),
    recipes={m: _toy(m, 1, 32, 0.0) for m in ("audio", "depth", "thermal", "imu")},
)
