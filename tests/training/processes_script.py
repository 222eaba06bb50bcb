"""Runs of training in processes of their own, which may be killed: ``python processes_script.py SCENARIO DIRECTORY``.

Modules are imported once; each run is a fork of this process. What a run leaves behind is in ``DIRECTORY/NAME``:
``result.json`` and ``tower.safetensors``, or ``error.txt``.
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import accelerate.tracking  # noqa: F401  (imported before the forks, as the next)
import numpy as np
import torch
import torch._dynamo
from safetensors.torch import save_file

from bindplug.training import (
    BindingRecipe,
    Checkpoints,
    RunOptions,
    Validation,
    bind_tower,
    checkpoints,
)

RECIPE = BindingRecipe(
    epochs=3, batch_size=12, learning_rate=1e-2, weight_decay=0.1, temperature=0.2, warmup_epochs=1
)


class Tower(torch.nn.Module):
    """(B, 6) to (B, 8), with drop-out where asked for."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = torch.nn.Sequential(torch.nn.Linear(6, 16), torch.nn.GELU(), torch.nn.Linear(16, 8))
        self.drop = torch.nn.Dropout(dropout)
        self.unused = torch.nn.Linear(2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.drop(self.layers(x))


class Crops:
    """Pictures and samples of which the same window is drawn; reading can be counted, and noise comes from outside."""

    def __init__(self, count: int, on_read: Callable[[], None] | None = None, noise: bool = False) -> None:
        generator = torch.Generator().manual_seed(1)
        self.pictures = torch.randn(count, 12, generator=generator)
        self.series = self.pictures @ torch.randn(12, 10, generator=generator)
        self.on_read, self.noise = on_read, noise

    def __len__(self) -> int:
        return len(self.series)

    def _starts(self, indices: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        return torch.randint(4, (len(indices),), generator=generator)

    def anchors(self, indices: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        columns = self._starts(indices, generator)[:, None] + torch.arange(8)
        return self.pictures[indices[:, None], columns]

    def samples(self, indices: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        if self.on_read is not None:
            self.on_read()
        columns = self._starts(indices, generator)[:, None] + torch.arange(6)
        values = self.series[indices[:, None], columns]
        if self.noise:  # from the global generators, which a checkpoint holds as well
            values = values + 0.1 * random.random() + 0.1 * np.random.random() + 0.1 * torch.rand(())
        return values


def train(
    out: Path, pairs: object, *, dropout: float = 0.0, recipe: BindingRecipe = RECIPE, **options: object
) -> None:
    """Train and write what came of it; options of RunOptions, and ``validation``."""
    out.mkdir(parents=True, exist_ok=True)
    tower = Tower(dropout)
    validation = options.pop("validation", None)
    try:
        result = bind_tower(
            tower,
            pairs,
            recipe,
            validation=validation,
            options=RunOptions(**options),
            name="sonar",
            quiet=True,
        )
    except BaseException as error:
        (out / f"error{os.environ.get('RANK', '')}.txt").write_text(f"{type(error).__name__}: {error}")
        traceback.print_exc()
        return
    if os.environ.get("RANK", "0") == "0":
        (out / "result.json").write_text(json.dumps(asdict(result)))
        save_file(tower.state_dict(), out / "tower.safetensors")


def fork(work: Callable[[], None], environment: dict[str, str] | None = None) -> int:
    """Run ``work`` in a process of its own; its id."""
    child = os.fork()
    if child:
        return child
    try:
        os.environ.update(environment or {})
        signal.signal(signal.SIGINT, signal.default_int_handler)
        work()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def run_forked(work: Callable[[], None]) -> int:
    """Run ``work`` in a process of its own, to its end; its exit code, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(fork(work), 0)[1])


def run_many(count: int, work: Callable[[], None]) -> None:
    """Run ``work`` in ``count`` processes that know of each other, as ``accelerate launch --cpu`` starts them."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    common = {
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
        "ACCELERATE_USE_CPU": "true",
    }
    children = [fork(work, common | {"RANK": str(rank), "LOCAL_RANK": str(rank)}) for rank in range(count)]
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    assert codes == [0] * count, codes


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_at(call: int) -> Callable[[], None]:
    """A function that kills its process when called for the ``call``-th time."""
    calls = iter(range(1, call + 1))

    def count() -> None:
        if next(calls) == call:
            die()

    return count


def dying(moment: str, call: int) -> None:
    """Have this process killed in the ``call``-th write of a checkpoint: in a file, before or after the rename."""
    tick = die_at(call)
    if moment == "file":
        write = checkpoints.write_tensors

        def half_written(tensors: object, file: Path) -> object:
            entry = write(tensors, file)
            os.truncate(file, entry["size_bytes"] // 2)
            tick()
            return write(tensors, file)

        checkpoints.write_tensors = half_written
    elif moment == "before rename":
        sync = checkpoints._sync

        def sync_and_die(path: Path) -> None:
            sync(path)
            tick()

        checkpoints._sync = sync_and_die
    else:
        prune = checkpoints.CheckpointStore._prune

        def prune_and_die(self: object) -> None:
            tick()
            prune(self)

        checkpoints.CheckpointStore._prune = prune_and_die


def kills(out: Path, seed: int = 0, most: int = 6) -> None:
    """A run that is killed again and again, resumed each time, beside one that is not."""
    chance = random.Random(seed)
    arguments = {"dropout": 0.2, "recipe": RECIPE.but(learn_temperature=True, seed=seed)}

    def validation() -> Validation:
        return Validation(Crops(20), metric="recall@1", every_epochs=0.5)

    run_forked(lambda: train(out / "whole", Crops(64, noise=True), validation=validation(), **arguments))
    (out / "kills.txt").write_text("")
    for attempt in range(most + 1):
        kind = chance.choice(["step", "step", "file", "before rename", "after rename"])
        call = chance.randint(12, 150) if kind == "step" else chance.randint(1, 5)

        def work(kind: str = kind, call: int = call, last: bool = attempt == most) -> None:
            on_read = die_at(call) if kind == "step" and not last else None
            if kind != "step" and not last:
                dying(kind, call)
            store = Checkpoints(out / "run", every_steps=2, keep=2, resume=True)
            pairs = Crops(64, on_read, noise=True)
            train(out / "killed", pairs, validation=validation(), checkpoints=store, **arguments)

        code = run_forked(work)
        with (out / "kills.txt").open("a") as log:
            log.write(f"{kind} {call} {code}\n")
        if code == 0:
            break


def worlds(out: Path) -> None:
    """The same run in one process, in two, in three, in parts, with reader threads, and resumed by other numbers."""
    pairs = Crops(64)
    base = {"recipe": RECIPE.but(learn_temperature=True)}

    def validation() -> Validation:
        return Validation(Crops(33), metric="recall@1")

    run_forked(lambda: train(out / "1", pairs, validation=validation(), **base))
    run_many(2, lambda: train(out / "2", pairs, validation=validation(), **base))
    run_many(3, lambda: train(out / "3x2", pairs, validation=validation(), accumulation=2, workers=2, **base))
    # drop-out is that of the parts: one process in two parts draws as two processes
    run_forked(lambda: train(out / "dropout 1x2", pairs, dropout=0.3, accumulation=2))
    run_many(2, lambda: train(out / "dropout 2", pairs, dropout=0.3))

    def killed() -> None:
        store = Checkpoints(out / "checkpoints", every_steps=3, resume=True)
        train(out / "resumed", Crops(64, die_at(14 * 12)), validation=validation(), checkpoints=store, **base)

    run_forked(killed)

    def resumed() -> None:
        store = Checkpoints(out / "checkpoints", every_steps=3, resume=True)
        train(out / "resumed", pairs, validation=validation(), checkpoints=store, **base)

    run_many(2, resumed)

    def refused() -> None:
        store = Checkpoints(out / "checkpoints", resume=True)
        train(
            out / "refused",
            pairs,
            checkpoints=store,
            recipe=base["recipe"].but(seed=1),
            validation=validation(),
        )

    run_many(2, refused)


if __name__ == "__main__":
    SCENARIOS = {"kills": kills, "worlds": worlds}
    SCENARIOS[sys.argv[1]](Path(sys.argv[2]), *map(int, sys.argv[3:]))
