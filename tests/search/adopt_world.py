"""Pictures of the toy world with the rows that the bundled models make of them, for the tests of adopting."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch

import bindplug
from bindplug import EmbeddingSpace, image
from bindplug_search.adopt import Candidate, Identification, identify, open_rows
from bindplug_search.adopt.samples import choose_root
from bindplug_toyworld import scene_at

COUNT = 150
MODELS = ("imagebind_tiny", "toy_foreign_clip")


class World:
    """Pictures, and what the models make of them, embedded once.

    Attributes:
        directory: with ``pictures/`` and ``paths.txt``.
        names: of the pictures, relative to ``pictures``.
        rows: for each model (N, D) unit rows.
        models: loaded, images and text and sound where they have it.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.pictures = directory / "pictures"
        self.pictures.mkdir()
        self.names = [f"{index:03}.png" for index in range(COUNT)]
        for index, name in enumerate(self.names):
            scene_at("eval", index, canvas=(64, 88), things=1 + index % 3).image.save(self.pictures / name)
        (directory / "paths.txt").write_text("\n".join(str(self.pictures / name) for name in self.names))
        self.models = {
            "imagebind_tiny": bindplug.load("imagebind_tiny", modalities={"image", "text", "audio"}),
            "toy_foreign_clip": bindplug.load("toy_foreign_clip"),
        }
        self.queries = [image(self.pictures / name) for name in self.names]
        self.rows = {name: model.embed(self.queries).numpy() for name, model in self.models.items()}
        caches = {name: RememberingEncoder(model) for name, model in self.models.items()}
        self.candidates = [
            Candidate(name, lambda modalities, n=name: caches[n], model.embedding_space)
            for name, model in self.models.items()
        ]

    def identify(
        self, rows: np.ndarray, candidates: list[Candidate] | None = None, **options: object
    ) -> Identification:
        """What is found of rows that an ``.npy`` file beside the list of paths holds."""
        path = self.directory / "rows.npy"
        np.save(path, rows)
        file = open_rows(path, paths=str(self.directory / "paths.txt"))
        return identify(
            file, candidates or self.candidates, choose_root(file, None), progress=False, **options
        )


class RememberingEncoder(bindplug.Encoder):
    """An encoder that embeds each source once, for tests that ask for the same pictures again and again.

    Args:
        model: does the work.
        turn: (D, D) that its rows are multiplied with; another space then.
        space: the name of that space.
    """

    def __init__(self, model: bindplug.Encoder, turn: np.ndarray | None = None, space: str = "") -> None:
        self.model, self.turn = model, turn
        own = model.embedding_space
        self.embedding_space = own if turn is None else EmbeddingSpace(space, own.width)
        self.modalities, self.preprocess, self.tokenizer = model.modalities, model.preprocess, model.tokenizer
        self.device, self.dtype, self.centers = model.device, model.dtype, model.centers
        self._memory: dict[object, torch.Tensor] = {}

    def embed_with_report(self, queries, **options):
        missing = [query for query in queries if query not in self._memory]
        if missing:
            embedded = super().embed_with_report(missing, **options)
            if len(embedded.kept) < len(missing):
                return super().embed_with_report(queries, **options)
            self._memory |= dict(zip(missing, embedded.rows, strict=True))
        rows = torch.stack([self._memory[query] for query in queries])
        return type(
            "Embedded", (), {"rows": rows, "kept": list(range(len(rows))), "skipped": [], "notes": []}
        )

    def encode(self, modality, x, normalize=False):
        key = (modality, normalize, hash(x.numpy().tobytes()))
        if key not in self._memory:
            self._memory[key] = self.model.encode(modality, x, normalize)
        rows = self._memory[key]
        return rows if self.turn is None else rows @ torch.from_numpy(self.turn)

    def scale_of(self, modality):
        return self.model.scale_of(modality)


def rotation(width: int, seed: int = 0) -> np.ndarray:
    """(width, width) float32 of an orthogonal matrix."""
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((width, width)))[0].astype(np.float32)


def variants(rows: np.ndarray) -> Mapping[str, Callable[[], np.ndarray]]:
    """Ways in which tools store an encoder's rows (N, D), by name."""
    generator = np.random.default_rng(0)
    low, high = rows.min(axis=0), rows.max(axis=0)
    count, width = rows.shape
    first = rows[:, : width // 4]
    order, signs = generator.permutation(width), generator.choice([-1.0, 1.0], width).astype(np.float32)
    return {
        "float32": lambda: rows,
        "float64": lambda: rows.astype(np.float64),
        "float16": lambda: rows.astype(np.float16),
        "scaled": lambda: rows * 17.5,
        "unnormalized": lambda: rows * generator.uniform(1, 20, (count, 1)).astype(np.float32),
        "int8": lambda: np.rint(rows * 127).astype(np.int8),
        "uint8": lambda: np.clip(np.rint(rows * 127.5 + 127.5), 0, 255).astype(np.uint8),
        "int8 by dimension": lambda: np.clip((rows - low) / ((high - low) / 255) - 128, -128, 127).astype(
            np.int8
        ),
        "signs": lambda: np.where(rows > 0, 1.0, -1.0).astype(np.float32),
        "bits": lambda: np.packbits(rows > 0, axis=1),
        "bits as int8": lambda: (np.packbits(rows > 0, axis=1).astype(np.int16) - 128).astype(np.int8),
        "bits, little-endian": lambda: np.packbits(rows > 0, axis=1, bitorder="little"),
        "rotated": lambda: rows @ rotation(width),
        "permuted": lambda: rows[:, order] * signs,
        "truncated": lambda: first / np.linalg.norm(first, axis=1, keepdims=True),
        "padded": lambda: np.pad(rows, ((0, 0), (0, 40))),
        "standardized": lambda: (rows - rows.mean(axis=0)) / rows.std(axis=0),
    }
