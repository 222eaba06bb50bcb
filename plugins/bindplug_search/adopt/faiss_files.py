"""Rows of FAISS indexes, reconstructed; lossy indexes give back what they kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bindplug.directories import first_line
from bindplug.errors import InputError
from bindplug.lazy import require
from bindplug_search.adopt.numpy_files import ArrayRows
from bindplug_search.adopt.path_lists import as_file, required_paths
from bindplug_search.adopt.row_file import Chunk, RowFile

EXPECTED = "a FAISS index that keeps its vectors, or codes that they can be reconstructed from"


class FaissRows(RowFile):
    """Rows of an index with a ``reconstruct`` of its own."""

    def __init__(
        self, path: Path, index: Any, paths: Sequence[str | None], paths_file: Path | None, faiss: Any
    ) -> None:
        self.path, self.paths, self.paths_file = path, paths, paths_file
        self._owner = index  # FAISS frees what an index wraps together with it
        self._positions: np.ndarray | None = None
        while hasattr(index, "id_map"):
            self._positions = _inverse(path, faiss.vector_to_array(index.id_map), self._positions)
            index = faiss.downcast_index(index.index)
        self._index = index
        self.count, self.width, self.dtype = int(index.ntotal), int(index.d), np.dtype(np.float32)
        name = type(index).__name__
        self.codec = "" if "Flat" in name else name
        if self.count:
            _refuse_fast_scan(path, index, faiss)
            self._prepare(faiss)

    def _prepare(self, faiss: Any) -> None:
        try:
            inverted = faiss.try_extract_index_ivf(self._index)
            if inverted is not None:
                inverted.make_direct_map()
            # One row alone: FAISS ends the process where several cannot be reconstructed.
            self._index.reconstruct(0)
        except RuntimeError as error:
            kind = type(self._index).__name__
            reason = (
                "ids that are not the positions of rows"
                if "sequential" in str(error)
                else "nothing to reconstruct from"
            )
            raise InputError(str(self.path), found=f"a {kind} with {reason}", expected=EXPECTED) from None

    def chunks(self) -> Iterator[Chunk]:
        for start in range(0, self.count, self.chunk_rows):
            stop = min(self.count, start + self.chunk_rows)
            if self._positions is None:
                rows = self._index.reconstruct_n(start, stop - start)
            else:
                rows = self.take(np.arange(start, stop))
            yield Chunk(start, rows, np.ones(len(rows), dtype=bool))

    def take(self, positions: np.ndarray) -> np.ndarray:
        positions = np.asarray(positions)
        stored = positions if self._positions is None else self._positions[positions]
        return np.stack([self._index.reconstruct(int(position)) for position in stored])

    def through_codec(self, rows: np.ndarray) -> np.ndarray | None:
        try:
            rows = np.ascontiguousarray(rows, dtype=np.float32)
            decoded: np.ndarray = self._index.sa_decode(self._index.sa_encode(rows))
        except RuntimeError:  # a graph over full vectors has no codec
            return None
        return decoded


def open_faiss(path: Path, paths: str | None) -> RowFile:
    """See :func:`bindplug_search.adopt.open_rows`."""
    faiss = require("faiss", owner="bindplug index adopt of a FAISS index", extra="faiss")
    path_texts = required_paths(path, paths)
    with path.open("rb") as file:
        binary = file.read(2) == b"IB"
    try:
        index = (
            faiss.read_index_binary(str(path))
            if binary
            else faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
        )
    except (RuntimeError, MemoryError) as error:
        problem = f"damage or another format ({first_line(error)[-120:]})"
        raise InputError(str(path), found=problem, expected=EXPECTED) from None
    if not binary:
        return FaissRows(path, index, path_texts, as_file(paths), faiss)
    return ArrayRows(path, _bits(path, index, faiss), path_texts, paths_file=as_file(paths))


def _bits(path: Path, index: Any, faiss: Any) -> np.ndarray:
    """The codes (N, bytes) of a binary index, in the order of its ids.

    Raises:
        InputError: it keeps none, or has ids of its own.
    """
    owner, positions = index, None  # FAISS frees what an index wraps together with it
    while hasattr(index, "id_map"):
        positions = _inverse(path, faiss.vector_to_array(index.id_map), positions)
        index = faiss.downcast_IndexBinary(index.index)
    if hasattr(index, "storage"):  # a graph over the codes
        index = faiss.downcast_IndexBinary(index.storage)
    count, width = int(index.ntotal), int(index.d) // 8
    if hasattr(index, "xb"):
        bits = faiss.vector_to_array(index.xb).reshape(count, width)  # (N * bytes,) -> (N, bytes)
    elif hasattr(index, "nlist"):
        bits, ids = _inverted_codes(index, width, faiss)
        bits = bits[_inverse(path, ids, None)]
    else:
        raise InputError(
            str(path),
            found=f"a {type(index).__name__}",
            expected="a binary index that keeps its bits: flat, IVF, HNSW",
        )
    del owner
    return np.array(bits if positions is None else bits[positions])


def _inverted_codes(index: Any, width: int, faiss: Any) -> tuple[np.ndarray, np.ndarray]:
    """Codes (N, bytes) and ids (N,) of the lists of a binary IVF index, list after list."""
    codes, ids = [], []
    for number in range(index.nlist):
        size = index.invlists.list_size(number)
        if size:
            codes.append(
                faiss.rev_swig_ptr(index.invlists.get_codes(number), size * width).reshape(size, width).copy()
            )
            ids.append(faiss.rev_swig_ptr(index.invlists.get_ids(number), size).copy())
    return np.concatenate(codes), np.concatenate(ids)


def _refuse_fast_scan(path: Path, index: Any, faiss: Any) -> None:
    """Refuse inverted lists of packed codes: FAISS ends the process where it reconstructs them.

    Raises:
        InputError: the index is one.
    """
    while hasattr(index, "chain"):  # what is applied before it
        index = faiss.downcast_index(index.index)
    name = type(index).__name__
    if "IVF" in name and "FastScan" in name:
        raise InputError(
            str(path),
            found=f"an {name}, from which FAISS reconstructs nothing",
            expected=EXPECTED,
            remedy="Adopt what the index was made from",
        )


def _inverse(path: Path, ids: np.ndarray, before: np.ndarray | None) -> np.ndarray:
    """For each id 0 ... N-1 the position of its row, so that line n of the list of paths is that of id n."""
    if before is not None or not np.array_equal(np.sort(ids), np.arange(len(ids))):
        raise InputError(
            str(path),
            found=f"rows with ids of their own ({ids[:3].tolist()}, ...)",
            expected=f"ids 0 to {len(ids) - 1}, which count the lines of the list of paths",
        )
    inverse = np.empty(len(ids), dtype=np.int64)
    inverse[ids] = np.arange(len(ids))
    return inverse
