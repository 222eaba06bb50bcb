"""Make the pipeline's default guidance scale mean what is best for so small a network.

Guided, the pipeline follows u + s (c - u): u what the network says without, c with the embedding. A call that names
no scale takes s = 10, which is far too much here. So a student is taught to say u without the embedding, and
u + g / 10 (c - u) with it: at s = 10 it does what its teacher does at s = g.

Source: guidance, arXiv 2207.12598; teaching a network its own guided answers, arXiv 2210.03142.
"""

from __future__ import annotations

import time
from copy import deepcopy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from recipes.descent import descend, ends
from recipes.generator_size import DEFAULT_GUIDANCE, GeneratorSize
from recipes.generator_unet import Batch, batches, velocity

SEED = 1
"""Other batches than the training's."""


def calibrate_guidance(
    teacher: Any, latents: Tensor, rows: Tensor, size: GeneratorSize, *, quiet: bool | None = None
) -> tuple[Any, dict[str, Any]]:
    """A copy of ``teacher`` whose guidance scale of 10 acts as the recipe's does.

    Args:
        teacher: a trained denoiser; unchanged.
        latents: (N, C, h, w) of the pictures.
        rows: (N, 2, D) unit image rows that go with them.
        size: the recipe; with no ``guidance_steps`` the teacher itself is returned.
        quiet: True shows no progress, None asks the environment.

    Returns:
        The student in evaluation mode, and the figures for the card: ``first_error`` and ``final_error`` are mean
        square differences between the student's guided answers at scale 10 and the teacher's at the recipe's.
    """
    if not size.guidance_steps:
        return teacher, {"seconds": 0.0}
    student = deepcopy(teacher).train()
    teacher = teacher.eval()
    optimizer = torch.optim.AdamW(
        student.parameters(), lr=size.guidance_learning_rate, betas=(0.9, 0.99), weight_decay=0.0, fused=True
    )
    batch_iterator = batches(latents, rows, size, size.guidance_steps, seed=SEED)
    started, warmup = time.perf_counter(), min(20, size.guidance_steps // 2)
    errors = descend(
        optimizer,
        lambda: guidance_loss(student, teacher, next(batch_iterator), size.guidance),
        steps=size.guidance_steps,
        warmup=warmup,
        name="guidance",
        quiet=quiet,
    )
    return student.eval(), ends(errors, started)


def guidance_loss(student: Any, teacher: Any, batch: Batch, guidance: float) -> tuple[Tensor, Tensor]:
    """The loss of one batch, and the error of the guided answer at the default scale.

    What is guided by is the difference of two answers, ten times, so the difference has a loss of its own.
    """
    without = torch.zeros_like(batch.labels)
    share = guidance / DEFAULT_GUIDANCE
    with torch.no_grad():
        u, c = _both(teacher, batch, without)
    student_u, student_c = _both(student, batch, without)
    difference = student_c - student_u - share * (c - u)
    fidelity = F.mse_loss(student_u, u) + F.mse_loss(student_c, u + share * (c - u))
    loss = fidelity + DEFAULT_GUIDANCE * difference.square().mean()
    guided = student_u + DEFAULT_GUIDANCE * (student_c - student_u) - (u + guidance * (c - u))
    return loss, guided.detach().square().mean()


def _both(unet: Any, batch: Batch, without: Tensor) -> tuple[Tensor, Tensor]:
    """What the network says without and with the embedding."""
    labels = torch.cat((without, batch.labels))
    predictions = velocity(unet, torch.cat([batch.noised] * 2), torch.cat([batch.timesteps] * 2), labels)
    without_it, with_it = predictions.chunk(2)
    return without_it, with_it
