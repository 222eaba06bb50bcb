"""ImageBind: six towers that meet in one space, with CLIP's methods and the original's call form."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from bindplug.encoder import Encoder
from bindplug.errors import CheckpointError, InputError, ModalityNotLoaded
from bindplug.fingerprint import Fingerprint
from bindplug.imagebind.config import ImageBindConfig, default_space, resolve_towers
from bindplug.imagebind.initialization import TEXT_LOG_SCALE, initialize_tower
from bindplug.imagebind.mapped_pages import MappedPages
from bindplug.imagebind.official_names import LOGIT_SCALE, from_official, model_shapes, to_official
from bindplug.imagebind.official_weights import OfficialWeights, check_state, read_weights, select_tensors
from bindplug.imagebind.same_weights import fingerprint_of
from bindplug.imagebind.tower_inputs import average_raw, check_input, clip_axis, embed_clips, unit
from bindplug.imagebind.towers import Tower, build_tower
from bindplug.modality import Modality
from bindplug.space import EmbeddingSpace

if TYPE_CHECKING:
    from bindplug.inputs.base import Preprocess

MAX_SCALE = 100.0
"""Where learned and fixed output scales are clipped. Source: ImageBind's published network."""


def own_memory(tensor: Tensor) -> Tensor:
    """The tensor, or a copy where it is a part of a larger one."""
    return tensor if tensor.untyped_storage().nbytes() == tensor.nbytes else tensor.clone()


class ImageBind(Encoder, nn.Module):
    """The network, whole or in part.

    Args:
        config: its shape.
        modalities: build only the towers of these modalities; all for None.
        space: the space its embeddings live in; for None ImageBind's where image and text towers have the
            published shape, else a nameless one.
        device: where to build it; ``"meta"`` leaves it without numbers, for weights to be assigned.
        dtype: of its weights; float32 by default.

    Attributes:
        config: the shape.
        towers: the towers that were built, by name.
        logit_scale: log of text's output scale and of CLIP's factor on cosines, a learned parameter.
        centers: mean unit row of modalities, for ``embed(recenter=...)``; what its directory ships, or empty.
        similarity_scales: factors on cosines that were fitted on held-out samples; what its directory ships, or empty.

    Raises:
        UnknownModality: a name is none of the modalities.
    """

    def __init__(
        self,
        config: ImageBindConfig,
        modalities: Collection[str] | None = None,
        *,
        space: EmbeddingSpace | None = None,
        device: str | torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        names = resolve_towers(modalities)
        self.config = config
        self.embedding_space = space or default_space(config)
        if self.embedding_space.width != config.embed_dim:
            raise ValueError(f"embeddings of width {config.embed_dim} do not live in {self.embedding_space}")
        self.modalities = tuple(m.value for m in Modality if m.tower in names)
        self.centers: Mapping[str, Tensor] = {}
        self._checkpoint_fingerprint: Fingerprint | None = None
        self.similarity_scales: Mapping[str, float] = {}
        # Random numbers would take 20 s and 4.8 GB before the first weight is read.
        with torch.device("meta"):
            self.towers = nn.ModuleDict({name: build_tower(name, config) for name in names})
            self.logit_scale = nn.Parameter(torch.empty(()))
        if device is None or torch.device(device).type != "meta":
            self.to_empty(device=device or torch.get_default_device())
            self.reset_parameters()
        if dtype is not None:
            self.to(dtype)

    @classmethod
    def from_official(
        cls,
        source: Mapping[str, Tensor] | str | Path,
        config: ImageBindConfig | None = None,
        *,
        modalities: Collection[str] | None = None,
        device: str | torch.device = "cpu",
        dtype: torch.dtype | None = None,
    ) -> ImageBind:
        """A model with the weights of an official checkpoint; only asked-for towers are built and read.

        Args:
            source: the checkpoint's file (``.pth`` or ``.safetensors``), or its state dict.
            config: needed only where shapes do not tell the number of heads.
            modalities: as in the constructor.
            device: where to put the weights.
            dtype: to convert the weights to; the checkpoint's own for None.

        Returns:
            The model in evaluation mode.

        Raises:
            CheckpointError: the checkpoint is damaged, incomplete, unsafe, or of another network.
            WeightsNotFound: there is no such file.
        """
        return cls.from_weights(read_weights(source, config, modalities), device=device, dtype=dtype)

    @classmethod
    def from_weights(
        cls,
        weights: OfficialWeights,
        *,
        device: str | torch.device = "cpu",
        dtype: torch.dtype | None = None,
    ) -> ImageBind:
        """A model that holds checked weights, without initializing or copying what needs neither.

        Pages of a mapped file are given back once their tensors are converted, so memory peaks at the model's own
        size. Output scales stay float32: a rounded logarithm would change every logit.

        Args:
            weights: what :func:`bindplug.imagebind.official_weights.read_weights` gave.
            device: where to put them.
            dtype: to convert them to; their own for None.

        Returns:
            The model in evaluation mode.
        """
        model = cls(weights.config, weights.towers, space=weights.space, device="meta")
        model._checkpoint_fingerprint = weights.fingerprint
        state: dict[str, Tensor] = {}
        converted: set[int] = set()
        pages = MappedPages()
        for name, tensor in weights.tensors.items():
            exact = name.endswith("log_logit_scale")
            state[name] = tensor.detach().to(device, torch.float32 if exact else dtype)
            if state[name].data_ptr() != tensor.data_ptr():
                pages.release(tensor)
                converted.add(state[name].untyped_storage().data_ptr())
        own = from_official(state, weights.config)
        state.clear()
        for name, tensor in own.items():
            # Query, key and value get memory of their own: checkpoint writers take views of one tensor for copies of
            # it and keep one. Those of a mapped file stay there.
            if tensor.numel() and tensor.untyped_storage().data_ptr() in converted:
                own[name] = own_memory(tensor)
        own.setdefault(LOGIT_SCALE, torch.tensor(TEXT_LOG_SCALE, device=device))
        model.load_state_dict(own, assign=True)
        return model.eval()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Initialize every tower anew, as for training from scratch."""
        for tower in self.towers.values():
            assert isinstance(tower, Tower)
            initialize_tower(tower, generator)
        nn.init.constant_(self.logit_scale, TEXT_LOG_SCALE)

    def load_official(self, state: Mapping[str, Tensor]) -> None:
        """Copy an official state dict's numbers into this model's towers; strict, as :meth:`from_official`.

        Raises:
            CheckpointError: names are missing or unexpected, or shapes are wrong.
        """
        towers = tuple(self.towers)
        check_state(state, towers, self.config)
        tensors = select_tensors(state, towers, self.config)
        self.load_state_dict({LOGIT_SCALE: self.logit_scale} | from_official(tensors, self.config))

    def official_state_dict(self) -> dict[str, Tensor]:
        """The weights under the official checkpoint's names, for the towers that were built.

        Tensors share the model's memory, but for ``in_proj`` tensors of a model that was not loaded from a file or
        was converted since: there query, key and value do not lie side by side, and are copied.

        Raises:
            CheckpointError: the model holds adapters, which the official layout has no place for.
        """
        return to_official(self.state_dict(), self.config)

    @property
    def fingerprint(self) -> Fingerprint | None:  # type: ignore[override]
        """Of the image and text towers, which define the space: of those loaded, else of those in the checkpoint.

        None where neither the model nor its checkpoint has both; see :mod:`bindplug.imagebind.same_weights`.
        """
        if not {"vision", "text"} <= set(self.towers):
            return self._checkpoint_fingerprint
        try:
            loaded = fingerprint_of(self.official_state_dict())
        except InputError:  # packed weights have no official names
            loaded = None
        except CheckpointError:  # nor have adapters: on a tower of the space they make another one
            shapes = model_shapes(self.config)
            parts = ("towers.vision.", "towers.text.")
            if any(name.startswith(parts) and name not in shapes for name in self.state_dict()):
                return None
            loaded = None
        return self._checkpoint_fingerprint if loaded is None else loaded

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        """Where the weights are."""
        return self.logit_scale.device

    @property
    def dtype(self) -> torch.dtype:  # type: ignore[override]
        """The dtype of the weights."""
        return next(self.towers.parameters(), self.logit_scale).dtype

    @cached_property
    def preprocess(self) -> Mapping[str, Preprocess]:  # type: ignore[override]
        """For each modality name, what turns a source into model input."""
        from bindplug.inputs import make_preprocess

        return make_preprocess(self.modalities, image_size=self.config.image_size)

    @cached_property
    def tokenizer(self) -> Callable[..., Tensor]:  # type: ignore[override]
        """Texts to token ids, ``tokenizer(["a dog"]) -> (1, 77)``."""
        from bindplug.inputs.text import Tokenizer

        return Tokenizer()

    def encode(self, modality: str, x: Tensor, normalize: bool = False) -> Tensor:
        """Embed a batch of preprocessed input.

        Args:
            modality: ``"image"``, ``"video"``, ``"text"``, ``"audio"``, ``"depth"``, ``"thermal"``, ``"imu"``
                or ``"vision"``.
            x: image (B, 3, H, W); video (B, S, 3, 2, H, W); text (B, L) token ids; audio (B, S, 1, 128, 204)
                or (B, 1, 128, 204); depth, thermal (B, 1, H, W) or (B, S, 1, H, W); IMU (B, 6, 2000) or
                (B, S, 6, 2000). S counts clips of one item.
            normalize: whether rows get unit length.

        Returns:
            (B, D). Without ``normalize`` the head's raw output; for several clips, the mean of their
            directions at their mean length.

        Raises:
            InputError: ``x`` has another shape or dtype, or values that are not finite.
            ModalityNotLoaded: the tower was not built.
        """
        rows = self._embed(modality, x)
        raw = average_raw(rows) if rows.ndim == 3 else rows
        return unit(raw) if normalize else raw

    def encode_official(self, modality: str, x: Tensor) -> Tensor:
        """The original's numbers: unit rows times the output scale, averaged over clips.

        Args:
            modality: name of the modality.
            x: a batch of B items, as for :meth:`encode`.

        Returns:
            (B, D), not of unit length where the modality has an output scale.

        Raises:
            InputError, ModalityNotLoaded: as :meth:`encode`.
        """
        rows = unit(self._embed(modality, x))
        scale = self._scale(self._tower_name(modality))
        scaled = rows if scale is None else rows * scale.to(rows.dtype)
        # (B, S, D) -> (B, D); the mean of scaled clips is shorter than the scale, as in the original
        return scaled.mean(1) if scaled.ndim == 3 else scaled

    def forward(
        self,
        image: Tensor | Mapping[str, Tensor] | None = None,
        text: Tensor | None = None,
        *,
        video: Tensor | None = None,
        audio: Tensor | None = None,
        depth: Tensor | None = None,
        thermal: Tensor | None = None,
        imu: Tensor | None = None,
        output_dict: bool = True,
    ) -> Any:
        """Embed several modalities, in the original's call form or in CLIP's.

        Args:
            image: a dict of inputs by tower or modality name, for the original's form; or, for CLIP's form,
                images as in :meth:`encode`.
            text, video, audio, depth, thermal, imu: inputs as in :meth:`encode`.
            output_dict: whether CLIP's form returns a dict or a tuple.

        Returns:
            The original's form: a dict of scaled embeddings (B, D) under the names given. CLIP's form: unit
            rows ``{"image_features": ..., "logit_scale": ...}`` of what was given, ``logit_scale`` being
            the factor on cosines, no longer a log; or ``(*features, logit_scale)`` in the order of this
            signature, which for image and text is open_clip's.

        Raises:
            InputError: an input has another shape or dtype, values that are not finite, or nothing was given.
            ModalityNotLoaded: a tower was not built.
        """
        keywords = {
            "text": text,
            "video": video,
            "audio": audio,
            "depth": depth,
            "thermal": thermal,
            "imu": imu,
        }
        inputs = {name: x for name, x in keywords.items() if x is not None}
        if isinstance(image, Mapping):
            if inputs:
                raise InputError("forward", found="a dict and keywords", expected="one of the two call forms")
            return {name: self.encode_official(name, x) for name, x in image.items() if x is not None}
        if image is not None:
            inputs = {"image": image, **inputs}
        if not inputs:
            raise InputError(
                "forward", found="no input", expected='a dict such as {"vision": x}, or image=, text=, ...'
            )
        features = {f"{name}_features": self.encode(name, x, normalize=True) for name, x in inputs.items()}
        features["logit_scale"] = self.logit_scale.exp()
        return features if output_dict else tuple(features.values())

    def unknown_tokens(self, ids: Tensor) -> frozenset[int]:
        """Those of the token ids (B, 77) whose embeddings are zero, as of words that training never met."""
        table = self.towers["text"].token_embedding
        assert isinstance(table, nn.Embedding)
        # only the rows in use are read: the table may be a mapped file
        unique_ids = ids.unique()
        return frozenset(unique_ids[~table.weight[unique_ids].any(dim=1)].tolist())

    def scale_of(self, modality: str) -> float:
        """The factor on cosines at which a modality was trained against images; 1 for images and videos."""
        scale = self._scale(self._tower_name(modality))
        return 1.0 if scale is None else float(scale.detach())

    def set_scale(self, modality: str, scale: float) -> None:
        """Set a modality's output scale, which :meth:`scale_of` then returns (clipped at 100).

        Raises:
            ValueError: the scale is not positive, or the modality is image or video, whose scale is 1.
        """
        name = self._tower_name(modality)
        if not (scale > 0 and math.isfinite(scale)) or name == "vision":
            raise ValueError(f"cannot set the output scale of {modality} to {scale}")
        log_scale = self.logit_scale if name == "text" else self.towers[name].log_scale
        assert isinstance(log_scale, Tensor)
        with torch.no_grad():
            log_scale.fill_(math.log(scale))

    def __getstate__(self) -> dict[str, Any]:
        """Readers and tokenizer are made anew where the model is unpickled."""
        return {k: v for k, v in self.__dict__.items() if k not in ("preprocess", "tokenizer")}

    def _tower_name(self, modality: str) -> str:
        name = "vision" if modality == "vision" else Modality.parse(modality).tower
        if name not in self.towers:
            raise ModalityNotLoaded(str(modality), self.modalities)
        return name

    def _scale(self, name: str) -> Tensor | None:
        log_scale = self.logit_scale if name == "text" else self.towers[name].log_scale
        return log_scale.exp().clamp(max=MAX_SCALE) if isinstance(log_scale, Tensor) else None

    def _embed(self, modality: str, x: Tensor) -> Tensor:
        """Raw rows (B, D), or (B, S, D) where ``x`` has a clip axis."""
        name = self._tower_name(modality)
        tower = self.towers[name]
        assert isinstance(tower, Tower)
        check_input(str(modality), name, x, self.config, tower.pos_embed.device)
        if not clip_axis(name, x):
            return tower(x)
        return embed_clips(tower, x, once=not tower.training and not x.requires_grad)
