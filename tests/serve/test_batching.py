"""Batches across requests: the same rows, shared passes, a bounded queue."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest

import bindplug
from bindplug import text
from bindplug.errors import InputError, OptionError
from bindplug.testing import FakeEncoder
from bindplug_serve.batching import Batcher
from bindplug_serve.engine import Engine
from bindplug_serve.failures import Refusal
from bindplug_serve.items import Item, query_of
from bindplug_serve.limits import Limits
from tests.serve.running import WAIT_S, Gate, encoded


def test_concurrent_requests_get_the_rows_of_single_calls(url, model, files):
    items = [f"a {a} and a {b}" for a in ("dog", "train", "bell") for b in ("cat", "boat", "fire", "bird")]
    items += [{sense: encoded(data)} for sense, data in files.items()]
    queries = [query_of(item if isinstance(item, str) else Item.model_validate(item)) for item in items]
    expected = np.concatenate([model.embed([query]) for query in queries])
    with httpx.Client(base_url=url, timeout=WAIT_S) as client, ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda item: client.post("/v1/embeddings", json={"input": item}), items))
        metrics = client.get("/metrics").text
    rows = [answer.json()["data"][0]["embedding"] for answer in answers]
    np.testing.assert_allclose(rows, expected, atol=5e-6)
    count = _value(metrics, 'bindplug_batch_size_count{lane="text"}')
    assert count < _value(metrics, 'bindplug_batch_size_sum{lane="text"}')


def _value(metrics, name):
    return next(float(line.split()[-1]) for line in metrics.splitlines() if line.startswith(name))


def batcher(run, **options):
    options = {
        "batch": 4,
        "wait_s": 0.0,
        "queue": 8,
        "concurrent": 1,
        "executor": ThreadPoolExecutor(2),
    } | options
    return Batcher(run, **options)


def test_what_arrives_while_a_batch_is_in_work_shares_the_next():
    sizes = []

    def double(lane, work):
        sizes.append((lane, len(work)))
        return [2 * piece for piece in work]

    run = Gate(double)

    async def main():
        batches = batcher(run)
        first = asyncio.create_task(batches.submit([("a", 1)]))
        await asyncio.to_thread(run.entered.wait, WAIT_S)
        others = [asyncio.create_task(batches.submit([("a", n)])) for n in (2, 3, 4, 5, 6)]
        await asyncio.sleep(0)
        run.opened.set()
        results = await asyncio.gather(first, *others)
        await batches.close()
        return results

    assert asyncio.run(main()) == [[2], [4], [6], [8], [10], [12]]
    assert sizes == [("a", 1), ("a", 4), ("a", 1)]


def test_lanes_do_not_wait_for_each_other():
    run = Gate(lambda lane, work: work)

    def only_slow_waits(lane, work):
        return run(lane, work) if lane == "slow" else work

    async def main():
        batches = batcher(only_slow_waits)
        slow = asyncio.create_task(batches.submit([("slow", 1)]))
        await asyncio.to_thread(run.entered.wait, WAIT_S)
        assert await batches.submit([("quick", 2)]) == [2]
        assert not slow.done()
        run.opened.set()
        assert await slow == [1]
        await batches.close()

    asyncio.run(main())


def test_a_full_queue_refuses_all_of_a_request_and_says_when_to_return():
    run = Gate(lambda lane, work: work)

    async def main():
        batches = batcher(run)
        first = asyncio.create_task(batches.submit([("a", n) for n in range(5)]))
        await asyncio.to_thread(run.entered.wait, WAIT_S)
        with pytest.raises(Refusal) as refused:
            await batches.submit([("a", n) for n in range(4)])
        assert (refused.value.status, refused.value.code) == (429, "queue_full")
        assert 1 <= refused.value.retry_after_s <= 60
        others = asyncio.create_task(batches.submit([("a", n) for n in range(3)]))
        run.opened.set()
        assert await first == list(range(5))
        assert await others == list(range(3))
        assert batches.pending == 0
        await batches.close()

    asyncio.run(main())


def test_cancelled_work_leaves_the_queue_and_lets_go_of_its_data():
    seen = []
    run = Gate(lambda lane, work: seen.append(list(work)) or work)

    async def main():
        batches = batcher(run)
        first = asyncio.create_task(batches.submit([("a", "first")]))
        await asyncio.to_thread(run.entered.wait, WAIT_S)
        gone = asyncio.create_task(batches.submit([("a", "gone")]))
        await asyncio.sleep(0)
        assert batches.pending == 2
        (entry,) = batches.lanes["a"].entries
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        assert batches.pending == 1
        assert entry.work is None
        last = asyncio.create_task(batches.submit([("a", "last")]))
        run.opened.set()
        await asyncio.gather(first, last)
        await batches.close()

    asyncio.run(main())
    assert seen == [["first"], ["last"]]


def test_closing_finishes_what_is_in_work_and_refuses_what_waits():
    run = Gate(lambda lane, work: work)

    async def main():
        batches = batcher(run)
        working = asyncio.create_task(batches.submit([("a", 1)]))
        await asyncio.to_thread(run.entered.wait, WAIT_S)
        waiting = asyncio.create_task(batches.submit([("a", 2)]))
        await asyncio.sleep(0)
        closing = asyncio.create_task(batches.close())
        await asyncio.sleep(0)
        run.opened.set()
        await closing
        assert await working == [1]
        for late in (waiting, batches.submit([("a", 3)])):
            with pytest.raises(Refusal) as refused:
                await late
            assert (refused.value.status, refused.value.code) == (503, "shutting_down")

    asyncio.run(main())


def test_a_batch_that_fails_does_not_end_its_lane():
    def fail_once(lane, work):
        if work == ["bad"]:
            raise RuntimeError("broken")
        return work

    async def main():
        batches = batcher(fail_once)
        with pytest.raises(RuntimeError, match="broken"):
            await batches.submit([("a", "bad")])
        assert await batches.submit([("a", "good")]) == ["good"]
        await batches.close()

    asyncio.run(main())


def embedded(queries, model=None, **limits):
    """Rows of an engine of its own, and the sizes of its batches."""
    sizes = []

    async def main():
        engine = Engine(
            lambda: model or FakeEncoder(),
            Limits(**limits),
            lambda lane, size, seconds: sizes.append((lane, size)),
        )
        await engine.start()
        try:
            return await engine.embed(queries)
        finally:
            await engine.close()

    return asyncio.run(main()), sizes


def test_a_source_in_several_queries_is_embedded_once():
    queries = [text("a"), text("a") + text("b"), 2 * text("b"), text("a") - text("b")]
    rows, sizes = embedded(queries)
    assert sizes == [("text", 2), ("calls", 1)]
    np.testing.assert_allclose([row.vector for row in rows], FakeEncoder().embed(queries), atol=1e-6)


def test_batches_are_no_larger_than_the_limit():
    _, sizes = embedded([text(str(n)) for n in range(10)], batch=4)
    assert sorted(sizes) == [("text", 2), ("text", 4), ("text", 4)]


def test_an_option_that_a_reader_does_not_take_fails_its_own_item_only(model, files):
    queries = [bindplug.depth(files["depth"]), bindplug.depth(files["depth"], unit="furlong")]
    (good, bad), _ = embedded(queries, model)
    np.testing.assert_allclose(good.vector, model.embed(queries[:1])[0], atol=2e-6)
    assert isinstance(bad.error, OptionError)


def test_threads_share_the_cores():
    import torch

    seen = []
    before = torch.get_num_threads()
    model = FakeEncoder()
    encode = model.encode

    def watched(*arguments, **options):
        seen.append((torch.get_num_threads(), threading.current_thread().name))
        return encode(*arguments, **options)

    model.encode = watched
    embedded([text("a")], model, threads=before + 1)
    assert seen[0][0] == 1
    assert seen[0][1].startswith("bindplug-serve")


@pytest.mark.parametrize(
    "options", [{"queue": 4}, {"batch": 0}, {"body_bytes": 1 << 40}, {"request_s": -1.0}]
)
def test_limits_that_cannot_be_kept_are_refused(options):
    with pytest.raises(InputError, match="Limits"):
        Limits(**options)


def test_results_stay_with_their_work_where_a_piece_of_the_batch_was_forgotten():
    async def run():
        queue = batcher(lambda lane, work: [2 * piece for piece in work])
        lane = queue._lane("a")
        gone, *others = entries = [lane.add(piece) for piece in (1, 2, 3)]
        lane.entries.clear()
        gone.forget(gone.future)
        await lane._run(entries)
        await queue.close()
        return [entry.future.result() for entry in others]

    assert asyncio.run(run()) == [4, 6]


def test_a_batch_that_nobody_waits_for_does_not_hold_up_the_end():
    async def run():
        gate = Gate(lambda lane, work: work)
        with ThreadPoolExecutor(1) as executor:
            queue = batcher(gate, executor=executor)
            left = asyncio.create_task(queue.submit([("a", 1)]))
            while not gate.entered.is_set():
                await asyncio.sleep(0)
            left.cancel()
            await asyncio.wait({left})
            await asyncio.wait_for(queue.close(), WAIT_S / 2)
            gate.opened.set()
        return queue.abandoned, queue.pending

    assert asyncio.run(run()) == (True, 0)
