"""From what our readers read to the named tensors of a transformers processor, one item at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bindplug.errors import CheckpointError, OptionError
from bindplug.inputs import FrameSequence, WaveformPreprocess


def single(inputs: Mapping[str, Any]) -> dict[str, Tensor]:
    """A processor's batch of one without its batch axis, floats as float32; what is no tensor is left out."""
    item = {}
    for name, value in inputs.items():
        if isinstance(value, np.ndarray):
            value = torch.from_numpy(value)
        if isinstance(value, Tensor):
            item[name] = value[0].float() if value.is_floating_point() else value[0]
    return item


class TokenizeText:
    """A text to a tokenizer's tensors, and the number of its tokens before it was cut.

    Args:
        processor: whose text side is used.
        limit: most tokens.
        pad: whether rows are filled up to ``limit``, as networks that were trained so need it.
    """

    def __init__(self, processor: Any, limit: int, *, pad: bool = False) -> None:
        self.processor, self.limit, self.pad = processor, limit, pad

    def __call__(self, text: str, *, prompt: str = "") -> tuple[dict[str, Tensor], int]:
        """Tensors (L,) of one text; ``prompt`` is put in front of it."""
        text = prompt + text
        tokenizer = getattr(self.processor, "tokenizer", self.processor)
        count = len(tokenizer(text, verbose=False)["input_ids"])
        options: dict[str, Any] = {"return_tensors": "pt", "truncation": True, "max_length": self.limit}
        options["padding"] = "max_length" if self.pad else False
        return single(self.processor(text=[text], **options)), count


class ProcessPicture:
    """A picture to a processor's tensors."""

    def __init__(self, processor: Any) -> None:
        self.processor = processor

    def __call__(self, picture: Image.Image) -> dict[str, Tensor]:
        """The tensors of one picture, without a batch axis."""
        return single(self.processor(images=[picture], return_tensors="pt"))


class ProcessSound:
    """Samples to a feature extractor's tensors."""

    def __init__(self, extractor: Any) -> None:
        self.extractor = extractor

    def __call__(self, samples: np.ndarray) -> dict[str, Tensor]:
        """The tensors of (N,) samples, without a batch axis."""
        rate = self.extractor.sampling_rate
        return single(self.extractor([samples], sampling_rate=rate, return_tensors="pt"))


def sound_beside(reading: FrameSequence, reader: WaveformPreprocess | None) -> np.ndarray | None:
    """The sound that is to stand with a video in one row, (N,) at the reader's rate; None if none is asked for.

    Args:
        reading: of the video; ``sound`` among its options is True for its own sound track, or another sound.
        reader: of sounds; None where the network takes no joint input.

    Raises:
        OptionError: an unknown option, or a network that takes no joint input.
        InputError: the sound cannot be read.
    """
    options = dict(reading.options)
    sound = options.pop("sound", None)
    sample_rate = options.pop("sample_rate", None)
    if options:
        raise OptionError(f"a video has no option {sorted(options)[0]!r}; expected sound, sample_rate")
    if sound is None or sound is False:
        return None
    if reader is None:
        raise OptionError("sound=...; this model embeds no sound together with a video")
    source = reading.source if sound is True else sound
    windows = reader.read(source, sample_rate=sample_rate, clips=1, start=reading.start, end=reading.end)
    return windows.waveforms[0]


def disagreement(name: str, what: str, processor: object, model: object) -> CheckpointError:
    """The error for a processor that was not made for the model beside it."""
    return CheckpointError(
        f"{name}: its processor has {what} {processor}, its model expects {model}; expected files of one model. "
        f"Download the directory again, or copy the processor's files from where the model comes from"
    )


def check_vocabulary(name: str, tokenizer: Any, rows: int) -> None:
    """Refuse a tokenizer whose ids the model has no embeddings for.

    Raises:
        CheckpointError: it has more entries than the model has rows.
    """
    entries = len(tokenizer)
    if entries > rows:
        raise disagreement(name, "a vocabulary of", entries, f"at most {rows}")


def token_limit(tokenizer: Any, positions: int) -> int:
    """Most tokens of a text: what the model has positions for, less if the tokenizer says so."""
    return int(min(tokenizer.model_max_length, positions))


def pooled(output: Any) -> Tensor:
    """(B, D) of what ``get_*_features`` returns: a tensor until transformers 4, an output with a pooler since."""
    rows: Tensor = output if isinstance(output, Tensor) else output.pooler_output
    return rows
