"""How much of everything a comparison of image encoders takes."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from bindplug.errors import InputError
from bindplug.training import BindingRecipe
from bindplug_lab.encoders import RECIPES, SIZES, EncoderRecipe
from bindplug_lab.world import WorldSpec

SENSES = ("audio", "depth")
"""What is bound to every anchor."""

_FIRST = {"support": 23_000_000, "audio": 21_000_000, "depth": 22_000_000}
"""First scenes in the split ``"train"``: no two sets share a scene, and none a scene with the encoders' training."""
_FIRST_TEST = 500_000
"""First test scene in the split ``"eval"``."""

TEMPERATURES = {"audio": 0.07, "depth": 0.1}


@dataclass(frozen=True)
class JudgeSettings:
    """Sizes of a comparison.

    Attributes:
        seeds: towers bound for each anchor and sense.
        pairs: scenes that a tower is bound on; each sense has its own.
        epochs: passes over them.
        support: labeled pictures of which the classes are made, and on which linear probes are fitted.
        test: scenes that are classified, none seen before.
        size: of the encoders trained here, small, base or large.
        encoder_steps: optimizer steps of the encoders trained here; None for those of their recipes.
    """

    seeds: int = 3
    pairs: int = 2560
    epochs: int = 8
    support: int = 2000
    test: int = 1000
    size: str = "base"
    encoder_steps: int | None = None

    def __post_init__(self) -> None:
        for name, least in (("seeds", 1), ("pairs", 32), ("epochs", 1), ("support", 20), ("test", 20)):
            value = getattr(self, name)
            if value < least:
                raise InputError(f"judge: {name}", found=str(value), expected=f"{least} or more")
        if self.size not in SIZES:
            raise InputError("judge: size", found=repr(self.size), expected=f"one of {', '.join(SIZES)}")
        if self.encoder_steps is not None and self.encoder_steps < 1:
            raise InputError("judge: encoder_steps", found=str(self.encoder_steps), expected="1 or more")

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    def recipe(self, sense: str, seed: int) -> BindingRecipe:
        """How one tower is bound: the published recipe's shape, with sizes of the toy world."""
        return BindingRecipe(
            epochs=self.epochs,
            batch_size=min(128, self.pairs),
            learning_rate=1e-3,
            weight_decay=0.05,
            temperature=TEMPERATURES[sense],
            warmup_epochs=1.0,
            seed=seed,
        )

    def encoder_recipe(self, method: str) -> EncoderRecipe | None:
        """The recipe of an encoder trained here, None for its own."""
        if self.encoder_steps is None or method not in RECIPES:
            return None
        own = RECIPES[method]
        steps = self.encoder_steps
        # a short run needs no more pictures than it looks at
        scenes = min(own.scenes, steps * own.batch_size)
        return replace(own, scenes=scenes, steps=steps, warmup_steps=min(own.warmup_steps, steps // 2))

    def worlds(self, side: int | None = None) -> dict[str, WorldSpec]:
        """The scenes of each part: ``audio`` and ``depth`` to bind on, ``support``, ``test``.

        Args:
            side: of pictures alone, for encoders that look at larger ones; None for pictures and sensors.
        """
        sensors = {"audio": ("audio",), "depth": ("depth",), "support": (), "test": SENSES}
        counts = {"audio": self.pairs, "depth": self.pairs, "support": self.support, "test": self.test}
        worlds = {}
        for part, recordings in sensors.items():
            split = "eval" if part == "test" else "train"
            first = _FIRST.get(part, _FIRST_TEST)
            spec = WorldSpec(split, first, counts[part], ("image", *recordings), near=True)
            worlds[part] = replace(spec, sensors=("image",), side=side) if side else spec
        return worlds
