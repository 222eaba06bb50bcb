"""Seven kinds of data to model input: one module for each, read, check, preprocess, batch.

from bindplug.inputs import make_preprocess
preprocess = make_preprocess()
preprocess["audio"]("bark.wav")                      # (3, 1, 128, 204)
preprocess["depth"].batch(paths, on_error="skip")    # Batch with .stack(), .kept, .skipped
"""

from __future__ import annotations

from collections.abc import Iterable

from bindplug.errors import InputNote
from bindplug.inputs.audio import CLIPS as AUDIO_CLIPS
from bindplug.inputs.audio import AudioPreprocess
from bindplug.inputs.base import Batch, ModelInput, Preprocess, Skipped
from bindplug.inputs.depth import DepthPreprocess
from bindplug.inputs.filterbank import MEL_BINS, SAMPLE_RATE_HZ
from bindplug.inputs.image import MEAN, STD, ImagePreprocess, normalize_rgb
from bindplug.inputs.imu import ImuPreprocess
from bindplug.inputs.notes import Note, collected_notes, note
from bindplug.inputs.presets import (
    FrameSequence,
    FramesPreprocess,
    PicturePreprocess,
    SentencePreprocess,
    WaveformPreprocess,
)
from bindplug.inputs.source import describe_source
from bindplug.inputs.spatial import IMAGE_SIZE
from bindplug.inputs.text import (
    CONTEXT_LENGTH,
    END,
    START,
    VOCABULARY_SIZE,
    TextPreprocess,
    Tokenizer,
    vocabulary,
    word_tokens,
)
from bindplug.inputs.thermal import ThermalPreprocess
from bindplug.inputs.video import VideoPreprocess
from bindplug.modality import Modality

__all__ = [
    "AUDIO_CLIPS",
    "CONTEXT_LENGTH",
    "END",
    "IMAGE_SIZE",
    "MEAN",
    "MEL_BINS",
    "SAMPLE_RATE_HZ",
    "START",
    "STD",
    "VOCABULARY_SIZE",
    "AudioPreprocess",
    "Batch",
    "DepthPreprocess",
    "FrameSequence",
    "FramesPreprocess",
    "ImagePreprocess",
    "ImuPreprocess",
    "InputNote",
    "ModelInput",
    "Note",
    "PicturePreprocess",
    "Preprocess",
    "SentencePreprocess",
    "Skipped",
    "TextPreprocess",
    "ThermalPreprocess",
    "Tokenizer",
    "VideoPreprocess",
    "WaveformPreprocess",
    "collected_notes",
    "describe_source",
    "make_preprocess",
    "normalize_rgb",
    "note",
    "vocabulary",
    "word_tokens",
]


def make_preprocess(
    modalities: Iterable[str | Modality] | None = None, *, image_size: int = 224
) -> dict[str, Preprocess]:
    """Readers by modality name, each with its defaults.

    Args:
        modalities: which; all seven for ``None``.
        image_size: side of images, video crops, depth and thermal maps, in pixels.

    Raises:
        UnknownModality: a name is none of the seven.
    """
    kinds = list(Modality) if modalities is None else [Modality.parse(name) for name in modalities]
    pictures = {
        Modality.IMAGE: ImagePreprocess,
        Modality.VIDEO: VideoPreprocess,
        Modality.DEPTH: DepthPreprocess,
        Modality.THERMAL: ThermalPreprocess,
    }
    others = {Modality.TEXT: TextPreprocess, Modality.AUDIO: AudioPreprocess, Modality.IMU: ImuPreprocess}
    return {
        modality.value: pictures[modality](image_size=image_size)
        if modality in pictures
        else others[modality]()
        for modality in kinds
    }
