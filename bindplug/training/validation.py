"""Validation during a run: figures on pairs or samples that training does not see, and early stopping on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from bindplug.errors import InputError
from bindplug.training.batches import generators, name_indices, read_blocks
from bindplug.training.data import PairDataset
from bindplug.training.loss import symmetric_info_nce
from bindplug.training.processes import Processes
from bindplug.training.scales import HeldOut

LOSS, RECALL, ACCURACY = "loss", "recall@1", "accuracy"
METRICS = (LOSS, RECALL, ACCURACY)


@dataclass(frozen=True)
class Validation:
    """What a run is measured on as it goes, and when it stops.

    After the run the tower has the weights that were best by ``metric``.

    Args:
        data: pairs, or samples each with its right answer among candidates, such as class names. Neither may be
            among the training pairs.
        metric: ``"loss"``, ``"recall@1"`` (pairs: the share of samples whose own picture is nearest among all
            held-out pictures, ties shared) or ``"accuracy"`` (samples: the share whose right answer is nearest). None
            takes the loss of pairs and the accuracy of samples.
        every_epochs: epochs from one validation to the next; fractions are allowed. The last step is always measured.
        patience: validations without a better value after which the run stops; None never stops early.

    Raises:
        InputError: the metric is unknown or does not fit the data, there are fewer than two pairs, or a number is out
            of its range.
    """

    data: PairDataset | HeldOut
    metric: str | None = None
    every_epochs: float = 1.0
    patience: int | None = None

    def __post_init__(self) -> None:
        fitting = (LOSS, ACCURACY) if isinstance(self.data, HeldOut) else (LOSS, RECALL)
        if self.metric is not None and self.metric not in fitting:
            raise InputError(
                "Validation(metric=)",
                found=repr(self.metric),
                expected=f"one of {', '.join(fitting)} for this data",
            )
        if not self.every_epochs > 0:
            raise InputError(
                "Validation(every_epochs=)", found=repr(self.every_epochs), expected="more than 0"
            )
        if self.patience is not None and self.patience < 1:
            raise InputError(
                "Validation(patience=)", found=repr(self.patience), expected="at least 1, or None"
            )
        if not isinstance(self.data, HeldOut) and len(self.data) < 2:
            raise InputError("Validation(data=)", found=f"{len(self.data)} pairs", expected="at least 2")

    @property
    def chosen_metric(self) -> str:
        """The metric that decides: ``metric``, or the data's own where it is None."""
        if self.metric is not None:
            return self.metric
        return ACCURACY if isinstance(self.data, HeldOut) else LOSS

    def is_better(self, value: float, best: float | None) -> bool:
        """Whether ``value`` beats the best so far."""
        if best is None:
            return True
        return value < best if self.chosen_metric == LOSS else value > best


@torch.no_grad()
def measure(
    validation: Validation,
    encode: Callable[[Tensor], Tensor],
    processes: Processes,
    *,
    scale: float,
    batch_size: int,
    seed: int,
) -> dict[str, float]:
    """The data's figures: ``loss`` and ``recall@1`` of pairs, ``loss`` and ``accuracy`` of samples.

    Every process embeds its share and gets the same figures. The draws are the same each time, so that two
    validations differ by the tower alone.

    Args:
        validation: what to measure on.
        encode: (B, …) inputs on the device -> (B, D) rows.
        processes: that share the work.
        scale: the factor on cosines.
        batch_size: pairs that are contrasted with each other for the loss, as in training.
        seed: of the draws.
    """
    data = validation.data
    count = len(data.inputs) if isinstance(data, HeldOut) else len(data)
    blocks = list(enumerate(torch.arange(count).split(32)))
    shares = processes.shares(blocks)
    sizes = [sum(len(indices) for _, indices in share) for share in shares]
    rows: list[Tensor] = []
    anchors: list[Tensor] = []
    for number, indices in shares[processes.rank]:
        if isinstance(data, HeldOut):
            inputs = data.inputs[indices].float()
        else:
            block = read_blocks(
                data, [(number, indices)], None, lambda n: generators(seed, "validation", 0, n)
            )
            inputs = block.inputs
            anchors.append(block.anchors)
        rows.append(encode(inputs.to(processes.device)).float())
    width = rows[0].shape[1] if rows else 0
    embedded = processes.gather_rows(torch.cat(rows) if rows else None, sizes, width)
    unusable = (~embedded.isfinite().all(1)).nonzero().flatten().cpu()
    if len(unusable):
        raise InputError(
            "the validation data",
            found=f"rows of the tower that are not finite for {name_indices(unusable)}",
            expected="finite rows",
            remedy="Inputs hold NaN or infinity there: leave them out",
        )
    if isinstance(data, HeldOut):
        return _figures_of_samples(embedded, data, scale)
    pictures = processes.gather_rows(
        torch.cat(anchors).to(processes.device) if anchors else None, sizes, width
    )
    return _figures_of_pairs(pictures, embedded, scale, batch_size)


def _figures_of_pairs(pictures: Tensor, rows: Tensor, scale: float, batch_size: int) -> dict[str, float]:
    chunks = list(zip(pictures.split(batch_size), rows.split(batch_size), strict=True))
    if len(chunks) > 1 and len(chunks[-1][0]) < batch_size:
        chunks.pop()  # a smaller batch has fewer negatives and so a smaller loss
    loss = sum(float(symmetric_info_nce(a, b, scale)) for a, b in chunks) / len(chunks)
    pictures, rows = F.normalize(pictures, dim=1), F.normalize(rows, dim=1)
    hits = 0.0
    own = (pictures * rows).sum(1)  # (N,)
    for start in range(0, len(rows), 1024):
        part = slice(start, start + 1024)
        cosines = rows[part] @ pictures.T  # (b, N)
        right = own[part, None]
        is_equal = (cosines - right).abs() <= 1e-6
        is_beaten = ((cosines > right) & ~is_equal).any(1)
        hits += float((~is_beaten / is_equal.sum(1).clamp(min=1)).sum())
    return {LOSS: loss, RECALL: hits / len(rows)}


def _figures_of_samples(rows: Tensor, data: HeldOut, scale: float) -> dict[str, float]:
    candidates = F.normalize(data.candidates.to(rows), dim=1)
    cosines = F.normalize(rows, dim=1) @ candidates.T  # (N, K)
    labels = data.labels.to(rows.device)
    accuracy = (cosines.argmax(1) == labels).double().mean()
    return {LOSS: float(F.cross_entropy(scale * cosines, labels)), ACCURACY: float(accuracy)}
