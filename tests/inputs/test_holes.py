from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bindplug.inputs.holes import fill_nearest


@given(st.integers(1, 14), st.integers(1, 14), st.floats(0.02, 1), st.integers(0, 10_000))
@settings(max_examples=80)
def test_every_hole_takes_a_nearest_measured_value(height, width, density, seed):
    rng = np.random.default_rng(seed)
    valid = rng.random((height, width)) < density
    valid[rng.integers(height), rng.integers(width)] = True
    values = np.arange(1, height * width + 1, dtype=np.float32).reshape(height, width)  # each tells its place
    filled = fill_nearest(np.where(valid, values, np.nan), valid)
    assert np.array_equal(filled[valid], values[valid])
    places = np.argwhere(valid)
    for row, column in np.argwhere(~valid):
        nearest = np.array(np.unravel_index(int(filled[row, column]) - 1, (height, width)))
        assert valid[tuple(nearest)]
        distance = ((nearest - (row, column)) ** 2).sum()
        assert distance == ((places - (row, column)) ** 2).sum(1).min()


def test_large_hole_in_a_camera_sized_map():
    values = np.tile(np.arange(640, dtype=np.float32), (480, 1))
    valid = np.ones_like(values, bool)
    valid[:, 100:300] = False
    filled = fill_nearest(values, valid)
    assert set(np.unique(filled[:, 100:300])) == {99.0, 300.0}


def test_nothing_to_fill_from():
    with pytest.raises(ValueError, match="no valid pixel"):
        fill_nearest(np.zeros((2, 2)), np.zeros((2, 2), bool))
