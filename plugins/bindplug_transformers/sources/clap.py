"""Sounds and text: ``ClapModel``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from bindplug.foreign import as_scale
from bindplug.inputs import ModelInput, Preprocess, SentencePreprocess, WaveformPreprocess
from bindplug_transformers.sources.processing import (
    ProcessSound,
    TokenizeText,
    check_vocabulary,
    disagreement,
    pooled,
    token_limit,
)


class ClapFamily:
    """How CLAP is used.

    Its processor takes random crops of sounds longer than its window; here evenly spaced windows are embedded and
    their rows averaged, so that a sound always gets the same row.

    Args:
        name: of the model, for messages.
        network: the model.
        processor: its own.

    Raises:
        CheckpointError: the processor was made for another model.
    """

    modalities: tuple[str, ...] = ("text", "audio")

    def __init__(self, name: str, network: Any, processor: Any) -> None:
        config, extractor = network.config, processor.feature_extractor
        text = config.text_config
        # RoBERTa counts positions from after its padding id.
        limit = token_limit(processor.tokenizer, text.max_position_embeddings - text.pad_token_id - 1)
        check_vocabulary(name, processor.tokenizer, text.vocab_size)
        if extractor.feature_size != config.audio_config.num_mel_bins:
            raise disagreement(name, "mel bins:", extractor.feature_size, config.audio_config.num_mel_bins)
        if config.audio_config.enable_fusion and extractor.truncation != "fusion":
            raise disagreement(name, "truncation", repr(extractor.truncation), "'fusion'")
        self.width = int(config.projection_dim)
        self.preprocess: Mapping[str, Preprocess] = {
            "text": SentencePreprocess(TokenizeText(processor, limit), limit=limit),
            "audio": WaveformPreprocess(
                ProcessSound(extractor),
                sample_rate_hz=int(extractor.sampling_rate),
                window_seconds=extractor.nb_max_samples / extractor.sampling_rate,
            ),
        }

    def rows(self, network: Any, modality: str, x: ModelInput) -> Tensor:
        """(B, D) rows of texts, (B, W, D) of sounds of W windows."""
        assert isinstance(x, Mapping)
        if modality == "text":
            return pooled(network.get_text_features(**x))
        return rows_of_windows(lambda inputs: pooled(network.get_audio_features(**inputs)), x)

    def scale(self, network: Any, modality: str) -> float | None:
        """The trained scale of sounds against text."""
        return as_scale(network.logit_scale_a)


def rows_of_windows(embed: Any, x: Mapping[str, Tensor]) -> Tensor:
    """(B, W, D) rows of named tensors (B, W, ...), all windows in one batch."""
    items, windows = next(iter(x.values())).shape[:2]
    rows: Tensor = embed({name: part.flatten(0, 1) for name, part in x.items()})
    return rows.unflatten(0, (items, windows))
