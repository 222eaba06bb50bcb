"""Dynamic batching: work of many requests, done together.

Each lane (a modality) gathers what arrives, for a short while or until a batch is full. It has few batches in work at
once, so that batches grow by themselves while the machine is busy.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Generic, TypeVar

from bindplug_serve.failures import Refusal, shutting_down

Work = TypeVar("Work")
Result = TypeVar("Result")
LONGEST_RETRY_S = 60
AVERAGING = 0.2
"""Weight of the newest batch in the running mean of seconds a piece of work."""


class Batcher(Generic[Work, Result]):
    """Gathers work in lanes and runs it in batches in threads. To be used in one event loop.

    Args:
        run: does a batch: name of the lane and the work to results, one each, in order. Runs in a thread.
        batch: most pieces of work in a batch.
        wait_s: how long the first piece of a batch waits for others, in seconds.
        queue: most pieces that wait or are worked on, over all lanes.
        concurrent: most batches of a lane in work at once: one is read while another is computed.
        executor: where batches run.
    """

    def __init__(
        self,
        run: Callable[[str, list[Work]], list[Result]],
        *,
        batch: int,
        wait_s: float,
        queue: int,
        concurrent: int,
        executor: Executor,
    ) -> None:
        self.run, self.batch, self.wait_s, self.queue, self.executor = run, batch, wait_s, queue, executor
        self.concurrent = concurrent
        self.pending = 0
        self.lanes: dict[str, _Lane[Work, Result]] = {}
        self.closed = self.abandoned = False
        self.waiting: set[asyncio.Future[Result]] = set()
        self.seconds_each = 0.01

    async def submit(self, work: Sequence[tuple[str, Work]]) -> list[Result]:
        """The results of pieces of work, each given with its lane, in order.

        All are taken on or none. Cancelling this takes back what is not yet in work.

        Raises:
            Refusal: the queue has no room for all of it (429), or the server is ending (503).
        """
        if self.closed:
            raise shutting_down()
        if self.pending + len(work) > self.queue:
            message = f"{self.pending} items are waiting; the queue holds {self.queue}. Try again later."
            raise Refusal(429, message, "queue_full", retry_after_s=self.retry_after_s())
        entries = [self._lane(name).add(piece) for name, piece in work]
        self.pending += len(entries)
        for entry in entries:
            self.waiting.add(entry.future)
            entry.future.add_done_callback(self.waiting.discard)
            entry.future.add_done_callback(entry.forget)
            entry.future.add_done_callback(self._finished)
        try:
            return list(await asyncio.gather(*(entry.future for entry in entries)))
        finally:
            for entry in entries:
                entry.future.cancel()

    def retry_after_s(self) -> int:
        """Seconds after which what waits now should be done, rounded up."""
        return max(1, min(LONGEST_RETRY_S, math.ceil(self.pending * self.seconds_each)))

    async def close(self) -> None:
        """Take on no more, and end once nobody waits for a batch in work; what waits in the queue is refused.

        ``abandoned`` tells whether a thread is still at work for clients that have left.
        """
        self.closed = True
        for lane in self.lanes.values():
            lane.refuse_all()
        if self.waiting:
            await asyncio.wait(set(self.waiting))
        await asyncio.sleep(0)  # batches whose results were just told leave their lanes
        tasks = [task for lane in self.lanes.values() for task in lane.running]
        self.abandoned = bool(tasks)
        tasks += [lane.task for lane in self.lanes.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _finished(self, _: asyncio.Future[Result]) -> None:
        self.pending -= 1

    def _lane(self, name: str) -> _Lane[Work, Result]:
        if name not in self.lanes:
            self.lanes[name] = _Lane(name, self)
        return self.lanes[name]


class _Entry(Generic[Work, Result]):
    """A piece of work and who waits for it."""

    def __init__(self, work: Work, loop: asyncio.AbstractEventLoop) -> None:
        self.work: Work | None = work
        self.future: asyncio.Future[Result] = loop.create_future()
        self.arrived_s = loop.time()

    def forget(self, _: asyncio.Future[Result]) -> None:
        """Let go of the work, which may be large, also where it was cancelled in the queue."""
        self.work = None


class _Lane(Generic[Work, Result]):
    """The queue of one kind of work, and the task that empties it."""

    def __init__(self, name: str, batcher: Batcher[Work, Result]) -> None:
        self.name, self.batcher = name, batcher
        self.loop = asyncio.get_running_loop()
        self.entries: deque[_Entry[Work, Result]] = deque()
        self.changed = asyncio.Event()
        self.slots = asyncio.Semaphore(batcher.concurrent)
        self.running: set[asyncio.Task[None]] = set()
        self.task = self.loop.create_task(self._serve(), name=f"lane {name}")

    def add(self, work: Work) -> _Entry[Work, Result]:
        entry: _Entry[Work, Result] = _Entry(work, self.loop)
        self.entries.append(entry)
        if len(self.entries) == 1 or len(self.entries) >= self.batcher.batch:
            self.changed.set()
        return entry

    def refuse_all(self) -> None:
        while self.entries:
            future = self.entries.popleft().future
            if not future.done():
                future.set_exception(shutting_down())
        self.changed.set()

    async def _serve(self) -> None:
        while not self.batcher.closed:
            while not self.entries and not self.batcher.closed:
                self.changed.clear()
                await self.changed.wait()
            await self.slots.acquire()
            await self._gather()
            self._start(self._take())
        await asyncio.gather(*self.running)

    def _start(self, batch: list[_Entry[Work, Result]]) -> None:
        if not batch:
            self.slots.release()
            return
        task = self.loop.create_task(self._run(batch))
        self.running.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.running.discard(task)
        self.slots.release()

    async def _gather(self) -> None:
        """Wait until a batch is full, or its first entry has waited long enough."""
        if not self.entries or len(self.entries) >= self.batcher.batch:
            return
        left_s = self.entries[0].arrived_s + self.batcher.wait_s - self.loop.time()
        if left_s > 0:
            self.changed.clear()
            timer = self.loop.call_later(left_s, self.changed.set)
            await self.changed.wait()
            timer.cancel()

    def _take(self) -> list[_Entry[Work, Result]]:
        batch: list[_Entry[Work, Result]] = []
        while self.entries and len(batch) < self.batcher.batch:
            entry = self.entries.popleft()
            if not entry.future.done():
                batch.append(entry)
        return batch

    async def _run(self, batch: list[_Entry[Work, Result]]) -> None:
        batch = [entry for entry in batch if entry.work is not None]  # results are told apart by their place
        if not batch:
            return
        work = [entry.work for entry in batch if entry.work is not None]
        start = self.loop.time()
        try:
            results = await self.loop.run_in_executor(
                self.batcher.executor, self.batcher.run, self.name, work
            )
        except Exception as error:  # the lane must outlive a batch that fails
            for entry in batch:
                if not entry.future.done():
                    entry.future.set_exception(error)
            return
        seconds = (self.loop.time() - start) / len(batch)
        self.batcher.seconds_each += AVERAGING * (seconds - self.batcher.seconds_each)
        for entry, result in zip(batch, results, strict=True):
            if not entry.future.done():
                entry.future.set_result(result)
