"""The tower that a run trains: built to a size, taken from another model, or by the user's own code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

import bindplug
from bindplug import Encoder
from bindplug.bound import ArrayTower, BoundEncoder, load_bound
from bindplug.errors import InputError
from bindplug.imagebind import ImageBind, ImageBindConfig, TowerConfig
from bindplug.training import (
    BindingRecipe,
    LoraRecipe,
    add_adapters,
    base_of,
    is_own_sense,
    load_adapters,
    merge_adapters,
    recipe_of,
    remove_adapters,
)
from bindplug_lab.binding.factory import digest_of, load_factory
from bindplug_lab.binding.settings import PUBLISHED_FROM, BindSettings

SMALL_TOWERS = {
    "audio": TowerConfig(128, 4, 4, kernel=(16, 25)),
    "depth": TowerConfig(128, 4, 4, kernel=(28, 28)),
    "thermal": TowerConfig(128, 4, 4, kernel=(28, 28)),
    "imu": TowerConfig(128, 4, 4, kernel=(20,)),
}
"""Towers of under a million parameters, which train on a laptop."""

OWN_SIZES = {"small": {"width": 128, "blocks": 4}, "base": {"width": 512, "blocks": 6}}
"""Of towers for arrays."""

SIZES = ("small", "base")


@dataclass(frozen=True)
class BuiltTower:
    """A tower before its first step.

    Attributes:
        network: to train.
        recipe: of the run, with the tower's own drop path and head.
        line: a description for a person.
        base: id of what the adapters on the tower belong to, where it has any.
        code: digest of the user's file that made the tower, by the file's name; empty for other towers.
    """

    network: nn.Module
    recipe: BindingRecipe
    line: str
    base: str = ""
    code: Mapping[str, str] = field(default_factory=dict)


def build_tower(
    settings: BindSettings,
    recipe: BindingRecipe,
    anchor: Encoder,
    init: Encoder | None,
    pairs: int,
    sample: Tensor,
) -> BuiltTower:
    """The tower to train: of a size, of the user's own code, or that of another model, with adapters if there are any.

    Args:
        settings: of the run.
        recipe: as chosen.
        anchor: whose space is bound to.
        init: the model that the tower starts from; None for random weights, and for those that a tower of the user's
            own code starts from.
        pairs: number of training pairs.
        sample: one training sample, without a batch axis.

    Raises:
        InputError: the sizes are impossible, the user's code makes no such tower, or ``init`` has none of the sense.
    """
    torch.manual_seed(recipe.seed)
    if init is not None:
        return _continued(settings, recipe, anchor, init, tuple(sample.shape))
    width = anchor.embedding_space.width
    size = settings.tower or ("base" if pairs >= PUBLISHED_FROM else "small")
    if size not in SIZES:
        return _own(settings, recipe, size, sample, width)
    if is_own_sense(settings.sense):
        sizes = OWN_SIZES[size] | {name: n for name, n in settings.shape.items() if name != "heads"}
        try:
            tower = ArrayTower(tuple(sample.shape), width, **sizes)
        except ValueError as error:
            raise InputError(
                "tower", found=str(error), expected="--tower FILE.py:factory for such arrays"
            ) from None
        return BuiltTower(tower, recipe, f"a convolutional tower of {_millions(tower)}")
    config = _sized(settings, recipe, size, width)
    model = ImageBind(config, {settings.sense}, space=anchor.embedding_space)
    part = config.tower(settings.sense)
    line = f"{size}, {part.blocks} block{'s' * (part.blocks > 1)} of width {part.width}, {_millions(model)}"
    return BuiltTower(model, recipe, line)


def _own(settings: BindSettings, recipe: BindingRecipe, place: str, sample: Tensor, width: int) -> BuiltTower:
    """The tower of the user's own code, with the weights of ``settings.init`` if it names any."""
    tower = load_factory(place, settings.sense, tuple(sample.shape), width)
    try:
        with torch.no_grad():
            rows = tower.eval()(sample[None].repeat(2, *[1] * sample.ndim))
    except Exception as error:
        problem = f"a tower that fails on a sample of {tuple(sample.shape)} ({type(error).__name__}: {error})"
        raise InputError(place, found=problem, expected=f"rows (2, {width}) of two samples") from error
    if not isinstance(rows, Tensor) or tuple(rows.shape) != (2, width):
        shape = tuple(rows.shape) if isinstance(rows, Tensor) else type(rows).__name__
        raise InputError(
            place, found=f"a tower that makes {shape} of two samples", expected=f"rows (2, {width})"
        )
    built = BuiltTower(tower, recipe, f"{place}, {_millions(tower)}", code=digest_of(place))
    if not settings.init:
        return built
    bound = load_bound(settings.init, load=bindplug.load, tower=tower)
    require_sense(bound, settings)
    if bound.tower is not tower:
        raise InputError(
            f"--tower {place} with --init {settings.init}",
            found="a tower that needs no code of yours",
            expected="the weights of a tower that was built by your own code",
            remedy="Leave out --tower",
        )
    built = replace(built, line=f"{built.line}, weights of {settings.init}")
    return built if settings.lora is None else _adapted(settings, built)


def _sized(settings: BindSettings, recipe: BindingRecipe, size: str, width: int) -> ImageBindConfig:
    base = ImageBindConfig.huge()
    part = base.tower(settings.sense) if size == "base" else SMALL_TOWERS[settings.sense]
    try:
        changes: dict[str, Any] = {**settings.shape, "drop_path": recipe.drop_path, "head": recipe.head}
        return _with_tower(base, settings.sense, replace(part, **changes), width)
    except ValueError as error:
        expected = "a width that the heads divide, and sizes above 0"
        raise InputError("tower", found=str(error), expected=expected) from None


def _with_tower(config: ImageBindConfig, sense: str, part: TowerConfig, width: int) -> ImageBindConfig:
    towers: dict[str, Any] = {sense: part}
    return replace(config, embed_dim=width, **towers)


def _continued(
    settings: BindSettings,
    recipe: BindingRecipe,
    anchor: Encoder,
    init: Encoder,
    shape: tuple[int, ...],
) -> BuiltTower:
    """The tower of ``init``, with a new head where the anchor's width or the recipe's head is another.

    Adapters on it are trained further where ``--lora`` asks for such, and are merged into its weights otherwise.
    """
    model: nn.Module = init.tower if isinstance(init, BoundEncoder) else init  # type: ignore[assignment]
    stored = recipe_of(model, settings.sense)
    goes_on = stored is not None and settings.lora is not None and is_same_lora(settings.lora, stored)
    if goes_on:
        remove_adapters(model)
    elif stored is not None:
        merge_adapters(model)
    if isinstance(model, ImageBind):
        built, is_whole = _copied(settings, recipe, anchor, model)
    else:
        built, is_whole = _array(settings, recipe, model, shape, anchor.embedding_space.width)
    if settings.lora is None:
        return built
    if not is_whole or not init.embedding_space.matches(anchor.embedding_space):
        raise InputError(
            f"--lora on {settings.init}",
            found=f"an anchor in another space, {settings.anchor}",
            expected=f"the space that {settings.init} is in already: adapters do not move a tower to another",
            remedy="Leave out --anchor, or train the whole tower without --lora",
        )
    return _adapted(settings, built, stored if goes_on else None)


def require_sense(init: Encoder, settings: BindSettings) -> None:
    """Return if a model has a tower of the sense that a run can start from.

    Raises:
        InputError: it has none.
    """
    sense = settings.sense
    if isinstance(init, BoundEncoder):
        if init.sense == sense:
            return
        found, remedy = (
            f"a tower that was bound for {init.sense}",
            "Give the model that it was bound to as --init",
        )
    elif isinstance(init, ImageBind) and sense in init.modalities:
        return
    else:
        found, remedy = f"a model of {', '.join(init.modalities)}", ""
    expected = f"what `bindplug bind --sense {sense}` wrote"
    if not is_own_sense(sense):
        expected = f"an ImageBind with a tower of {sense}, or {expected}"
    raise InputError(f"--init {settings.init}", found=found, expected=expected, remedy=remedy)


def _copied(
    settings: BindSettings, recipe: BindingRecipe, anchor: Encoder, init: ImageBind
) -> tuple[BuiltTower, bool]:
    """A copy of an ImageBind's tower for the anchor's width, and whether all of its weights fitted."""
    part = init.config.tower(settings.sense)
    changes = {name: settings.changes.get(name, getattr(part, name)) for name in ("drop_path", "head")}
    width = anchor.embedding_space.width
    config = _with_tower(init.config, settings.sense, replace(part, **changes), width)
    model = ImageBind(config, {settings.sense}, space=anchor.embedding_space)
    own, stored = model.state_dict(), init.state_dict()
    fitting = {
        name: stored[name].to(own[name])
        for name in own
        if name in stored and stored[name].shape == own[name].shape
    }
    is_whole = len(fitting) == len(own)
    model.load_state_dict(own | fitting)
    head = "" if is_whole else ", with a new head"
    line = f"that of {settings.init}{head}, {_millions(model)}"
    return BuiltTower(model, recipe.but(**changes), line), is_whole


def _array(
    settings: BindSettings, recipe: BindingRecipe, init: nn.Module, shape: tuple[int, ...], width: int
) -> tuple[BuiltTower, bool]:
    """A copy of a tower for arrays, and whether its head fitted the anchor's width."""
    assert isinstance(init, ArrayTower)  # a tower of other code is not loaded without that code
    if init.shape != shape:
        raise InputError(
            f"--init {settings.init}",
            found=f"a tower for arrays {init.shape}",
            expected=f"arrays of one shape; the pairs' are {shape}",
        )
    tower = ArrayTower.from_dict(init.to_dict() | {"embed_dim": width})
    is_whole = init.embed_dim == width
    stored = {
        name: value for name, value in init.state_dict().items() if is_whole or not name.startswith("head.")
    }
    tower.load_state_dict(tower.state_dict() | stored)
    head = "" if is_whole else ", with a new head"
    return BuiltTower(tower, recipe, f"that of {settings.init}{head}, {_millions(tower)}"), is_whole


def is_same_lora(stated: Mapping[str, Any], stored: LoraRecipe) -> bool:
    """Whether stored adapters are what ``--lora`` and its options ask for; what is not stated is as it is."""
    recipe = LoraRecipe.from_dict({**stored.to_dict(), "alpha": stored.scale * stored.rank, **stated})
    return (recipe.rank, recipe.scale, recipe.dora, set(recipe.targets)) == (
        stored.rank,
        stored.scale,
        stored.dora,
        set(stored.targets),
    )


def _adapted(settings: BindSettings, built: BuiltTower, stored: LoraRecipe | None = None) -> BuiltTower:
    """The tower with adapters to train: those of ``--init`` where their recipe is given, else new ones."""
    assert settings.lora is not None
    network = built.network
    if stored is not None:
        lora, base = stored, base_of(settings.init)
        load_adapters(network, settings.init)
    else:
        targets = {} if isinstance(network, ImageBind) else {"targets": [_every_layer(network)]}
        lora, base = LoraRecipe.from_dict({**targets, **settings.lora}), settings.init
        add_adapters(network, settings.sense, lora)
    trained = sum(p.numel() for p in network.parameters() if p.requires_grad)
    kind = "DoRA" if lora.dora else "LoRA"
    having = "with its own" if stored is not None else "with"
    line = (
        f"{built.line}, {having} {kind} of rank {lora.rank} on {', '.join(lora.targets)}: "
        f"{trained / 1e6:.2f} M to train"
    )
    return replace(built, line=line, base=base)


def _every_layer(network: nn.Module) -> str:
    """The target of adapters by default where a tower is no ImageBind's."""
    return "all-layers" if isinstance(network, ArrayTower) else "all-linear"


def _millions(network: nn.Module) -> str:
    count = sum(parameter.numel() for parameter in network.parameters())
    return f"{count / 1e6:.1f} M parameters" if count >= 1e5 else f"{count} parameters"
