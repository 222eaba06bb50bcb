"""An encoder that embeds the bytes of files, instantly, and folders of small files for it."""

from __future__ import annotations

import wave
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bindplug.errors import InputError
from bindplug.modality import Modality
from bindplug.testing import FakeEncoder, FakePreprocess

UNREADABLE = b"not readable"
"""Content of a file that no reader takes."""


class ContentPreprocess(FakePreprocess):
    """Numbers drawn from a generator that the bytes of a file, or a sentence, seed."""

    def read(self, source: object, **options: Any) -> Tensor:
        content = str(source).encode()
        if self.kind is not Modality.TEXT:
            try:
                content = Path(str(source)).read_bytes()
            except OSError as error:
                raise InputError(str(source), found=error.strerror, expected="a file") from None
        if content == UNREADABLE:
            raise InputError(str(source), found="damage", expected="a whole file")
        seed = zlib.crc32(self.kind.value.encode() + content + repr(sorted(options.items())).encode())
        return torch.randn(self.width, generator=torch.Generator().manual_seed(seed))


class ContentEncoder(FakeEncoder):
    """A :class:`FakeEncoder` whose rows follow the content of files."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.preprocess = {
            name: ContentPreprocess(Modality.parse(name), self.embedding_space.width)
            for name in self.modalities
        }


def write_files(folder: Path, count: int, suffix: str = ".png", *, start: int = 0) -> list[Path]:
    """Files that differ."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{place:05d}{suffix}" for place in range(start, start + count)]
    for path in paths:
        path.write_bytes(f"content of {path.name}".encode())
    return paths


def write_sound(path: Path, seconds: float, rate: int = 8000) -> Path:
    """A WAV file of seeded noise."""
    samples = np.random.default_rng(zlib.crc32(path.name.encode())).normal(0, 3000, int(seconds * rate))
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.astype("<i2").tobytes())
    return path
