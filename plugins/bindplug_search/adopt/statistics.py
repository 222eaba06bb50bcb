"""Whether rows are those that an encoder makes of the same files: figures, and how sure they are.

Two distributions decide. What an encoder makes of the *same* item when it is read a little differently gives the
cosine that its rows may fall to (:func:`accepted_cosine`). Rows of an item against the encoder's rows of *other* items
show how often that cosine comes up by chance, and from it a binomial tail gives the probability that as many items
agree without cause.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from bindplug_search.adopt.survey import unit_rows

ALPHA = 1e-6
"""Probability of a false identification, shared among all comparisons of a run."""

LOWEST_SHARE = 0.05
"""Share of differently read items that may lie below the accepted cosine."""

EXPECTED_SHARE = 0.9
"""Share of items that agree if rows are the encoder's; lower than 1 - LOWEST_SHARE, as the accepted cosine is itself
measured on a few items."""

MOST_STRANGE = 0.05
"""Share of items with a strange row that an encoder's own rows may have: files that were edited since, say. However
an item is read, an encoder's row of it does not fall to what it has in common with other items."""

MISS = 1e-3
"""Probability that rows of the encoder itself are refused for too few items that agree."""

MOST_ACCEPTED = 0.999
"""Even equal readings differ by this much between float16 and float32 weights, and between devices."""


@dataclass(frozen=True)
class Agreement:
    """How well n items agree with an encoder.

    Attributes:
        cosines: (n,) of each item's stored row with the encoder's row.
        accepted: cosine from which on an item agrees.
        mismatched: cosines of rows with the encoder's rows of other items.
        nearest: items whose own encoder row is nearest among all n.
        probability: that at least as many items agree by chance.
    """

    cosines: np.ndarray
    accepted: float
    mismatched: np.ndarray
    nearest: int
    probability: float

    @property
    def items(self) -> int:
        """Number of items compared."""
        return len(self.cosines)

    @property
    def agreeing(self) -> np.ndarray:
        """(n,) bool."""
        agrees: np.ndarray = self.cosines >= self.accepted
        return agrees

    @property
    def count(self) -> int:
        """How many items agree."""
        return int(self.agreeing.sum())

    @property
    def median(self) -> float:
        """Median cosine of the items."""
        return float(np.median(self.cosines)) if len(self.cosines) else 0.0

    @property
    def chance(self) -> float:
        """The 99 % quantile of mismatched cosines."""
        return float(np.quantile(self.mismatched, 0.99)) if len(self.mismatched) else 1.0

    def significant(self, comparisons: int) -> bool:
        """Whether more items agree than chance explains, in one of that many comparisons."""
        return self.probability * comparisons <= ALPHA

    @property
    def strange(self) -> np.ndarray:
        """(n,) bool: items whose row is no nearer to the encoder's than rows of other items are."""
        strange: np.ndarray = ~self.agreeing & (self.cosines <= self.chance)
        return strange

    @property
    def complete(self) -> bool:
        """Whether as many items agree as rows of the encoder itself would have, and hardly one is strange."""
        few_strange = int(self.strange.sum()) <= MOST_STRANGE * self.items
        return few_strange and self.count >= fewest_agreeing(self.items)

    def nearest_significant(self, comparisons: int) -> bool:
        """Whether more items are nearest to their own row than chance explains: one in n would be."""
        return (
            bool(self.items)
            and binomial_tail(self.items, self.nearest, 1 / self.items) * comparisons <= ALPHA
        )


def compare(rows: np.ndarray, own: np.ndarray, accepted: float) -> Agreement:
    """Stored rows (n, K) against an encoder's rows (n, K) of the same items."""
    cosines = unit_rows(rows) @ unit_rows(own).T  # (n, K) @ (K, n) -> (n, n)
    others = cosines[~np.eye(len(cosines), dtype=bool)]
    by_chance = (1 + int((others >= accepted).sum())) / (1 + len(others))
    matched = np.diagonal(cosines).copy()
    nearest = int((cosines.argmax(axis=1) == np.arange(len(cosines))).sum())
    probability = binomial_tail(len(matched), int((matched >= accepted).sum()), by_chance)
    return Agreement(matched, accepted, others, nearest, probability)


def accepted_cosine(reread: np.ndarray, own: np.ndarray) -> float:
    """The cosine that an encoder's rows of items keep to its rows of the same items, read a little differently.

    Args:
        reread: (v, K) rows of the other readings, after the loss of the file's number format.
        own: (v, K) rows of the first reading.
    """
    cosines = (unit_rows(reread) * unit_rows(own)).sum(axis=1)
    return float(min(np.quantile(cosines, LOWEST_SHARE), MOST_ACCEPTED))


def distinct_items(own: np.ndarray, accepted: float) -> np.ndarray:
    """Positions of items whose rows (n, K) no earlier item's row is as near to as the accepted cosine.

    Items that look alike to the encoder cannot tell rows and paths in step from rows out of step.
    """
    cosines = unit_rows(own) @ unit_rows(own).T
    kept: list[int] = []
    for item in range(len(own)):
        if not kept or cosines[item, kept].max() < accepted:
            kept.append(item)
    return np.array(kept, dtype=np.int64)


def fewest_agreeing(items: int) -> int:
    """Fewest items that agree, but for a probability of :data:`MISS`, if the rows are the encoder's."""
    count = items
    while count > 0 and binomial_tail(items, count, EXPECTED_SHARE) < 1 - MISS:
        count -= 1
    return count


def binomial_tail(items: int, count: int, share: float) -> float:
    """Probability of at least ``count`` successes in ``items`` trials of probability ``share``."""
    if count <= 0:
        return 1.0
    terms = (math.comb(items, k) * share**k * (1 - share) ** (items - k) for k in range(count, items + 1))
    return min(1.0, math.fsum(terms))
