"""Whether the data to judge look like the sample that a cut-off rests on.

The data hold matches as well, which score high and differ from the sample by right. So only items that the cut-off
turns down are compared: they should look like absent ones.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bindplug.thresholds.pair import PairCutoff, sketch

FEWEST = 20
"""Items turned down from which on they are compared."""
VISIBLE_DISTANCE = 0.25
"""Kolmogorov-Smirnov distance, in shares of the sample, from which on a difference counts as visible."""
VISIBLE_SHIFT = 0.6
"""Distance between mean rows, in spreads of the sample's rows, from which on a difference counts as visible."""
SIGNIFICANCE = 1e-3
SKETCH_TOLERANCE = 1e-3
"""Of a known query's number: rows of one text differ by rounding, by dtype and by device."""


class DifferentData(UserWarning):
    """The data to judge differ from what a cut-off rests on, so that its promise may not hold."""


def score_concern(pair: PairCutoff, scores: Tensor) -> str | None:
    """What the scores of N items turned down say against the cut-off: a two-sample Kolmogorov-Smirnov test.

    The sample's scores are compared up to the threshold too, by its stored quantiles.

    Source: Smirnov, Table for Estimating the Goodness of Fit of Empirical Distributions (1948).
    """
    scores = scores.detach().double().cpu()
    rejected_scores = scores[scores <= pair.threshold].sort().values
    count = len(rejected_scores)
    if count < FEWEST:
        return None
    quantiles = torch.tensor(pair.score_quantiles, dtype=torch.float64)
    sample = quantiles[quantiles <= pair.threshold]
    # Both distributions just at and just before every score of either: their distance is greatest at one of these.
    points = torch.cat([rejected_scores, sample])
    distance = 0.0
    for right in (True, False):
        of_data = torch.searchsorted(rejected_scores, points, right=right).double() / count
        of_sample = torch.searchsorted(sample, points, right=right).double() / len(sample)
        distance = max(distance, float((of_data - of_sample).abs().max()))
    sample_size = pair.sample_size - pair.above
    effective = math.sqrt(count * sample_size / (count + sample_size))
    chance = min(1.0, 2.0 * math.exp(-2.0 * (distance * effective) ** 2))
    if distance <= VISIBLE_DISTANCE or chance >= SIGNIFICANCE:
        return None
    middle, before = float(rejected_scores.median()), float(sample.median())
    return (
        f"the scores of the {count} items turned down differ from the sample's (median {middle:.3f}, "
        f"there {before:.3f}; Kolmogorov-Smirnov distance {distance:.2f})"
    )


def row_concern(pair: PairCutoff, rows: Tensor, scores: Tensor) -> str | None:
    """What the unit rows (N, D) of the items turned down say: how far their mean lies from the sample's."""
    rejected_rows = rows.detach().float().cpu()[(scores <= pair.threshold).cpu()]
    count = len(rejected_rows)
    if count < FEWEST or not pair.mean_row or pair.spread <= 0.0:
        return None
    distance = float((rejected_rows.mean(0) - torch.tensor(pair.mean_row)).norm()) / pair.spread
    noise = math.sqrt(1.0 / count + 1.0 / pair.sample_size)
    if distance <= VISIBLE_SHIFT + 2.0 * noise:
        return None
    return f"the mean of the {count} rows turned down lies {distance:.2f} spreads from the sample's"


def query_concern(pair: PairCutoff, query_rows: Tensor) -> str | None:
    """Which of the unit rows (C, D) of queries are none of those that the cut-off was made with."""
    if not pair.known_sketch:
        return None
    known_rows = torch.tensor(pair.known_sketch)
    numbers = torch.tensor(sketch(query_rows))
    nearest = (numbers[:, None] - known_rows[None]).abs().amin(1)  # (C,)
    fresh = int((nearest > SKETCH_TOLERANCE).sum())
    if not fresh:
        return None
    return f"{fresh} of {len(numbers)} queries are none of the {pair.known} known ones of the cut-off"
