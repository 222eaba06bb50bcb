"""The one training loop: contrastive steps over a batch that processes and parts of accumulation share."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bindplug.directories import damage_named
from bindplug.errors import InputError, TrainingInterrupted
from bindplug.progress import iterate_with_progress
from bindplug.training.batch_loss import BatchLoss
from bindplug.training.batches import (
    Augmentation,
    Order,
    Pairs,
    check_divisible,
    derive_seed,
    generators,
    read_ahead,
    share_of,
)
from bindplug.training.checkpoints import CheckpointStore, Snapshot
from bindplug.training.data import PairDataset
from bindplug.training.failures import check_gradient, memory_named
from bindplug.training.identity import identity_of
from bindplug.training.interrupts import StopSignals
from bindplug.training.options import RunOptions
from bindplug.training.processes import Processes
from bindplug.training.random_state import random_state, restore_random_state, seeded
from bindplug.training.recipe import BindingRecipe
from bindplug.training.schedule import parameter_groups, warmup_cosine
from bindplug.training.validation import Validation, measure

logger = logging.getLogger(__name__)

LOG_SCALE = "log_scale"
"""Name of the learned temperature among a checkpoint's tensors, where no tower has one: it stands in a file apart."""


@dataclass
class Progress:
    """Where a run stands, ready for JSON.

    Attributes:
        step: optimizer steps taken.
        seconds: of training, over all its restarts.
        losses: mean loss of each whole epoch.
        running: losses of the current epoch's steps.
        validations: figures of each validation, with its ``step``.
        best_step: after which the validation was best; 0 before the first.
        best_value: of the metric that decides.
        waits: validations since then.
        is_stopped: whether patience has ended.
    """

    step: int = 0
    seconds: float = 0.0
    losses: list[float] = field(default_factory=list)
    running: list[float] = field(default_factory=list)
    validations: list[dict[str, float]] = field(default_factory=list)
    best_step: int = 0
    best_value: float | None = None
    waits: int = 0
    is_stopped: bool = False


class Run:
    """A run of training, from its beginning or a checkpoint to its end.

    Args:
        tower: whose parameters that require a gradient are trained, on the device of ``processes``.
        encode: (B, …) inputs -> (B, D) rows of any length, by the tower.
        pairs: to train on.
        recipe: hyper-parameters.
        augment: changes the inputs of each block.
        name: of the tower or modality.
        validation: what the run is measured on.
        options: how it proceeds.
        processes: that share it.

    Attributes:
        progress: where it stands.

    Raises:
        InputError: there are fewer pairs than a batch, or too few for the processes; nothing in the tower can learn.
        CheckpointError: the checkpoints are of another run, damaged, in use, or in the way.
    """

    def __init__(
        self,
        tower: nn.Module,
        encode: Callable[[Tensor], Tensor],
        pairs: PairDataset,
        recipe: BindingRecipe,
        *,
        augment: Augmentation | None,
        name: str,
        validation: Validation | None,
        options: RunOptions,
        processes: Processes,
    ) -> None:
        self.tower, self.encode, self.pairs, self.recipe = tower, encode, pairs, recipe
        self.augment, self.name, self.validation = augment, name, validation
        self.options, self.processes, self.device = options, processes, processes.device
        self.order = Order(len(pairs), recipe.batch_size, recipe.seed)
        check_divisible(self.order, processes.count, options.accumulation)
        self.total = max(1, round(recipe.epochs * self.order.steps_per_epoch))
        self.warmup = min(round(recipe.warmup_epochs * self.order.steps_per_epoch), self.total // 2)
        self.trained = {n: p for n, p in tower.named_parameters() if p.requires_grad}
        if not self.trained:
            raise InputError(
                name,
                found="no parameter to learn: none requires a gradient",
                expected="a tower with parameters that require one",
            )
        self.log_scale = torch.tensor(
            math.log(1.0 / recipe.temperature), device=self.device, requires_grad=recipe.learn_temperature
        )
        groups = parameter_groups(self.trained.items(), recipe.weight_decay)
        if recipe.learn_temperature:
            groups[1]["params"].append(self.log_scale)
        self.optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=recipe.betas)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=processes.precision == "fp16")
        self.progress = Progress()
        self.best: dict[str, Tensor] = {}
        self.resumed_step = 0
        self.store: CheckpointStore | None = None

    @property
    def scale(self) -> float:
        """The inverse temperature."""
        return float(self.log_scale.detach().exp())

    def train(self, quiet: bool | None) -> None:
        """Run to the end; then the tower has its best weights where there is a validation, else the last ones.

        Raises:
            InputError: the loss is not finite, or the data set returns what cannot be trained on.
            OutOfMemory: the device has too little memory.
            TrainingInterrupted: a signal came; a checkpoint was written.
        """
        with seeded(derive_seed(self.recipe.seed, "global"), self.device):
            try:
                self._open_store()
                self.processes.start_trackers(
                    self.options.project, {"name": self.name, **self.recipe.to_dict()}, self.progress.step
                )
                self._check_anchors_differ()
                self.tower.train()
                with StopSignals(self.options.checkpoints is not None) as signals:
                    self._steps(signals, quiet)
                self._take_best()
            finally:
                self.tower.eval()
                self.processes.end_trackers()
                if self.store is not None:
                    self.store.close()

    def _steps(self, signals: StopSignals, quiet: bool | None) -> None:
        sizes = share_of(self.order.blocks(0), self.processes.rank, self.processes.count, 1).sizes
        batch_loss = BatchLoss(
            self.encode, self.log_scale, self.scaler, self.processes, sizes, self.recipe.seed, self.name
        )
        self.processes.share_tensors(self.tower.state_dict().values())
        first = self.total if self.progress.is_stopped else self.progress.step
        steps = range(first, self.total)
        batches = read_ahead(
            self.pairs, self.order, self.augment, steps=steps, rank=self.processes.rank, processes=self.processes.count,
            accumulation=self.options.accumulation, workers=self.options.workers,
        )  # fmt: skip
        bar = iterate_with_progress(
            steps,
            total=len(steps),
            label=f"binding {self.name}",
            quiet=quiet if self.processes.is_main else True,
        )
        started = time.perf_counter()
        with closing(batches):  # reader threads end with the loop
            for step in bar:
                with memory_named(self.name, self.device, self._last_checkpoint()):
                    figures = self._step(batch_loss, next(batches), step)
                self.progress.step = step + 1
                is_due = self._close_epoch(step)
                self.processes.log(figures, step + 1)
                self._validate_if_due(step)
                if self.progress.is_stopped:
                    self._note_epoch(step)
                self.progress.seconds += time.perf_counter() - started
                started = time.perf_counter()
                is_last = step + 1 == self.total or self.progress.is_stopped
                is_interrupted = self.options.checkpoints is not None and self.processes.any(signals.is_set)
                if is_due or is_last or is_interrupted:
                    self._write_checkpoint()
                if is_interrupted and not is_last:
                    raise TrainingInterrupted(self._interruption())
                if self.progress.is_stopped:
                    break
        self.processes.share_tensors(self._buffers().values())

    def _step(self, batch_loss: BatchLoss, parts: list[Pairs], step: int) -> dict[str, float]:
        """One optimizer step on this process's parts of a batch; the figures for the trackers."""
        rate = self.recipe.learning_rate * warmup_cosine(
            step, total_steps=self.total, warmup_steps=self.warmup
        )
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        loss = batch_loss.backward(parts, step, self.order.indices(step), self._last_checkpoint())
        self.progress.running.append(loss)
        self.processes.sum_gradients(list(self.trained.values()))
        self.scaler.unscale_(self.optimizer)
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        norm = float(torch.nn.utils.clip_grad_norm_(parameters, self.recipe.clip_grad_norm))
        if not self.scaler.is_enabled():  # where it is, it leaves such a step out and scales less
            check_gradient(norm, self.name, step, self._last_checkpoint())
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return {"loss": loss, "learning_rate": rate, "gradient_norm": norm, "scale": self.scale}

    def _check_anchors_differ(self) -> None:
        """Raise where all pairs have one and the same anchor; after a few that agree, all are read."""
        of_anchors, _ = generators(self.recipe.seed, "anchors", 0, 0)
        count = len(self.pairs)
        spread = torch.linspace(0, count - 1, min(count, 16)).long()
        rows = self.pairs.anchors(spread, of_anchors)
        if rows.ndim != 2 or not torch.allclose(rows, rows[:1].expand_as(rows), equal_nan=True):
            return
        for indices in torch.arange(count).split(256):
            others = self.pairs.anchors(indices, of_anchors)
            if not torch.allclose(others, rows[:1].expand_as(others), equal_nan=True):
                return
        raise InputError(
            "the anchors of the pairs",
            found=f"one and the same row for all {count} pairs",
            expected="pictures that differ: among equal ones there is nothing to tell apart",
        )

    def _close_epoch(self, step: int) -> bool:
        """Note the epoch's loss at its end; whether a checkpoint is due."""
        is_epoch_end = (step + 1) % self.order.steps_per_epoch == 0 or step + 1 == self.total
        if is_epoch_end:
            self._note_epoch(step)
        checkpoints = self.options.checkpoints
        if checkpoints is None:
            return False
        return is_epoch_end if checkpoints.every_steps is None else (step + 1) % checkpoints.every_steps == 0

    def _note_epoch(self, step: int) -> None:
        """Add the mean of the losses since the last whole epoch to the losses of the epochs."""
        running, progress = self.progress.running, self.progress
        if running:
            progress.losses.append(sum(running) / len(running))
            logger.info("%s: step %d of %d, loss %.4f", self.name, step + 1, self.total, progress.losses[-1])
            progress.running = []

    def _validate_if_due(self, step: int) -> None:
        if self.validation is None:
            return
        every = max(1, round(self.validation.every_epochs * self.order.steps_per_epoch))
        if (step + 1) % every and step + 1 != self.total:
            return
        self.processes.share_tensors(self._buffers().values())
        self.tower.eval()
        dtype = self.processes.autocast_dtype
        with (
            memory_named(self.name, self.device, self._last_checkpoint()),
            torch.autocast(self.device.type, dtype, enabled=dtype is not None),
        ):
            figures = measure(
                self.validation, self.encode, self.processes,
                scale=self.scale, batch_size=self.recipe.batch_size, seed=self.recipe.seed,
            )  # fmt: skip
        self.tower.train()
        progress, value = self.progress, figures[self.validation.chosen_metric]
        progress.validations.append({"step": step + 1, **figures})
        self.processes.log({f"validation/{name}": figure for name, figure in figures.items()}, step + 1)
        logger.info("%s: step %d of %d, %s", self.name, step + 1, self.total, figures)
        if self.validation.is_better(value, progress.best_value):
            progress.best_value, progress.best_step, progress.waits = value, step + 1, 0
            self.best = self._weights()
        else:
            progress.waits += 1
        patience = self.validation.patience
        progress.is_stopped = patience is not None and progress.waits >= patience

    def _buffers(self) -> dict[str, Tensor]:
        """The tower's buffers that are kept with its weights, such as the statistics of batch normalization."""
        kept = self.tower.state_dict().keys()
        return {name: buffer for name, buffer in self.tower.named_buffers() if name in kept}

    def _weights(self) -> dict[str, Tensor]:
        """Copies on the CPU of all that the training changes: parameters, buffers and the temperature."""
        tensors = {**self.trained, **self._buffers()}
        copies = {f"tower.{n}": t.detach().to("cpu", copy=True).contiguous() for n, t in tensors.items()}
        return copies | {LOG_SCALE: self.log_scale.detach().to("cpu", copy=True)}

    @torch.no_grad()
    def _set_weights(self, weights: dict[str, Tensor]) -> None:
        own = dict(self.tower.named_buffers()) | self.trained
        for name, tensor in weights.items():
            (self.log_scale if name == LOG_SCALE else own[name.removeprefix("tower.")]).copy_(tensor)

    def _take_best(self) -> None:
        if self.best:
            self._set_weights(self.best)

    def _open_store(self) -> None:
        """Lock the checkpoints' directory and go on from the newest checkpoint, if there is one."""
        checkpoints = self.options.checkpoints
        if checkpoints is None:
            return
        with seeded(0, self.device):  # for pairs that draw from the global generators
            identity = identity_of(
                self.name, self.tower, self.pairs, self.recipe, self.processes.precision, self.validation
            )

        def read() -> Snapshot | None:
            code = {"code": dict(checkpoints.code)} if checkpoints.code else {}
            self.store = CheckpointStore(checkpoints, identity | code)
            return self.store.read() if checkpoints.resume else None

        snapshot = self.processes.on_main(read)
        if snapshot is not None:
            with damage_named(checkpoints.directory):
                self._restore(snapshot)

    def _restore(self, snapshot: Snapshot) -> None:
        self.progress = Progress(**snapshot.progress["run"])
        self.resumed_step = self.progress.step
        self._set_weights(snapshot.tensors["tower"])
        self.best = snapshot.tensors.get("best", {})
        state = self.optimizer.state_dict()
        moments: dict[int, dict[str, Tensor]] = {}
        for key, tensor in snapshot.tensors["optimizer"].items():
            number, _, kind = key.partition(".")
            moments.setdefault(int(number), {})[kind] = tensor
        self.optimizer.load_state_dict(state | {"state": moments})
        if self.scaler.is_enabled():
            self.scaler.load_state_dict(snapshot.progress["scaler"])
        if self.processes.rank < len(snapshot.random):
            restore_random_state(snapshot.random[self.processes.rank], self.device)
        logger.info("%s: resumed at step %d of %d", self.name, self.progress.step, self.total)

    def _write_checkpoint(self) -> None:
        random = self.processes.gather_objects(random_state(self.device))
        if self.store is None:  # only the main process writes
            return
        moments = self.optimizer.state_dict()["state"]
        tensors = {
            "tower": self._weights(),
            "optimizer": {
                f"{number}.{kind}": value.detach().to("cpu", copy=True).contiguous()
                for number, state in moments.items()
                for kind, value in state.items()
            },
        }
        if self.best:
            tensors["best"] = self.best
        progress: dict[str, Any] = {"run": vars(self.progress).copy(), "scaler": self.scaler.state_dict()}
        self.store.write(Snapshot(progress, random, tensors), self.progress.step)

    def _last_checkpoint(self) -> Path | None:
        return None if self.store is None else self.store.last

    def _interruption(self) -> str:
        checkpoints = self.options.checkpoints
        assert checkpoints is not None
        return (
            f"interrupted after step {self.progress.step} of {self.total}; a checkpoint is in {checkpoints.directory}. "
            f"Go on from it with the same command and --resume, or Checkpoints(..., resume=True)"
        )
