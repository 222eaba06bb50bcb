"""What all models share: how they are built, filled, loaded and made from bindplug's."""

from __future__ import annotations

import copy
from collections.abc import Collection
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from typing_extensions import Self

import bindplug
from bindplug.errors import InputError
from bindplug.imagebind import ImageBind
from bindplug.imagebind.initialization import initialize_tower
from bindplug.imagebind.towers import Tower
from bindplug.modality import towers_of
from bindplug.space import EmbeddingSpace
from bindplug_transformers.configuration import ImageBindConfig

SCALES = ["logit_scale", "log_scale"]
"""Kept in float32 in half-precision models: a rounded logarithm would change every logit."""


class ImageBindPreTrainedModel(PreTrainedModel):
    """Base of the models; ``network`` is the bindplug encoder within, which also takes queries."""

    config_class = ImageBindConfig
    config: ImageBindConfig
    base_model_prefix = "imagebind"
    main_input_name = "pixel_values"
    supports_gradient_checkpointing = False
    _no_split_modules = ["Block"]  # noqa: RUF012 - as its base declares it
    _keep_in_fp32_modules = SCALES
    _keep_in_fp32_modules_strict = SCALES
    _supports_sdpa = True
    _only: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config: ImageBindConfig) -> None:
        if self._only:
            config = copy.deepcopy(config)
            config.modalities = list(self._only)
        super().__init__(config)
        self.network = ImageBind(config.network_config(), config.modalities, space=config.space())
        self.post_init()

    @classmethod
    def from_bindplug(
        cls,
        source: str | Path | ImageBind,
        *,
        modalities: Collection[str] | None = None,
        device: str | torch.device = "cpu",
        dtype: torch.dtype | None = None,
    ) -> Self:
        """A model around bindplug's, in evaluation mode.

        Args:
            source: what :func:`bindplug.load` takes, or a loaded model, whose weights are then shared.
            modalities, device, dtype: as in :func:`bindplug.load`; not with a loaded model.

        Raises:
            InputError: ``source`` is no ImageBind network, or options are given for a loaded model.
            ModalityNotLoaded: this class needs a tower that the loaded model lacks.
        """
        wanted = cls._only or modalities
        if isinstance(source, (str, Path)):
            encoder: Any = bindplug.load(source, modalities=wanted, device=device, dtype=dtype)
        elif modalities is not None or dtype is not None or str(device) != "cpu":
            remedy = "Load it so, or call .to(...) on it first."
            raise InputError("from_bindplug", found="options", expected="none for a model", remedy=remedy)
        else:
            encoder = source
        if not isinstance(encoder, ImageBind):
            expected = "a name, a path or a bindplug.imagebind.ImageBind"
            raise InputError("from_bindplug", found=f"a {type(encoder).__name__}", expected=expected)
        config = ImageBindConfig.from_bindplug(encoder)
        with torch.device("meta"):
            model = cls(config)
        model.network = _part(encoder, cls._only) if cls._only else encoder
        return model.eval()

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the weights, scales aside."""
        return self.network.dtype

    @property
    def embedding_space(self) -> EmbeddingSpace:
        """The space of the embeddings."""
        return self.network.embedding_space

    def get_input_embeddings(self) -> nn.Module:
        """The text tower's token embedding.

        Raises:
            NotImplementedError: there is no text tower.
        """
        if "text" not in self.network.towers:
            raise NotImplementedError(
                "this model was built without a text tower, so it has no token embedding"
            )
        return self.network.towers["text"].token_embedding  # type: ignore[return-value]

    def _init_weights(self, module: nn.Module) -> None:
        """Fill what no checkpoint filled; transformers marks loaded tensors."""
        if isinstance(module, ImageBind):
            if not getattr(module.logit_scale, "_is_hf_initialized", False):
                with torch.no_grad():
                    module.logit_scale.fill_(self.config.logit_scale_init_value)
        elif isinstance(module, Tower):
            tensors = module.state_dict(keep_vars=True)
            loaded = {name: t for name, t in tensors.items() if getattr(t, "_is_hf_initialized", False)}
            if len(loaded) < len(tensors):
                _fill(module, {name: t.detach().clone() for name, t in loaded.items()})


def _fill(tower: Tower, loaded: dict[str, Tensor]) -> None:
    initialize_tower(tower)
    with torch.no_grad():
        for name, tensor in tower.state_dict(keep_vars=True).items():
            if name in loaded:
                tensor.copy_(loaded[name])


def _part(encoder: ImageBind, modalities: Collection[str]) -> ImageBind:
    """A model of some towers of another; the weights are shared."""
    for modality in modalities:
        encoder.scale_of(modality)  # raises ModalityNotLoaded, which says how to load it
    names = towers_of(list(modalities))
    part = ImageBind(encoder.config, modalities, space=encoder.embedding_space, device="meta")
    part.towers = nn.ModuleDict({name: encoder.towers[name] for name in names})
    part.logit_scale = encoder.logit_scale
    return part
