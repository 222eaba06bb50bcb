"""Work in threads that runs ahead of its consumer by a bounded number of jobs, and gives results in order."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future
from contextvars import copy_context
from functools import partial
from itertools import chain, islice
from queue import SimpleQueue
from typing import Any, TypeVar

from bindplug.errors import InputError

J = TypeVar("J")
R = TypeVar("R")
T = TypeVar("T")

MOST_DEFAULT_WORKERS = 4
"""Decoding rarely keeps more threads busy than that: parts of it hold the interpreter's lock."""

PATIENCE_S = 0.5
"""How long the end of a job waits for a source that is being read."""


class Stopped(Exception):  # noqa: N818 - an outcome, not an error
    """The consumer has ended; a worker that sees this lets its job go."""


def default_workers() -> int:
    """One worker for each processor this process may use, at most four."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(MOST_DEFAULT_WORKERS, usable)


def check_workers(workers: int | None) -> None:
    """Raise unless ``workers`` is None or a whole number of at least 0.

    Raises:
        InputError: it is something else.
    """
    if workers is not None and (isinstance(workers, bool) or not isinstance(workers, int) or workers < 0):
        raise InputError(
            "embed()", found=f"workers={workers!r}", expected="None or a whole number of at least 0"
        )


def until(stop: threading.Event, items: Iterable[T]) -> Iterator[T]:
    """``items``, as long as nobody has stopped.

    Raises:
        Stopped: somebody has.
    """
    for item in items:
        if stop.is_set():
            raise Stopped
        yield item


class ReaderThreads:
    """Threads that do jobs in the order given and, unlike an executor's, never keep a program from ending.

    Args:
        count: how many; each starts when there is a job for it.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._jobs: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._pending: list[Future[Any]] = []
        self._threads: list[threading.Thread] = []

    def submit(self, work: Callable[[], R]) -> Future[R]:
        """The future result of ``work``, which runs in the caller's context."""
        future: Future[R] = Future()
        self._pending = [job for job in self._pending if not job.done()]
        self._pending.append(future)
        self._jobs.put((future, partial(copy_context().run, work)))
        if len(self._threads) < self.count:
            name = f"bindplug-reader-{len(self._threads)}"
            thread = threading.Thread(target=self._run, name=name, daemon=True)
            self._threads.append(thread)
            thread.start()
        return future

    def close(self, wait_s: float) -> None:
        """Drop jobs that have not begun, and wait for the others, at most so long in all."""
        for future in self._pending:
            future.cancel()
        for _ in self._threads:
            self._jobs.put(None)
        deadline = time.monotonic() + wait_s
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            future, work = job
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = work()
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)
                del result
            del job, future, work  # not to be held while the next job is waited for


def run_ahead(
    work: Callable[[J, threading.Event], R],
    jobs: Iterable[J],
    workers: int | None = None,
    *,
    threadable: Callable[[J], bool] = lambda job: True,
) -> Generator[R, None, None]:
    """What ``work`` makes of each job, in the order of the jobs.

    Jobs begin before their turn, in threads; while the consumer holds one result, at most ``workers`` more are
    made or wait. The first failure in the order of the jobs is raised in its turn. Close the generator to end
    early: the event is then set and jobs that have not begun never do. A job that heeds the event ends before the
    call returns; one that is stuck in a decoder or on a slow disk is left behind after half a second, so that
    Ctrl-C is never delayed by it.

    Args:
        work: called with a job and an event that is set when its result is no longer wanted.
        jobs: taken one by one in the caller's thread.
        workers: threads; 0 does each job in the caller's thread, in its turn. None takes
            :func:`default_workers` for the jobs that are ``threadable``; one if there is a single job.
        threadable: called where ``workers`` is None: whether a job may leave the caller's thread.
    """
    stop = threading.Event()
    if workers is None:
        jobs = iter(jobs)
        first = list(islice(jobs, 2))
        workers = default_workers() if len(first) > 1 else 1
        jobs = chain(first, jobs)
    else:
        threadable = lambda job: True  # noqa: E731 - stated by the caller
    if workers == 0:
        for job in jobs:
            yield work(job, stop)
        return
    threads = ReaderThreads(workers)
    turns: deque[Callable[[], R]] = deque()
    try:
        for turn in _turns(threads, work, jobs, stop, threadable):
            turns.append(turn)
            if len(turns) > workers:
                yield turns.popleft()()
        while turns:
            yield turns.popleft()()
    finally:
        stop.set()
        threads.close(PATIENCE_S)


def _turns(
    threads: ReaderThreads,
    work: Callable[[J, threading.Event], R],
    jobs: Iterable[J],
    stop: threading.Event,
    threadable: Callable[[J], bool],
) -> Iterator[Callable[[], R]]:
    """For each job what gives its result; a failure to name the next job waits for its turn as well."""
    jobs = iter(jobs)
    while True:
        try:
            job = next(jobs)
        except StopIteration:
            return
        except Exception as error:
            failed: Future[R] = Future()
            failed.set_exception(error)
            yield failed.result
            return
        if threadable(job):
            yield threads.submit(partial(work, job, stop)).result
        else:
            yield lambda job=job: work(job, stop)  # type: ignore[misc]
