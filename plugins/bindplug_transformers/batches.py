"""From sources of any kind that callers of transformers pass to the tensors of a ``BatchFeature``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import BatchFeature

from bindplug.errors import InputError
from bindplug.inputs import Preprocess

Options = Mapping[str, Any] | Sequence[Mapping[str, Any]] | None
"""Reader options, one mapping for all sources or one for each."""

FORMATS = (None, "pt", "np")


def as_list(sources: Any, item_axes: int) -> list[Any]:
    """One source or several as a flat list; an array with more than ``item_axes`` axes is a batch."""
    if isinstance(sources, (list, tuple)):
        return [item for source in sources for item in as_list(source, item_axes)]
    if isinstance(sources, (np.ndarray, Tensor)) and sources.ndim > item_axes:
        return list(sources)
    return [sources]


def features(
    name: str, preprocess: Preprocess, sources: list[Any], options: Options, return_tensors: Any
) -> BatchFeature:
    """Model input of a list of sources, under the name the model takes it by.

    Args:
        name: e.g. ``"pixel_values"``.
        preprocess: bindplug's, of the modality.
        sources: one a row.
        options: of the reader.
        return_tensors: ``"pt"``, ``"np"``, or None for a list of arrays.

    Raises:
        InputError: a source cannot be read, or ``return_tensors`` is another.
    """
    kind = getattr(return_tensors, "value", return_tensors)
    if kind not in FORMATS:
        raise InputError(name, found=f"return_tensors={kind!r}", expected='"pt", "np" or None')
    batch = preprocess.batch(sources, options=options)
    if kind is None:
        return BatchFeature({name: [np.asarray(item) for item in batch.items]})
    stacked = batch.stack()
    return BatchFeature({name: stacked if kind == "pt" else stacked.numpy()})


def plain_image(image: Any) -> Any:
    """An array or tensor as bindplug's reader takes it: 8-bit if it holds integers, numpy's channels last.

    Callers of transformers also pass int64 tensors and numpy arrays with channels first.

    Raises:
        InputError: integers outside 0 to 255.
    """
    if isinstance(image, np.ndarray):
        # (3, H, W) -> (H, W, 3)
        if image.ndim == 3 and image.shape[0] in (1, 3) and image.shape[2] not in (1, 3, 4):
            image = image.transpose(1, 2, 0)
        return _eight_bit(image, np.uint8) if image.dtype.kind in "iu" else image
    if isinstance(image, Tensor) and not image.is_floating_point() and image.dtype != torch.bool:
        return _eight_bit(image, torch.uint8)
    return image


def _eight_bit(image: Any, dtype: Any) -> Any:
    if image.dtype == dtype or not image.size:
        return image
    low, high = int(image.min()), int(image.max())
    if low < 0 or high > 255:
        raise InputError("image", found=f"integers from {low} to {high}", expected="0 to 255")
    return image.to(dtype) if isinstance(image, Tensor) else image.astype(dtype)


def each_option(options: Options, count: int) -> list[dict[str, Any]]:
    """Reader options as one dict a source.

    Raises:
        InputError: there are not as many as sources.
    """
    if options is None or isinstance(options, Mapping):
        return [dict(options or {}) for _ in range(count)]
    if len(options) != count:
        expected = "one for all, or one a source"
        raise InputError("options", found=f"{len(options)} for {count} sources", expected=expected)
    return [dict(option) for option in options]
