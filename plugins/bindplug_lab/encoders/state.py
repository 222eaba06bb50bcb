"""The state of an encoder's training, and the file that a training that was cut short goes on from."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from bindplug.errors import CheckpointError
from bindplug.files import write_whole
from bindplug.training import parameter_groups
from bindplug_lab.encoders.network import ImageEncoder
from bindplug_lab.encoders.objectives import objective_of
from bindplug_lab.encoders.recipes import EncoderRecipe
from bindplug_toyworld import NAMES

BETAS = (0.9, 0.98)


class TrainingState:
    """All that an optimizer step changes.

    Args:
        encoder: freshly initialized; it is trained in place.
        recipe: of the training.
        count: pictures that are trained on.

    Attributes:
        objective: the encoder, and the networks that only training needs.
        optimizer: of what the objective trains.
        generator: of order and augmentation.
        order: (P,) pictures that this pass has not shown yet.
        step: optimizer steps taken.
        seconds: wall-clock time of them.
        losses: of each step.
    """

    def __init__(self, encoder: ImageEncoder, recipe: EncoderRecipe, count: int) -> None:
        with torch.random.fork_rng():
            torch.manual_seed(encoder.seed)
            self.objective = objective_of(encoder, len(NAMES))
        self.optimizer = torch.optim.AdamW(
            parameter_groups(self.objective.trained_parameters(), recipe.weight_decay),
            lr=recipe.learning_rate,
            betas=BETAS,
        )
        self.generator = torch.Generator().manual_seed(encoder.seed)
        self.order = torch.empty(0, dtype=torch.long)
        self.step, self.seconds = 0, 0.0
        self.losses: list[float] = []
        self.count = count
        self.identity = json.dumps(
            {
                "method": encoder.method,
                "size": encoder.size,
                "seed": encoder.seed,
                "count": count,
                **asdict(recipe),
            }
        )

    def next_batch(self, size: int) -> Tensor:
        """(B,) indices of pictures; each pass over them has an order of its own, and no batch spans two."""
        if len(self.order) < size:
            self.order = torch.randperm(self.count, generator=self.generator)
        indices, self.order = self.order[:size], self.order[size:]
        return indices

    def write(self, path: Path) -> None:
        """Write the state to a file that appears whole or not at all."""
        tensors = {f"objective.{name}": value for name, value in self.objective.state_dict().items()}
        for number, values in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{name}": value for name, value in values.items()}
        tensors |= {"generator": self.generator.get_state(), "order": self.order}
        tensors = {name: value.contiguous().clone() for name, value in tensors.items()}
        progress = json.dumps({"step": self.step, "seconds": self.seconds, "losses": self.losses})
        write_whole(path, save(tensors, metadata={"identity": self.identity, "progress": progress}))

    def read(self, path: Path) -> None:
        """Go on from a file that :meth:`write` wrote.

        Raises:
            CheckpointError: it is damaged, or of another training.
        """
        try:
            with safe_open(path, "pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            if metadata.get("identity") == self.identity:
                self._restore(tensors, json.loads(metadata["progress"]))
                return
        except Exception as error:
            raise CheckpointError(
                f"{path}: the state of a training cannot be read ({type(error).__name__}). Delete it to begin again."
            ) from error
        raise CheckpointError(f"{path} is the state of another training. Delete it to begin again.")

    def _restore(self, tensors: dict[str, Tensor], progress: dict[str, Any]) -> None:
        networks = _beneath("objective", tensors)
        self.objective.load_state_dict(networks)
        content = self.optimizer.state_dict()
        content["state"] = {}
        for name, value in _beneath("optimizer", tensors).items():
            number, key = name.split(".", 1)
            content["state"].setdefault(int(number), {})[key] = value
        self.optimizer.load_state_dict(content)
        self.generator.set_state(tensors["generator"])
        self.order = tensors["order"]
        self.step, self.seconds = int(progress["step"]), float(progress["seconds"])
        self.losses = [float(loss) for loss in progress["losses"]]


def _beneath(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names start with the prefix and a dot, without it."""
    return {
        name.removeprefix(f"{prefix}."): t for name, t in tensors.items() if name.startswith(f"{prefix}.")
    }
