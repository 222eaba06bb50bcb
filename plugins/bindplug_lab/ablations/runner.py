"""Runs a grid in parallel processes, and goes on where an earlier run of it ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from bindplug.progress import iterate_with_progress
from bindplug_lab.ablations.grid import Grid
from bindplug_lab.ablations.results import ResultStore, RunResult
from bindplug_lab.ablations.settings import RunSettings

RESULTS = "results"
"""Where the results are in an output directory."""
CACHE = "cache"


def default_jobs() -> int:
    """Processes for the machine's cores; each run has one thread."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores)


def run_grid(
    grid: Grid,
    output: str | Path,
    *,
    cache: str | Path | None = None,
    jobs: int | None = None,
    quiet: bool | None = None,
    on_result: Callable[[RunResult], None] | None = None,
) -> dict[str, RunResult]:
    """Do the runs of a grid that have no result yet.

    Args:
        grid: the experiments.
        output: directory that keeps the results; those of equal settings in it are taken over. Failed runs are
            tried again.
        cache: directory of rendered worlds and embedded views; ``output/cache`` by default.
        jobs: processes; as many as there are cores by default.
        quiet: True shows no progress, None asks the environment.
        on_result: called with each new result.

    Returns:
        The results by the keys of their settings. A run that failed has its error instead of figures.
    """
    output = Path(output)
    store = ResultStore(output / RESULTS)
    runs = grid.runs()
    pending = [settings for settings in runs if _is_pending(store.read(settings))]
    cache = output / CACHE if cache is None else Path(cache)
    with _Workers(min(jobs or default_jobs(), max(1, len(pending))), cache, store.directory) as workers:
        for kind, needs in _preparations(pending).items():
            steps = workers.outcomes(kind, needs)
            for _ in iterate_with_progress(steps, total=len(needs), label=f"preparing {kind}", quiet=quiet):
                pass  # a run whose preparation failed fails itself, and says why
        steps = workers.outcomes("run", pending)
        for settings, error in iterate_with_progress(steps, total=len(pending), label="runs", quiet=quiet):
            result = store.read(settings)
            if result is None or (error and not result.failed):  # the process died before it could write
                result = RunResult(settings, {}, error or "the process ended without a result", 0.0)
                store.write(result)
            if on_result is not None:
                on_result(result)
    return store.read_all(runs)


def _is_pending(result: RunResult | None) -> bool:
    return result is None or result.failed


def _preparations(runs: Sequence[RunSettings]) -> dict[str, list[RunSettings]]:
    """For each kind of preparation, one run for each distinct thing to be prepared, so that none is made twice."""
    needs: dict[str, dict[object, RunSettings]] = {"encoder": {}, "worlds": {}, "views": {}}
    for s in runs:
        encoder = (s.image_encoder, s.encoder_scenes, s.encoder_steps)
        world = (s.sense, s.scenes, s.things, s.moments, s.change)
        needs["encoder"][encoder] = s
        needs["worlds"][world, s.evaluation_scenes] = s
        needs["views"][world, s.views, s.image_augmentation, encoder] = s
    return {kind: list(distinct.values()) for kind, distinct in needs.items()}


class _Workers:
    """Processes that do jobs; one that dies is replaced when it is needed again."""

    def __init__(self, count: int, cache: Path, results: Path) -> None:
        self._cache, self._results = str(cache.absolute()), str(results.absolute())
        self._idle: SimpleQueue[subprocess.Popen[str] | None] = SimpleQueue()
        self._processes: list[subprocess.Popen[str]] = []
        self._threads = ThreadPoolExecutor(count)
        for _ in range(count):
            self._idle.put(None)

    def __enter__(self) -> _Workers:
        return self

    def __exit__(self, *error: object) -> None:
        if error[0] is not None:
            for process in self._processes:
                process.kill()
        self._threads.shutdown(cancel_futures=True)
        for process in self._processes:
            if process.stdin is not None and not process.stdin.closed:
                process.stdin.close()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()

    def outcomes(self, kind: str, runs: Sequence[RunSettings]) -> Iterator[tuple[RunSettings, str]]:
        """The settings and error of each job, as they end."""
        futures: dict[Future[str], RunSettings] = {
            self._threads.submit(self._do, kind, settings): settings for settings in runs
        }
        for future in as_completed(futures):
            yield futures[future], future.result()

    def _do(self, kind: str, settings: RunSettings) -> str:
        process = self._idle.get()
        if process is None:
            process = self._start()
        job: dict[str, Any] = {
            "kind": kind, "settings": settings.to_dict(), "cache": self._cache, "results": self._results,
        }  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(job) + "\n")
            process.stdin.flush()
            reply = process.stdout.readline()
        except OSError:
            reply = ""
        if reply:
            self._idle.put(process)
            return str(json.loads(reply)["error"])
        self._idle.put(None)
        return _death(process.wait())

    def _start(self) -> subprocess.Popen[str]:
        environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        process = subprocess.Popen(
            [sys.executable, "-m", "bindplug_lab.ablations.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            env=environment,
            start_new_session=True,  # Ctrl-C is for the process that started them
        )
        self._processes.append(process)
        return process


def _death(code: int) -> str:
    if code >= 0:
        return f"the process ended with exit status {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    memory = "; the machine may have too little memory" if name == "SIGKILL" else ""
    return f"the process was ended by {name}{memory}"
