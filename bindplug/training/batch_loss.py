"""The loss of a whole batch and its gradients, where processes and parts of accumulation share the batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from bindplug.errors import InputError
from bindplug.training.batches import Pairs, derive_seed
from bindplug.training.failures import check_loss
from bindplug.training.loss import symmetric_info_nce
from bindplug.training.processes import Processes
from bindplug.training.random_state import seed_torch


class BatchLoss:
    """Symmetric InfoNCE over all pairs of a batch, whoever embeds them.

    Args:
        encode: (B, …) inputs -> (B, D) rows of any length, by the tower that gets gradients.
        log_scale: log of the inverse temperature; learned where it requires a gradient.
        scaler: of half precision's gradients.
        processes: that share each batch.
        sizes: how many pairs of a batch each process has.
        seed: of drop path and drop-out.
        name: of the tower, for messages.
    """

    def __init__(
        self,
        encode: Callable[[Tensor], Tensor],
        log_scale: Tensor,
        scaler: torch.amp.GradScaler,
        processes: Processes,
        sizes: Sequence[int],
        seed: int,
        name: str,
    ) -> None:
        self.encode, self.log_scale, self.scaler, self.processes = encode, log_scale, scaler, processes
        self.sizes, self.seed, self.name = sizes, seed, name

    def backward(self, parts: list[Pairs], step: int, indices: Tensor, last_checkpoint: Path | None) -> float:
        """Add this process's part of the gradients of the whole batch's loss to the parameters.

        With one part the tower runs once. With more, all parts are embedded without a graph, the loss gives the
        gradient of each row, and each part is embedded again to carry its rows' gradients into the tower.

        Args:
            parts: this process's share of the batch.
            step: counted from 0.
            indices: (B,) of the whole batch's pairs, for messages.
            last_checkpoint: the newest, if there is one, for messages.

        Returns:
            The loss.

        Raises:
            InputError: the loss is not finite, or rows have another width than anchors.

        Source: Gao et al., Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup (arXiv 2101.06983).
        """
        with torch.set_grad_enabled(len(parts) == 1):
            rows = [self._embed(part, step) for part in parts]
        own = torch.cat([part.anchors for part in parts]).to(self.processes.device)
        all_anchors, all_rows = self._gather(own, torch.cat([part.detach() for part in rows]))
        loss = symmetric_info_nce(all_anchors, all_rows, self.log_scale.exp())
        value = check_loss(loss, all_anchors, all_rows, indices, self.name, step, last_checkpoint)
        gradients = self._gradients(loss, all_rows)  # (b, D), of this process's rows
        sizes = [len(part.anchors) for part in parts]
        for part, part_rows, gradient in zip(parts, rows, gradients.split(sizes), strict=True):
            with_graph = part_rows if len(parts) == 1 else self._embed(part, step)
            with_graph.backward(self.scaler.scale(gradient))
        return value

    def _gather(self, anchors: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """This process's anchors and rows, both (b, D), to those of the whole batch, (B, D)."""
        if rows.shape != anchors.shape:
            raise InputError(
                f"binding {self.name}",
                found=f"rows of shape {tuple(rows.shape)} for anchors of {tuple(anchors.shape)}",
                expected="a tower whose rows have the anchors' width",
            )
        width = rows.shape[1]
        all_rows = self.processes.gather_rows(rows, self.sizes, width).requires_grad_()
        return self.processes.gather_rows(anchors, self.sizes, width), all_rows

    def _gradients(self, loss: Tensor, all_rows: Tensor) -> Tensor:
        """The loss's gradient for this process's rows, (B, D) -> (b, D); a learned temperature's is put in place."""
        learned = [self.log_scale] if self.log_scale.requires_grad else []
        gradients = torch.autograd.grad(loss, [all_rows, *learned])
        if learned:
            self.log_scale.grad = self.scaler.scale(gradients[1])
        start = sum(self.sizes[: self.processes.rank])
        return gradients[0][start : start + self.sizes[self.processes.rank]]

    def _embed(self, part: Pairs, step: int) -> Tensor:
        """Rows (b, D) float32 of a part; drop path and dropout draw the same each time."""
        # of the part's place in the batch: one process in two parts draws as two processes in one
        seed_torch(derive_seed(self.seed, "forward", step, part.start), self.processes.device)
        dtype = self.processes.autocast_dtype
        with torch.autocast(self.processes.device.type, dtype, enabled=dtype is not None):
            rows = self.encode(part.inputs.to(self.processes.device))
        return rows.float()
