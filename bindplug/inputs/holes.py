"""Fills pixels without a measurement with the nearest one that has one."""

from __future__ import annotations

import numpy as np

from bindplug.inputs.optional import import_optional


def fill_nearest(values: np.ndarray, valid: np.ndarray, owner: str = "bindplug.inputs.depth") -> np.ndarray:
    """``values`` (H, W) with every pixel outside ``valid`` taken from the nearest pixel inside it.

    Nearest in straight-line distance, exactly; which of equally near pixels is taken is not specified. Time
    grows with the number of pixels (scipy's Euclidean feature transform).

    Args:
        values: any dtype.
        valid: bool, (H, W), with at least one ``True``.
        owner: the reader that needs it, for errors.

    Raises:
        ValueError: ``valid`` has no ``True``.
        MissingDependency: there is something to fill, and scipy is absent.
    """
    if not valid.any():
        raise ValueError("no valid pixel to fill from")
    if valid.all():
        return values.copy()
    ndimage = import_optional("scipy.ndimage", owner, "depth")
    rows, columns = ndimage.distance_transform_edt(~valid, return_distances=False, return_indices=True)
    return values[rows, columns]
