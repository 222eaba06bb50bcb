"""Published figures of the official checkpoint, and whether a model reproduces them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bindplug.modality import Modality

if TYPE_CHECKING:
    from bindplug.imagebind.model import ImageBind

SEEDED_VECTORS = {
    "text": (-0.5316, -0.2157, -2.1864, -3.9650, 3.5471),
    "vision": (-0.0059, -0.0323, -0.0267, 0.0090, 0.0060),
    "audio": (-0.0787, 0.5590, -0.3436, 0.8121, 0.0827),
}
"""First five numbers of row 0 for :func:`seeded_inputs`. Source: the conversion script of transformers' pull
request 30690, which does not say whether they are scaled: every form is tried and the best one reported."""

SEEDED_TOLERANCE = 1e-4
"""Source: as :data:`SEEDED_VECTORS`."""

TABLE_TEXTS = ("A dog.", "A car", "A bird")
TABLE_ITEMS = ("dog", "car", "bird")
"""Order of the original's three sample pictures and sounds."""

TABLE_DIAGONALS = {
    "vision x text": (0.9976, 0.9999, 0.9865),
    "audio x text": (1.0, 1.0, 1.0),
}
TABLE_VISION_AUDIO = (
    (0.8070, 0.1088, 0.0842),
    (0.1036, 0.7884, 0.1079),
    (0.0018, 0.0022, 0.9960),
)
"""Probabilities over columns for the three samples. Source: README of the original ImageBind."""

TABLE_TOLERANCE = 2e-3
"""The table has four decimals, and picture decoding and resizing differ between library versions."""


@dataclass(frozen=True)
class Check:
    """One comparison with a published figure.

    Attributes:
        name: what was compared.
        expected: the published numbers.
        found: ours.
        deviation: largest absolute difference.
        tolerance: what the source allows.
        form: which form of the embedding was compared: ``"official"`` (scaled), ``"unit"``, ``"raw"``, or
            ``"probabilities"``.
    """

    name: str
    expected: tuple[float, ...]
    found: tuple[float, ...]
    deviation: float
    tolerance: float
    form: str

    @property
    def passed(self) -> bool:
        """Whether the deviation is within tolerance."""
        return self.deviation <= self.tolerance


@dataclass(frozen=True)
class Report:
    """Comparisons made, and those that could not be, with the reason.

    Attributes:
        checks: comparisons made.
        skipped: what was not compared -> why.
    """

    checks: tuple[Check, ...]
    skipped: dict[str, str]

    @property
    def passed(self) -> bool:
        """Whether something was compared and all of it agreed."""
        return bool(self.checks) and all(check.passed for check in self.checks)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        checks = [asdict(check) | {"passed": check.passed} for check in self.checks]
        return {"passed": self.passed, "checks": checks, "skipped": dict(self.skipped)}

    def __str__(self) -> str:
        lines = [
            f"{'ok  ' if c.passed else 'FAIL'} {c.name} ({c.form}): deviation {c.deviation:.1e}, "
            f"allowed {c.tolerance:.1e}"
            for c in self.checks
        ]
        return "\n".join(lines + [f"skip {name}: {reason}" for name, reason in self.skipped.items()])


def seeded_inputs() -> dict[str, Tensor]:
    """The inputs of :data:`SEEDED_VECTORS`: text (3, 77), vision (3, 3, 224, 224), audio (3, 3, 1, 128, 204)."""
    generator = torch.Generator().manual_seed(0)
    return {
        "text": (torch.rand(3, 77, generator=generator) * 10).long(),
        "vision": torch.rand(3, 3, 224, 224, generator=generator),
        "audio": torch.rand(3, 3, 1, 128, 204, generator=generator),
    }


def verify(model: ImageBind, *, images: Tensor | None = None, sounds: Tensor | None = None) -> Report:
    """Compare a model that holds the published weights with the published figures.

    Args:
        model: the model, whole or in part.
        images: the original's sample pictures, preprocessed, (3, 3, 224, 224) in the order dog, car, bird.
        sounds: its sample sounds, preprocessed, (3, S, 1, 128, 204) in the same order.

    Returns:
        The comparisons; a tower or sample that is absent is listed as skipped. Loose precision (bfloat16) fails.
    """
    skipped: dict[str, str] = {}
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            checks = _seeded_checks(model, skipped) + _table_checks(model, images, sounds, skipped)
    finally:
        model.train(was_training)
    return Report(tuple(checks), skipped)


def _seeded_checks(model: ImageBind, skipped: dict[str, str]) -> list[Check]:
    checks = []
    for tower, x in seeded_inputs().items():
        if tower not in model.towers:
            skipped[f"seeded {tower} vector"] = f"the {tower} tower is not loaded"
            continue
        x = x.to(model.device)
        modality = "image" if tower == "vision" else tower
        forms = {
            "official": model.encode_official(modality, x),
            "unit": model.encode(modality, x, normalize=True),
            "raw": model.encode(modality, x),
        }
        checks_by_form = [
            _check(f"seeded {tower} vector", SEEDED_VECTORS[tower], rows[0, :5], SEEDED_TOLERANCE, form)
            for form, rows in forms.items()
        ]
        checks.append(min(checks_by_form, key=lambda check: check.deviation))
    return checks


def _table_checks(
    model: ImageBind, images: Tensor | None, sounds: Tensor | None, skipped: dict[str, str]
) -> list[Check]:
    inputs = {
        "vision": images,
        "audio": sounds,
        "text": model.tokenizer(list(TABLE_TEXTS)) if "text" in model.towers else None,
    }
    rows = {}
    for tower, x in inputs.items():
        if x is not None and tower in model.towers:
            modality = Modality.IMAGE.value if tower == "vision" else tower
            rows[tower] = model.encode_official(modality, x.to(model.device)).float()
    checks = []
    for first, second in (("vision", "text"), ("audio", "text"), ("vision", "audio")):
        name = f"{first} x {second}"
        absent = [tower for tower in (first, second) if tower not in rows]
        if absent:
            skipped[name] = f"no tower or no samples for {' and '.join(absent)}"
            continue
        # (3, D) @ (D, 3): what row i of the first is most like among the second
        probabilities = (rows[first] @ rows[second].T).softmax(dim=-1)
        diagonal = TABLE_DIAGONALS.get(name)
        expected = diagonal or tuple(value for row in TABLE_VISION_AUDIO for value in row)
        values = probabilities.diagonal() if diagonal else probabilities.flatten()
        checks.append(_check(name, expected, values, TABLE_TOLERANCE, "probabilities"))
    return checks


def _check(name: str, expected: tuple[float, ...], values: Tensor, tolerance: float, form: str) -> Check:
    numbers = tuple(values.float().tolist())
    deviation = max(abs(a - b) for a, b in zip(numbers, expected, strict=True))
    return Check(name, expected, numbers, deviation, tolerance, form)
