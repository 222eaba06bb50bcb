"""``bindplug.upgrade(clip)``: identify the CLIP's space by its weights, and add sensors."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import bindplug
from bindplug.bridges import AnyBridge, as_bridge, fit_command
from bindplug.cards import ModelCard, unwrapped
from bindplug.encoder import Encoder
from bindplug.errors import InputError, SpaceMismatch, UnsupportedTarget
from bindplug.hub import fetch_weights, find_weights
from bindplug.imagebind import ImageBind, open_official, open_safetensors, read_fingerprint
from bindplug.inputs import Tokenizer
from bindplug.modality import Modality
from bindplug.space import IMAGEBIND_SPACE, EmbeddingSpace
from bindplug_open_clip.catalog import cards, clip_config, config_of
from bindplug_open_clip.same_weights import clip_state, difference_from
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
        bridge: for a CLIP of another space, a map from ImageBind's space to its own: a bridge, its path, or the name
            of a registered one.
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
        return BridgedClip.over(clip, source, bridge, tokenizer or _tokenizer_of(clip), wrapper=wrapper)
    if model is not None:
        encoder: Any = model
        sensors, space = _shared_sensors(clip, model, names)
    else:
        card, path = _matching_card(clip)
        available = [name for name in names if name in card.modalities]
        encoder = bindplug.load(path, modalities=available, **placement) if available else None
        towers = dict(encoder.towers) if encoder is not None else {}
        frames = _patches_on_disk(path)
        frames = None if frames is None else frames.to(**placement)
        sensors, space = Sensors(towers, config_of(card), frames), card.space
    return UpgradedClip.of(clip, sensors, space, encoder=encoder, wrapper=wrapper)


def _sensor_names(modalities: Collection[str] | None) -> tuple[str, ...]:
    names = (
        {modalities} if isinstance(modalities, str) else set(SENSORS if modalities is None else modalities)
    )
    parsed = {Modality.parse(name).value for name in names} - {"image", "video", "text"}
    return tuple(name for name in SENSORS if name in parsed)


def _matching_card(clip: Any) -> tuple[ModelCard, Path]:
    """The registered model whose CLIP this is, and the path of its weights.

    Weights that are not on this machine are downloaded only for a CLIP of their shape, whose sensors they hold.
    """
    differences = []
    for card in cards().values():
        path = find_weights(card)
        if path is None and _same_shape(clip, card):
            path = fetch_weights(card)
        if path is None:
            differences.append(f"{card.name}: its towers have another shape")
            continue
        difference = difference_from(clip, read_fingerprint(path))
        if not difference:
            return card, path
        differences.append(f"{card.name}: {difference}")
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
    difference = difference_from(clip, model.fingerprint)
    if difference:
        raise _mismatch(clip, [f"the model passed: {difference}"])
    towers = {name: tower for name, tower in model.towers.items() if name in names}
    return Sensors(towers, model.config, _video_patches(model)), model.embedding_space


def _video_patches(model: ImageBind) -> Tensor | None:
    """The patch projection if its frames differ: of the model, else of its weights on this machine.

    None if neither is there. Then a video counts as its mean frame, which is exact for an inflated CLIP's projection.
    """
    if "vision" in model.towers:
        return uneven_frames(model.towers["vision"].get_parameter("stem.proj.weight").detach())
    own = model.fingerprint
    for card in cards().values():
        path = find_weights(card) if card.space.matches(model.embedding_space) else None
        if path is not None and own is not None:
            fingerprint = read_fingerprint(path)
            if fingerprint is not None and fingerprint.matches(own):
                return _patches_on_disk(path)
    return None


def _patches_on_disk(path: Path) -> Tensor | None:
    """The patch projection of weights on disk if its frames differ. It is mapped and not loaded otherwise."""
    tensors = open_safetensors(path / "vision.safetensors") if path.is_dir() else open_official(path)
    return uneven_frames(tensors[PATCHES])


def _bridge_and_source(
    clip: Any, model: Encoder | None, bridge: Any, names: tuple[str, ...], placement: Mapping[str, Any]
) -> tuple[Encoder, AnyBridge]:
    """The encoder of sensors and the bridge from its space to the CLIP's."""
    source = None if model is None else model.embedding_space
    opened = as_bridge(bridge, source=source, target=None)
    width = _width(clip)
    if width and opened.target.width != width:
        raise SpaceMismatch(
            f"the bridge leads to {opened.target}, but this CLIP's embeddings have {width} numbers; "
            f"fit one to its space: {fit_command(IMAGEBIND_SPACE)}"
        )
    return _load_source(opened, names, placement) if model is None else model, opened


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
        f"Weights compared: {compared}. Sensors reach its space over a bridge: {fit_command(IMAGEBIND_SPACE)}, then "
        f"bindplug.upgrade(clip, bridge=load_bridge('my-bridge'))"
    )
