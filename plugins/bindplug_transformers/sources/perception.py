"""Meta's Perception Encoders: ``PeAudioModel``, ``PeVideoModel`` and ``PeAudioVideoModel``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from bindplug.errors import InputError, OptionError
from bindplug.inputs import (
    FrameSequence,
    FramesPreprocess,
    ModelInput,
    Preprocess,
    SentencePreprocess,
    WaveformPreprocess,
)
from bindplug_transformers.sources.clap import rows_of_windows
from bindplug_transformers.sources.processing import (
    ProcessSound,
    TokenizeText,
    check_vocabulary,
    disagreement,
    single,
    sound_beside,
    token_limit,
)

FRAMES = 16
"""Frames of a video where the processor names no number. Source: the 16-frame models of PE-AV."""

HEADS = {"audio": 0, "video": 1, "both": 2}
"""Text can be projected to be compared with sounds, with videos, or with both in one row."""


class TokenizeForHead(TokenizeText):
    """Text to tokens, with the number of the head that its row is to come from.

    Args:
        processor, limit: as in :class:`TokenizeText`.
        heads: names of the heads the network has, in order of :data:`HEADS`.
        default: of them.
    """

    def __init__(self, processor: Any, limit: int, heads: tuple[str, ...], default: str) -> None:
        super().__init__(processor, limit)
        self.heads, self.default = heads, default

    def __call__(self, text: str, *, prompt: str = "", against: str = "") -> tuple[dict[str, Tensor], int]:
        """Tensors of one text; ``against`` says what its row is to be compared with."""
        head = against or self.default
        if head not in self.heads:
            raise OptionError(f"against={against!r}; expected one of {list(self.heads)}")
        inputs, count = super().__call__(text, prompt=prompt)
        return inputs | {"head": torch.tensor(HEADS[head])}, count


class ProcessFrames:
    """Frames to a video processor's tensors, with the sound beside them where it is asked for.

    Args:
        processor: of videos.
        sound: the reader of sounds; None where the network takes no joint input.
    """

    def __init__(self, processor: Any, sound: WaveformPreprocess | None) -> None:
        self.processor, self.sound = processor, sound

    def __call__(self, reading: FrameSequence) -> dict[str, Tensor]:
        """Tensors of one video; with ``sound`` among its options also those of its sound."""
        sound = sound_beside(reading, self.sound)
        frames = [torch.from_numpy(reading.frames).permute(0, 3, 1, 2)]  # (T, H, W, 3) -> (T, 3, H, W)
        inputs = single(self.processor(videos=frames, do_sample_frames=False, return_tensors="pt"))
        if sound is None or self.sound is None:
            return inputs
        return inputs | dict(self.sound.process(sound))


class PerceptionFamily:
    """How the three classes are used.

    A text has a row for each kind of counterpart: ``text("a dog", against="audio")`` is comparable with sounds,
    ``against="video"`` with videos, ``against="both"`` with joint rows. ``video("clip.mp4", sound=True)`` is one row of
    a video and its sound track; ``sound="other.wav"`` takes another sound.

    Args:
        name: of the model, for messages.
        network: the model.
        processor: its own.

    Raises:
        CheckpointError: the processor was made for another model.
    """

    modalities: tuple[str, ...]

    def __init__(self, name: str, network: Any, processor: Any) -> None:
        config = network.config
        self.heads, default = self._heads()
        text = config.text_config
        limit = token_limit(processor.tokenizer, text.max_position_embeddings)
        check_vocabulary(name, processor.tokenizer, text.vocab_size)
        self.width = int(text.hidden_size)
        readers: dict[str, Preprocess] = {
            "text": SentencePreprocess(TokenizeForHead(processor, limit, self.heads, default), limit=limit)
        }
        sound = None
        if "audio" in self.modalities:
            sound = self._sound_reader(name, self._encoder_config(config, "audio"), processor)
            readers["audio"] = sound
        if "video" in self.modalities:
            videos = processor.video_processor
            joint = sound if "audio" in self.modalities else None
            readers["video"] = FramesPreprocess(
                ProcessFrames(videos, joint),
                frames=_frames_of(videos),
                to_the_end=True,
                rate_hz=float(getattr(videos, "fps", None) or 1.0),
            )
        self.preprocess: Mapping[str, Preprocess] = readers

    def _heads(self) -> tuple[tuple[str, ...], str]:
        """Names of the text heads, and the one by default."""
        raise NotImplementedError

    def _encoder_config(self, config: Any, modality: str) -> Any:
        return getattr(config, f"{modality}_config")

    def _sound_reader(self, name: str, config: Any, processor: Any) -> WaveformPreprocess:
        extractor, codec = processor.feature_extractor, config.dac_config
        if int(extractor.sampling_rate) != int(codec.sampling_rate):
            raise disagreement(name, "a sample rate of", extractor.sampling_rate, codec.sampling_rate)
        hop = int(codec.hop_length)
        if int(extractor.hop_length) % hop:
            raise disagreement(name, "a hop of", extractor.hop_length, f"a multiple of {hop}")
        longest = config.max_position_embeddings * extractor.hop_length / extractor.sampling_rate
        return WaveformPreprocess(
            ProcessSound(extractor), sample_rate_hz=int(extractor.sampling_rate), window_seconds=longest
        )

    def rows(self, network: Any, modality: str, x: ModelInput) -> Tensor:
        """(B, D) rows; (B, W, D) of sounds of W windows."""
        assert isinstance(x, Mapping)
        if modality == "text":
            return self._text_rows(network, x)
        if modality == "audio":
            return rows_of_windows(lambda inputs: self._audio_rows(network, **inputs), x)
        if "input_values" in x:
            return self._joint_rows(network, x)
        return self._video_rows(network, **x)

    def _text_rows(self, network: Any, x: Mapping[str, Tensor]) -> Tensor:
        # The class itself reads hidden_states[-1], the same tensor; asking for it hangs hooks on the network that
        # cannot be pickled.
        output = network.text_model(input_ids=x["input_ids"], attention_mask=x.get("attention_mask"))
        states = output.last_hidden_state[:, 0]  # (B, L, D) -> (B, D)
        rows = states.new_zeros(len(states), self.width)
        for head in self.heads:
            places = x["head"] == HEADS[head]
            if places.any():
                rows[places] = self._text_head(network, head)(states[places])
        return rows

    def _text_head(self, network: Any, head: str) -> Any:
        return getattr(network, f"text_{head}_head")

    def _audio_rows(self, network: Any, **inputs: Tensor) -> Tensor:
        rows: Tensor = network.audio_head(network.audio_encoder(**inputs).pooler_output)
        return rows

    def _video_rows(self, network: Any, **inputs: Tensor) -> Tensor:
        rows: Tensor = network.video_head(network.video_encoder(**inputs).pooler_output)
        return rows

    def _joint_rows(self, network: Any, x: Mapping[str, Tensor]) -> Tensor:
        raise InputError("video", found="a video with its sound", expected="a video alone")

    def scale(self, network: Any, modality: str) -> float | None:
        """None: these networks multiply rows of any length, so that none of their factors is one on cosines."""
        return None


class PeAudioFamily(PerceptionFamily):
    """How ``PeAudioModel`` is used."""

    modalities = ("text", "audio")

    def _heads(self) -> tuple[tuple[str, ...], str]:
        return ("audio",), "audio"


class PeVideoFamily(PerceptionFamily):
    """How ``PeVideoModel`` is used."""

    modalities = ("video", "text")

    def _heads(self) -> tuple[tuple[str, ...], str]:
        return ("video",), "video"


class PeAudioVideoFamily(PerceptionFamily):
    """How ``PeAudioVideoModel`` is used."""

    modalities = ("video", "text", "audio")

    def _heads(self) -> tuple[tuple[str, ...], str]:
        return ("audio", "video", "both"), "both"

    def _encoder_config(self, config: Any, modality: str) -> Any:
        return getattr(config.audio_video_config, f"{modality}_config")

    def _text_head(self, network: Any, head: str) -> Any:
        if head == "both":
            return network.text_audio_video_head
        return getattr(getattr(network, f"{head}_model"), f"text_{head}_head")

    def _audio_rows(self, network: Any, **inputs: Tensor) -> Tensor:
        return super()._audio_rows(network.audio_model, **inputs)

    def _video_rows(self, network: Any, **inputs: Tensor) -> Tensor:
        return super()._video_rows(network.video_model, **inputs)

    def _joint_rows(self, network: Any, x: Mapping[str, Tensor]) -> Tensor:
        rows: Tensor = network.audio_video_head(network.audio_video_encoder(**x).pooler_output)
        return rows


def _frames_of(processor: Any) -> int | None:
    """How many frames of a video a processor takes; None where it goes by frames a second."""
    count = getattr(processor, "num_frames", None)
    if count is None and getattr(processor, "fps", None) is None:
        return FRAMES
    return None if count is None else int(count)
