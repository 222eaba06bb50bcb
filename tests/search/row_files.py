"""Sixty rows with a path each, files of them, and what every reader of them must give."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bindplug_search.adopt.row_file import name_at

ROWS = np.random.default_rng(0).standard_normal((60, 8)).astype(np.float32)
PATHS = [f"{index}.png" for index in range(len(ROWS))]


def all_rows(file):
    chunks = list(file.chunks())
    assert [chunk.start for chunk in chunks] == np.cumsum([0, *(len(chunk.rows) for chunk in chunks)])[
        :-1
    ].tolist()
    return np.concatenate([chunk.rows for chunk in chunks])


def assert_holds_rows(file, rows=ROWS, atol=0.0):
    assert (file.count, file.width) == rows.shape
    np.testing.assert_allclose(all_rows(file), rows, atol=atol)
    positions = np.array([41, 3, 59, 0])
    np.testing.assert_allclose(file.take(positions), rows[positions], atol=atol)
    assert [name_at(file.paths, 3), name_at(file.paths, 59)] == ["3.png", "59.png"]


def fixed(rows):
    return pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), rows.shape[1])


def write_parquet(path, columns, **options):
    pq.write_table(pa.table(columns), path, **options)
    return path
