"""``bindplug.upgrade(CLIPModel)``: identify the CLIP's space by its weights, and add sensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import Self

import bindplug
from bindplug.adapters import UpgradedModule
from bindplug.bridges import as_bridge, compose, distinct_leaves, embed_leaves, fit_command, map_leaves
from bindplug.cards import ModelCard, unwrapped
from bindplug.encoder import Embedded, Encoder, evaluating
from bindplug.errors import (
    BindplugError,
    InputError,
    ModalityNotLoaded,
    SpaceMismatch,
    UnsupportedTarget,
)
from bindplug.fingerprint import Fingerprint
from bindplug.hub import find_weights
from bindplug.imagebind import MAX_SCALE, read_fingerprint, unit
from bindplug.inputs import ImagePreprocess, Preprocess, TextPreprocess, Tokenizer
from bindplug.modality import Modality
from bindplug.query import AnyLeaf, Query, VectorLeaf
from bindplug.space import IMAGEBIND_SPACE
from bindplug_transformers.clip_layout import clip_fingerprint, difference_from
from bindplug_transformers.modeling import Features, ImageBindPreTrainedModel
from bindplug_transformers.outputs import TRANSFORMERS_4, pooled

SENSORS = ("audio", "depth", "thermal", "imu")


def upgrade(original: Any, model: Encoder | None = None, *, bridge: Any = None) -> UpgradedClip:
    """A CLIPModel with ImageBind's sensors that also takes queries.

    Args:
        original: a transformers CLIPModel, or one inside ``DataParallel``, ``DistributedDataParallel`` or
            ``torch.compile``; its towers are shared, never copied or changed.
        model: its sensor towers are shared. By default they are loaded, from the registered model on this machine
            whose image and text towers ``original`` holds.
        bridge: for a CLIP of another space, a map from ``model``'s space to its own: a bridge, its path, or the name
            of a registered one.

    Raises:
        SpaceMismatch: the original lives in another space and no bridge is given, or the bridge leads elsewhere.
        InputError: a bridge is given without a model, or is no bridge.
        UnsupportedTarget: the original takes queries already.
    """
    clip = unwrapped(original)
    wrapper = None if clip is original else original
    if isinstance(clip, (ImageBindPreTrainedModel, UpgradedClip)):
        road = "model.embed" if isinstance(clip, UpgradedClip) else "model.network.embed"
        raise UnsupportedTarget(
            f"this {type(clip).__name__} takes queries already: {road}([bindplug.audio(...)])"
        )
    if bridge is not None:
        return _bridged(clip, model, bridge, wrapper)
    if model is None:
        return UpgradedClip.of(clip, _matching_sensors(clip), wrapper=wrapper)
    apart = difference_from(clip, model.fingerprint)
    if apart:
        raise _mismatch(clip, [f"the model: {apart}"])
    return UpgradedClip.of(clip, model, wrapper=wrapper)


class UpgradedClip(UpgradedModule, Encoder):
    """A CLIPModel with sensor towers beside its own two, which run by its own code.

    It is a CLIPModel too, with the original's parameters, names and methods, and has ``encode_...``,
    ``get_audio_features`` and the other sensors', ``embed`` and ``similarity`` of queries. The sensors are no
    submodules: ``parameters()``, ``state_dict()`` and ``save_pretrained`` are the CLIPModel's. They move and change
    their dtype and mode with it. Made by :meth:`of`.

    Attributes:
        original: the CLIPModel.
        model: the encoder of what CLIP lacks.
        bridge: maps the model's unit rows to the original's space; None where the spaces are one.
        wrapper: the parallel or compiled module around ``original``, if there is one. Calls run it.
    """

    CONSTRUCTORS = ("from_pretrained", "from_config", "_from_config")

    model: Encoder
    bridge: Any

    @classmethod
    def of(cls, original: Any, model: Encoder, bridge: Any = None, *, wrapper: Any = None) -> Self:
        """A CLIPModel with an encoder beside it; the arguments are the class's attributes."""
        further = [name for name in model.modalities if name in (*SENSORS, "video")]
        own: dict[str, Preprocess] = {
            "image": ImagePreprocess(image_size=original.config.vision_config.image_size),
            "text": TextPreprocess(),
        }
        same_space = bridge is None
        return cls.around(
            original,
            wrapper=wrapper,
            model=model,
            bridge=bridge,
            embedding_space=model.embedding_space if same_space else bridge.target,
            modalities=tuple(m.value for m in Modality if m.value in ("image", "text", *further)),
            preprocess=own | {name: model.preprocess[name] for name in further},
            tokenizer=Tokenizer(original.config.text_config.max_position_embeddings),
            centers=model.centers if same_space else {},
            similarity_scales=model.similarity_scales if same_space else {},
        )

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        """Where the original's weights are."""
        device: torch.device = self.original.device
        return device

    @property
    def dtype(self) -> torch.dtype:  # type: ignore[override]
        """The dtype of the original's weights."""
        dtype: torch.dtype = self.original.dtype
        return dtype

    @property
    def fingerprint(self) -> Fingerprint | None:  # type: ignore[override]
        """Of the image and text towers, which define the space; None for those of another space."""
        return clip_fingerprint(self.original) if self.bridge is None else None

    def unknown_tokens(self, ids: Tensor) -> frozenset[int]:
        """Those of the token ids whose embeddings are zero, as of words that training never met."""
        table = self.text_model.embeddings.token_embedding.weight
        used = ids.unique()
        return frozenset(used[~table[used].any(dim=1)].tolist())

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The original's output, by way of the module around it."""
        return self.forward_original(*args, **kwargs)

    def train(self, mode: bool = True) -> Self:
        """torch's; the sensors are then in the same mode."""
        super().train(mode)
        if isinstance(self.model, nn.Module):
            self.model.train(mode)
        return self

    def _apply(self, *args: Any, **kwargs: Any) -> Self:
        super()._apply(*args, **kwargs)  # type: ignore[misc]
        if isinstance(self.model, nn.Module):
            self.model._apply(*args, **kwargs)
        return self

    def encode(self, modality: str, x: Tensor, normalize: bool = False) -> Tensor:
        """As :meth:`bindplug.Encoder.encode`; over a bridge, sensors' rows have unit length in any case.

        Raises:
            ModalityNotLoaded: the original's towers embed no such thing and none was added that does.
        """
        name = Modality.parse(modality).value
        if name not in self.modalities:
            raise ModalityNotLoaded(name, self.modalities)
        if name in ("image", "text"):
            embed = self.get_image_features if name == "image" else self.get_text_features
            features = embed(x)
            raw = features if isinstance(features, Tensor) else features.pooler_output
            return unit(raw) if normalize else raw
        if self.bridge is None:
            return self.model.encode(name, x, normalize)
        return self.bridge(self.model.encode(name, x, normalize=True), modality=name)

    def embed_with_report(self, queries: Query | Sequence[Query], **options: Any) -> Embedded:
        """As :meth:`bindplug.Encoder.embed_with_report`; over a bridge, as :func:`bindplug.bridges.map_queries`.

        Over a bridge images and texts are embedded by the original's own towers.

        Raises:
            InputError: ``recenter`` is given with a bridge, and a query holds an image or a text.
        """
        with evaluating(self.model):  # which is no submodule
            return self._embed_with_report(queries, options)

    def _embed_with_report(self, queries: Query | Sequence[Query], options: dict[str, Any]) -> Embedded:
        if self.bridge is None:
            return super().embed_with_report(queries, **options)
        several = [queries] if isinstance(queries, Query) else list(queries)
        recenter = options.pop("recenter", None)
        report = super().embed_with_report(several, **options)
        if not report.kept:
            return report
        readable = [several[index] for index in report.kept]
        rows = self._leaf_rows(readable, recenter, options)
        composed = torch.stack([compose(query, rows, self.bridge.target_mean) for query in readable])
        return replace(report, rows=composed.to(report.rows))

    def _leaf_rows(
        self, queries: Sequence[Query], recenter: str | None, options: dict[str, Any]
    ) -> dict[AnyLeaf, Tensor]:
        """Each leaf's unit row (D,) in the original's space."""
        loading = {name: options[name] for name in ("batch_size", "progress", "workers") if name in options}
        leaves = distinct_leaves(queries)
        own = [leaf for leaf in leaves if self._is_own(leaf)]
        if own and recenter is not None:
            expected = "sensors only: nobody knows where the original's images and texts lie"
            raise InputError("recenter", found=repr(own[0]), expected=expected)
        foreign = [leaf for leaf in leaves if not self._is_own(leaf)]
        crossing, modalities = embed_leaves(self.model, self.bridge, foreign, recenter=recenter, **loading)
        rows = map_leaves(self.bridge, foreign, crossing, modalities)
        if own:
            alone = super().embed_with_report(
                [Query([(1.0, leaf)]) for leaf in own], on_error="raise", **loading
            )
            rows |= dict(zip(own, alone.rows, strict=True))
        return rows

    def _is_own(self, leaf: AnyLeaf) -> bool:
        if isinstance(leaf, VectorLeaf):
            return leaf.space.matches(self.embedding_space)
        return leaf.modality.value in ("image", "text")

    def scale_of(self, modality: str) -> float:
        """The factor on cosines: the original's for image and text, the model's for what it adds."""
        name = Modality.parse(modality).value
        if name in ("image", "video"):
            return 1.0
        if name == "text":
            return min(float(self.original.logit_scale.detach().exp()), MAX_SCALE)
        return self.model.scale_of(name)

    def get_video_features(self, pixel_values_videos: Tensor) -> Features:
        """As :meth:`ImageBindModel.get_video_features`; only with a model that has a vision tower."""
        return _features(self.encode("video", pixel_values_videos))

    def get_audio_features(self, input_features: Tensor) -> Features:
        """As :meth:`ImageBindModel.get_audio_features`."""
        return _features(self.encode("audio", input_features))

    def get_depth_features(self, depth_values: Tensor) -> Features:
        """As :meth:`ImageBindModel.get_depth_features`."""
        return _features(self.encode("depth", depth_values))

    def get_thermal_features(self, thermal_values: Tensor) -> Features:
        """As :meth:`ImageBindModel.get_thermal_features`."""
        return _features(self.encode("thermal", thermal_values))

    def get_imu_features(self, imu_values: Tensor) -> Features:
        """As :meth:`ImageBindModel.get_imu_features`."""
        return _features(self.encode("imu", imu_values))


def _features(rows: Tensor) -> Features:
    return rows if TRANSFORMERS_4 else pooled(rows)


def _matching_sensors(original: Any) -> Encoder:
    """The sensors of the registered model whose image and text towers the original holds."""
    differences = []
    for card in bindplug.list_models():
        if card.loader:
            continue
        apart = _difference(original, card)
        if not apart:
            sensors = [name for name in card.modalities if name in SENSORS]
            return bindplug.load(card.name, modalities=sensors, device=original.device, dtype=original.dtype)
        differences.append(f"{card.name}: {apart}")
    raise _mismatch(original, differences)


def _difference(original: Any, card: ModelCard) -> str:
    """What tells the original apart from a registered model's CLIP; empty if nothing does."""
    try:
        path = find_weights(card)
        if path is None:
            return "its weights are not on this machine"
        return difference_from(original, read_fingerprint(path))
    except BindplugError as error:  # damaged weights of one model do not concern the others
        return str(error)


def _bridged(original: Any, model: Encoder | None, bridge: Any, wrapper: Any) -> UpgradedClip:
    if model is None:
        expected, remedy = "the model that it starts from", "upgrade(clip, bindplug.load(...), bridge=bridge)"
        raise InputError("upgrade()", found="a bridge alone", expected=expected, remedy=remedy)
    bridge = as_bridge(bridge, source=model.embedding_space, target=None)
    width = original.config.projection_dim
    if bridge.target.width != width:
        raise SpaceMismatch(
            f"the bridge leads to {bridge.target}, this CLIP's embeddings have {width} numbers"
        )
    return UpgradedClip.of(original, model, bridge, wrapper=wrapper)


def _mismatch(original: Any, differences: list[str]) -> SpaceMismatch:
    compared = "; ".join(differences) or "no model is registered"
    return SpaceMismatch(
        f"this {type(original).__name__} ({original.config.projection_dim}-d) lives in another space than the sensors "
        f"that could be added to it. Compared, by weights: {compared}. Sensors reach its space over a bridge: "
        f"{fit_command(IMAGEBIND_SPACE)}, then bindplug.upgrade(clip, model, bridge='my-bridge')"
    )
