"""``bindplug.upgrade(clip)``: identify the CLIP's space by its weights, and add sensors."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import bindplug
from bindplug.cards import ModelCard
from bindplug.encoder import Encoder
from bindplug.errors import InputError, SpaceMismatch, UnsupportedTarget
from bindplug.hub import fetch_weights, find_weights
from bindplug.imagebind import ImageBind
from bindplug.inputs import Tokenizer
from bindplug.modality import Modality
from bindplug.space import EmbeddingSpace
from bindplug_open_clip.catalog import cards, clip_config, config_of
from bindplug_open_clip.likeness import Unlike, clip_state, compare, open_reference, reference_of
from bindplug_open_clip.plugin import unwrapped
from bindplug_open_clip.sensor_mixin import SensorMixin, image_dtype
from bindplug_open_clip.sensors import SENSORS, Sensors, uneven_frames
from bindplug_open_clip.upgraded import BridgedClip, UpgradedClip

__all__ = ["BridgedClip", "UpgradedClip", "upgrade"]

PATCHES = "modality_preprocessors.vision.rgbt_stem.proj.1.weight"
OPENAI_VOCABULARY = 49408


def upgrade(
    original: Any,
    model: Encoder | None = None,
    *,
    bridge: Any = None,
    modalities: Collection[str] | None = None,
    dtype: torch.dtype | None = None,
    tokenizer: Callable[..., Tensor] | None = None,
) -> UpgradedClip:
    """A CLIP with sensor encoders that also takes queries.

    Args:
        original: an ``open_clip.CLIP`` or ``CustomTextCLIP``, OpenAI's ``clip.model.CLIP``, or one of these inside
            ``DataParallel``, ``DistributedDataParallel`` or ``torch.compile``. Its two towers are shared, never copied
            or changed. Added towers start in evaluation mode.
        model: an ImageBind whose sensor towers are shared. By default they are loaded from the registered model whose
            image and text towers ``original`` holds, or whose space is the bridge's source.
        bridge: for a CLIP of another space, a map from ImageBind's space to its own, or the path of one.
        modalities: sensors to load; all for None.
        dtype: of the loaded sensor towers; that of the original's image tower for None.
        tokenizer: texts to ids, for an original that does not use CLIP's vocabulary.

    Raises:
        UnsupportedTarget: the original takes queries already.
        SpaceMismatch: the original has another space and no bridge is given, or the bridge has another target.
        InputError: ``model`` is on another device, or ``bridge`` is no bridge.
        WeightsNotFound: the sensor towers are not on this machine and cannot be downloaded.
    """
    clip = unwrapped(original)
    wrapper = None if clip is original else original
    if isinstance(clip, SensorMixin):
        raise UnsupportedTarget(
            f"this {type(clip).__name__} takes queries already: clip.embed([audio(...)]), clip.encode_audio(...)"
        )
    names = _sensor_names(modalities)
    placement: dict[str, Any] = {
        "device": clip.logit_scale.device,
        "dtype": dtype or image_dtype(clip.visual),
    }
    if bridge is not None:
        source, bridge = _bridge_and_source(clip, model, bridge, names, placement)
        return BridgedClip(clip, source, bridge, tokenizer or _tokenizer_of(clip), wrapper=wrapper)
    if model is not None:
        sensors, space = _shared_sensors(clip, model, names)
    else:
        card, path, reference = _matching_card(clip)
        available = [name for name in names if name in card.modalities]
        loaded: Any = bindplug.load(path, modalities=available, **placement) if available else None
        towers = dict(loaded.towers) if loaded is not None else {}
        frames = uneven_frames(reference[PATCHES])
        frames = None if frames is None else frames.to(**placement)
        sensors, space = Sensors(towers, config_of(card), frames), card.space
    return UpgradedClip(clip, sensors, space, wrapper=wrapper)


def _sensor_names(modalities: Collection[str] | None) -> tuple[str, ...]:
    names = (
        {modalities} if isinstance(modalities, str) else set(SENSORS if modalities is None else modalities)
    )
    parsed = {Modality.parse(name).value for name in names} - {"image", "video", "text"}
    return tuple(name for name in SENSORS if name in parsed)


def _matching_card(clip: Any) -> tuple[ModelCard, Path, dict[str, Tensor]]:
    """The registered model whose CLIP this is, its path, and the tensors of its image and text towers."""
    differences = []
    for card in cards().values():
        path = find_weights(card)
        if path is None and _same_shape(clip, card):
            path = fetch_weights(card)
        if path is None:
            differences.append(f"{card.name}: its towers have another shape")
            continue
        reference = open_reference(path)
        try:
            compare(clip, reference)
        except Unlike as difference:
            differences.append(f"{card.name}: {difference}")
            continue
        return card, path, reference
    raise _mismatch(clip, differences)


def _shared_sensors(clip: Any, model: Encoder, names: tuple[str, ...]) -> tuple[Sensors, EmbeddingSpace]:
    """The sensors of a loaded model whose image and text towers are the CLIP's."""
    if not isinstance(model, ImageBind):
        raise _mismatch(clip, [f"{type(model).__name__} of {model.embedding_space}: it is no ImageBind"])
    if model.device != clip.logit_scale.device:
        raise InputError(
            "upgrade()", found=f"a model on {model.device}", expected=f"the original's {clip.logit_scale.device}",
            remedy="Move it with model.to(...)",
        )  # fmt: skip
    reference = reference_of(model)
    if reference is None:
        matching = [card for card in cards().values() if card.space.matches(model.embedding_space)]
        if not matching:
            raise _mismatch(clip, ["the model given: it was loaded without its image and text towers"])
        reference = open_reference(fetch_weights(matching[0]))
    try:
        compare(clip, reference)
    except Unlike as difference:
        raise _mismatch(clip, [f"the model given: {difference}"]) from None
    towers = {name: tower for name, tower in model.towers.items() if name in names}
    return Sensors(towers, model.config, uneven_frames(reference[PATCHES])), model.embedding_space


def _bridge_and_source(
    clip: Any, model: Encoder | None, bridge: Any, names: tuple[str, ...], placement: Mapping[str, Any]
) -> tuple[Encoder, Any]:
    """The encoder of sensors and the bridge from its space to the CLIP's."""
    if isinstance(bridge, (str, Path)):
        from bindplug.bridges import load_bridge

        bridge = load_bridge(bridge)
    if not (callable(bridge) and hasattr(bridge, "source") and hasattr(bridge, "target")):
        raise InputError(
            "upgrade()",
            found=f"bridge={type(bridge).__name__}",
            expected="a bindplug.bridges.Bridge, or its path",
        )
    width = _width(clip)
    if width and bridge.target.width != width:
        raise SpaceMismatch(
            f"the bridge leads to {bridge.target}, but this CLIP's embeddings have {width} numbers; "
            f"fit one to its space: {_command()}"
        )
    if model is None:
        model = _load_source(bridge, names, placement)
    bridge.source.ensure(model.embedding_space, doing=f"the bridge to {bridge.target.name!r}")
    return model, bridge


def _load_source(bridge: Any, names: tuple[str, ...], placement: Mapping[str, Any]) -> Encoder:
    for card in cards().values():
        if card.space.matches(bridge.source):
            available = [name for name in names if name in card.modalities]
            return bindplug.load(card.name, modalities=available, **placement)
    raise SpaceMismatch(
        f"the bridge starts from {bridge.source}, and no registered model has that space; pass one: "
        f"upgrade(clip, bindplug.load(...), bridge=bridge)"
    )


def _tokenizer_of(clip: Any) -> Callable[..., Tensor]:
    if clip.vocab_size == OPENAI_VOCABULARY:
        return Tokenizer(clip.context_length)
    return _MissingTokenizer(clip.vocab_size)


class _MissingTokenizer:
    """Raises an error at the first text, for a CLIP whose tokenizer is not known."""

    def __init__(self, vocabulary: int) -> None:
        self.vocabulary = vocabulary

    def __call__(self, texts: object) -> Tensor:
        raise InputError(
            "a text query", found=f"a CLIP with a vocabulary of {self.vocabulary} tokens", expected="its tokenizer",
            remedy="Pass it: upgrade(clip, tokenizer=open_clip.get_tokenizer(name), bridge=...)",
        )  # fmt: skip


def _width(clip: Any) -> int:
    projection = getattr(getattr(clip, "text", clip), "text_projection", None)
    if isinstance(projection, nn.Linear):
        return projection.out_features
    if projection is not None:
        return int(projection.shape[-1])
    return int(getattr(clip.visual, "output_dim", 0))


def _same_shape(clip: Any, card: ModelCard) -> bool:
    """Whether a CLIP has the shape of a model. If not, its weights need not be downloaded to compare them."""
    config = clip_config(config_of(card))
    state = clip_state(clip)
    patches, tokens = state.get("visual.conv1.weight"), state.get("token_embedding.weight")
    vision, text = config["vision_cfg"], config["text_cfg"]
    return (
        patches is not None
        and tokens is not None
        and tuple(patches.shape) == (vision["width"], 3, vision["patch_size"], vision["patch_size"])
        and tuple(tokens.shape) == (text["vocab_size"], text["width"])
        and _width(clip) == config["embed_dim"]
    )


def _mismatch(clip: Any, differences: list[str]) -> SpaceMismatch:
    compared = "; ".join(differences) or "no model is registered"
    return SpaceMismatch(
        f"this {type(clip).__name__} ({_width(clip)}-d) has another space than the sensors that could be added to it. "
        f"Weights compared: {compared}. Sensors reach its space over a bridge: {_command()}, then "
        f"bindplug.upgrade(clip, bridge=load_bridge('my-bridge'))"
    )


def _command() -> str:
    return "bindplug bridge fit --source imagebind_huge --target open_clip:ARCHITECTURE:TAG -o my-bridge"
