"""Cut-offs with a guarantee: from which score on a match is a match.

limits = bindplug.cutoffs(model, known=[text("a dog"), text("a cat")], absent=recordings_of_neither, fpr=0.01)
limits.threshold("text", "audio")      # at most 1 % of recordings of neither score above it
limits.save("cutoffs.json")
"""

from __future__ import annotations

from bindplug.thresholds.bounds import exact_interval, least_sample_size, most_above
from bindplug.thresholds.fitting import Scorer, cutoffs, space_of
from bindplug.thresholds.pair import PairCutoff
from bindplug.thresholds.shift import DifferentData
from bindplug.thresholds.table import Cutoffs, as_cutoffs

__all__ = [
    "Cutoffs",
    "DifferentData",
    "PairCutoff",
    "Scorer",
    "as_cutoffs",
    "cutoffs",
    "exact_interval",
    "least_sample_size",
    "most_above",
    "space_of",
]
