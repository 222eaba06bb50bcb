"""Work that runs ahead: in order, by a bounded number of jobs, and gone when its consumer is."""

from __future__ import annotations

import contextvars
import os
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from bindplug import prefetch
from bindplug.errors import InputError
from bindplug.prefetch import Stopped, check_workers, default_workers, run_ahead, until

WAIT_S = 60
"""How long a test that has gone wrong waits before it says so."""


def readers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("bindplug-reader")]


def squared(job: int, stop: threading.Event) -> int:
    return job * job


@pytest.fixture
def counted() -> tuple[list[int], Iterator[int]]:
    """The jobs asked for so far, and twenty jobs."""
    taken: list[int] = []

    def jobs() -> Iterator[int]:
        for job in range(20):
            taken.append(job)
            yield job

    return taken, jobs()


@pytest.mark.parametrize("workers", [0, 1, 4, None])
@pytest.mark.parametrize("count", [0, 1, 2, 17])
def test_results_come_in_the_order_of_the_jobs(workers, count):
    assert list(run_ahead(squared, range(count), workers)) == [job * job for job in range(count)]
    assert not readers()


@pytest.mark.parametrize("workers", [0, 1, 4])
def test_no_more_jobs_are_taken_than_workers_ahead(workers, counted):
    taken, jobs = counted
    for place, _ in enumerate(run_ahead(squared, jobs, workers), start=1):
        assert len(taken) == min(20, place + workers)


def test_jobs_run_at_the_same_time():
    """Each job waits for two others: alone it would wait in vain."""
    together = threading.Barrier(3)

    def meet(job: int, stop: threading.Event) -> str:
        together.wait(WAIT_S)
        return threading.current_thread().name

    assert len(set(run_ahead(meet, range(3), 3))) == 3


def test_a_failure_is_raised_in_its_turn_though_a_later_one_came_first():
    later_failed = threading.Event()

    def work(job: int, stop: threading.Event) -> int:
        if job == 3:
            later_failed.set()
            raise KeyError("later")
        if job == 2:
            assert later_failed.wait(WAIT_S)
            raise ValueError("first")
        return job

    results = run_ahead(work, range(10), 4)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="first"):
        next(results)
    assert not readers()


@pytest.mark.parametrize("workers", [0, 2])
def test_jobs_that_cannot_be_named_fail_after_those_before_them(workers):
    def jobs() -> Iterator[int]:
        yield from range(3)
        raise InputError("job 3", found="nothing", expected="a job")

    results = run_ahead(squared, jobs(), workers)
    assert [next(results) for _ in range(3)] == [0, 1, 4]
    with pytest.raises(InputError, match="job 3"):
        next(results)


@pytest.mark.parametrize("end", ["close", "raise"])
def test_no_thread_outlives_its_consumer(end, counted):
    """The second and third job wait to be told to stop; jobs after them never begin."""
    taken, jobs = counted
    begun = []

    def work(job: int, stop: threading.Event) -> int:
        begun.append(job)
        return job if job == 0 or stop.wait(WAIT_S) else -1

    results = run_ahead(work, jobs, 2)
    assert next(results) == 0
    if end == "close":
        results.close()
    else:
        with pytest.raises(KeyboardInterrupt):
            results.throw(KeyboardInterrupt)
    assert not readers()
    assert set(begun) <= {0, 1, 2}
    assert taken == [0, 1, 2]


@pytest.mark.parametrize("end", ["close", "raise"])
def test_a_job_that_is_stuck_delays_nobody(end, monkeypatch):
    monkeypatch.setattr(prefetch, "PATIENCE_S", 0.01)
    release = threading.Event()

    def work(job: int, stop: threading.Event) -> int:
        return job if job == 0 or release.wait(WAIT_S) else -1

    results = run_ahead(work, range(9), 2)
    assert next(results) == 0
    if end == "close":
        results.close()
    else:
        with pytest.raises(KeyboardInterrupt):
            results.throw(KeyboardInterrupt)
    stuck = readers()
    assert 1 <= len(stuck) <= 2
    assert all(thread.daemon for thread in stuck)
    release.set()
    for thread in stuck:
        thread.join(WAIT_S)
    assert not readers()


@pytest.mark.skipif(sys.platform == "win32", reason="os.kill ends a process there")
def test_a_program_ends_on_an_interrupt_though_a_reader_is_stuck():
    """The reader waits for ever; the main thread is interrupted while it waits for the result."""
    code = (
        "import os, signal, threading\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from bindplug.prefetch import run_ahead\n"
        "def work(job, stop):\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    threading.Event().wait()\n"
        "try: list(run_ahead(work, [1]))\n"
        "except KeyboardInterrupt: print('interrupted')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=WAIT_S)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "interrupted", "")


def test_a_stopped_worker_lets_the_rest_of_its_job_go():
    stop = threading.Event()
    items = until(stop, range(10))
    assert [next(items), next(items)] == [0, 1]
    stop.set()
    with pytest.raises(Stopped):
        next(items)


def test_by_default_jobs_that_may_leave_the_callers_thread(monkeypatch):
    monkeypatch.setattr(prefetch, "default_workers", lambda: 2)

    def whose(job: int, stop: threading.Event) -> bool:
        return threading.current_thread() is threading.main_thread()

    assert list(run_ahead(whose, [1])) == [False]
    assert list(run_ahead(whose, [1], threadable=lambda job: False)) == [True]
    assert list(run_ahead(whose, range(3))) == [False] * 3
    odd = list(run_ahead(whose, range(4), threadable=lambda job: job % 2 == 1))
    assert odd == [True, False, True, False]
    assert list(run_ahead(whose, range(3), 1, threadable=lambda job: False)) == [False] * 3, "asked for"


def test_default_workers_follow_the_cores_up_to_four(monkeypatch):
    for cores, expected in ((1, 1), (3, 3), (64, 4)):
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid, n=cores: set(range(n)), raising=False)
        assert default_workers() == expected


def test_the_callers_context_goes_along():
    setting = contextvars.ContextVar("setting", default="unset")
    setting.set("the caller's")
    assert list(run_ahead(lambda job, stop: setting.get(), range(2), 2)) == ["the caller's"] * 2


@pytest.mark.parametrize("workers", [-1, 1.5, "two", True])
def test_other_numbers_of_workers_are_refused(workers):
    with pytest.raises(InputError, match="at least 0"):
        check_workers(workers)
