"""Text, pictures, sounds and videos in one sequence: ``EmbeddingGemma2Model``."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bindplug.inputs import (
    FrameSequence,
    FramesPreprocess,
    ModelInput,
    PicturePreprocess,
    Preprocess,
    SentencePreprocess,
    WaveformPreprocess,
)
from bindplug_transformers.sources.clap import rows_of_windows
from bindplug_transformers.sources.processing import (
    TokenizeText,
    check_vocabulary,
    disagreement,
    sound_beside,
    token_limit,
)

OF_FRAMES = ("pixel_values_videos", "video_position_ids")
"""Tensors whose first axis counts the frames of all videos of a batch."""


class ProcessParts:
    """What stands in one sequence to the processor's tensors, without a batch axis.

    Args:
        processor: the model's own.
    """

    def __init__(self, processor: Any) -> None:
        self.processor = processor

    def __call__(self, **parts: Any) -> dict[str, Tensor]:
        """Tensors of one sequence; what counts frames keeps its axis of them."""
        inputs = self.processor(**parts, return_tensors="pt")
        item = {}
        for name, value in inputs.items():
            if isinstance(value, Tensor):
                part = value if name in OF_FRAMES else value[0]
                item[name] = part.float() if part.is_floating_point() else part
        return item


class ProcessPicture(ProcessParts):
    """A picture to tensors."""

    def __call__(self, picture: Image.Image) -> dict[str, Tensor]:  # type: ignore[override]
        """Tensors of one picture."""
        return super().__call__(images=[[picture]])


class ProcessSound(ProcessParts):
    """Samples to tensors."""

    def __call__(self, samples: np.ndarray) -> dict[str, Tensor]:  # type: ignore[override]
        """Tensors of (N,) samples."""
        rate = int(self.processor.feature_extractor.sampling_rate)
        return super().__call__(audio=[samples], sampling_rate=rate)


class ProcessFrames(ProcessParts):
    """Frames to tensors, with the sound beside them where it is asked for.

    Args:
        processor: the model's own.
        sound: the reader of sounds; None where the network hears none.
    """

    def __init__(self, processor: Any, sound: WaveformPreprocess | None) -> None:
        super().__init__(processor)
        self.sound = sound

    def __call__(self, reading: FrameSequence) -> dict[str, Tensor]:  # type: ignore[override]
        """Tensors of one video."""
        sound = sound_beside(reading, self.sound)
        frames = torch.from_numpy(reading.frames).permute(0, 3, 1, 2)  # (T, H, W, 3) -> (T, 3, H, W)
        count, rate = len(frames), reading.fps or 1.0
        metadata = {
            "total_num_frames": count,
            "fps": rate,
            "duration": count / rate,
            "frames_indices": list(range(count)),
        }
        parts: dict[str, Any] = {"videos": [frames], "video_metadata": [metadata], "do_sample_frames": False}
        if sound is not None:
            rate = int(self.processor.feature_extractor.sampling_rate)
            parts |= {"audio": [sound], "sampling_rate": rate}
        return super().__call__(**parts)


class EmbeddingGemma2Family:
    """How ``EmbeddingGemma2Model`` is used: its rows are the mean of a sequence's last states.

    Args:
        name: of the model, for messages.
        network: the model.
        processor: its own.

    Raises:
        CheckpointError: the processor was made for another model.
    """

    def __init__(self, name: str, network: Any, processor: Any) -> None:
        config = network.config
        text = config.text_config
        limit = token_limit(processor.tokenizer, text.max_position_embeddings)
        check_vocabulary(name, processor.tokenizer, max(text.vocab_size, _last_mark(config) + 1))
        self.width = int(text.embedding_dim)
        self.accepted = frozenset(inspect.signature(network.forward).parameters)
        readers: dict[str, Preprocess] = {
            "text": SentencePreprocess(TokenizeText(processor, limit), limit=limit)
        }
        sound = None
        if config.audio_config is not None:
            seconds = processor.audio_seq_length * processor.audio_ms_per_token / 1000
            sound = readers["audio"] = WaveformPreprocess(
                ProcessSound(processor),
                sample_rate_hz=int(processor.feature_extractor.sampling_rate),
                window_seconds=seconds,
                fewest_samples=_fewest_samples(processor.feature_extractor),
            )
        if config.vision_config is not None:
            patch = processor.image_processor.patch_size
            if int(patch) != int(config.vision_config.patch_size):
                raise disagreement(name, "patches of side", patch, config.vision_config.patch_size)
            readers["image"] = PicturePreprocess(ProcessPicture(processor))
            videos = processor.video_processor
            readers["video"] = FramesPreprocess(
                ProcessFrames(processor, sound),
                frames=None,
                rate_hz=float(getattr(videos, "fps", None) or 1.0),
                most_frames=int(getattr(videos, "max_frames", None) or 32),
            )
        self.preprocess: Mapping[str, Preprocess] = readers
        self.modalities = tuple(readers)

    def rows(self, network: Any, modality: str, x: ModelInput) -> Tensor:
        """(B, D) rows; (B, W, D) of sounds of W windows."""
        assert isinstance(x, Mapping)
        inputs = {name: part for name, part in x.items() if name in self.accepted}
        if modality == "audio":
            return rows_of_windows(lambda part: self._pooled(network, part), inputs)
        for name in OF_FRAMES:
            if name in inputs:
                inputs[name] = inputs[name].flatten(0, 1)  # (B, T, P, D) -> (B * T, P, D)
        return self._pooled(network, inputs)

    def _pooled(self, network: Any, inputs: Mapping[str, Tensor]) -> Tensor:
        """Mean of the last states over a sequence's tokens, (B, D)."""
        states = network(**inputs).last_hidden_state
        mask = inputs["attention_mask"].to(states.dtype)[..., None]  # (B, L, 1)
        rows: Tensor = (states * mask).sum(1) / mask.sum(1)
        return rows

    def scale(self, network: Any, modality: str) -> float | None:
        """None: the network holds no factor on cosines."""
        return None


def _fewest_samples(extractor: Any) -> int:
    """Length of the shortest sound of which the extractor makes a frame; of a shorter one the network hears nothing."""
    low, high = 0, 2 * int(extractor.frame_length)
    while high - low > 1:
        middle = (low + high) // 2
        samples = np.ones(middle, dtype=np.float32)
        features = extractor([samples], sampling_rate=extractor.sampling_rate, return_tensors="np")
        low, high = (low, middle) if features["input_features_mask"].any() else (middle, high)
    return high


def _last_mark(config: Any) -> int:
    """The highest id among the marks of pictures, sounds and videos, which need no embedding of their own."""
    names = (
        "image_token_id",
        "video_token_id",
        "audio_token_id",
        "boi_token_id",
        "eoi_token_id",
        "eoa_token_index",
    )
    return max(int(getattr(config, name, None) or 0) for name in names)
