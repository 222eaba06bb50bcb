"""The contrastive loss that binds two modalities."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def symmetric_info_nce(a: Tensor, b: Tensor, scale: float | Tensor) -> Tensor:
    """Symmetric InfoNCE over a batch of pairs, every other row of the batch being a negative.

    Args:
        a: (N, D) embeddings of one modality, of any norm; rows are unit-normalized here.
        b: (N, D) embeddings of the other, row i paired with row i of ``a``.
        scale: inverse temperature, positive; 20 is a temperature of 0.05.

    Returns:
        Scalar loss in float32; ``log(N)`` when the embeddings say nothing.

    Raises:
        ValueError: the batches differ in shape, or hold fewer than two pairs (no negative, no signal).

    Source: ImageBind (arXiv 2305.05665), section 3.2, eq. 1, summed over both directions and halved.
    """
    if a.shape != b.shape or a.ndim != 2:
        raise ValueError(
            f"pairs must be two (N, D) batches of equal shape, got {tuple(a.shape)} and {tuple(b.shape)}"
        )
    if len(a) < 2:
        raise ValueError("InfoNCE needs at least two pairs in a batch: one pair has no negatives")
    logits = scale * F.normalize(a.float(), dim=-1) @ F.normalize(b.float(), dim=-1).T
    target = torch.arange(len(a), device=a.device)
    return 0.5 * (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target))
