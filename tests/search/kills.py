"""Real processes that add files to an index and are killed at any moment.

``python -m tests.search.kills DIRECTORY SEED TRIALS`` imports what is slow to import, then forks a writer for each
trial, kills it with SIGKILL after a random time, and lets another process look at what is left. It prints JSON.
LanceDB runs threads, which no fork survives, so only the forked processes import it.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow  # noqa: F401
import torch

import bindplug.models  # noqa: F401
from tests.search.content import ContentEncoder, write_files

FILES = 200
SAVE_EVERY = 1


def forked(work: Callable[[], Any]) -> tuple[int, int]:
    """Process id of a child that does the work, and a pipe with its JSON."""
    reader, writer = os.pipe()
    child = os.fork()
    if child:
        os.close(writer)
        return child, reader
    code = 1
    try:
        os.close(reader)
        torch.set_num_threads(1)
        answer = json.dumps(work())
        with os.fdopen(writer, "w") as pipe:
            pipe.write(answer)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def answer_of(child: int, reader: int) -> Any:
    """What a child wrote."""
    with os.fdopen(reader) as pipe:
        text = pipe.read()
    _, status = os.waitpid(child, 0)
    if status:
        raise RuntimeError(f"a child ended with {status}")
    return json.loads(text)


def write(directory: Path, round_number: int, ready: int = 2) -> dict[str, int]:
    """Add the folder, or bring it up to date in later rounds; says on ``ready`` when it begins."""
    from bindplug_search import adding, create_index, open_index

    adding.MOST_SMALL_FRAGMENTS = 6  # so that kills meet the joining of fragments too
    path, encoder = directory / "library.lance", ContentEncoder()
    import_lancedb()
    os.write(ready, b".")
    index = open_index(path, model=encoder) if path.exists() else create_index(path, model=encoder)
    if round_number and index.store.manifest.folders:
        report = index.update(save_every=SAVE_EVERY)
    else:
        report = index.add_folder(directory / "library", {"image": "*.png"}, save_every=SAVE_EVERY)
    return {"rows": report.rows, "unchanged": report.unchanged}


def import_lancedb() -> None:
    """What takes longest in a short run, and writes nothing."""
    import lancedb  # noqa: F401

    import bindplug_search.file_index  # noqa: F401


def look(directory: Path) -> dict[str, Any]:
    """What an index holds: its keys, how many occur twice, and files whose rows are not of their content."""
    from bindplug import image
    from bindplug_search import open_index

    path, encoder = directory / "library.lance", ContentEncoder()
    if not path.exists():
        return {"count": 0, "doubled": 0, "stale": [], "parts": []}
    index = open_index(path, model=encoder)
    rows = [
        (row.path, vector)
        for vectors, batch in index.store.batches()
        for row, vector in zip(batch, vectors, strict=True)
    ]
    names = [name for name, _ in rows]
    stale = []
    if rows:
        vectors = torch.stack([torch.from_numpy(vector.copy()) for _, vector in rows])
        now = encoder.embed([image(name) for name in names])
        stale = [
            name for name, score in zip(names, (vectors * now).sum(1).tolist(), strict=True) if score < 0.999
        ]
    parts = [file.path for file in index.store.files().values() if not file.is_whole]
    return {"count": len(names), "doubled": len(names) - len(set(names)), "stale": stale, "parts": parts}


def run(directory: Path, seed: int, trials: int) -> dict[str, Any]:
    """Kill ``trials`` writers, and finish the last round's work; counts of what was seen."""
    rng = random.Random(seed)
    library = directory / "library"
    write_files(library, FILES)
    span = answer_of(*forked(partial(time_one, directory)))
    result = {
        "killed": 0,
        "finished": 0,
        "lost": 0,
        "doubled": 0,
        "parts": 0,
        "rounds": 0,
        "kept": [],
        "seconds": span,
    }
    round_number, before = 0, 0
    for _ in range(trials):
        begun, ready = os.pipe()
        child, reader = forked(partial(write, directory, round_number, ready))
        os.close(ready)
        os.read(begun, 1)
        os.close(begun)
        time.sleep(rng.uniform(0.0, span))
        os.kill(child, signal.SIGKILL)
        os.close(reader)
        _, status = os.waitpid(child, 0)
        killed = os.WIFSIGNALED(status)
        result["killed" if killed else "finished"] += 1
        state = answer_of(*forked(partial(look, directory)))
        result["lost"] += max(0, before - state["count"])
        result["doubled"] += state["doubled"]
        result["parts"] += len(state["parts"])
        result["kept"].append(state["count"])
        before = state["count"]
        if before == FILES and not state["stale"]:  # whole: change every file, and bring the index up to date
            round_number += 1
            for path in sorted(library.iterdir()):
                path.write_bytes(f"{path.name} in round {round_number}".encode())
    answer_of(*forked(partial(write, directory, round_number)))
    state = answer_of(*forked(partial(look, directory)))
    result |= {"rounds": round_number, "count": state["count"], "stale": len(state["stale"])}
    result["doubled"] += state["doubled"]
    again = answer_of(*forked(partial(write, directory, round_number)))
    return result | {"again": again}


def time_one(directory: Path) -> float:
    """Seconds that a whole run takes."""
    from bindplug_search import create_index

    import_lancedb()
    start = time.monotonic()
    index = create_index(directory / "timing.lance", model=ContentEncoder())
    index.add_folder(directory / "library", {"image": "*.png"}, save_every=SAVE_EVERY)
    return time.monotonic() - start


if __name__ == "__main__":
    print(json.dumps(run(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
