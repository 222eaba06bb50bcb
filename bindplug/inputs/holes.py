"""Filling the holes of a depth map with the nearest value that was measured."""

from __future__ import annotations

import numpy as np


def fill_nearest(values: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """``values`` (H, W) with every pixel outside ``valid`` taken from the nearest pixel inside it.

    Nearest in straight-line distance, exactly; of equally near pixels any may be taken. Two passes as in
    exact distance transforms: nearest in the own column, then the best column, where a pixel drops out
    as soon as no farther column can win, so that time grows with the holes and not with the picture.

    Args:
        values: any dtype.
        valid: bool, (H, W), with at least one ``True``.

    Raises:
        ValueError: ``valid`` has no ``True``.
    """
    if not valid.any():
        raise ValueError("no valid pixel to fill from")
    if valid.all():
        return values.copy()
    height, width = valid.shape
    nearest_row = _nearest_valid_row(valid)
    far = 4 * (height + width) ** 2
    rows = np.arange(height)[:, None]
    squared = np.where(nearest_row < 0, far, (nearest_row - rows) ** 2)
    row, column = np.nonzero(~valid)
    best, source_column = squared[row, column], column.copy()
    active = np.arange(row.size)
    for step in range(1, width):
        active = active[best[active] > step * step]
        if not active.size:
            break
        for side in (-step, step):
            candidate = column[active] + side
            inside = (candidate >= 0) & (candidate < width)
            pixels, candidate = active[inside], candidate[inside]
            distance = squared[row[pixels], candidate] + step * step
            closer = distance < best[pixels]
            best[pixels[closer]] = distance[closer]
            source_column[pixels[closer]] = candidate[closer]
    filled = values.copy()
    filled[row, column] = values[nearest_row[row, source_column], source_column]
    return filled


def _nearest_valid_row(valid: np.ndarray) -> np.ndarray:
    """For each pixel the row of the nearest valid pixel in its column, -1 where the column has none."""
    height = valid.shape[0]
    rows = np.arange(height)[:, None]
    above = np.maximum.accumulate(np.where(valid, rows, -1), axis=0)
    below = np.minimum.accumulate(np.where(valid, rows, height)[::-1], axis=0)[::-1]
    nearer_above = (above >= 0) & ((below == height) | (rows - above <= below - rows))
    return np.where(nearer_above, above, np.where(below < height, below, -1))
