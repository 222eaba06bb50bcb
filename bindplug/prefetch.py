"""Work in threads that runs ahead of its consumer by a bounded number of jobs, and gives results in order."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from itertools import chain, islice
from typing import TypeVar

from bindplug.errors import InputError

J = TypeVar("J")
R = TypeVar("R")
T = TypeVar("T")

MOST_DEFAULT_WORKERS = 4
"""Decoding rarely keeps more threads busy than that: parts of it hold the interpreter's lock."""


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
    early: the event is then set, jobs that have not begun never do, and no thread outlives the call.

    Args:
        work: called with a job and an event that is set when its result is no longer wanted.
        jobs: taken one by one in the caller's thread.
        workers: threads; 0 does each job in the caller's thread, in its turn. None takes
            :func:`default_workers` for the jobs that are ``threadable``, if there are two jobs at least.
        threadable: asked where ``workers`` is None: whether a job may leave the caller's thread.
    """
    stop = threading.Event()
    if workers is None:
        jobs = iter(jobs)
        first = list(islice(jobs, 2))
        workers = default_workers() if len(first) > 1 else 0
        jobs = chain(first, jobs)
    else:
        threadable = lambda job: True  # noqa: E731 - asked for by name
    if workers == 0:
        for job in jobs:
            yield work(job, stop)
        return
    pool = ThreadPoolExecutor(workers, thread_name_prefix="bindplug-reader")
    turns: deque[Callable[[], R]] = deque()
    try:
        for turn in _turns(pool, work, jobs, stop, threadable):
            turns.append(turn)
            if len(turns) > workers:
                yield turns.popleft()()
        while turns:
            yield turns.popleft()()
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)


def _turns(
    pool: ThreadPoolExecutor,
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
            yield pool.submit(copy_context().run, work, job, stop).result
        else:
            yield lambda job=job: work(job, stop)  # type: ignore[misc]
