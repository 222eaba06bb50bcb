"""The length of embeddings: a query has a direction only, and a pipeline expects the lengths of its training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from bindplug.errors import CheckpointError, InputError

DEFAULT_NORM = 20.0
"""Length of an embedding at strength 1 if the pipeline does not define it: a convention, not a measurement.

It is ImageBind's own factor on its audio rows, and works with pipelines of this space. IP-Adapters normalize what they
project (a linear layer and a layer norm), so that between 10 and 40 their picture hardly depends on it.
Source: arXiv 2305.05665, training settings (logit scale of audio).
"""


def expected_norm(mean: Tensor, std: Tensor) -> float:
    """The root mean square length of vectors whose coordinates have this mean and standard deviation.

    Args:
        mean, std: (D,) or (1, D).

    Source: E|x|^2 = |E x|^2 + sum of variances.
    """
    mean, std = (values.detach().to("cpu", torch.float64) for values in (mean, std))
    return math.sqrt(float(mean.square().sum() + std.square().sum()))


def normalizer_norm(normalizer: Any) -> float:
    """The length that a ``StableUnCLIPImageNormalizer`` expects of CLIP's embeddings.

    Raises:
        CheckpointError: its statistics are not finite, or all zero.
    """
    norm = expected_norm(normalizer.mean, normalizer.std)
    if not math.isfinite(norm) or norm == 0.0:
        raise CheckpointError(
            f"the pipeline's image_normalizer expects embeddings of length {norm}: its statistics are damaged; "
            f"load the pipeline again, or pass the length: upgrade(pipe, model, norm=...)"
        )
    return norm


def check_norm(norm: object) -> float | None:
    """Check a length of embeddings; None stays None.

    Raises:
        InputError: it is not a finite number above 0.
    """
    if norm is None:
        return None
    if isinstance(norm, bool) or not isinstance(norm, Real) or not 0 < float(norm) < math.inf:
        raise InputError(
            "norm", found=repr(norm), expected="a finite number above 0, or None for the pipeline's own"
        )
    return float(norm)


def strengths_of(strength: object, count: int) -> list[float]:
    """A strength for each of ``count`` queries, from one number or one for each.

    Raises:
        InputError: another count, or a strength that is negative, NaN or infinite.
    """
    strengths: list[Any] = (
        list(strength)
        if isinstance(strength, Sequence) and not isinstance(strength, str)
        else [strength] * count
    )
    if len(strengths) != count:
        raise InputError(
            "strength",
            found=f"{len(strengths)} numbers",
            expected=f"one number, or {count}: one for each query",
        )
    for value in strengths:
        if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= float(value) < math.inf:
            raise InputError(
                "strength",
                found=repr(value),
                expected="finite numbers of at least 0",
                remedy="To lead away from a thing, subtract it from the query" if _is_negative(value) else "",
            )
    return [float(value) for value in strengths]


def _is_negative(value: object) -> bool:
    return isinstance(value, Real) and float(value) < 0
