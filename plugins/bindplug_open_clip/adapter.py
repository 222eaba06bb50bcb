"""``bindplug.upgrade(open_clip_model)``: check by weights which space the model lives in, and add the sensors."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import bindplug
from bindplug.cards import ModelCard
from bindplug.encoder import Encoder
from bindplug.errors import InputError, SpaceMismatch
from bindplug.hub import fetch_weights, find_weights
from bindplug.imagebind import ImageBind
from bindplug.inputs import Tokenizer
from bindplug.modality import Modality
from bindplug.space import EmbeddingSpace
from bindplug_open_clip.catalog import cards, clip_config, config_of
from bindplug_open_clip.face import image_dtype
from bindplug_open_clip.likeness import Unlike, clip_state, compare, open_reference, reference_of
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
    """An open_clip model that hears, sees depth and heat, feels motion, and takes queries.

    Args:
        original: an ``open_clip.CLIP`` or ``CustomTextCLIP``; its two towers are shared, never copied or changed.
            Added towers start in evaluation mode, whichever mode it is in.
        model: an ImageBind that lends its sensor towers; without it, they are loaded: of the registered model whose
            image and text towers ``original`` turns out to hold, or that ``bridge`` starts from.
        bridge: for a CLIP of another space, a map from ImageBind's space to its own, or the path of one.
        modalities: load only these sensors; all for None.
        dtype: of the loaded sensor towers; that of the original's image tower for None.
        tokenizer: texts to ids, for an original that does not use CLIP's vocabulary.

    Raises:
        SpaceMismatch: the original lives in another space and no bridge is given, or the bridge leads elsewhere.
        InputError: ``model`` is on another device, or ``bridge`` is no bridge.
        WeightsNotFound: the sensor towers are not on this machine and cannot be fetched.
    """
    wanted = _sensors(modalities)
    chosen: dict[str, Any] = {
        "device": original.logit_scale.device,
        "dtype": dtype or image_dtype(original.visual),
    }
    if bridge is not None:
        return _bridged(original, model, bridge, wanted, chosen, tokenizer)
    if model is not None:
        sensors, space = _lent(original, model, wanted)
    else:
        card, path, reference = _recognised(original)
        available = [name for name in wanted if name in card.modalities]
        lender: Any = bindplug.load(path, modalities=available, **chosen) if available else None
        towers = dict(lender.towers) if lender is not None else {}
        frames = uneven_frames(reference[PATCHES])
        placed = None if frames is None else frames.to(**chosen)
        sensors, space = Sensors(towers, config_of(card), placed), card.space
    return UpgradedClip(original, sensors, space)


def _sensors(modalities: Collection[str] | None) -> tuple[str, ...]:
    named = (
        {modalities} if isinstance(modalities, str) else set(SENSORS if modalities is None else modalities)
    )
    parsed = {Modality.parse(name).value for name in named} - {"image", "video", "text"}
    return tuple(name for name in SENSORS if name in parsed)


def _recognised(original: Any) -> tuple[ModelCard, Path, dict[str, Tensor]]:
    """The registered model whose CLIP this is, its weights, and the tensors of its image and text towers."""
    told_apart = []
    for card in cards().values():
        path = find_weights(card)
        if path is None and _same_shape(original, card):
            path = fetch_weights(card)
        if path is None:
            told_apart.append(f"{card.name}: its towers have another shape")
            continue
        reference = open_reference(path)
        try:
            compare(original, reference)
        except Unlike as difference:
            told_apart.append(f"{card.name}: {difference}")
            continue
        return card, path, reference
    raise _mismatch(original, told_apart)


def _lent(original: Any, model: Encoder, wanted: tuple[str, ...]) -> tuple[Sensors, EmbeddingSpace]:
    """The sensors of a loaded model, once the original is known to be its CLIP."""
    if not isinstance(model, ImageBind):
        raise _mismatch(original, [f"{type(model).__name__} of {model.embedding_space}: it is no ImageBind"])
    if model.device != original.logit_scale.device:
        raise InputError(
            "upgrade()", found=f"a model on {model.device}", expected=f"the original's {original.logit_scale.device}",
            remedy="Move it with model.to(...)",
        )  # fmt: skip
    reference = reference_of(model)
    if reference is None:
        matching = [card for card in cards().values() if card.space.matches(model.embedding_space)]
        if not matching:
            raise _mismatch(original, ["the model given: it was loaded without its image and text towers"])
        reference = open_reference(fetch_weights(matching[0]))
    try:
        compare(original, reference)
    except Unlike as difference:
        raise _mismatch(original, [f"the model given: {difference}"]) from None
    chosen = {name: tower for name, tower in model.towers.items() if name in wanted}
    return Sensors(chosen, model.config, uneven_frames(reference[PATCHES])), model.embedding_space


def _bridged(
    original: Any,
    model: Encoder | None,
    bridge: Any,
    wanted: tuple[str, ...],
    chosen: Mapping[str, Any],
    tokenizer: Callable[..., Tensor] | None,
) -> BridgedClip:
    if isinstance(bridge, (str, Path)):
        from bindplug.bridges import load_bridge

        bridge = load_bridge(bridge)
    if not (callable(bridge) and hasattr(bridge, "source") and hasattr(bridge, "target")):
        raise InputError(
            "upgrade()",
            found=f"bridge={type(bridge).__name__}",
            expected="a bindplug.bridges.Bridge, or its path",
        )
    width = _width(original)
    if width and bridge.target.width != width:
        raise SpaceMismatch(
            f"the bridge leads to {bridge.target}, but this CLIP's embeddings have {width} numbers; "
            f"fit one to its space: {_command()}"
        )
    if model is None:
        model = _start_of(bridge, wanted, chosen)
    bridge.source.ensure(model.embedding_space, doing=f"the bridge to {bridge.target.name!r}")
    return BridgedClip(original, model, bridge, tokenizer or _tokenizer_of(original))


def _start_of(bridge: Any, wanted: tuple[str, ...], chosen: Mapping[str, Any]) -> Encoder:
    for card in cards().values():
        if card.space.matches(bridge.source):
            available = [name for name in wanted if name in card.modalities]
            return bindplug.load(card.name, modalities=available, **chosen)
    raise SpaceMismatch(
        f"the bridge starts from {bridge.source}, where no registered model lives; give one: "
        f"upgrade(clip, bindplug.load(...), bridge=bridge)"
    )


def _tokenizer_of(original: Any) -> Callable[..., Tensor]:
    if original.vocab_size == OPENAI_VOCABULARY:
        return Tokenizer(original.context_length)
    return _NoTokenizer(original.vocab_size)


class _NoTokenizer:
    """Stands for a tokenizer that nobody gave, until a text needs it."""

    def __init__(self, vocabulary: int) -> None:
        self.vocabulary = vocabulary

    def __call__(self, texts: object) -> Tensor:
        raise InputError(
            "a text query", found=f"a CLIP with its own vocabulary of {self.vocabulary}", expected="its tokenizer",
            remedy="Give it: upgrade(clip, tokenizer=open_clip.get_tokenizer(name), bridge=...)",
        )  # fmt: skip


def _width(original: Any) -> int:
    projection = getattr(getattr(original, "text", original), "text_projection", None)
    if isinstance(projection, nn.Linear):
        return projection.out_features
    if projection is not None:
        return int(projection.shape[-1])
    return int(getattr(original.visual, "output_dim", 0))


def _same_shape(original: Any, card: ModelCard) -> bool:
    """Whether weights that are not here could be the original's: what is not alike in shape is not worth fetching."""
    described = clip_config(config_of(card))
    state = clip_state(original)
    patches, tokens = state.get("visual.conv1.weight"), state.get("token_embedding.weight")
    vision, text = described["vision_cfg"], described["text_cfg"]
    return (
        patches is not None
        and tokens is not None
        and tuple(patches.shape) == (vision["width"], 3, vision["patch_size"], vision["patch_size"])
        and tuple(tokens.shape) == (text["vocab_size"], text["width"])
        and _width(original) == described["embed_dim"]
    )


def _mismatch(original: Any, told_apart: list[str]) -> SpaceMismatch:
    compared = "; ".join(told_apart) or "no model is registered"
    return SpaceMismatch(
        f"this {type(original).__name__} ({_width(original)}-d) lives in another space than the sensors that could be "
        f"added to it. Compared, by weights: {compared}. Sensors reach its space over a bridge: {_command()}, then "
        f"bindplug.upgrade(clip, bridge=load_bridge('my-bridge'))"
    )


def _command() -> str:
    return "bindplug bridge fit --source imagebind_huge --target open_clip:ARCHITECTURE:TAG -o my-bridge"
