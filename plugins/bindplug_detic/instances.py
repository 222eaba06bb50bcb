"""Results in the shape of detectron2's ``Instances``, for code that reads those; without detectron2."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor


class Boxes:
    """Boxes in ``.tensor``, (N, 4) x1, y1, x2, y2 in pixels."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor

    def area(self) -> Tensor:
        """(N,) in square pixels."""
        return (self.tensor[:, 2] - self.tensor[:, 0]) * (self.tensor[:, 3] - self.tensor[:, 1])

    def get_centers(self) -> Tensor:
        """(N, 2) x, y."""
        return (self.tensor[:, :2] + self.tensor[:, 2:]) / 2

    def to(self, device: torch.device | str) -> Boxes:
        """The same boxes on another device."""
        return Boxes(self.tensor.to(device))

    @property
    def device(self) -> torch.device:
        """Where the boxes are."""
        return self.tensor.device

    def __len__(self) -> int:
        return len(self.tensor)

    def __getitem__(self, index: Any) -> Boxes:
        return Boxes(self.tensor[index].reshape(-1, 4))

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self.tensor)

    def __repr__(self) -> str:
        return f"Boxes({self.tensor})"


class Instances:
    """Fields of N detections: ``.pred_boxes``, ``.scores``, ``.pred_classes`` and perhaps ``.pred_masks``.

    Args:
        image_size: height and width of the picture.
        fields: each of length N.
    """

    def __init__(self, image_size: tuple[int, int], **fields: Any) -> None:
        lengths = {name: len(value) for name, value in fields.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"fields of different lengths: {lengths}")
        self._image_size, self._fields = image_size, fields

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the picture."""
        return self._image_size

    def has(self, name: str) -> bool:
        """Whether there is a field of that name."""
        return name in self._fields

    def get(self, name: str) -> Any:
        """The field of that name."""
        return self._fields[name]

    def get_fields(self) -> dict[str, Any]:
        """All fields by name."""
        return self._fields

    def to(self, device: torch.device | str) -> Instances:
        """The same with every field on another device."""
        moved = {name: value.to(device) for name, value in self._fields.items()}
        return Instances(self._image_size, **moved)

    def __getattr__(self, name: str) -> Any:
        fields = self.__dict__.get("_fields", {})
        if name not in fields:
            raise AttributeError(f"Instances has no field {name!r}; it has: {', '.join(fields)}")
        return fields[name]

    def __len__(self) -> int:
        return len(next(iter(self._fields.values()), ()))

    def __getitem__(self, index: Any) -> Instances:
        if isinstance(index, int):
            index = slice(index, None if index == -1 else index + 1)
        return Instances(self._image_size, **{name: value[index] for name, value in self._fields.items()})

    def __repr__(self) -> str:
        height, width = self._image_size
        return f"Instances({len(self)} in {height}x{width}: {', '.join(self._fields)})"
