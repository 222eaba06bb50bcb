"""How long an embedding is made: a query has a direction, a pipeline expects the lengths it was trained with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from bindplug.errors import CheckpointError, InputError

DEFAULT_NORM = 20.0
"""Length of an embedding at strength 1 where the pipeline does not tell: a convention, not a measurement.

It is the length at which ImageBind itself scales its sound rows, the one that was found to work with pipelines of
this space. IP-Adapters normalize what they project (Linear, then LayerNorm), so between 10 and 40 their picture
hardly depends on it.
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
        CheckpointError: its statistics are not finite, or nothing but zeros.
    """
    norm = expected_norm(normalizer.mean, normalizer.std)
    if not math.isfinite(norm) or norm == 0.0:
        raise CheckpointError(
            f"the pipeline's image_normalizer expects embeddings of length {norm}: its statistics are damaged; "
            f"load the pipeline again, or give the length: upgrade(pipe, model, norm=...)"
        )
    return norm


def check_norm(norm: object) -> float | None:
    """A length given by a person, or None.

    Raises:
        InputError: it is no finite number above 0.
    """
    if norm is None:
        return None
    if isinstance(norm, bool) or not isinstance(norm, Real) or not 0 < float(norm) < math.inf:
        raise InputError(
            "norm", found=repr(norm), expected="a finite number above 0, or None for the pipeline's own"
        )
    return float(norm)


def strengths_of(strength: object, count: int) -> list[float]:
    """A strength for each of ``count`` queries, from one number or from one for each.

    Raises:
        InputError: another number of them, or one that is negative, NaN or infinite.
    """
    each: list[Any] = (
        list(strength)
        if isinstance(strength, Sequence) and not isinstance(strength, str)
        else [strength] * count
    )
    if len(each) != count:
        raise InputError(
            "strength", found=f"{len(each)} numbers", expected=f"one number, or {count}: one a query"
        )
    for value in each:
        if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= float(value) < math.inf:
            raise InputError(
                "strength",
                found=repr(value),
                expected="finite numbers of at least 0",
                remedy="To lead away from a thing, subtract it from the query" if _is_negative(value) else "",
            )
    return [float(value) for value in each]


def _is_negative(value: object) -> bool:
    return isinstance(value, Real) and float(value) < 0
