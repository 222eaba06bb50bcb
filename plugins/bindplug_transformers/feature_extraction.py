"""Sounds to ``input_features``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor
from transformers import BatchFeature, SequenceFeatureExtractor

from bindplug.errors import InputError
from bindplug.inputs import AUDIO_CLIPS as CLIPS
from bindplug.inputs import MEL_BINS, SAMPLE_RATE_HZ, AudioPreprocess
from bindplug_transformers.batches import each_option, features
from bindplug_transformers.saved_directory import SavedSettings


class ImageBindFeatureExtractor(SavedSettings, SequenceFeatureExtractor):
    """Sounds to (B, 3, 1, 128, 204) float32, as :class:`bindplug.inputs.audio.AudioPreprocess` makes them.

    Takes one sound or a list: samples (samples,) or (channels, samples) with ``sampling_rate``, dicts
    ``{"array": ..., "sampling_rate": ...}``, or paths and bytes of sound files. Any rate is resampled to 16 kHz.

    Args:
        channel: which of several channels to use, ``"first"`` or their mean, ``"mix"``.
        clips: clips of 2 s a sound.
        kwargs: descriptions, as saved files hold them; not read.

    Attributes:
        sampling_rate: 16000, the rate pipelines decode files at.
    """

    model_input_names = ["input_features"]  # noqa: RUF012 - as its base declares it

    def __init__(self, channel: str = "first", clips: int = CLIPS, **kwargs: Any) -> None:
        super().__init__(feature_size=MEL_BINS, sampling_rate=SAMPLE_RATE_HZ, padding_value=0.0)
        AudioPreprocess(channel=channel, clips=clips)
        self.channel, self.clips = channel, clips

    def __call__(
        self,
        raw_speech: Any,
        *,
        sampling_rate: int | None = None,
        return_tensors: Any = None,
        options: Any = None,
        **kwargs: Any,
    ) -> BatchFeature:
        """``input_features`` of one sound or a list.

        Args:
            raw_speech: see the class.
            sampling_rate: of samples, in Hz; never assumed.
            return_tensors: ``"pt"``, ``"np"``, or None for a list of arrays.
            options: of bindplug's reader, a mapping or one a sound.
            kwargs: ``padding`` and ``truncation`` are taken and have nothing to do; others are refused.

        Raises:
            InputError: a sound cannot be read, samples come without a rate, or an argument is unknown.
        """
        unknown = sorted(name for name in set(kwargs) - {"padding", "truncation"} if kwargs[name] is not None)
        if unknown:
            expected = "sampling_rate, return_tensors, options"
            raise InputError("ImageBindFeatureExtractor", found=f"arguments {unknown}", expected=expected)
        sounds = _sounds(raw_speech)
        reader_options = each_option(options, len(sounds))
        for index, (sound, option) in enumerate(zip(sounds, reader_options, strict=True)):
            rate = sampling_rate
            if isinstance(sound, Mapping):
                sounds[index], rate = _unwrapped(sound)
            if isinstance(sounds[index], (np.ndarray, Tensor)):
                option.setdefault("sample_rate", rate)
                if option["sample_rate"] is None:
                    remedy = "Give it: sampling_rate=16000, say."
                    detail = "samples without a rate"
                    raise InputError("sound", found=detail, expected="sampling_rate in Hz", remedy=remedy)
        preprocess = AudioPreprocess(channel=self.channel, clips=self.clips)
        return features("input_features", preprocess, sounds, reader_options, return_tensors)


def _sounds(value: Any) -> list[Any]:
    """One sound or several as a list; a list of plain numbers is one sound."""
    if not isinstance(value, (list, tuple)):
        return [value]
    if value and all(isinstance(number, (int, float, np.number)) for number in value):
        return [np.asarray(value, dtype=np.float32)]
    return [np.asarray(s, dtype=np.float32) if isinstance(s, (list, tuple)) else s for s in value]


def _unwrapped(sound: Mapping[str, Any]) -> tuple[Any, int]:
    if not {"array", "sampling_rate"} <= set(sound):
        expected = '{"array": samples, "sampling_rate": Hz}'
        raise InputError("sound", found=f"a dict of {sorted(map(str, sound))}", expected=expected)
    return np.asarray(sound["array"]), int(sound["sampling_rate"])
