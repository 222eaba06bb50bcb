"""Prototypes: blend the row of a query of another modality with the rows of the images nearest to it.

Source: ImageBind-LLM (arXiv 2309.03905), training-free visual cache: the ten nearest images, a softmax of 20 x
cosine, half and half with the query.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from bindplug.directories import damage_named
from bindplug.errors import CheckpointError, InputError
from bindplug.query import image
from bindplug.space import EmbeddingSpace

if TYPE_CHECKING:
    from bindplug.encoder import Encoder

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
FORMAT = "bindplug-prototypes"
TOP_K, SCALE, WEIGHT = 10, 20.0, 0.5
ROUNDING = 1e-6
"""Rows whose length differs from 1 by less count as unit rows; float32 leaves up to 2e-7."""


@dataclass(frozen=True, eq=False)
class Prototypes:
    """Embeddings of many images, and how the rows of queries are blended with the nearest of them.

    Args:
        rows: (N, D), kept as unit rows in float32. Rows that have unit length are kept bit for bit, so that saved
            prototypes equal the loaded ones.
        space: of the rows.
        names: of the images, one for each row.
        top_k: number of nearest images to blend, at most all.
        scale: factor on cosines in the softmax that weights them.
        weight: share of the images in the blend, in [0, 1].

    Raises:
        InputError: rows of another shape, not finite or all zero, or a setting out of its range.
    """

    FILE: ClassVar[str] = "prototypes.safetensors"
    """Name of the file with a pipeline's own prototypes in its directory."""

    rows: Tensor
    space: EmbeddingSpace
    names: tuple[str, ...] = ()
    top_k: int = TOP_K
    scale: float = SCALE
    weight: float = WEIGHT

    def __post_init__(self) -> None:
        rows = torch.as_tensor(self.rows).detach().to("cpu", torch.float32)
        if rows.ndim != 2 or not len(rows) or rows.shape[1] != self.space.width:
            expected = f"at least one row of {self.space.width} numbers, in {self.space}"
            raise InputError("Prototypes", found=f"shape {tuple(rows.shape)}", expected=expected)
        lengths = rows.norm(dim=1, keepdim=True)
        if not lengths.isfinite().all() or not lengths.all():
            raise InputError(
                "Prototypes", found="NaN, infinity or a row of zeros", expected="rows with a direction"
            )
        names = tuple(self.names) or tuple(f"image {i}" for i in range(len(rows)))
        if len(names) != len(rows):
            raise InputError(
                "Prototypes", found=f"{len(names)} names", expected=f"{len(rows)}, one for each row"
            )
        if self.top_k < 1 or not self.scale > 0 or not 0 <= self.weight <= 1:
            detail = f"top_k={self.top_k}, scale={self.scale}, weight={self.weight}"
            raise InputError(
                "Prototypes", found=detail, expected="top_k >= 1, scale > 0 and weight in [0, 1]"
            )
        units = torch.where((lengths - 1).abs() <= ROUNDING, rows, torch.nn.functional.normalize(rows, dim=1))
        object.__setattr__(self, "rows", units)
        object.__setattr__(self, "names", names)

    def __len__(self) -> int:
        return len(self.rows)

    @classmethod
    def from_folder(
        cls,
        model: Encoder,
        folder: str | Path,
        *,
        batch_size: int = 32,
        progress: bool | None = None,
        **settings: Any,
    ) -> Prototypes:
        """Embed every image in a folder. Images that cannot be read are left out with a warning.

        Args:
            model: embeds the images, and later the queries.
            folder: searched with its subfolders.
            batch_size, progress: as :meth:`bindplug.Encoder.embed`.
            settings: ``top_k``, ``scale``, ``weight``.

        Raises:
            InputError: there is no such folder, or no image in it that can be read.
            ModalityNotLoaded: the model has no image tower.
        """
        root = Path(folder).expanduser()
        expected = f"a folder with images ({', '.join(IMAGE_SUFFIXES)})"
        if not root.is_dir():
            raise InputError(str(folder), found="no such folder", expected=expected)
        paths = sorted(path for path in root.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
        if not paths:
            raise InputError(str(folder), found="no image", expected=expected)
        embedded = model.embed_with_report(
            [image(path) for path in paths], batch_size=batch_size, on_error="skip", progress=progress
        )
        _warn_about([f"{skip.source}: {skip.reason}" for skip in embedded.skipped])
        if not embedded.kept:
            raise InputError(str(folder), found="no image that can be read", expected=expected)
        names = tuple(paths[index].relative_to(root).as_posix() for index in embedded.kept)
        return cls(embedded.rows.cpu(), model.embedding_space, names, **settings)

    def nearest(self, rows: Tensor) -> list[list[tuple[str, float]]]:
        """For each unit row of (N, D), names and cosines of the ``top_k`` nearest images, nearest first."""
        cosines, indices = self._top(rows)
        return [
            [(self.names[int(index)], float(cosine)) for cosine, index in zip(*pair, strict=True)]
            for pair in zip(cosines, indices, strict=True)
        ]

    def blend(self, rows: Tensor) -> Tensor:
        """Blend unit rows (N, D) with the images nearest to each; the result has unit rows (N, D).

        Raises:
            InputError: rows of another width.
        """
        cosines, indices = self._top(rows)  # (N, K) each
        shares = (self.scale * cosines).softmax(dim=1)
        # (N, K), (N, K, D) -> (N, D)
        means = torch.einsum("nk,nkd->nd", shares, self.rows.to(rows)[indices])
        means = torch.nn.functional.normalize(means, dim=1)
        return torch.nn.functional.normalize((1 - self.weight) * rows + self.weight * means, dim=1)

    def save(self, path: str | Path) -> None:
        """Write the prototypes into one safetensors file."""
        metadata = {"format": FORMAT, "space": self.space.name, "fingerprint": self.space.fingerprint or ""}
        metadata |= {"names": json.dumps(self.names)}
        metadata |= {
            "settings": json.dumps({"top_k": self.top_k, "scale": self.scale, "weight": self.weight})
        }
        save_file({"rows": self.rows.contiguous()}, str(path), metadata=metadata)

    @classmethod
    def load(cls, path: str | Path) -> Prototypes:
        """Read what :meth:`save` wrote.

        Raises:
            CheckpointError: there is no such file, or it is damaged or something else.
        """
        if not Path(path).is_file():
            raise CheckpointError(
                f"there is no file {path}; pass a file that Prototypes.save() wrote, or a folder of images"
            )
        try:
            with damage_named(path), safe_open(str(path), framework="pt", device="cpu") as file:
                metadata = file.metadata() or {}
                if metadata.get("format") != FORMAT:
                    raise CheckpointError(f"{path} holds no prototypes; Prototypes.save() writes such files")
                rows = file.get_tensor("rows")
                if not rows.is_floating_point():
                    raise ValueError(f"rows are {rows.dtype}")
                space = EmbeddingSpace(metadata["space"], rows.shape[1], metadata["fingerprint"] or None)
                names, settings = json.loads(metadata["names"]), json.loads(metadata["settings"])
                return cls(rows, space, tuple(names), **settings)
        except CheckpointError:
            raise
        except (SafetensorError, OSError, InputError) as error:
            raise CheckpointError(f"{path} is no whole file of prototypes ({error})") from error

    def _top(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        if rows.ndim != 2 or rows.shape[1] != self.space.width:
            expected = f"(N, {self.space.width}), in {self.space}"
            raise InputError("Prototypes", found=f"rows of shape {tuple(rows.shape)}", expected=expected)
        top = (rows @ self.rows.to(rows).T).topk(min(self.top_k, len(self)), dim=1)
        return top.values, top.indices


def _warn_about(skipped: Sequence[str]) -> None:
    if skipped:
        import warnings

        from bindplug.encoder import SkippedInputs

        lines = "".join(f"\n  {line}" for line in skipped)
        warnings.warn(f"left out {len(skipped)} images:{lines}", SkippedInputs, stacklevel=3)


def shipped_prototypes(pipe: Any, model: Encoder) -> Prototypes | None:
    """The prototypes in the directory that a pipeline was loaded from; None if there are none in the model's space.

    Raises:
        CheckpointError: the file is damaged.
    """
    directory = getattr(pipe, "name_or_path", None)
    if not directory or not Path(directory, Prototypes.FILE).is_file():
        return None
    prototypes = Prototypes.load(Path(directory, Prototypes.FILE))
    return prototypes if model.embedding_space.matches(prototypes.space) else None


def open_prototypes(prototypes: Any, model: Encoder) -> Any:
    """Prototypes from a file or a folder of images; None for False; any other value unchanged."""
    if prototypes is False:
        return None
    if isinstance(prototypes, (str, Path)):
        path = Path(prototypes).expanduser()
        return Prototypes.from_folder(model, path) if path.is_dir() else Prototypes.load(path)
    return prototypes
