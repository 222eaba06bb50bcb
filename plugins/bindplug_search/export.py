"""The rows of an index as a file for other tools: Parquet, NPZ or FAISS. It appears whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from bindplug.errors import InputError
from bindplug.files import staged_file
from bindplug.indexes import IndexRow
from bindplug.lazy import require
from bindplug_search.store import LanceIndex

METADATA_KEY = "bindplug"
"""Where Parquet and NPZ keep what is common to all rows, as `bindplug embed` does."""


def export_rows(index: LanceIndex, path: Path) -> int:
    """Write all rows of an index to a file, and return how many there are.

    Parquet and NPZ files are those of `bindplug embed` with a column more for each metadata key.

    Args:
        index: to export.
        path: ends in ``.parquet``, ``.npz`` or ``.faiss``.

    Raises:
        InputError: another suffix, no such directory, or the file cannot be written.
        MissingDependency: FAISS is absent.
    """
    writer = WRITERS.get(path.suffix)
    if writer is None:
        raise InputError(
            str(path), found=f"the suffix {path.suffix!r}", expected=f"one of {', '.join(WRITERS)}"
        )
    if not path.absolute().parent.is_dir() or path.is_dir():
        detail = "a directory" if path.is_dir() else f"no directory {str(path.absolute().parent)!r}"
        raise InputError(str(path), found=detail, expected="a file to write, in a directory that exists")
    return writer(index, path)


def _write_parquet(index: LanceIndex, path: Path) -> int:
    import pyarrow.parquet as pq

    width = index.space.width
    keys = index.metadata_keys
    columns = [
        ("path", pa.string()),
        ("modality", pa.string()),
        ("embedding", pa.list_(pa.float32(), width)),
        ("model", pa.string()),
        ("space", pa.string()),
        ("start", pa.float64()),
        ("end", pa.float64()),
        *((_column_name(key), index.metadata_type(key)) for key in keys),
    ]
    schema = pa.schema(columns, metadata={METADATA_KEY: json.dumps(_about(index))})
    count = 0
    with _in_place(path) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        for vectors, rows in index.batches():
            arrays = [
                pa.array([_utf8(row.path) for row in rows], pa.string()),
                pa.array([row.kind for row in rows], pa.string()),
                pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1), pa.float32()), width),
                pa.array([index.model] * len(rows), pa.string()),
                pa.array([index.space.name] * len(rows), pa.string()),
                *(
                    pa.array([row.span[place] if row.span else None for row in rows], pa.float64())
                    for place in (0, 1)
                ),
                *(
                    pa.array([row.metadata.get(key) for row in rows], index.metadata_type(key))
                    for key in keys
                ),
            ]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
            count += len(rows)
    return count


def _write_npz(index: LanceIndex, path: Path) -> int:
    vectors, rows = _everything(index)
    arrays: dict[str, Any] = {
        "path": np.array([row.path for row in rows], dtype=str),
        "modality": np.array([row.kind for row in rows], dtype=str),
        "embedding": vectors,
        "model": np.array(index.model),
        "space": np.array(index.space.name),
        "start": np.array([row.span[0] if row.span else np.nan for row in rows]),
        "end": np.array([row.span[1] if row.span else np.nan for row in rows]),
        METADATA_KEY: np.array(json.dumps(_about(index))),
    }
    for key in index.metadata_keys:
        values = [row.metadata.get(key) for row in rows]
        missing: Any = "" if index.metadata_type(key) == pa.string() else np.nan
        arrays[_column_name(key)] = np.array([missing if value is None else value for value in values])
    with _in_place(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)
    return len(rows)


def _write_faiss(index: LanceIndex, path: Path) -> int:
    faiss = require("faiss", owner="exporting to FAISS", extra="faiss")
    flat = faiss.IndexFlatIP(index.space.width)
    beside = path.with_name(f"{path.name}.jsonl")
    count = 0
    with _in_place(path) as temporary, _in_place(beside) as lines, lines.open("w", encoding="ascii") as file:
        for vectors, rows in index.batches():
            flat.add(np.ascontiguousarray(vectors))
            for row in rows:
                values = {
                    "path": row.path,
                    "modality": row.kind,
                    "span": row.span,
                    "metadata": dict(row.metadata),
                }
                file.write(json.dumps(values) + "\n")
            count += len(rows)
        try:
            faiss.write_index(flat, str(temporary))
        except RuntimeError as error:
            raise InputError(
                str(path), found=str(error).splitlines()[0][:200], expected="a place that can be written"
            ) from None
    return count


WRITERS: dict[str, Callable[[LanceIndex, Path], int]] = {
    ".parquet": _write_parquet,
    ".npz": _write_npz,
    ".faiss": _write_faiss,
}


def _everything(index: LanceIndex) -> tuple[np.ndarray, list[IndexRow]]:
    parts = list(index.batches())
    vectors = [np.empty((0, index.space.width), np.float32), *(vectors for vectors, _ in parts)]
    return np.concatenate(vectors), [row for _, rows in parts for row in rows]


def _about(index: LanceIndex) -> dict[str, Any]:
    space = index.space
    return {"model": index.model, "space": space.name, "fingerprint": space.fingerprint, "width": space.width}


def _column_name(key: str) -> str:
    """A metadata key's column, where the files' own columns have some names already."""
    own = ("path", "modality", "embedding", "model", "space", "start", "end", METADATA_KEY)
    return f"metadata.{key}" if key in own else key


def _utf8(path: str) -> str:
    return os.fsencode(path).decode("utf-8", errors="backslashreplace")


@contextmanager
def _in_place(path: Path) -> Iterator[Path]:
    """A temporary file that takes the place of ``path`` when the block succeeds, and else vanishes."""
    try:
        with staged_file(path) as temporary:
            yield temporary
    except OSError as error:
        raise InputError(
            str(path),
            found=error.strerror or str(error),
            expected="a place that can be written, with space left",
        ) from None
