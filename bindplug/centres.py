"""Modality centres: where a modality's rows lie on average, and moving them to where another's lie.

Contrastive training brings matching rows of two modalities near each other, yet leaves each modality a cone of
its own around its mean: the modality gap. Within one modality it does no harm. A sum of an image and a sound,
or a network that only ever saw image rows, feels it.

Source: Liang et al., "Mind the Gap" (arXiv 2203.02053), sections 2 and 4.2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bindplug.errors import InputError
from bindplug.modality import Modality

if TYPE_CHECKING:
    from bindplug.encoder import Encoder
    from bindplug.query import Query


def measure_centres(
    model: Encoder, queries: Mapping[str, Sequence[Query]], *, progress: bool | None = None
) -> dict[str, Tensor]:
    """The mean unit row of each modality over a sample of its kind.

    ``model.centres = measure_centres(model, {"image": […], "audio": […]})`` makes ``recentre=`` work for a model
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
    centres = {}
    for name, sample in queries.items():
        modality = Modality.parse(name)
        if not len(sample):
            raise InputError(
                "measure_centres()", found=f"no {name}", expected="at least one of each modality"
            )
        for query in sample:
            held = {leaf.modality for _, leaf in query.terms}
            if held != {modality}:
                raise InputError(
                    f"measure_centres(): {name}", found=repr(query), expected=f"queries of {name} alone"
                )
        centres[modality.value] = model.embed(sample, progress=progress).mean(0).cpu()
    return centres


def shift_between(centres: Mapping[str, Tensor], modality: Modality | None, target: str | Tensor) -> Tensor:
    """What to add to a unit row of ``modality`` to move it to where other rows lie; (D,).

    A video counts as an image where it has no centre of its own.

    Args:
        centres: of the model.
        modality: of the row.
        target: the name of a modality, or the mean (D,) of the rows that are to be searched.

    Raises:
        InputError: the row's modality is unknown, a centre is missing, or the mean has another width or is not
            finite.
    """
    if modality is None:
        raise InputError(
            "recentre",
            found="a vector of unknown modality",
            expected="vectors that say what they were made from",
            remedy='Name it: embedding(vector, space, modality="audio")',
        )
    centre = _centre(centres, modality)
    if isinstance(target, str):
        return _centre(centres, Modality.parse(target)) - centre
    mean = torch.as_tensor(target).detach().to("cpu", torch.float32)
    if mean.shape != centre.shape or not mean.isfinite().all():
        found = (
            f"a target of shape {tuple(mean.shape)}"
            if mean.shape != centre.shape
            else "a target with NaN or inf"
        )
        expected = f"a modality's name, or the mean row, {len(centre)} finite numbers"
        raise InputError("recentre", found=found, expected=expected)
    return mean - centre


def _centre(centres: Mapping[str, Tensor], modality: Modality) -> Tensor:
    names = (modality.value, "image") if modality is Modality.VIDEO else (modality.value,)
    for name in names:
        if name in centres:
            return torch.as_tensor(centres[name], dtype=torch.float32)
    raise InputError(
        "recentre",
        found=f"no centre of {modality.value} (known: {', '.join(centres) or 'none'})",
        expected="a model that knows where each modality's rows lie",
        remedy="Measure it: model.centres = bindplug.centres.measure_centres(model, {...})",
    )
