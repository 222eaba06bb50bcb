"""A process that does runs: JSON lines of jobs on stdin, a JSON line of each outcome on stdout.

It ends when its stdin does, so none is left behind when the process that started it dies.
"""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from bindplug_lab.ablations.results import ResultStore, RunResult
from bindplug_lab.ablations.settings import RunSettings


def work(jobs: TextIO, outcomes: TextIO) -> None:
    """Do each job of a stream, and write its outcome to another."""
    import torch

    torch.set_num_threads(1)  # several workers share the machine
    for line in jobs:
        job = json.loads(line)
        outcome = do(job)
        try:
            print(json.dumps(outcome), file=outcomes, flush=True)
        except BrokenPipeError:  # the process that started this one is gone; the result is kept
            return


def do(job: dict[str, Any]) -> dict[str, Any]:
    """One job: ``kind`` is ``"run"`` or one of ``PREPARATIONS``; returns its ``error`` (empty if all went well).

    A run's result is kept by the worker itself, so it is not lost when the process that started it dies.
    """
    from bindplug_lab.ablations.training import PREPARATIONS, run

    settings, cache = RunSettings(**job["settings"]), Path(job["cache"])
    start_s = time.perf_counter()
    figures: dict[str, Any] = {}
    error = ""
    try:
        if job["kind"] == "run":
            figures = run(settings, cache)
        else:
            PREPARATIONS[job["kind"]](settings, cache)
    except Exception as problem:  # whatever it is, the other runs go on
        error = f"{type(problem).__name__}: {problem}"
    seconds = round(time.perf_counter() - start_s, 2)
    if job["kind"] == "run":
        ResultStore(job["results"]).write(RunResult(settings, figures, error, seconds))
    return {"error": error}


def main() -> None:
    """Work for the process at the other end of stdin and stdout; what libraries print goes to stderr."""
    outcomes = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    work(sys.stdin, outcomes)
    with suppress(BrokenPipeError):
        outcomes.close()


if __name__ == "__main__":
    main()
