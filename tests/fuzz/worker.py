"""Reads mutated files in a process of bounded memory and time: ``worker.py READER COUNT SEED FOLDER``.

Before each file its number goes to ``FOLDER/progress``, so that whoever started the process knows which file killed
it. The last line of stdout is JSON: counts of values and refusals, and what was neither.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import time
import traceback
import warnings
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from mutations import mutate  # type: ignore[import-not-found]
from seeds import seeds  # type: ignore[import-not-found]

MEMORY_BYTES = 3 << 30
"""On top of what the process has mapped once its packages are imported."""
SECONDS_A_FILE = 20
MOST_REPORTED = 20


def limit_memory() -> None:
    """Bound the address space; what asks for more gets a MemoryError."""
    with Path("/proc/self/statm").open() as file:
        mapped = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + MEMORY_BYTES, resource.RLIM_INFINITY))


def outcome(reader: object, path: Path) -> tuple[str, str]:
    """``("value" | "refused" | "fault", description)`` of one file."""
    from bindplug.errors import InputError

    try:
        value = reader(str(path))  # type: ignore[operator]
    except InputError as error:
        named = str(path) in str(error)
        memory = "MemoryError" in str(error)
        return ("refused", "memory" if memory else "") if named else ("fault", f"unnamed: {error}")
    except BaseException:
        return "fault", traceback.format_exc()
    return ("value", "") if value.isfinite().all() else ("fault", "a value that is not finite")


def main(kind: str, count: int, seed: int, folder: Path) -> None:
    """Read ``count`` mutated files and print what became of them."""
    from bindplug.inputs import make_preprocess

    warnings.simplefilter("ignore")
    reader = make_preprocess([kind])[kind]
    whole = seeds(kind)
    names = sorted(whole)
    for name in names:  # imports what the formats need, and shows that the seeds are read
        path = folder / f"whole-{name}"
        path.write_bytes(whole[name])
        status, text = outcome(reader, path)
        if status == "fault" or (status == "refused" and not name.endswith((".eps", ".npy"))):
            print(f"seed {name}: {status} {text}", file=sys.stderr)
    limit_memory()
    counts = {"value": 0, "refused": 0, "fault": 0, "memory": 0}
    faults, slowest = [], (0.0, "")
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        name = names[number % len(names)]
        path = folder / f"{number}-{name}"
        path.write_bytes(mutate(whole[name], list(whole.values()), rng))
        (folder / "progress").write_text(path.name)
        signal.alarm(SECONDS_A_FILE)  # its default action ends the process
        start = time.monotonic()
        status, text = outcome(reader, path)
        signal.alarm(0)
        slowest = max(slowest, (time.monotonic() - start, path.name))
        counts[status] += 1
        counts["memory"] += text == "memory"
        if status == "fault":
            faults.append({"file": path.name, "what": text})
        else:
            path.unlink()
    print(json.dumps({**counts, "slowest": slowest, "faults": faults[:MOST_REPORTED]}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
    sys.stdout.flush()
    os._exit(0)
