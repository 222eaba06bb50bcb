"""ImageBind's shape as a transformers config."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import asdict
from typing import Any

from transformers import CLIPTextConfig, CLIPVisionConfig, PretrainedConfig

from bindplug.errors import InputError
from bindplug.imagebind import BLOCK_EPS, MLP_RATIO, TEXT_LOG_SCALE, default_space
from bindplug.imagebind import ImageBindConfig as NetworkConfig
from bindplug.inputs import VOCABULARY_SIZE
from bindplug.modality import Modality, towers_of
from bindplug.space import EmbeddingSpace
from bindplug_transformers.saved_directory import local_directory, read_config

START_ID, END_ID = VOCABULARY_SIZE - 2, VOCABULARY_SIZE - 1


class ImageBindConfig(PretrainedConfig):
    """The shape of an ImageBind model, and the space it embeds into.

    Args:
        network: the network's shape, as :class:`bindplug.imagebind.ImageBindConfig` or its dict; the published
            network's for None.
        modalities: build only the towers of these; all for None.
        embedding_space: the space of the embeddings, or its fields; for None ImageBind's own where image and
            text towers have the published shape, else a nameless one.
        logit_scale_init_value: log of the factor on cosines, for a model without weights.
        kwargs: what every transformers config takes.

    Raises:
        InputError: ``network`` describes no network, ``embedding_space`` no space, or the scale is no finite number.
        UnknownModality: a name in ``modalities`` is none.
    """

    model_type = "imagebind"

    def __init__(
        self,
        network: NetworkConfig | Mapping[str, Any] | None = None,
        modalities: Collection[str] | None = None,
        embedding_space: EmbeddingSpace | Mapping[str, Any] | None = None,
        logit_scale_init_value: float = TEXT_LOG_SCALE,
        **kwargs: Any,
    ) -> None:
        shape = _network(network)
        towers = towers_of(None if modalities is None else list(modalities))
        self.network = shape.to_dict()
        self.modalities = [modality.value for modality in Modality if modality.tower in towers]
        space = _space(embedding_space) or default_space(shape)
        self.embedding_space: dict[str, Any] = asdict(space)
        if not _is_finite_number(logit_scale_init_value):
            found = f"logit_scale_init_value={logit_scale_init_value!r}"
            raise InputError("ImageBindConfig", found=found, expected="a finite number")
        self.logit_scale_init_value = logit_scale_init_value
        self.projection_dim = shape.embed_dim
        kwargs.pop("projection_dim", None)
        super().__init__(**kwargs)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *args: Any, **kwargs: Any) -> Any:
        """As transformers' own.

        Raises:
            CheckpointError: the directory's ``config.json`` is damaged or describes another kind of model.
            WeightsNotFound: the directory has none.
        """
        directory = local_directory(pretrained_model_name_or_path, kwargs)
        if directory is not None:
            read_config(cls, directory)
        return super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs)

    @classmethod
    def from_bindplug(cls, model: Any, **kwargs: Any) -> ImageBindConfig:
        """The config of a loaded :class:`bindplug.imagebind.ImageBind`."""
        return cls(
            model.config,
            modalities=model.modalities,
            embedding_space=model.embedding_space,
            logit_scale_init_value=float(model.logit_scale.detach()),
            **kwargs,
        )

    def network_config(self) -> NetworkConfig:
        """The network's shape as bindplug's own config."""
        return NetworkConfig.from_dict(self.network)

    def space(self) -> EmbeddingSpace:
        """The space of the embeddings."""
        return EmbeddingSpace(**self.embedding_space)

    @property
    def image_size(self) -> int:
        """Height and width of images in pixels."""
        return self.network["image_size"]

    @property
    def hidden_size(self) -> int:
        """Width of the only tower; a model of several towers has no such number."""
        towers = towers_of(self.modalities)
        if len(towers) != 1:
            raise AttributeError(f"towers differ in width; see text_config and vision_config of {towers}")
        return self.network[towers[0]]["width"]

    @property
    def text_config(self) -> CLIPTextConfig:
        """The text tower in CLIP's words, as callers of CLIPModel read it; a copy."""
        return CLIPTextConfig(
            **self._shared("text"),
            vocab_size=self.network["vocab_size"],
            max_position_embeddings=self.network["context_length"],
            bos_token_id=START_ID,
            eos_token_id=END_ID,
            pad_token_id=END_ID,
        )

    @property
    def vision_config(self) -> CLIPVisionConfig:
        """The vision tower in CLIP's words, as callers of CLIPModel read it; a copy."""
        patch_size = self.network["vision"]["kernel"][-1]
        return CLIPVisionConfig(**self._shared("vision"), image_size=self.image_size, patch_size=patch_size)

    def _shared(self, tower: str) -> dict[str, Any]:
        shape = self.network[tower]
        return {
            "hidden_size": shape["width"],
            "intermediate_size": MLP_RATIO * shape["width"],
            "num_hidden_layers": shape["blocks"],
            "num_attention_heads": shape["heads"],
            "projection_dim": self.projection_dim,
            "hidden_act": "gelu",
            "layer_norm_eps": BLOCK_EPS,
        }


def _is_finite_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _network(value: Any) -> NetworkConfig:
    if value is None:
        return NetworkConfig.huge()
    if isinstance(value, NetworkConfig):
        return value
    try:
        return NetworkConfig.from_dict(value)
    except (TypeError, ValueError) as error:
        remedy = "bindplug.imagebind.ImageBindConfig(...).to_dict() makes one."
        expected = "a bindplug ImageBindConfig or its dict"
        raise InputError("ImageBindConfig", found=str(error), expected=expected, remedy=remedy) from None


def _space(value: Any) -> EmbeddingSpace | None:
    if value is None or isinstance(value, EmbeddingSpace):
        return value
    try:
        return EmbeddingSpace(**value)
    except TypeError as error:
        expected = "an EmbeddingSpace or its fields"
        raise InputError("ImageBindConfig", found=str(error), expected=expected) from None
