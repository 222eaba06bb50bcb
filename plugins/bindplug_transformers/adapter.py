"""``bindplug.upgrade(CLIPModel)``: check by weights which space it lives in, and add the sensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import bindplug
from bindplug.adapters import Upgraded
from bindplug.cards import ModelCard
from bindplug.encoder import Encoder
from bindplug.errors import BindplugError, InputError, ModalityNotLoaded, SpaceMismatch
from bindplug.hub import find_weights
from bindplug.imagebind.model import MAX_SCALE
from bindplug.imagebind.tower_inputs import unit
from bindplug.inputs import ImagePreprocess, Preprocess, TextPreprocess, Tokenizer
from bindplug.modality import Modality
from bindplug_transformers.likeness import difference, open_reference
from bindplug_transformers.modeling import Features
from bindplug_transformers.outputs import TRANSFORMERS_4, pooled

FIT = "bindplug bridge fit --source imagebind_huge --target open_clip:ARCHITECTURE:TAG -o my-bridge"
SENSORS = ("audio", "depth", "thermal", "imu")


def upgrade(original: Any, model: Encoder | None = None, *, bridge: Any = None) -> UpgradedClip:
    """A CLIPModel that also hears, sees depth and heat, feels motion, and takes queries.

    Args:
        original: a transformers CLIPModel; its towers are shared, never copied or changed.
        model: lends its further towers; without it, they are loaded, of the registered model on this machine whose
            image and text towers ``original`` turns out to hold.
        bridge: for a CLIP of another space, a map from ``model``'s space to its own, or the path of one.

    Raises:
        SpaceMismatch: the original lives in another space and no bridge is given, or the bridge leads elsewhere.
        InputError: a bridge is given without a model, or is no bridge.
    """
    if bridge is not None:
        return _bridged(original, model, bridge)
    if model is None:
        return UpgradedClip(original, _recognised(original))
    state: Callable[[], Mapping[str, Tensor]] | None = getattr(model, "official_state_dict", None)
    told_apart = difference(original, state()) if state else "it is no ImageBind"
    if told_apart:
        raise _mismatch(original, [f"the model given: {told_apart}"])
    return UpgradedClip(original, model)


class UpgradedClip(Upgraded, Encoder):
    """A CLIPModel with further towers beside its own two, computed by its own code.

    Everything the original has is there, and beside it ``encode_...``, ``get_audio_features`` and its like,
    ``embed`` and ``similarity`` of queries. Calling it calls the original.

    Args:
        original: the CLIPModel.
        model: the encoder of what CLIP lacks.
        bridge: maps the model's unit rows to the original's space; None where the spaces are one.
    """

    def __init__(self, original: Any, model: Encoder, bridge: Any = None) -> None:
        super().__init__(original, model)
        self.bridge = bridge
        self.embedding_space = model.embedding_space if bridge is None else bridge.target
        further = [name for name in model.modalities if name in (*SENSORS, "video")]
        self.modalities = tuple(m.value for m in Modality if m.value in ("image", "text", *further))
        size = original.config.vision_config.image_size
        own: dict[str, Preprocess] = {"image": ImagePreprocess(image_size=size), "text": TextPreprocess()}
        self.preprocess = own | {name: model.preprocess[name] for name in further}
        self.tokenizer = Tokenizer(original.config.text_config.max_position_embeddings)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The original's answer."""
        return self.original(*args, **kwargs)

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        """Where the original's weights are."""
        return self.original.device

    @property
    def dtype(self) -> torch.dtype:  # type: ignore[override]
        """The dtype of the original's weights."""
        return self.original.dtype

    def encode(self, modality: str, x: Tensor, normalize: bool = False) -> Tensor:
        """As :meth:`bindplug.Encoder.encode`; over a bridge, sensors' rows have unit length in any case.

        Raises:
            ModalityNotLoaded: the original's towers embed no such thing and none was added that does.
        """
        name = Modality.parse(modality).value
        if name not in self.modalities:
            raise ModalityNotLoaded(name, self.modalities)
        if name in ("image", "text"):
            embed = self.original.get_image_features if name == "image" else self.original.get_text_features
            found = embed(x)
            raw = found if isinstance(found, Tensor) else found.pooler_output
            return unit(raw) if normalize else raw
        if self.bridge is None:
            return self.model.encode(name, x, normalize)
        return self.bridge(self.model.encode(name, x, normalize=True), modality=name)

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
        return _formed(self.encode("video", pixel_values_videos))

    def get_audio_features(self, input_features: Tensor) -> Features:
        """As :meth:`ImageBindModel.get_audio_features`."""
        return _formed(self.encode("audio", input_features))

    def get_depth_features(self, depth_values: Tensor) -> Features:
        """As :meth:`ImageBindModel.get_depth_features`."""
        return _formed(self.encode("depth", depth_values))

    def get_thermal_features(self, thermal_values: Tensor) -> Features:
        """As :meth:`ImageBindModel.get_thermal_features`."""
        return _formed(self.encode("thermal", thermal_values))

    def get_imu_features(self, imu_values: Tensor) -> Features:
        """As :meth:`ImageBindModel.get_imu_features`."""
        return _formed(self.encode("imu", imu_values))


def _formed(rows: Tensor) -> Features:
    return rows if TRANSFORMERS_4 else pooled(rows)


def _recognised(original: Any) -> Encoder:
    """The sensors of the registered model whose CLIP this is."""
    told_apart = []
    for card in bindplug.list_models():
        if card.loader:
            continue
        apart = _apart(original, card)
        if not apart:
            sensors = [name for name in card.modalities if name in SENSORS]
            return bindplug.load(card.name, modalities=sensors, device=original.device, dtype=original.dtype)
        told_apart.append(f"{card.name}: {apart}")
    raise _mismatch(original, told_apart)


def _apart(original: Any, card: ModelCard) -> str:
    """What tells the original apart from a registered model's CLIP; empty if nothing does."""
    try:
        path = find_weights(card)
        return (
            "its weights are not on this machine"
            if path is None
            else difference(original, open_reference(path))
        )
    except BindplugError as error:  # damaged weights of one model say nothing of the others
        return str(error)


def _bridged(original: Any, model: Encoder | None, bridge: Any) -> UpgradedClip:
    if isinstance(bridge, (str, Path)):
        from bindplug.bridges import load_bridge

        bridge = load_bridge(bridge)
    if not (callable(bridge) and hasattr(bridge, "source") and hasattr(bridge, "target")):
        expected = "a bindplug.bridges.Bridge, or its path"
        raise InputError("upgrade()", found=f"bridge={type(bridge).__name__}", expected=expected)
    if model is None:
        expected, remedy = "the model that it starts from", "upgrade(clip, bindplug.load(...), bridge=bridge)"
        raise InputError("upgrade()", found="a bridge alone", expected=expected, remedy=remedy)
    width = original.config.projection_dim
    if bridge.target.width != width:
        raise SpaceMismatch(
            f"the bridge leads to {bridge.target}, this CLIP's embeddings have {width} numbers"
        )
    bridge.source.ensure(model.embedding_space, doing=f"the bridge to {bridge.target.name!r}")
    return UpgradedClip(original, model, bridge)


def _mismatch(original: Any, told_apart: list[str]) -> SpaceMismatch:
    compared = "; ".join(told_apart) or "no model is registered"
    return SpaceMismatch(
        f"this {type(original).__name__} ({original.config.projection_dim}-d) lives in another space than the sensors "
        f"that could be added to it. Compared, by weights: {compared}. Sensors reach its space over a bridge: {FIT}, "
        f"then bindplug.upgrade(clip, model, bridge='my-bridge')"
    )
