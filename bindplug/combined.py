"""One encoder of several: each modality from its best model, in one space.

ear, eyes = bindplug.load("transformers:laion/clap-htsat-unfused"), bindplug.load("imagebind_huge")
model = bindplug.combine({"audio": ear, "depth": eyes, "image": eyes, "text": eyes}, bridges=["clap-to-imagebind"])
model.embed([audio("bark.wav") + depth("dog.png"), text("a dog")])
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bindplug.bridges import AnyBridge, as_bridge, can_recenter, fit_command
from bindplug.centers import shift_between
from bindplug.encoder import Encoder
from bindplug.errors import InputError, ModalityNotLoaded, NoTrainedScale, SpaceMismatch
from bindplug.foreign import USUAL_SCALE
from bindplug.inputs.base import ModelInput
from bindplug.inputs.notes import outer_level
from bindplug.modality import Modality
from bindplug.models import load
from bindplug.query import Leaf
from bindplug.space import EmbeddingSpace

__all__ = ["CombinedEncoder", "combine"]

BridgeLike = AnyBridge | str | os.PathLike[str]
OWNER = "combine()"


class CombinedEncoder(nn.Module, Encoder):
    """Several encoders behind one face, made by :func:`combine`.

    Rows of a model that lives in another space cross its bridge, each by its own modality. What moves with
    ``.to(...)`` are the models.

    Attributes:
        models: for each modality the encoder that embeds it.
        bridges: for each modality the bridge its rows cross; None where the model lives in the space itself.
    """

    def __init__(
        self,
        models: Mapping[str, Encoder],
        bridges: Mapping[str, AnyBridge | None],
        space: EmbeddingSpace,
    ) -> None:
        super().__init__()
        self.models, self.bridges, self.embedding_space = dict(models), dict(bridges), space
        self.parts = nn.ModuleList(
            [model for model in _distinct(models.values()) if isinstance(model, nn.Module)]
        )
        self.modalities = tuple(m.value for m in Modality if m.value in models)
        self.preprocess = {name: self.models[name].preprocess[name] for name in self.modalities}
        inside = [self.models[name] for name in self.modalities if self.bridges[name] is None]
        self.fingerprint = next((m.fingerprint for m in inside if m.fingerprint is not None), None)
        self.centers = {
            name: self.models[name].centers[name]
            for name in self.modalities
            if self.bridges[name] is None and name in self.models[name].centers
        }
        self._crossings = {
            name: _crossing(self.models[name], self.bridges[name], name) for name in self.modalities
        }

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        """Where rows are made: the first model's."""
        return torch.device(next(iter(self.models.values())).device)

    @property
    def dtype(self) -> torch.dtype:  # type: ignore[override]
        """float32: each model's input is converted to its own."""
        return torch.float32

    def tokenizer(self, texts: str | Sequence[str]) -> Any:
        """The tokenizer of the model that embeds text.

        Raises:
            ModalityNotLoaded: none does.
        """
        return self._model_of("text").tokenizer(texts)

    def encode(self, modality: str, x: ModelInput, normalize: bool = False) -> Tensor:
        """Embed a batch of what :attr:`preprocess` makes, by the modality's model, and take it to the space.

        Returns:
            (B, D). A bridge's rows are of unit length in any case.

        Raises:
            ModalityNotLoaded: no model was given for the modality.
        """
        model, bridge = self._model_of(modality), self.bridges[modality]
        rows = model.encode(modality, _for_model(x, model), normalize or bridge is not None)
        if bridge is None:
            return rows.to(self.device)
        name, shift = self._crossings[modality]
        rows = rows.float()
        if shift is not None:
            rows = nn.functional.normalize(rows + shift.to(rows), dim=-1)
        return bridge(rows, name).to(self.device)

    def unknown_tokens(self, ids: Any) -> frozenset[int]:
        """Those of the token ids that carry no meaning in the model that embeds text."""
        return self._model_of("text").unknown_tokens(ids)

    def scale_of(self, modality: str) -> float:
        """The trained scale of the modality, where one model embeds it and text, without a bridge.

        Warns:
            NoTrainedScale: its rows and those of text were never trained together; the usual scale is used.
        """
        model = self._model_of(modality)
        if self.bridges[modality] is None and self.models.get("text", model) is model:
            return model.scale_of(modality)
        warnings.warn(
            f"{modality} and text come from different models or cross a bridge, for whose cosines no scale was "
            f"trained; probabilities use {USUAL_SCALE:g}, and only their order means something. Give scale= yourself, "
            f"or use scores()",
            NoTrainedScale,
            stacklevel=outer_level(),
        )
        return USUAL_SCALE

    def _model_of(self, modality: str) -> Encoder:
        if modality not in self.models:
            raise ModalityNotLoaded(modality, self.modalities)
        return self.models[modality]


def combine(
    models: Mapping[str, Encoder | str],
    *,
    space: EmbeddingSpace | Encoder | str | None = None,
    bridges: BridgeLike | Iterable[BridgeLike] | Mapping[str, BridgeLike] | None = None,
    device: str | torch.device = "cpu",
) -> CombinedEncoder:
    """One encoder in one space, each modality embedded by the model given for it.

    Args:
        models: for each modality's name an encoder, or the name or id of one for :func:`bindplug.load`.
        space: where all rows are to live: a space, an encoder that lives there, or a space's name among those of
            the models and of the bridges' targets. None if all models live in one.
        bridges: maps from the models' spaces to ``space``: bridges, directories of them or names of registered ones;
            one, several, or for each modality its own. Registered ones are found without being named.
        device: where models go that are given by name.

    Returns:
        The encoder. ``embed``, ``classify``, :func:`bindplug.upgrade` and indexes take it as any other.

    Raises:
        InputError: no models; a model that does not embed its modality; spaces that differ and no ``space``.
        SpaceMismatch: a model lives in another space, and no bridge leads from there; the message has the command
            that fits each one that is missing.
        UnknownModality: a name is none of the modalities.
    """
    encoders = _loaded(models, device)
    candidates = _open_bridges(bridges)
    target = _target_space(encoders, space, candidates)
    crossings: dict[str, AnyBridge | None] = {}
    missing: dict[str, None] = {}
    for modality, model in encoders.items():
        if target.matches(model.embedding_space):
            crossings[modality] = None
            continue
        bridge = _bridge_between(model.embedding_space, target, modality, candidates)
        if bridge is None:
            missing[f"{modality}: {_command(model, target, encoders.values())}"] = None
        crossings[modality] = bridge
    if missing:
        commands = "".join(f"\n  {line}" for line in missing)
        raise SpaceMismatch(
            f"{OWNER}: no bridge leads to {target} for {len(missing)} of the modalities. Fit each, then pass the "
            f"directories as bridges=[...]:{commands}"
        )
    return CombinedEncoder(encoders, crossings, target).eval()


def _loaded(models: Mapping[str, Encoder | str], device: str | torch.device) -> dict[str, Encoder]:
    """Encoders by modality, those given by name loaded once each."""
    if not isinstance(models, Mapping) or not models:
        problem = "no models" if isinstance(models, Mapping) else f"a {type(models).__name__}"
        raise InputError(OWNER, found=problem, expected='an encoder for each modality, as {"audio": ear}')
    sources = {Modality.parse(name).value: model for name, model in models.items()}
    requests: dict[str, set[str]] = {}
    for modality, model in sources.items():
        if isinstance(model, str):
            requests.setdefault(model, set()).add(modality)
    by_name = {name: load(name, modalities=several, device=device) for name, several in requests.items()}
    encoders: dict[str, Encoder] = {}
    for modality, model in sources.items():
        encoder = by_name[model] if isinstance(model, str) else model
        if not isinstance(encoder, Encoder):
            problem = f"a {type(encoder).__name__} for {modality}"
            raise InputError(OWNER, found=problem, expected="an Encoder, or a name for bindplug.load()")
        if modality not in encoder.modalities:
            problem = f"a model of {', '.join(encoder.modalities)} for {modality}"
            raise InputError(OWNER, found=problem, expected=f"a model that embeds {modality}")
        encoders[modality] = encoder
    return encoders


def _open_bridges(bridges: Any) -> dict[str, list[AnyBridge]]:
    """Opened bridges by the modality they are for; ``""`` for any."""
    if bridges is None:
        return {}
    if isinstance(bridges, Mapping):
        by_modality = {Modality.parse(name).value: [value] for name, value in bridges.items()}
    elif isinstance(bridges, (str, os.PathLike, AnyBridge)):
        by_modality = {"": [bridges]}
    else:
        by_modality = {"": list(bridges)}
    return {
        name: [as_bridge(value, source=None, target=None) for value in values]
        for name, values in by_modality.items()
    }


def _target_space(
    models: Mapping[str, Encoder], space: Any, bridges: Mapping[str, list[AnyBridge]]
) -> EmbeddingSpace:
    if isinstance(space, EmbeddingSpace):
        return space
    if isinstance(space, Encoder):
        return space.embedding_space
    spaces = [model.embedding_space for model in models.values()]
    spaces += [bridge.target for several in bridges.values() for bridge in several]
    if isinstance(space, str):
        matches = [one for one in spaces if one.name == space]
        if matches:
            return matches[0]
    elif space is not None:
        raise InputError(
            OWNER, found=f"space of type {type(space).__name__}", expected="a space, an encoder, or a name"
        )
    elif all(spaces[0].matches(other) for other in spaces):
        return spaces[0]
    names = ", ".join(repr(one.name) for one in dict.fromkeys(spaces))
    problem = f"no space named {space!r}" if space else "models of several spaces"
    raise InputError(OWNER, found=problem, expected=f"space= one of {names}, or an encoder that lives there")


def _bridge_between(
    source: EmbeddingSpace, target: EmbeddingSpace, modality: str, bridges: Mapping[str, list[AnyBridge]]
) -> AnyBridge | None:
    """The bridge given for the modality, else one given that fits, else a registered one; None if there is none.

    Raises:
        SpaceMismatch: the bridge given for this modality leads elsewhere.
    """
    if modality in bridges:
        return as_bridge(bridges[modality][0], source=source, target=target, doing=OWNER)
    for bridge in bridges.get("", ()):
        if bridge.source.matches(source) and bridge.target.matches(target):
            return bridge
    try:
        return as_bridge(None, source=source, target=target)
    except SpaceMismatch:
        return None


def _command(model: Encoder, target: EmbeddingSpace, models: Iterable[Encoder]) -> str:
    """The command that fits the bridge, with the ids that the models were loaded by."""
    destination = next((m for m in models if target.matches(m.embedding_space)), None)
    return fit_command(
        model.embedding_space,
        target,
        source_id=getattr(model, "model_id", ""),
        target_id=getattr(destination, "model_id", ""),
    )


def _crossing(model: Encoder, bridge: AnyBridge | None, modality: str) -> tuple[str, Tensor | None]:
    """The modality that a bridge is to map rows as, and how far they are moved before; see :mod:`bindplug.bridges`.

    Rows of a modality for which the bridge has no center are moved to where the model's text lies, if the model
    knows both centers, and mapped as text.
    """
    if bridge is None:
        return modality, None
    leaf_modality = Modality.parse(modality)
    towers = {Modality.parse(name).tower for name in bridge.modalities} | {Modality.TEXT.tower}
    if leaf_modality.tower in towers:
        return modality, None
    leaf = Leaf(leaf_modality, "")
    shift = shift_between(model.centers, leaf_modality, "text") if can_recenter(model, leaf, "text") else None
    return "text", shift


def _for_model(x: ModelInput, model: Encoder) -> Any:
    """``x`` where the model is, floating-point numbers in its dtype."""
    if isinstance(x, Tensor):
        return x.to(model.device, model.dtype) if x.is_floating_point() else x.to(model.device)
    return {
        name: part.to(model.device, model.dtype) if part.is_floating_point() else part.to(model.device)
        for name, part in x.items()
    }


def _distinct(models: Iterable[Encoder]) -> list[Encoder]:
    return list({id(model): model for model in models}.values())
