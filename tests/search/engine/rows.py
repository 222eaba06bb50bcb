"""Tables of rows, read and compared."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq


def rows_of(path):
    """Columns of a table of rows, embeddings as an array."""
    table = pq.read_table(path)
    columns = {name: table[name].to_pylist() for name in table.column_names}
    return {**columns, "embedding": np.array(columns["embedding"], dtype=np.float32)}


def assert_same_rows(rows, expected):
    assert rows.keys() == expected.keys()
    for name in rows.keys() - {"embedding"}:
        assert rows[name] == expected[name], name
    np.testing.assert_allclose(rows["embedding"], expected["embedding"], atol=1e-6)
