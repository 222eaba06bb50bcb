"""The detections of one picture."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bindplug.errors import InputError
from bindplug.lazy import require
from bindplug_detic.boxes import scale_boxes
from bindplug_detic.conversions import Convertible
from bindplug_detic.masks import Crop, paste_crop, paste_masks

if TYPE_CHECKING:
    from bindplug_detic.postprocess import RawDetections

INTEGERS = (int, np.integer)
LARGEST_SCALE = 16


class Detections(Convertible):
    """N detections of one picture, best first, on the CPU.

    Args:
        boxes: (N, 4) x1, y1, x2, y2 in pixels of the picture.
        scores: (N,) from 0 to 1.
        labels: N names.
        label_indices: (N,) int64, rows of the vocabulary or of the prompts.
        image_size: height and width of the picture.
        masks: (N, H, W) bool, where they exist in full size.
        mask_logits: (N, M, M) before the sigmoid, over each box; pasted into ``masks`` at the first access.
        picture: the picture, for :meth:`draw`.
        info: further facts of the run. ``"prompts"`` and ``"routes"`` have one entry for each row of the
            vocabulary; :attr:`prompts` and :attr:`routes` read them.

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

    @classmethod
    def from_raw(
        cls,
        raw: RawDetections,
        picture: Image.Image,
        input_size: Sequence[int],
        names: Sequence[str] | None = None,
    ) -> Detections:
        """The network's output, scaled to the picture.

        Args:
            raw: in pixels of the network input.
            picture: the whole picture.
            input_size: height and width of the network input.
            names: of the classes that ``raw.labels`` counts; None leaves the labels empty.
        """
        size = (picture.height, picture.width)
        boxes, rows = scale_boxes(to_float32(raw.boxes), input_size, size)
        indices = raw.labels.cpu()[rows].clone()
        return cls(
            boxes,
            to_float32(raw.scores)[rows],
            [names[index] if names is not None else "" for index in indices.tolist()],
            indices,
            size,
            mask_logits=None if raw.mask_logits is None else to_float32(raw.mask_logits)[rows],
            picture=picture,
        )

    @classmethod
    def merged(
        cls, parts: Sequence[Detections], labels: Sequence[str], info: Mapping[str, Any]
    ) -> Detections:
        """Detections of one picture by several routes as one, best first; with masks if every part has them.

        Args:
            parts: at least one, all of the same picture.
            labels: name of each value of ``label_indices``.
            info: of the whole.
        """
        first = parts[0]
        scores = torch.cat([part.scores for part in parts])
        order = scores.argsort(descending=True, stable=True)
        indices = torch.cat([part.label_indices for part in parts])[order]
        masks: dict[str, Tensor] = {}
        logits = [part.mask_logits for part in parts if part.mask_logits is not None]
        if len(logits) == len(parts) and len({part_logits.shape[1:] for part_logits in logits}) == 1:
            masks = {"mask_logits": torch.cat(logits)[order]}
        elif all(part.has_masks for part in parts):
            masks = {"masks": torch.cat([part.masks for part in parts if part.masks is not None])[order]}
        return cls(
            torch.cat([part.boxes for part in parts])[order],
            scores[order],
            [labels[index] for index in indices.tolist()],
            indices,
            first.image_size,
            picture=first.picture,
            info=info,
            **masks,
        )

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
                problem = f"{name} of shape {tuple(tensor.shape)}"
                raise InputError("Detections", found=problem, expected=f"{expected}, for {count} labels")
        if self.mask_logits is not None and (self.mask_logits.ndim != 3 or len(self.mask_logits) != count):
            problem = f"mask_logits of shape {tuple(self.mask_logits.shape)}"
            raise InputError("Detections", found=problem, expected=f"({count}, M, M)")
        if not self.boxes.isfinite().all():
            raise InputError("Detections", found="boxes that are not finite", expected="numbers of pixels")

    @property
    def has_masks(self) -> bool:
        """Whether there are masks."""
        return self._masks is not None or self.mask_logits is not None

    @property
    def masks(self) -> Tensor | None:
        """(N, H, W) bool in the picture's size, pasted at the first access; None without masks.

        They take N x H x W bytes; :meth:`mask_crop` gives one at a time and only where its box is.
        """
        if self._masks is None and self.mask_logits is not None:
            self._masks = paste_masks(self.mask_logits, self.boxes, self.image_size)
        return self._masks

    def mask_crop(self, index: int) -> Crop:
        """The mask of one detection in the part of the picture that its box covers: (mask, top, left).

        Raises:
            InputError: there are no masks.
        """
        if self._masks is not None:
            return Crop(self._masks[index], 0, 0)
        if self.mask_logits is None:
            remedy = "Call the detector with with_masks=True."
            raise InputError("Detections", found="no masks", expected="detections with masks", remedy=remedy)
        return paste_crop(self.mask_logits[index], self.boxes[index], self.image_size)

    @property
    def prompts(self) -> list[Any] | None:
        """The prompt of each detection; None for detections of a vocabulary."""
        return self._info_of_each("prompts")

    @property
    def routes(self) -> list[Any] | None:
        """The route by which each detection's prompt reached the detector's space; None for a vocabulary."""
        return self._info_of_each("routes")

    def _info_of_each(self, name: str) -> list[Any] | None:
        entries = self.info.get(name)
        return None if entries is None else [entries[index] for index in self.label_indices.tolist()]

    def filter(self, *, labels: Collection[str] | str | None = None, threshold: float = 0.0) -> Detections:
        """The detections with one of the ``labels`` (None for any) and a score of at least ``threshold``."""
        names = {labels} if isinstance(labels, str) else labels
        has_label = torch.tensor([names is None or label in names for label in self.labels], dtype=torch.bool)
        return self[has_label & (self.scores >= threshold)]

    def with_labels(self, label_indices: Tensor, labels: Sequence[str], scores: Tensor) -> Detections:
        """The same boxes and masks with other labels and scores, without ``info``."""
        return Detections(
            self.boxes,
            scores,
            labels,
            label_indices,
            self.image_size,
            masks=None if self.mask_logits is not None else self._masks,
            mask_logits=self.mask_logits,
            picture=self.picture,
        )

    def draw(
        self,
        path: str | PathLike[str] | None = None,
        *,
        picture: Image.Image | None = None,
        masks: bool = True,
        scores: bool = True,
        scale: int = 1,
        colors: Mapping[str, str] | None = None,
        font: str | PathLike[str] | None = None,
    ) -> Image.Image:
        """A new picture with masks, boxes and labels, the best detection on top.

        Args:
            path: where to save it too; the suffix says in which format.
            picture: what to draw on, of the detections' ``image_size``; by default their own picture.
            masks: whether to draw masks, if there are any.
            scores: whether labels include the score.
            scale: enlarge the picture this many times first, from 1 to 16, so that labels on a small one are
                legible.
            colors: by label, as ``{"dog": "#ff8800"}`` or any name Pillow knows; the others are assigned.
            font: a TrueType file, for labels in scripts that Pillow's own font lacks.

        Raises:
            InputError: no picture, one of another size, or an option out of its range.
        """
        require("torchvision", owner="Detections.draw", extra="detic")
        from bindplug_detic.drawing import annotate

        canvas = self._canvas(picture)
        if isinstance(scale, bool) or not isinstance(scale, int) or not 1 <= scale <= LARGEST_SCALE:
            expected = f"a whole number from 1 to {LARGEST_SCALE}"
            raise InputError("draw()", found=f"scale={scale!r}", expected=expected)
        enlarged = self
        if scale > 1:
            canvas = canvas.resize((canvas.width * scale, canvas.height * scale), Image.Resampling.LANCZOS)
            enlarged = self._enlarged(scale)
        drawn = annotate(
            canvas,
            enlarged.boxes,
            self.scores,
            self.labels,
            self.label_indices.tolist(),
            mask_crop=enlarged.mask_crop if masks and self.has_masks else None,
            with_scores=scores,
            colors=colors,
            font=font,
        )
        if path is not None:
            drawn.save(path)
        return drawn

    def _canvas(self, picture: Image.Image | None) -> Image.Image:
        picture = self.picture if picture is None else picture
        if picture is None:
            raise InputError("draw()", found="no picture", expected="picture=..., the detections' own")
        height, width = self.image_size
        if picture.size != (width, height):
            problem = f"a picture of {picture.width}x{picture.height}"
            raise InputError("draw()", found=problem, expected=f"{width}x{height}, the detections' size")
        return picture.convert("RGB") if picture.mode != "RGB" else picture.copy()

    def _enlarged(self, scale: int) -> Detections:
        height, width = self.image_size
        masks = None
        if self.mask_logits is None and self._masks is not None:
            # (N, H, W) -> (N, scale * H, scale * W)
            masks = self._masks.repeat_interleave(scale, 1).repeat_interleave(scale, 2)
        return Detections(
            self.boxes * scale,
            self.scores,
            self.labels,
            self.label_indices,
            (height * scale, width * scale),
            masks=masks,
            mask_logits=self.mask_logits,
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __iter__(self) -> Iterator[Detections]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: Any) -> Detections:
        """Some of the detections, by a number, slice, list of numbers, or list or tensor of bools."""
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
        selection = torch.as_tensor(index).cpu()
        return every[selection if selection.numel() else selection.long()]

    def __repr__(self) -> str:
        height, width = self.image_size
        best = ", ".join(f"{n} {s:.2f}" for n, s in zip(self.labels[:5], self.scores.tolist(), strict=False))
        more = ", …" if len(self) > 5 else ""
        return f"Detections({len(self)} in {height}x{width}{': ' if best else ''}{best}{more})"


def to_float32(tensor: Tensor) -> Tensor:
    """A float32 copy on the CPU, free of inference mode's restrictions."""
    return tensor.float().cpu().clone()
