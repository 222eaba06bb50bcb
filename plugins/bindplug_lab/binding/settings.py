"""What a binding run was asked to do, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bindplug.training import PUBLISHED, BindingRecipe, is_own_sense

PUBLISHED_FROM = 20_000
"""Pairs from which on the published recipe is the default; it was made for some hundred thousand."""

SMALL_STEPS = 600
"""Steps that the small recipe aims at."""

SMALL_EPOCHS = (20, 100)
"""Fewest and most epochs of the small recipe."""

SMALL = {
    "audio": BindingRecipe(
        epochs=60,
        batch_size=64,
        learning_rate=1e-3,
        weight_decay=0.1,
        temperature=0.05,
        drop_path=0.1,
        frequency_mask=12,
    ),
    "depth": BindingRecipe(
        epochs=60, batch_size=64, learning_rate=1e-3, weight_decay=0.1, temperature=0.1, random_erase=0.25
    ),
    "thermal": BindingRecipe(
        epochs=60, batch_size=64, learning_rate=5e-4, weight_decay=0.05, temperature=0.1, random_erase=0.25
    ),
    "imu": BindingRecipe(
        epochs=60, batch_size=64, learning_rate=1e-3, weight_decay=0.1, temperature=0.1, drop_path=0.1
    ),
}
"""Recipes for few pairs and a small tower. Temperatures are near the published ones, the rest was tried on the toy
world."""

OWN = BindingRecipe(epochs=60, batch_size=64, learning_rate=2e-3, weight_decay=0.1, temperature=0.05)
"""The recipe of a sense of one's own. Source: ``examples/bind_a_new_sense.py``."""


@dataclass(frozen=True)
class BindSettings:
    """Everything that decides on a run's outcome, beside the pairs.

    Attributes:
        pairs: where the pairs are.
        sense: of the samples.
        output: the directory to write.
        anchor: id of the model whose space is bound to.
        init: id of the model whose tower the run starts from; empty for random weights.
        format, columns, split: of the pairs, see :func:`bindplug.training.open_pairs`.
        reader: options of the sense's reader.
        windows_s, hop_s: of windows; None for whole recordings.
        tower: ``"small"``, ``"base"``, or ``FILE.py:factory``; None lets the number of pairs decide.
        shape: those of width, blocks and heads that were given.
        recipe: ``"small"``, ``"published"`` or None, which lets the number of pairs decide.
        changes: fields of the recipe that were given.
        augment: of pictures.
        validation: share of recordings held out.
        patience: validations without progress after which the run stops; None never does.
        lora: those fields of :class:`bindplug.training.LoraRecipe` that were stated; None trains the whole tower.
        merge: write a whole tower instead of adapters.
    """

    pairs: str
    sense: str
    output: Path
    anchor: str
    init: str = ""
    format: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    split: str | None = None
    reader: Mapping[str, Any] = field(default_factory=dict)
    windows_s: float | None = None
    hop_s: float | None = None
    tower: str | None = None
    shape: Mapping[str, int] = field(default_factory=dict)
    recipe: str | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)
    augment: str = "none"
    validation: float = 0.1
    patience: int | None = None
    lora: Mapping[str, Any] | None = None
    merge: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a card."""
        return asdict(self) | {"output": str(self.output)}


def choose_recipe(settings: BindSettings, pairs: int) -> tuple[BindingRecipe, str, list[str]]:
    """The recipe of a run on so many training pairs.

    Returns:
        The recipe, a line that says which it is and why, and remarks on what was changed to fit.
    """
    name, reason = settings.recipe, "as asked"
    if name is None:
        large = pairs >= PUBLISHED_FROM and settings.sense in PUBLISHED
        name = "published" if large else "small"
        reason = f"for {pairs} pairs"
    if name == "published" and settings.sense in PUBLISHED:
        recipe = PUBLISHED[settings.sense]
    else:
        recipe = OWN if is_own_sense(settings.sense) else SMALL[settings.sense]
    batch = int(settings.changes.get("batch_size", recipe.batch_size))
    notes = []
    if batch > pairs:
        notes.append(f"{pairs} training pairs do not fill a batch of {batch}; the batch is all of them")
        batch = pairs
    recipe = recipe.but(**{**settings.changes, "batch_size": batch})
    if name == "small" and "epochs" not in settings.changes:
        steps = max(1, pairs // batch)
        fewest, most = SMALL_EPOCHS
        recipe = recipe.but(epochs=float(min(most, max(fewest, round(SMALL_STEPS / steps)))))
    return recipe, f"the {name} recipe ({reason})", notes
