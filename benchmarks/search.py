"""Searching an index: latency, memory and recall beside FAISS and LanceDB called by hand.

``python -m benchmarks.search --rows 10000 100000 1000000`` makes unit rows of width 512 in clusters of about 200,
and searches them with held-out rows of the same clusters. Every system runs in a
process of its own on the same rows, and its answers are compared with FAISS's exact ones.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

WIDTH = 512
QUERIES = 50
NEIGHBORS = 10
CLUSTER_ROWS = 200
SPREAD = 1.0
"""Length of the noise around a center, whose own length is 1, per square root of the width."""

STEP = 50_000
"""Rows handed to a store at once."""

Search = Callable[[np.ndarray], list[int]]


def make_rows(directory: Path, count: int) -> None:
    """Write ``rows.npy`` (count, WIDTH) and ``queries.npy`` (QUERIES, WIDTH), float32 of unit length."""
    rng = np.random.default_rng(0)
    centers = rng.standard_normal((max(1, count // CLUSTER_ROWS), WIDTH), dtype=np.float32)
    rows = np.lib.format.open_memmap(directory / "rows.npy", "w+", np.float32, (count, WIDTH))
    for start in range(0, count, STEP):
        rows[start : start + STEP] = _around(rng, centers, min(STEP, count - start))
    rows.flush()
    np.save(directory / "queries.npy", _around(rng, centers, QUERIES))


def _around(rng: np.random.Generator, centers: np.ndarray, count: int) -> np.ndarray:
    drawn = centers[rng.integers(len(centers), size=count)]
    drawn = drawn + SPREAD * rng.standard_normal(drawn.shape, dtype=np.float32)
    unit: np.ndarray = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return unit


def faiss_exact(directory: Path) -> Search:
    """FAISS, comparing with every row."""
    import faiss

    rows = np.load(directory / "rows.npy", mmap_mode="r")
    index = faiss.IndexFlatIP(WIDTH)
    for start in range(0, len(rows), STEP):
        index.add(np.ascontiguousarray(rows[start : start + STEP]))
    return lambda vector: index.search(vector[None], NEIGHBORS)[1][0].tolist()


def _lance_table(directory: Path) -> Any:
    import lancedb
    import pyarrow as pa

    rows = np.load(directory / "rows.npy", mmap_mode="r")
    schema = pa.schema([("id", pa.int64()), ("vector", pa.list_(pa.float32(), WIDTH))])
    table = lancedb.connect(str(directory / "by_hand")).create_table("rows", schema=schema, mode="overwrite")
    for start in range(0, len(rows), STEP):
        part = np.ascontiguousarray(rows[start : start + STEP])
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(part.reshape(-1)), WIDTH)
        ids = pa.array(range(start, start + len(part)), pa.int64())
        table.add(pa.Table.from_arrays([ids, vectors], schema=schema))
    return table


def lancedb_exact(directory: Path) -> Search:
    """LanceDB called by hand, comparing with every row."""
    table = _lance_table(directory)

    def search(vector: np.ndarray) -> list[int]:
        query = table.search(vector).distance_type("cosine").bypass_vector_index().limit(NEIGHBORS)
        ids: list[int] = query.select(["id", "_distance"]).to_arrow().column("id").to_pylist()
        return ids

    return search


def lancedb_index(directory: Path) -> Search:
    """LanceDB called by hand, with the index and the search that its documentation begins with."""
    from lancedb.index import IvfPq

    table = _lance_table(directory)
    table.create_index("vector", config=IvfPq(distance_type="cosine"))

    def search(vector: np.ndarray) -> list[int]:
        query = table.search(vector).distance_type("cosine").limit(NEIGHBORS)
        ids: list[int] = query.select(["id", "_distance"]).to_arrow().column("id").to_pylist()
        return ids

    return search


def _index(directory: Path) -> Any:
    from bindplug.indexes import IndexRow, create_vector_index
    from bindplug.space import EmbeddingSpace

    rows = np.load(directory / "rows.npy", mmap_mode="r")
    index = create_vector_index(directory / "rows.lance", model="", space=EmbeddingSpace("bench", WIDTH))
    for start in range(0, len(rows), STEP):
        part = np.ascontiguousarray(rows[start : start + STEP])
        index.add(part, [IndexRow(str(place), "image") for place in range(start, start + len(part))])
    return index


def bindplug_exact(directory: Path) -> Search:
    """bindplug's index, comparing with every row."""
    index = _index(directory)
    return lambda vector: [int(match.row.path) for match in index.search(vector, NEIGHBORS, exact=True)]


def bindplug_index(directory: Path) -> Search:
    """bindplug's index as `bindplug index add` leaves it."""
    from bindplug_search.recall import refresh_approximation

    index = _index(directory)
    approximation = refresh_approximation(index)
    print(f"bindplug measured {approximation}", file=sys.stderr)
    return lambda vector: [int(match.row.path) for match in index.search(vector, NEIGHBORS)]


SYSTEMS = {
    "faiss exact": faiss_exact,
    "lancedb exact": lancedb_exact,
    "bindplug exact": bindplug_exact,
    "lancedb index": lancedb_index,
    "bindplug index": bindplug_index,
}


def measure(name: str, directory: Path) -> dict[str, Any]:
    """Seconds to build, median milliseconds of a search, peak memory, and what the searches gave."""
    queries = np.load(directory / "queries.npy")
    start = time.perf_counter()
    search = SYSTEMS[name](directory)
    build_s = time.perf_counter() - start
    for vector in queries[:3]:
        search(vector)
    times, answers = [], []
    for vector in queries:
        start = time.perf_counter()
        answers.append(search(vector))
        times.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "build_s": round(build_s, 2),
        "median_ms": round(1000 * float(np.median(times)), 2),
        "peak_mib": round(peak / 1024),
        "answers": answers,
    }


def run(counts: list[int], systems: list[str]) -> list[dict[str, Any]]:
    """Measure systems at each number of rows; FAISS is always among them, as recall is against its answers."""
    results = []
    for count in counts:
        with tempfile.TemporaryDirectory() as scratch:
            directory = Path(scratch)
            make_rows(directory, count)
            exact: list[list[int]] = []
            for name in dict.fromkeys(["faiss exact", *systems]):
                if name == "lancedb index" and count < STEP:
                    continue
                command = [
                    sys.executable,
                    "-m",
                    "benchmarks.search",
                    "--measure",
                    name,
                    "--directory",
                    scratch,
                ]
                done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
                result = json.loads(done.stdout)
                answers = result.pop("answers")
                exact = exact or answers
                hits = sum(len(set(a) & set(e)) for a, e in zip(answers, exact, strict=True))
                result = {"rows": count, "system": name, **result, "recall": hits / (NEIGHBORS * len(exact))}
                print(json.dumps(result), flush=True)
                results.append(result)
                for leftover in ("by_hand", "rows.lance"):
                    shutil.rmtree(directory / leftover, ignore_errors=True)
    return results


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--systems", nargs="+", choices=list(SYSTEMS), default=list(SYSTEMS))
    parser.add_argument("--measure", choices=list(SYSTEMS))
    parser.add_argument("--directory", type=Path)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments.measure, arguments.directory)))
    else:
        run(arguments.rows, arguments.systems)


if __name__ == "__main__":
    main()
