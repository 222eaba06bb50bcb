"""MATLAB files: what scipy writes is read, and damaged files are refused without harm."""

from __future__ import annotations

import random

import numpy as np
import pytest
from scipy.io import savemat

from bindplug.errors import InputError
from bindplug_lab.datasets.matlab import read_mat

CELLS = np.array(["a/b", "", "héllo", "longer than four"], dtype=object)[None]
STRUCTURES = np.array(
    [(1, "n01", "x"), (2, "n02", "yy")], dtype=[("id", object), ("name", object), ("w", object)]
)


@pytest.mark.parametrize("is_compressed", [False, True])
def test_numbers_texts_cells_and_structures(tmp_path, is_compressed):
    numbers = np.arange(6, dtype=np.float64).reshape(2, 3)
    path = tmp_path / "x.mat"
    content = {
        "numbers": numbers,
        "small": np.uint16([[7, 300]]),
        "cells": CELLS,
        "structures": STRUCTURES[None],
    }
    savemat(path, {**content, "text": "abc", "other": 1j}, do_compression=is_compressed)
    variables = read_mat(path, ["numbers", "small", "cells", "structures", "text"])
    np.testing.assert_array_equal(variables["numbers"], numbers)
    np.testing.assert_array_equal(variables["small"], [[7, 300]])
    assert variables["text"] == "abc"
    assert variables["cells"][0] == "a/b"
    assert variables["cells"][2:] == ["héllo", "longer than four"]
    assert [(entry["id"].item(), entry["name"], entry["w"]) for entry in variables["structures"]] == [
        (1, "n01", "x"),
        (2, "n02", "yy"),
    ]


def test_files_that_are_none(tmp_path):
    path = tmp_path / "x.mat"
    with pytest.raises(InputError, match="cannot be read"):
        read_mat(path, ["a"])
    for data, message in (
        (b"", "no MATLAB file"),
        (b"<html>" * 100, "no MATLAB file"),
        (b"MATLAB 7.3 MAT-file" + bytes(600), "version 7.3"),
    ):
        path.write_bytes(data)
        with pytest.raises(InputError, match=message):
            read_mat(path, ["a"])
    savemat(path, {"b": 1.0})
    with pytest.raises(InputError, match="no variable 'a'"):
        read_mat(path, ["a"])
    savemat(path, {"a": np.array([[1j]])})
    with pytest.raises(InputError, match="complex numbers"):
        read_mat(path, ["a"])


def test_damaged_files_are_refused_or_read(tmp_path):
    """scipy's reader ends the process on some of these."""
    path = tmp_path / "x.mat"
    savemat(path, {"cells": CELLS, "structures": STRUCTURES[None], "numbers": np.eye(3)})
    data, draw, refused = path.read_bytes(), random.Random(5), 0
    for _ in range(400):
        damaged = bytearray(data)
        for _ in range(draw.randint(1, 4)):
            damaged[draw.randrange(128, len(damaged))] = draw.randrange(256)
        path.write_bytes(damaged[: draw.randrange(len(damaged))] if draw.random() < 0.3 else damaged)
        try:
            read_mat(path, ["cells", "structures", "numbers"])
        except InputError:
            refused += 1
    assert 150 < refused < 400
