"""Base of the models: building, loading, conversion from bindplug, and CLIPModel's attributes."""

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
from bindplug.errors import InputError, ModalityNotLoaded
from bindplug.imagebind import ImageBind, PatchTower, TextTower, Tower, check_input, initialize_tower
from bindplug.modality import towers_of
from bindplug.space import EmbeddingSpace
from bindplug_transformers.checks import check_image_size, check_text, require
from bindplug_transformers.clip_modules import NAMES, ClipTextTower, ClipVisionTower
from bindplug_transformers.configuration import ImageBindConfig
from bindplug_transformers.hidden_states import FullPass, full_image_pass, full_text_pass
from bindplug_transformers.registered_names import is_bindplug_source, load_options
from bindplug_transformers.saved_directory import check_model, local_directory

SCALES = ["logit_scale", "log_scale"]
"""Kept in float32 in half-precision models: a rounded logarithm would change every logit."""


class ImageBindPreTrainedModel(PreTrainedModel):
    """Base of the models; ``network`` is the bindplug encoder within, which also takes queries.

    Gradient checkpointing is torch's non-reentrant one, whatever ``use_reentrant`` says: the other gives no gradient to
    adapters on frozen towers.
    """

    config_class = ImageBindConfig
    config: ImageBindConfig
    base_model_prefix = "imagebind"
    main_input_name = "pixel_values"
    supports_gradient_checkpointing = True
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
        if isinstance(source, (str, Path)):
            needed = cls._only or modalities
            encoder: Any = bindplug.load(source, modalities=needed, device=device, dtype=dtype)
        elif modalities is not None or dtype is not None or str(device) != "cpu":
            remedy = "Load it so, or call .to(...) on it first."
            raise InputError("from_bindplug", found="options", expected="none for a model", remedy=remedy)
        else:
            encoder = source
        if not isinstance(encoder, ImageBind):
            expected = "a name, a path or a bindplug.imagebind.ImageBind"
            raise InputError("from_bindplug", found=f"a {type(encoder).__name__}", expected=expected)
        config = ImageBindConfig.from_bindplug(encoder)
        # Built without numbers, since the network is replaced by the encoder.
        with torch.device("meta"):
            model = cls(config)
        model.network = _part(encoder, cls._only) if cls._only else encoder
        return model.eval()

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *args: Any, **kwargs: Any) -> Self:
        """As transformers' own; also takes what bindplug loads.

        Args:
            pretrained_model_name_or_path: a directory that :meth:`save_pretrained` wrote or the hub's name of one; or
                the name of a model registered with bindplug (``"imagebind_tiny"``), a converted directory, or an
                official checkpoint.
            args, kwargs: transformers'. For bindplug's models ``dtype``, ``torch_dtype``, ``device_map`` (one device)
                and ``modalities``; options that choose where and how to download have no effect.

        Raises:
            CheckpointError: a file of the directory is damaged; it is named.
            InputError: an option that bindplug's models cannot honor.
            WeightsNotFound: the directory holds no model.
        """
        if not is_bindplug_source(pretrained_model_name_or_path):
            directory = local_directory(pretrained_model_name_or_path, kwargs)
            if directory is not None:
                check_model(cls, directory, kwargs)
            return super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs)
        if args:
            raise InputError("from_pretrained", found="model arguments", expected="none for a bindplug model")
        return cls.from_bindplug(pretrained_model_name_or_path, **load_options(kwargs))

    def __setattr__(self, name: str, value: Any) -> None:
        # nn.Module would register a module of this name, which the property would hide.
        if name not in NAMES:
            super().__setattr__(name, value)
        elif name == "logit_scale":
            self.network.logit_scale = value
        elif name.endswith("_projection"):
            self._clip_tower(name).head.proj = value
        else:
            raise AttributeError(f"{name} cannot be replaced; change model.network.towers")

    @property
    def logit_scale(self) -> nn.Parameter:
        """Log of the factor on cosines of images and texts."""
        return self.network.logit_scale

    @property
    def projection_dim(self) -> int:
        """Length E of the embeddings."""
        return self.config.projection_dim

    @property
    def vision_embed_dim(self) -> int:
        """Width D of the image tower, built or not."""
        return self.config.network["vision"]["width"]

    @property
    def text_embed_dim(self) -> int:
        """Width D of the text tower, built or not."""
        return self.config.network["text"]["width"]

    @property
    def vision_model(self) -> ClipVisionTower:
        """The image tower without its projection, as CLIPModel's; its parameters are the model's own."""
        return ClipVisionTower(self, self.config.vision_config, self._clip_tower("vision_model"))

    @property
    def text_model(self) -> ClipTextTower:
        """The text tower without its projection, as CLIPModel's; its parameters are the model's own."""
        return ClipTextTower(self, self.config.text_config, self._clip_tower("text_model"))

    @property
    def visual_projection(self) -> nn.Module:
        """The image tower's projection, (B, D) -> (B, E)."""
        return self._clip_tower("visual_projection").head.proj

    @property
    def text_projection(self) -> nn.Module:
        """The text tower's projection, (B, D) -> (B, E)."""
        return self._clip_tower("text_projection").head.proj

    def text_pass(
        self,
        input_ids: Tensor | None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        *,
        attentions: bool = False,
    ) -> FullPass:
        """Every token's states of texts (B, L), checked as :meth:`ImageBindModel.get_text_features` does."""
        ids = require(type(self).__name__, "input_ids", input_ids)
        check_text(ids, attention_mask, position_ids)
        self._require_tower("text")
        check_input("text", "text", ids, self.network.config, self.network.device)
        tower = self.network.towers["text"]
        assert isinstance(tower, TextTower)
        return full_text_pass(tower, ids, attentions=attentions)

    def vision_pass(
        self, pixel_values: Tensor | None, interpolate_pos_encoding: bool = False, *, attentions: bool = False
    ) -> FullPass:
        """Every token's states of images (B, 3, H, W), checked as :meth:`ImageBindModel.get_image_features` does."""
        pixels = require(type(self).__name__, "pixel_values", pixel_values)
        check_image_size(pixels, self.config, interpolate_pos_encoding)
        self._require_tower("image")
        check_input("image", "vision", pixels, self.network.config, self.network.device)
        tower = self.network.towers["vision"]
        assert isinstance(tower, PatchTower)
        return full_image_pass(tower, pixels, attentions=attentions)

    def _require_tower(self, modality: str) -> None:
        if modality not in self.network.modalities:
            raise ModalityNotLoaded(modality, self.network.modalities)

    def _requested(self, states: bool | None, attentions: bool | None) -> tuple[bool, bool]:
        """Whether hidden states and attention weights are to be returned; the config says so for None."""
        return (
            bool(self.config.output_hidden_states if states is None else states),
            bool(self.config.output_attentions if attentions is None else attentions),
        )

    def _clip_tower(self, name: str) -> Any:
        tower = "vision" if name.startswith("vis") else "text"
        if tower not in self.network.towers:
            raise AttributeError(f"a model without the {tower} tower has no {name}")
        return self.network.towers[tower]

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
