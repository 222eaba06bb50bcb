"""Drawing supports: k examples of each class, several times."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bindplug.errors import InputError

__all__ = ["ensure_disjoint", "ensure_shots", "support_order"]


def ensure_shots(
    labels: np.ndarray, class_names: Sequence[str], shots: Sequence[int], where: str = ""
) -> None:
    """Return if each class has as many examples as the largest number of shots.

    Args:
        labels: (S,) class of each example.
        class_names: C names.
        shots: examples a class.
        where: the support, as errors name it.

    Raises:
        InputError: naming the classes with too few.
    """
    if not shots or min(shots) < 1:
        raise InputError("shots", found=f"{list(shots)}", expected="whole numbers of at least 1")
    counts = np.bincount(labels, minlength=len(class_names))
    most = max(shots)
    few = [(name, int(count)) for name, count in zip(class_names, counts, strict=True) if count < most]
    if few:
        examples = ", ".join(f"{name!r} with {count}" for name, count in few[:5])
        more = f" and {len(few) - 5} more classes" if len(few) > 5 else ""
        fewest = min(count for _, count in few)
        remedy = f"Add examples, or say --shots with {fewest} at most" if fewest else "Add examples"
        raise InputError(
            where or "the support",
            found=f"{examples}{more}",
            expected=f"{most} readable examples of each class",
            remedy=remedy,
        )


def ensure_disjoint(
    support: Sequence[tuple[str | None, ...]], test: Sequence[tuple[str | None, ...]], where: str
) -> None:
    """Return if no test item is learned from.

    Args:
        support, test: for each item the digests of its terms; None for one that cannot be compared.
        where: the items, as errors name them.

    Raises:
        InputError: items are in both.
    """
    overlap = {terms for terms in support if terms and None not in terms} & set(test)
    if overlap:
        raise InputError(
            where,
            found=f"{len(overlap)} files in the support and in the test",
            expected="files of their own for each",
        )


def support_order(labels: np.ndarray, classes: int, seed: int) -> np.ndarray:
    """A random order of each class's examples; the first k are a support, so that larger ones hold smaller ones.

    Args:
        labels: (S,) classes 0 to C - 1.
        classes: C.
        seed: of this draw.

    Returns:
        (C, fewest) places among the examples.
    """
    rng = np.random.default_rng([seed, 7])
    orders = [rng.permutation(np.flatnonzero(labels == c)) for c in range(classes)]
    fewest = min(len(order) for order in orders)
    return np.stack([order[:fewest] for order in orders])
