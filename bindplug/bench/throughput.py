"""Throughput of a loaded model, proven equal to its float32 numbers."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from bindplug.bench.clock import own_rate, passes_needed, seconds, square_rate
from bindplug.bench.flops import Product, tower_products
from bindplug.bench.synthetic import clips_of
from bindplug.encoder import Encoder
from bindplug.imagebind import ImageBind
from bindplug.modality import Modality

LARGEST_DEVIATION = 1e-4
"""How far float32 rows may lie from the reference, relative to its largest number."""

LEAST_COSINE = 0.999
"""How near the reference rows of every other dtype must lie."""


@dataclass
class Measurement:
    """How one modality of a model ran.

    Attributes:
        modality: what was embedded.
        dtype: ``"fp32"``, ``"bf16"``, ``"fp16"`` or ``"int8"``.
        items: B, the items in a pass.
        items_per_s: one figure for each repeat.
        deviation: largest difference from the reference rows, relative to their largest number.
        cosine: least cosine of a row with its reference row.
        flops: of a pass; None where the network is not ImageBind, so that its products are not known.
        square_rate: FLOP/s of one large square product in the weights' dtype, measured beside this.
        own_rate: FLOP/s of the linear layers of the tower's blocks alone, likewise; None as ``flops``.
        peak_bytes: the most memory the process (on CUDA the device) held since the model was loaded; None where
            the system does not say.
    """

    modality: str
    dtype: str
    items: int
    items_per_s: list[float]
    deviation: float
    cosine: float
    flops: int | None = None
    square_rate: float | None = None
    own_rate: float | None = None
    peak_bytes: int | None = field(default=None)

    @property
    def equal(self) -> bool:
        """Whether the rows are the reference's: within 1e-4 in float32, cosine of 0.999 or more otherwise."""
        if self.dtype == "fp32":
            return self.deviation <= LARGEST_DEVIATION
        return self.cosine >= LEAST_COSINE

    @property
    def rate(self) -> float | None:
        """FLOP/s reached, at the median."""
        if self.flops is None:
            return None
        return self.flops * statistics.median(self.items_per_s) / self.items

    def share_of(self, limit: float | None) -> float | None:
        """The rate reached over another rate."""
        rate = self.rate
        return None if rate is None or limit is None else rate / limit

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: medians and spread, rates in GFLOP/s, shares from 0 to 1, memory in bytes."""
        return {
            "modality": self.modality,
            "dtype": self.dtype,
            "items": self.items,
            "items_per_s": {
                "median": statistics.median(self.items_per_s),
                "min": min(self.items_per_s),
                "max": max(self.items_per_s),
                "samples": self.items_per_s,
            },
            "equal": self.equal,
            "deviation": self.deviation,
            "cosine": self.cosine,
            "gflop_per_item": _giga(self.flops, self.items),
            "gflop_per_s": _giga(self.rate),
            "square_product_gflop_per_s": _giga(self.square_rate),
            "own_products_gflop_per_s": _giga(self.own_rate),
            "share_of_square_product": self.share_of(self.square_rate),
            "share_of_own_products": self.share_of(self.own_rate),
            "peak_bytes": self.peak_bytes,
        }


def products_of(model: Encoder, modality: str, x: Tensor) -> list[Product] | None:
    """The matrix products of embedding ``x``; None where the network is not ImageBind."""
    if not isinstance(model, ImageBind):
        return None
    tower = Modality.parse(modality).tower
    if tower == "text":
        return tower_products(model.config, tower, clips=len(x), length=int(x.argmax(-1).max()) + 1)
    clips = len(x) * clips_of(modality)
    return tower_products(model.config, tower, clips=clips, still=modality != "video")


def reference_rows(model: Encoder, modality: str, x: Tensor) -> Tensor:
    """Unit rows (B, D) of every item of ``x``, embedded one by one; float32 on the CPU."""
    with torch.inference_mode():
        rows = [model.encode(modality, item[None], normalize=True) for item in x]
    return torch.cat(rows).float().cpu()


def measure(
    model: Encoder, modality: str, x: Tensor, reference: Tensor, *, dtype: str, repeats: int = 5
) -> Measurement:
    """Compare the model's rows with the reference, then measure how fast it makes them.

    Args:
        model: in evaluation mode.
        modality: which of its modalities.
        x: a batch (B, ...) on its device, in its dtype.
        reference: (R, D) float32 unit rows of the first R items of ``x``, as :func:`reference_rows` gives them.
        dtype: how to call the model's arithmetic: ``"fp32"``, ``"bf16"``, ``"fp16"`` or ``"int8"``.
        repeats: measurements.

    Returns:
        The figures; ``peak_bytes`` is left to the caller, who knows when loading began.
    """

    def embed() -> Tensor:
        return model.encode(modality, x, normalize=True)

    with torch.inference_mode():
        rows = embed()[: len(reference)].float().cpu()
        passes = passes_needed(embed, model.device)
        times_s = [
            seconds(lambda: [embed() for _ in range(passes)], model.device) / passes for _ in range(repeats)
        ]
    products = products_of(model, modality, x)
    return Measurement(
        modality,
        dtype,
        len(x),
        [len(x) / time_s for time_s in times_s],
        deviation=float((rows - reference).abs().max() / reference.abs().max()),
        cosine=float(F.cosine_similarity(rows, reference, dim=-1).min()),
        flops=sum(product.flops for product in products) if products else None,
        square_rate=square_rate(model.dtype, model.device) if products else None,
        own_rate=own_rate(products, model.dtype, model.device) if products else None,
    )


def _giga(value: float | None, over: int = 1) -> float | None:
    return None if value is None else value / over / 1e9
