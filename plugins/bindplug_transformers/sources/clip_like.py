"""Pictures and text: ``CLIPModel``, ``SiglipModel``, ``Siglip2Model``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from bindplug.foreign import as_scale
from bindplug.inputs import ModelInput, PicturePreprocess, Preprocess, SentencePreprocess
from bindplug_transformers.sources.processing import (
    ProcessPicture,
    TokenizeText,
    check_vocabulary,
    disagreement,
    pooled,
    token_limit,
)

LEGACY_END = 2
"""The end token that configurations of OpenAI's models name, though their tokenizer has another."""


class ClipFamily:
    """How CLIP and SigLIP are used.

    Args:
        name: of the model, for messages.
        network: the model.
        processor: its own.

    Raises:
        CheckpointError: the processor was made for another model.
    """

    modalities: tuple[str, ...] = ("image", "text")
    pads_text = False

    def __init__(self, name: str, network: Any, processor: Any) -> None:
        config = network.config
        limit = token_limit(processor.tokenizer, config.text_config.max_position_embeddings)
        check_vocabulary(name, processor.tokenizer, config.text_config.vocab_size)
        self._check_end(name, config.text_config, processor.tokenizer)
        self._check_image_size(name, config, processor.image_processor)
        self.width: int = self._width(config)
        self.preprocess: Mapping[str, Preprocess] = {
            "image": PicturePreprocess(ProcessPicture(processor)),
            "text": SentencePreprocess(TokenizeText(processor, limit, pad=self.pads_text), limit=limit),
        }

    def _width(self, config: Any) -> int:
        return int(config.projection_dim)

    def _check_end(self, name: str, config: Any, tokenizer: Any) -> None:
        """Refuse a tokenizer that ends texts with another token than the one whose state the network takes.

        CLIP's first configurations say 2, which stands for the highest id of a text.
        """
        end = config.eos_token_id
        if end != LEGACY_END and end not in tokenizer("a")["input_ids"]:
            raise disagreement(name, "the end token", tokenizer.eos_token_id, end)

    def _check_image_size(self, name: str, config: Any, processor: Any) -> None:
        size = getattr(processor, "crop_size", None) if getattr(processor, "do_center_crop", None) else None
        size = size or getattr(processor, "size", None)
        height = getattr(size, "height", None) or (dict(size).get("height") if size else None)
        expected = getattr(config.vision_config, "image_size", None)
        if height and expected and int(height) != int(expected):
            raise disagreement(name, "images of side", height, expected)

    def rows(self, network: Any, modality: str, x: ModelInput) -> Tensor:
        """(B, D) rows of pictures or texts."""
        assert isinstance(x, Mapping)
        features = network.get_image_features if modality == "image" else network.get_text_features
        return pooled(features(**x))

    def scale(self, network: Any, modality: str) -> float | None:
        """The trained scale; 1 among images."""
        return 1.0 if modality == "image" else as_scale(network.logit_scale)


class SiglipFamily(ClipFamily):
    """How SigLIP and SigLIP 2 of one size are used: their text is padded to its full length, as in training."""

    pads_text = True

    def _check_end(self, name: str, config: Any, tokenizer: Any) -> None:
        """Nothing: the state of the last position is taken, whatever stands there."""

    def _width(self, config: Any) -> int:
        return int(config.vision_config.hidden_size)


class Siglip2Family(SiglipFamily):
    """How SigLIP 2 of any aspect ratio is used: pictures are cut into as many patches as the processor says."""

    def _check_image_size(self, name: str, config: Any, processor: Any) -> None:
        if int(processor.patch_size) != int(config.vision_config.patch_size):
            raise disagreement(name, "patches of side", processor.patch_size, config.vision_config.patch_size)
