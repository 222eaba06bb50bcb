"""The Ray side: a session, one actor for each device, and a stream of finished partitions."""

from __future__ import annotations

import json
import logging
import os
import pickle
import re
import socket
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeVar

import click
import numpy as np

from bindplug.cli.building import check_reader_options
from bindplug.errors import BindplugError, InputError
from bindplug.lazy import require
from bindplug.space import EmbeddingSpace
from bindplug_search.engine.lance_destination import open_destination
from bindplug_search.engine.partition import PartitionReport, Work, embed_items
from bindplug_search.engine.plan import Item, Partition

T = TypeVar("T")

MOST_TASKS = 10_000
"""Tasks of a job; beyond, a task holds several partitions."""

MOST_ATTEMPTS = 4
"""How often a partition is begun, where each time its worker dies: Ray itself would try forever."""

OBJECT_STORE_BYTES = 512 * 1024**2
"""Memory that a session of this machine takes for what passes between processes: names of items, and counts."""

CONNECT_S = 20.0
"""How long a cluster may take to answer."""

ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is reported to anyone
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # Ray warns of a default that will change; this is the new one
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
}
_PROBLEM = re.compile(r"[\w.]*(Error|Exception)\b[^:]*: ")
CHATTY_LOGGERS = ("ray", "ray.data", "ray.serve")


@dataclass(frozen=True)
class Resources:
    """What each actor takes, and how many there are.

    Attributes:
        actors: number of actors, each with a model.
        cpus: processors for each.
        gpus: GPUs for each, possibly a part of one.
    """

    actors: int
    cpus: float
    gpus: float


@contextmanager
def ray_session(address: str | None) -> Iterator[Any]:
    """Ray, connected to a cluster, or started on this machine and ended with the block.

    A session that the program has begun already is used as it is, and goes on.

    Args:
        address: ``auto``, ``host:port`` or ``ray://host:port``; None for this machine.

    Raises:
        MissingDependency: the extra is not installed.
        InputError: no cluster answers there.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    require("ray", owner="the engine ray", extra="ray")
    require("ray.data", owner="the engine ray", extra="ray")
    import ray

    started = not ray.is_initialized()
    levels = {name: logging.getLogger(name).level for name in CHATTY_LOGGERS}
    try:
        if started:
            _connect(ray, address)
        for name in CHATTY_LOGGERS:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        with warnings.catch_warnings():
            # Ray Data copies its context with every deprecated setting, and warns of its own doing.
            warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"ray\.")
            yield ray
    finally:
        if started:
            ray.shutdown()
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def _connect(ray: Any, address: str | None) -> None:
    options: dict[str, Any] = {"logging_level": logging.CRITICAL, "log_to_driver": False}
    if address is None:
        options |= {
            "address": "local",
            "include_dashboard": False,
            "object_store_memory": OBJECT_STORE_BYTES,
        }
    else:
        options["address"] = address
    try:
        if address is not None:
            _ensure_listens(address)
        with _native_output_dropped():
            ray.init(**options)
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(
            f"--address {address}" if address else "ray",
            found=(str(error).splitlines() or ["no answer"])[0],
            expected="a Ray cluster that answers",
            remedy="Start one with `ray start --head`, or leave out --address for this machine",
        ) from None


def _ensure_listens(address: str) -> None:
    """Raise :class:`OSError` soon if nothing answers at ``host:port``; Ray itself tries for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_S).close()


@contextmanager
def _native_output_dropped() -> Iterator[None]:
    """Without what Ray's C++ side writes to file descriptor 2 while it starts; fatal errors come later, if any."""
    sys.stderr.flush()
    kept, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(null)


def plan_resources(
    ray: Any, device: str, actors: int | None, cpus: float | None, gpus: float | None
) -> Resources:
    """How many actors there are, and what each takes, from what the cluster has.

    Args:
        ray: the module, connected.
        device: "auto", "cpu" or "cuda".
        actors, cpus, gpus: what a person asked for; None leaves it to the cluster: an actor for each GPU, with an
            equal share of the processors, at most 8; without GPUs one for every four processors.

    Raises:
        InputError: another device, or no machine of the cluster has that much.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    total_cpus = sum(node.get("CPU", 0) for node in nodes)
    total_gpus = sum(node.get("GPU", 0) for node in nodes)
    if device not in ("auto", "cpu", "cuda"):
        raise InputError(
            f"--device {device}",
            found="one device",
            expected="auto, cpu or cuda: Ray gives each actor its own",
        )
    if gpus is None:
        gpus = 1.0 if device == "cuda" or (device == "auto" and total_gpus) else 0.0
    if actors is None:
        actors = int(total_gpus / gpus) if gpus else max(1, int(total_cpus // 4))
    if cpus is None:
        share = total_cpus // max(1, actors)
        cpus = float(max(1, min(8 if gpus else 4, share)))
    if not any(node.get("CPU", 0) >= cpus and node.get("GPU", 0) >= gpus for node in nodes):
        raise InputError(
            "--engine ray",
            found=f"no machine with {cpus:g} CPUs and {gpus:g} GPUs for an actor",
            expected=f"at most what one of the {len(nodes)} machines has",
            remedy="Set -E cpus=N and -E gpus=N, or --device cpu",
        )
    return Resources(max(1, actors), cpus, gpus)


def describe_model(ray: Any, work: Work) -> EmbeddingSpace:
    """:func:`space_of_model` on a worker: the program itself may have neither weights nor memory for them.

    Raises:
        BindplugError, click.UsageError: as that.
    """
    remote = ray.remote(num_cpus=1)(_space_or_problem)
    result: EmbeddingSpace | str = _unwrapped(ray, lambda: ray.get(remote.remote(work)))
    if isinstance(result, str):
        raise click.BadParameter(result, param_hint="-O")
    return result


def space_of_model(work: Work) -> EmbeddingSpace:
    """The space of the model that a job loads.

    Raises:
        BindplugError: as loading it.
        click.UsageError: a reader has no such option.
    """
    model = replace(work.choice, device="cpu").load(work.modalities)
    check_reader_options(model, work.reader_options)
    return model.embedding_space


def _space_or_problem(work: Work) -> EmbeddingSpace | str:
    """click's errors do not travel between processes; their text does."""
    try:
        return space_of_model(work)
    except click.UsageError as error:
        return error.message


class EmbedPartitions:
    """An actor with a model, which embeds partitions and writes them.

    Args:
        work: what all partitions have in common.
        output: the destination.
        space: where rows must live: machines may hold other weights under the same name.
    """

    def __init__(self, work: Work, output: str, space: EmbeddingSpace) -> None:
        self.work, self.failure = work, b""
        try:
            self.destination = open_destination(output)
            self.model = work.choice.load(work.modalities)
            space.ensure(self.model.embedding_space, doing="embedding on this worker")
        except BindplugError as error:
            self.failure = pickle.dumps(error)

    def __call__(self, batch: Mapping[str, np.ndarray]) -> dict[str, list[Any]]:
        """Embed each partition of a batch that is not there yet.

        Returns:
            For each one, what came of it as JSON in ``report``, and in ``failure`` the pickled error of bindplug that
            ended it; Ray gives errors that are raised as text.
        """
        reports, failures = [], []
        for raw in batch["partition"]:
            report, failure = {}, self.failure
            if not failure:
                try:
                    report = self.embed(pickle.loads(raw))
                except BindplugError as error:
                    failure = pickle.dumps(error)
            reports.append(json.dumps(report))
            failures.append(failure)
        return {"report": reports, "failure": failures}

    def embed(self, partition: Partition) -> dict[str, Any]:
        """Embed a partition and write it, if a worker that died has not done so already."""
        if self.destination.is_finished(partition.name):
            report = self.destination.report(partition.name)
        else:
            if self.destination.begin(partition.name) > MOST_ATTEMPTS:
                raise InputError(
                    partition.describe(),
                    found=f"workers died {MOST_ATTEMPTS} times while they embedded these items",
                    expected="files that can be read in the memory of a worker",
                    remedy="Fewer actors (-E actors=N) need less memory; a small --save-every narrows down which file",
                )
            report = PartitionReport()
            items = partition.table.items() if partition.table else map(Item, partition.items)
            tables = embed_items(self.model, items, self.work, report)
            self.destination.write(partition.name, self.work.schema(), tables, report)
        return {"name": partition.name, **asdict(report.summary())}


def embed_partitions(
    ray: Any,
    partitions: Sequence[Partition],
    work: Work,
    output: str,
    space: EmbeddingSpace,
    resources: Resources,
) -> Iterator[tuple[str, PartitionReport]]:
    """Have the cluster embed partitions; what came of each, in the order in which they are finished.

    Raises:
        BindplugError: what a worker raised.
        InputError: workers died again and again.
    """
    import ray.data as ray_data

    rows = [{"partition": pickle.dumps(partition)} for partition in partitions]
    tasks = min(len(rows), MOST_TASKS)
    with _silent(ray_data.DataContext.get_current()):
        dataset = ray_data.from_items(rows, override_num_blocks=tasks).map_batches(
            EmbedPartitions,
            batch_size=1,
            compute=ray_data.ActorPoolStrategy(
                size=min(resources.actors, tasks), max_tasks_in_flight_per_actor=2
            ),
            fn_constructor_kwargs={"work": work, "output": output, "space": space},
            num_cpus=resources.cpus,
            num_gpus=resources.gpus or None,
        )
        batches = iter(dataset.iter_batches(batch_size=None, prefetch_batches=0))
        while (batch := _unwrapped(ray, lambda: next(batches, None))) is not None:
            for raw, failure in zip(batch["report"], batch["failure"], strict=True):
                if failure:
                    raise pickle.loads(failure)
                fields = json.loads(str(raw))
                yield fields.pop("name"), PartitionReport(**fields)


@contextmanager
def _silent(context: Any) -> Iterator[None]:
    """Ray Data without its progress bars; bindplug draws its own."""
    names = ("enable_progress_bars", "print_on_execution_start")
    before = {name: getattr(context, name) for name in names}
    for name in names:
        setattr(context, name, False)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(context, name, value)


def _unwrapped(ray: Any, call: Callable[[], T]) -> T:
    """What ``call`` returns.

    Raises:
        BindplugError: of bindplug, as a task raised it.
        InputError: workers died, or something else went wrong in one.
    """
    try:
        return call()
    except ray.exceptions.RayError as error:
        if isinstance(getattr(error, "cause", None), BindplugError):
            raise error.cause from None
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        problems = [line for line in lines if _PROBLEM.match(line)] or lines[-1:] or [type(error).__name__]
        raise InputError(
            "--engine ray",
            found=problems[-1],
            expected="workers that stay alive and well",
            remedy="The same command goes on with what is left. Fewer actors (-E actors=N) need less memory",
        ) from None
