"""The ImageBind score as a torchmetrics metric."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bindplug import Encoder, Query, load
from bindplug.errors import InputError
from bindplug.lazy import require
from bindplug.modality import Modality
from bindplug.query import Leaf

require("torchmetrics", owner="ImageBindScore", extra="lab")

from torchmetrics import Metric  # noqa: E402 - after the check that names the extra

__all__ = ["ImageBindScore"]

Batch = Sequence[object] | Tensor

UNIT = 2.0**-32
"""Of the sum of cosines. Whole numbers add up to the same in every order of batches and processes, and exist on every
device: Apple's has no float64."""


class ImageBindScore(Metric):
    """The mean cosine between rows of generated items and of their prompts, in [-1, 1].

    Papers on generation report this plain cosine as the ImageBind score. It is neither multiplied by 100 nor clipped
    at 0, as CLIPScore is. Cosines between modalities are low even for good pairs: compare with the score of mismatched
    pairs, which ``bindplug score`` prints.

    Args:
        model: an encoder, or what :func:`bindplug.load` takes. It is not a part of the metric: neither ``to()`` nor
            ``state_dict()`` of the metric reach it.
        first: modality of the generated items.
        second: modality of the prompts.
        options: for :class:`torchmetrics.Metric`, such as ``sync_on_compute``.

    Raises:
        InputError: the model lacks a modality.
        MissingDependency: torchmetrics is not installed.

    Example::

        score = ImageBindScore("imagebind_huge", "audio", "image")
        score.update(["rain.wav", "dog.wav"], ["rain.jpg", "dog.jpg"])
        score.compute()
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    plot_lower_bound = -1.0
    plot_upper_bound = 1.0

    total: Tensor
    count: Tensor
    identity: Tensor

    def __init__(
        self,
        model: Encoder | str | os.PathLike[str] = "imagebind_huge",
        first: str = "audio",
        second: str = "image",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.first, self.second = Modality.parse(first).value, Modality.parse(second).value
        needed = {self.first, self.second}
        encoder = model if isinstance(model, Encoder) else load(os.fspath(model), modalities=needed)
        lacking = sorted(needed - set(encoder.modalities))
        if lacking:
            raise InputError(
                "ImageBindScore",
                found=f"a model without {' and '.join(lacking)}, with {', '.join(encoder.modalities)}",
                expected=f"a model that has {self.first} and {self.second}",
            )
        self._shared = _Shared(encoder)
        self.add_state("total", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        # A MetricCollection updates metrics of equal states only once; metrics of other models or modalities, which
        # have equal states after a first batch without pairs, must differ in one.
        names = [modality.value for modality in Modality]
        identity = [names.index(self.first), names.index(self.second), *self._shared.token]
        self.add_state("identity", torch.tensor(identity), dist_reduce_fx="max")

    @property
    def model(self) -> Encoder:
        """The encoder."""
        return self._shared.encoder

    def extra_repr(self) -> str:
        """The two modalities."""
        return f"{self.first}, {self.second}"

    def set_dtype(self, dst_type: str | torch.dtype) -> ImageBindScore:
        """The metric as it is: its states are whole numbers."""
        return self

    def plot(self, val: Any = None, ax: Any = None) -> Any:
        """Draw one value or several with matplotlib, as metrics of torchmetrics do.

        Args:
            val: what ``compute()`` or ``forward()`` returned, or a list of it; the current value by default.
            ax: matplotlib's axes to draw into; new ones by default.

        Returns:
            The figure and the axes.
        """
        return self._plot(val, ax)

    def update(self, first: Batch, second: Batch) -> None:
        """Take in pairs.

        Args:
            first: N sources (paths, arrays, pictures, or queries) of the first modality; or preprocessed input, as
                ``encode_audio`` takes it.
            second: N of the second.

        Raises:
            InputError: the numbers differ, a source cannot be read, or a query is of another modality.
        """
        a, b = self._rows(first, self.first), self._rows(second, self.second)
        if len(a) != len(b):
            raise InputError(
                "ImageBindScore.update()",
                found=f"{len(a)} of {self.first} and {len(b)} of {self.second}",
                expected="as many of both",
            )
        cosines = (a * b).sum(1)  # (N, D) -> (N,)
        self.total += int(torch.round(cosines / UNIT).sum())
        self.count += len(cosines)

    def compute(self) -> Tensor:
        """The mean cosine over all pairs, a float32 scalar.

        Raises:
            InputError: there was no pair.
        """
        if not int(self.count):
            raise InputError("ImageBindScore.compute()", found="no pair", expected="update() before it")
        mean = int(self.total) * UNIT / int(self.count)
        return torch.tensor(mean, dtype=torch.float32, device=self.total.device)

    def _rows(self, batch: Batch, modality: str) -> Tensor:
        """(N, D) float64 unit rows on the CPU."""
        if isinstance(batch, Tensor):
            with torch.inference_mode():
                x = batch.to(self.model.device)
                x = x.to(self.model.dtype) if x.is_floating_point() else x
                rows = self.model.encode(modality, x, normalize=True)
        elif isinstance(batch, (str, bytes, os.PathLike, Query)):
            raise InputError(
                "ImageBindScore.update()", found=f"one {type(batch).__name__}", expected="a list of sources"
            )
        else:
            queries = [_query(source, modality) for source in batch]
            rows = self.model.embed(queries, progress=False) if queries else torch.zeros(0, 1)
        rows = nn.functional.normalize(rows.detach().cpu().double(), dim=-1)
        if len(rows) and not torch.isfinite(rows).all():
            raise InputError(
                "ImageBindScore.update()", found="rows that are not finite", expected="finite rows"
            )
        return rows.clone()


class _Shared:
    """Holds the encoder outside of the metric's modules; copies of the metric share it.

    Args:
        encoder: of the metric.

    Attributes:
        token: bytes that no other encoder has.
    """

    def __init__(self, encoder: Encoder) -> None:
        self.encoder, self.token = encoder, secrets.token_bytes(8)

    def __deepcopy__(self, memo: dict[int, Any]) -> _Shared:
        return self


def _query(source: object, modality: str) -> Query:
    if isinstance(source, Query):
        if source.modality is not None and source.modality.value != modality:
            raise InputError(
                "ImageBindScore.update()",
                found=f"a query of {source.modality.value}",
                expected=f"of {modality}",
            )
        return source
    return Query([(1.0, Leaf(Modality.parse(modality), source, {}))])
