"""MATLAB files: the numbers that scipy writes, other kinds refused, damage never fatal."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bindplug.errors import InputError
from bindplug.inputs.matlab import read_variables

savemat = pytest.importorskip("scipy.io").savemat


def saved(arrays, **options):
    buffer = io.BytesIO()
    savemat(buffer, arrays, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("kind", ["f8", "f4", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"])
def test_every_numeric_class(kind, compressed, rng):
    arrays = {
        "a": (100 * rng.random((5, 7))).astype(kind),
        "longer_name": (100 * rng.random((2, 3, 4))).astype(kind),
    }
    variables = read_variables(saved(arrays, do_compression=compressed), "x.mat")
    assert [variable.name for variable in variables] == list(arrays)
    for variable in variables:
        values = variable.array("x.mat")
        assert values.dtype == kind
        np.testing.assert_array_equal(values, arrays[variable.name])


@pytest.mark.parametrize(
    ("value", "found"),
    [("words", "text"), ({"a": 1}, "a structure"), (np.ones((2, 2)) * 1j, "a complex array"),
     (np.array([[1, "a"]], dtype=object), "a cell array")],
)  # fmt: skip
def test_what_is_no_matrix_is_named(value, found):
    (variable,) = read_variables(saved({"depth": value}), "x.mat")
    with pytest.raises(InputError, match=f"x.mat: {found} called 'depth'"):
        variable.array("x.mat")


def test_another_version_is_refused():
    with pytest.raises(InputError, match="-v7"):
        read_variables(saved({"a": np.ones((3, 3))}, format="4"), "x.mat")


WHOLE = [saved({"depth": np.arange(12.0).reshape(3, 4)}, do_compression=packed) for packed in (False, True)]


@given(
    st.sampled_from(WHOLE),
    st.lists(st.tuples(st.integers(128, 300), st.integers(0, 255)), max_size=8),
    st.integers(100, 400),
)
@settings(max_examples=200, deadline=None)
def test_damage_is_refused_or_read(data, changes, length):
    damaged = bytearray(data)
    for place, byte in changes:
        damaged[place % len(damaged)] = byte
    with contextlib.suppress(InputError):
        for variable in read_variables(bytes(damaged[:length]), "x.mat"):
            assert variable.array("x.mat").shape == variable.shape
