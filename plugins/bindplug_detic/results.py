"""What a detector found in one picture."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bindplug.errors import InputError
from bindplug_detic import conversions
from bindplug_detic.pasting import Crop, paste_crop, paste_masks

if TYPE_CHECKING:
    from bindplug_detic.instances import Instances

INTEGERS = (int, np.integer)


class Detections:
    """N detections of one picture, best first, on the CPU.

    Args:
        boxes: (N, 4) x1, y1, x2, y2 in pixels of the picture.
        scores: (N,) from 0 to 1.
        labels: N names.
        label_indices: (N,) int64, rows of the vocabulary that was looked for.
        image_size: height and width of the picture.
        masks: (N, H, W) bool, if they are there already.
        mask_logits: (N, M, M) before the sigmoid, over each box; they become ``masks`` when those are asked for.
        picture: what was looked at, for :meth:`draw`.
        info: what else is known of the run. ``"prompts"`` and ``"routes"`` have one entry for each row of
            the vocabulary and are what :attr:`prompts` and :attr:`routes` read.

    Raises:
        InputError: fields of different lengths or shapes, or boxes that are not finite.
    """

    def __init__(
        self,
        boxes: Tensor,
        scores: Tensor,
        labels: Sequence[str],
        label_indices: Tensor,
        image_size: tuple[int, int],
        *,
        masks: Tensor | None = None,
        mask_logits: Tensor | None = None,
        picture: Image.Image | None = None,
        info: Mapping[str, Any] | None = None,
    ) -> None:
        self.boxes = boxes.detach().float().cpu()
        self.scores = scores.detach().float().cpu()
        self.labels = list(labels)
        self.label_indices = label_indices.detach().long().cpu()
        self.image_size = (int(image_size[0]), int(image_size[1]))
        self.mask_logits = None if mask_logits is None else mask_logits.detach().float().cpu()
        self.picture = picture
        self.info = dict(info or {})
        self._masks = None if masks is None else masks.detach().bool().cpu()
        self._check()

    def _check(self) -> None:
        count, (height, width) = len(self.labels), self.image_size
        shapes = {
            "boxes": (self.boxes, (count, 4)),
            "scores": (self.scores, (count,)),
            "label_indices": (self.label_indices, (count,)),
            "masks": (self._masks, (count, height, width)),
        }
        for name, (tensor, expected) in shapes.items():
            if tensor is not None and tuple(tensor.shape) != expected:
                found = f"{name} of shape {tuple(tensor.shape)}"
                raise InputError("Detections", found=found, expected=f"{expected}, for {count} labels")
        if self.mask_logits is not None and (self.mask_logits.ndim != 3 or len(self.mask_logits) != count):
            found = f"mask_logits of shape {tuple(self.mask_logits.shape)}"
            raise InputError("Detections", found=found, expected=f"({count}, M, M)")
        if not self.boxes.isfinite().all():
            raise InputError("Detections", found="boxes that are not finite", expected="numbers of pixels")

    @property
    def has_masks(self) -> bool:
        """Whether masks were asked for."""
        return self._masks is not None or self.mask_logits is not None

    @property
    def masks(self) -> Tensor | None:
        """(N, H, W) bool in the picture's own size, made at the first look; None if they were not asked for.

        They take N x H x W bytes; :meth:`mask_crop` gives one at a time and only where its box is.
        """
        if self._masks is None and self.mask_logits is not None:
            self._masks = paste_masks(self.mask_logits, self.boxes, self.image_size)
        return self._masks

    def mask_crop(self, index: int) -> Crop:
        """The mask of one detection where it can be set: (mask, top, left).

        Raises:
            InputError: masks were not asked for.
        """
        if self._masks is not None:
            return Crop(self._masks[index], 0, 0)
        if self.mask_logits is None:
            remedy = "Call the detector with with_masks=True."
            raise InputError("Detections", found="no masks", expected="detections with masks", remedy=remedy)
        return paste_crop(self.mask_logits[index], self.boxes[index], self.image_size)

    @property
    def prompts(self) -> list[Any] | None:
        """The prompt that found each detection, if it was looked for by prompts."""
        return self._per_detection("prompts")

    @property
    def routes(self) -> list[Any] | None:
        """How each detection's prompt reached the detector's space, if it was looked for by prompts."""
        return self._per_detection("routes")

    def _per_detection(self, name: str) -> list[Any] | None:
        entries = self.info.get(name)
        return None if entries is None else [entries[index] for index in self.label_indices.tolist()]

    def filter(self, *, labels: Collection[str] | str | None = None, threshold: float = 0.0) -> Detections:
        """Those with one of the ``labels`` (None for any) and a score of at least ``threshold``."""
        wanted = {labels} if isinstance(labels, str) else labels
        named = torch.tensor([wanted is None or label in wanted for label in self.labels], dtype=torch.bool)
        return self[named & (self.scores >= threshold)]

    def draw(self, path: str | PathLike[str] | None = None, **options: Any) -> Image.Image:
        """The picture with masks, boxes and labels on it.

        Args:
            path: where to save it too; the suffix says in which format.
            options: as :func:`bindplug_detic.drawing.draw`: picture, masks, scores, scale, colors, font.

        Raises:
            InputError: the detections hold no picture and none is given.
        """
        from bindplug_detic.drawing import draw

        drawn = draw(self, **options)
        if path is not None:
            drawn.save(path)
        return drawn

    def to_detectron2(self) -> Instances:
        """In the shape of detectron2's Instances: pred_boxes, scores, pred_classes, perhaps pred_masks."""
        return conversions.to_detectron2(self)

    def to_torchvision(self) -> dict[str, Tensor]:
        """As torchvision's detectors answer: boxes, labels, scores, perhaps masks (N, 1, H, W) uint8."""
        return conversions.to_torchvision(self)

    def to_coco(
        self, image_id: int | str = 0, *, category_ids: Sequence[int] | None = None
    ) -> list[dict[str, Any]]:
        """As entries of COCO's results file, ready for JSON; masks are compressed run lengths.

        Args:
            image_id: of the picture.
            category_ids: of each row of the vocabulary; by default 1, 2, … in its order, as LVIS numbers them.

        Raises:
            InputError: ``category_ids`` is too short.
        """
        return conversions.to_coco(self, image_id, category_ids)

    def to_supervision(self) -> Any:
        """As ``supervision.Detections``, class names in ``data["class_name"]``.

        Raises:
            MissingDependency: supervision is not installed.
        """
        return conversions.to_supervision(self)

    def to_dict(self, *, masks: bool = True) -> dict[str, Any]:
        """Ready for JSON: image_size, and a list of detections with label, label_index, score, box and mask."""
        return conversions.to_dict(self, masks)

    def __len__(self) -> int:
        return len(self.labels)

    def __iter__(self) -> Iterator[Detections]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: Any) -> Detections:
        """Some of them, as Detections again: by a number, slice, list of numbers, or list or tensor of bools."""
        rows = self._rows(index)
        return Detections(
            self.boxes[rows],
            self.scores[rows],
            [self.labels[row] for row in rows.tolist()],
            self.label_indices[rows],
            self.image_size,
            masks=None if self._masks is None else self._masks[rows],
            mask_logits=None if self.mask_logits is None else self.mask_logits[rows],
            picture=self.picture,
            info=self.info,
        )

    def _rows(self, index: Any) -> Tensor:
        every = torch.arange(len(self))
        if isinstance(index, INTEGERS):
            if not -len(self) <= index < len(self):
                raise IndexError(f"detection {index} of {len(self)}")
            return every[int(index)].reshape(1)
        if isinstance(index, slice):
            return torch.tensor(range(len(self))[index], dtype=torch.long)
        chosen = torch.as_tensor(index)
        return every[chosen.cpu() if chosen.numel() else chosen.cpu().long()]

    def __repr__(self) -> str:
        height, width = self.image_size
        best = ", ".join(f"{n} {s:.2f}" for n, s in zip(self.labels[:5], self.scores.tolist(), strict=False))
        more = ", …" if len(self) > 5 else ""
        return f"Detections({len(self)} in {height}x{width}{': ' if best else ''}{best}{more})"
