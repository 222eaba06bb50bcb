"""Modality centers: where a modality's rows lie on average, and moving them to where another's lie.

Contrastive training brings matching rows of two modalities near each other, yet leaves each modality a cone of
its own around its mean: the modality gap. Within one modality it does no harm. A sum of an image and a sound,
or a network that only ever saw image rows, feels it.

Source: Liang et al., "Mind the Gap" (arXiv 2203.02053), sections 2 and 4.2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

from bindplug.errors import InputError
from bindplug.modality import Modality
from bindplug.query import Query

__all__ = [
    "EmbedsQueries",
    "measure_centers",
    "shift_between",
]


class EmbedsQueries(Protocol):
    """What measuring centers needs of a model; :class:`bindplug.Encoder` has it."""

    def embed(self, queries: Sequence[Query], *, progress: bool | None = None) -> Tensor:
        """N queries to (N, D) unit rows."""


def measure_centers(
    model: EmbedsQueries, queries: Mapping[str, Sequence[Query]], *, progress: bool | None = None
) -> dict[str, Tensor]:
    """The mean unit row of each modality over a sample of its kind.

    ``model.centers = measure_centers(model, {"image": […], "audio": […]})`` makes ``recenter=`` work for a model
    that ships none. A few hundred varied items a modality are enough; they need not be of the same things.

    Args:
        model: what embeds them.
        queries: for each modality's name, queries of that modality alone.
        progress: as in :meth:`Encoder.embed`.

    Returns:
        For each name, (D,) float32 on the CPU; not of unit length.

    Raises:
        InputError: a modality without queries, or a query of another modality.
        UnknownModality: a name is none of the modalities.
    """
    centers = {}
    for name, sample in queries.items():
        modality = Modality.parse(name)
        if not len(sample):
            raise InputError(
                "measure_centers()", found=f"no {name}", expected="at least one of each modality"
            )
        for query in sample:
            modalities = {leaf.modality for _, leaf in query.terms}
            if modalities != {modality}:
                raise InputError(
                    f"measure_centers(): {name}", found=repr(query), expected=f"queries of {name} alone"
                )
        centers[modality.value] = model.embed(sample, progress=progress).mean(0).cpu()
    return centers


def shift_between(centers: Mapping[str, Tensor], modality: Modality | None, target: str | Tensor) -> Tensor:
    """What to add to a unit row of ``modality`` to move it to where other rows lie; (D,).

    A video counts as an image where it has no center of its own.

    Args:
        centers: of the model.
        modality: of the row.
        target: the name of a modality, or the mean (D,) of the rows that are to be searched.

    Raises:
        InputError: the row's modality is unknown, a center is missing, or the mean has another width or is not
            finite.
    """
    if modality is None:
        raise InputError(
            "recenter",
            found="a vector of unknown modality",
            expected="vectors that say what they were made from",
            remedy='Name it: embedding(vector, space, modality="audio")',
        )
    center = _center(centers, modality)
    if isinstance(target, str):
        return _center(centers, Modality.parse(target)) - center
    mean = torch.as_tensor(target).detach().to("cpu", torch.float32)
    if mean.shape != center.shape or not mean.isfinite().all():
        problem = (
            f"a target of shape {tuple(mean.shape)}"
            if mean.shape != center.shape
            else "a target with NaN or inf"
        )
        expected = f"a modality's name, or the mean row, {len(center)} finite numbers"
        raise InputError("recenter", found=problem, expected=expected)
    return mean - center


def _center(centers: Mapping[str, Tensor], modality: Modality) -> Tensor:
    names = (modality.value, "image") if modality is Modality.VIDEO else (modality.value,)
    for name in names:
        if name in centers:
            return torch.as_tensor(centers[name], dtype=torch.float32)
    raise InputError(
        "recenter",
        found=f"no center of {modality.value} (known: {', '.join(centers) or 'none'})",
        expected="a model that knows where each modality's rows lie",
        remedy="Measure it: model.centers = bindplug.centers.measure_centers(model, {...})",
    )
