"""How much of everything: the full recipe, and the smoke run that tests walk through."""

from __future__ import annotations

from dataclasses import dataclass, field

from bindplug.training import PUBLISHED, BindingRecipe


@dataclass(frozen=True)
class ClipStage:
    """One pass of contrastive pre-training, with a learning-rate schedule of its own.

    Attributes:
        first_scene: index of the first scene it sees; stages share none.
        scenes: scenes rendered, each with several captions.
        steps: optimizer steps.
        learning_rate: peak of its schedule.
        warmup_steps: steps of linear warm-up.
        patch_dropout: fraction of patches hidden from the image tower.
        whole_images: fraction of the stage, at its end, that sees whole images again.
        crowded: fraction of scenes with two or three things instead of one.
        locked_text: whether the text tower stays as it is, and with it the space that other things were fitted to
            (LiT, arXiv 2111.07991).
        coarse: fraction of images shown in the detail of ``COARSE_SIDE`` pixels, as a small generator paints.
        near: fraction of scenes of one thing seen from near, as large as the picture, as such a generator paints too.
    """

    first_scene: int
    scenes: int
    steps: int
    learning_rate: float
    warmup_steps: int
    patch_dropout: float = 0.25
    whole_images: float = 0.2
    crowded: float = 0.35
    locked_text: bool = False
    coarse: float = 0.0
    near: float = 0.0


@dataclass(frozen=True)
class ClipSize:
    """Contrastive pre-training of one toy CLIP, stage after stage.

    Attributes:
        architecture: its name, and that of its file in ``configs``.
        stages: in their order.
        batch_size: scenes in a step; every other caption of the batch is a negative.
        weight_decay: AdamW's.
        seed: of the initialization; with a stage's first scene, of that stage's order.
    """

    architecture: str
    stages: tuple[ClipStage, ...]
    batch_size: int
    weight_decay: float = 0.1
    seed: int = 0


@dataclass(frozen=True)
class RecipeSize:
    """Everything that `make weights` runs.

    The recipes keep the published temperature, optimizer, schedule and augmentation; the toy data sets and
    towers are some thousand times smaller, so batches, epochs and learning rates are fitted to them.
    """

    clip: ClipSize
    foreign: ClipSize
    pairs: dict[str, int]
    recipes: dict[str, BindingRecipe] = field(default_factory=dict)


def _toy(modality: str, epochs: float, batch_size: int, learning_rate: float = 5e-4) -> BindingRecipe:
    return PUBLISHED[modality].but(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        weight_decay=0.05,
        warmup_epochs=0.5,
        drop_path=0.1 if modality in ("audio", "imu") else 0.0,
    )


FULL = RecipeSize(
    clip=ClipSize(
        "toy_clip",
        stages=(
            ClipStage(0, 32_000, steps=2400, learning_rate=1e-3, warmup_steps=200),
            # on scenes seen a dozen times it is 98 % right, on others 92 %: fresh ones close the gap
            ClipStage(32_000, 48_000, steps=850, learning_rate=6e-4, warmup_steps=50, whole_images=0.35),
            # what is still wrong is small, or one of two things: whole images, and half of them crowded
            ClipStage(
                80_000, 56_000, 1300, learning_rate=6e-4, warmup_steps=50, whole_images=0.5, crowded=0.5
            ),
        ),
        batch_size=192,
    ),
    # scenes that the toy CLIP saw too, as two real CLIPs have seen the same web
    foreign=ClipSize(
        "toy_foreign_clip",
        stages=(
            ClipStage(80_000, 56_000, steps=1400, learning_rate=1e-3, warmup_steps=150, crowded=0.5),
            ClipStage(32_000, 48_000, steps=600, learning_rate=6e-4, warmup_steps=50, whole_images=0.5),
            # as a judge of pictures it must see better; the space stays, so bridge and detector do too
            ClipStage(
                80_000,
                56_000,
                steps=900,
                learning_rate=1e-3,
                warmup_steps=100,
                crowded=0.5,
                patch_dropout=0.0,
                locked_text=True,
                coarse=0.4,
            ),
            ClipStage(
                140_000,
                24_000,
                steps=500,
                learning_rate=8e-4,
                warmup_steps=50,
                patch_dropout=0.0,
                crowded=0.2,
                locked_text=True,
                coarse=0.5,
                near=0.6,
            ),
        ),
        batch_size=192,
        seed=7,
    ),
    pairs={"audio": 8000, "depth": 24_000, "thermal": 16_000, "imu": 16_000},
    recipes={
        "audio": _toy("audio", 10, 192),
        "depth": _toy("depth", 8, 192),
        "thermal": _toy("thermal", 5, 192),
        "imu": _toy("imu", 9, 192, learning_rate=1e-3),
    },
)

SMOKE = RecipeSize(
    clip=ClipSize(
        "toy_clip",
        stages=(
            ClipStage(0, 160, steps=4, learning_rate=1e-3, warmup_steps=2),
            ClipStage(160, 64, steps=2, learning_rate=1e-3, warmup_steps=1, crowded=0.5),
        ),
        batch_size=32,
    ),
    foreign=ClipSize(
        "toy_foreign_clip",
        stages=(
            ClipStage(160, 64, steps=2, learning_rate=1e-3, warmup_steps=1, crowded=0.5),
            ClipStage(
                0, 160, steps=2, learning_rate=1e-3, warmup_steps=1, locked_text=True, coarse=0.5, near=0.5
            ),
        ),
        batch_size=32,
        seed=7,
    ),
    pairs=dict.fromkeys(("audio", "depth", "thermal", "imu"), 64),
    recipes={m: _toy(m, 1, 32) for m in ("audio", "depth", "thermal", "imu")},
)
