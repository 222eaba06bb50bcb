"""The tower that a run trains: built to a size, taken from another model, or by the user's own code."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bindplug import Encoder
from bindplug.bound import ArrayTower, BoundEncoder
from bindplug.errors import InputError
from bindplug.imagebind import ImageBind, ImageBindConfig, TowerConfig
from bindplug.training import (
    BindingRecipe,
    LoraRecipe,
    add_adapters,
    has_adapters,
    is_own_sense,
    merge_adapters,
)
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


def build_tower(
    settings: BindSettings,
    recipe: BindingRecipe,
    anchor: Encoder,
    init: Encoder | None,
    pairs: int,
    sample: Tensor,
) -> tuple[nn.Module, BindingRecipe, str]:
    """The tower to train, the recipe with the tower's own drop path and head, and a line that describes the tower.

    Args:
        settings: of the run.
        recipe: as chosen.
        anchor: whose space is bound to.
        init: the model that the tower starts from.
        pairs: number of training pairs.
        sample: one training sample, without a batch axis.

    Raises:
        InputError: the sizes are impossible, or the user's code makes no such tower.
    """
    torch.manual_seed(recipe.seed)
    width = anchor.embedding_space.width
    if isinstance(init, BoundEncoder) and isinstance(init.tower, ImageBind) and settings.lora is None:
        init = init.tower
    if init is not None:
        return _continued(settings, recipe, anchor, init)
    size = settings.tower or ("base" if pairs >= PUBLISHED_FROM else "small")
    if size not in SIZES:
        tower = load_factory(size, settings.sense, tuple(sample.shape), width)
        try:
            with torch.no_grad():
                rows = tower.eval()(sample[None].repeat(2, *[1] * sample.ndim))
        except Exception as error:
            problem = (
                f"a tower that fails on a sample of {tuple(sample.shape)} ({type(error).__name__}: {error})"
            )
            raise InputError(size, found=problem, expected=f"rows (2, {width}) of two samples") from error
        if not isinstance(rows, Tensor) or tuple(rows.shape) != (2, width):
            shape = tuple(rows.shape) if isinstance(rows, Tensor) else type(rows).__name__
            raise InputError(
                size, found=f"a tower that makes {shape} of two samples", expected=f"rows (2, {width})"
            )
        return tower, recipe, f"{size}, {_millions(tower)}"
    if is_own_sense(settings.sense):
        sizes = OWN_SIZES[size] | {name: n for name, n in settings.shape.items() if name != "heads"}
        try:
            tower = ArrayTower(tuple(sample.shape), width, **sizes)
        except ValueError as error:
            raise InputError(
                "tower", found=str(error), expected="--tower FILE.py:factory for such arrays"
            ) from None
        return tower, recipe, f"a convolutional tower of {_millions(tower)}"
    config = _sized(settings, recipe, size, width)
    model = ImageBind(config, {settings.sense}, space=anchor.embedding_space)
    part = config.tower(settings.sense)
    line = f"{size}, {part.blocks} block{'s' * (part.blocks > 1)} of width {part.width}, {_millions(model)}"
    return model, recipe, line


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
    settings: BindSettings, recipe: BindingRecipe, anchor: Encoder, init: Encoder
) -> tuple[nn.Module, BindingRecipe, str]:
    """The tower of ``init``, with a new head where the anchor's width or the recipe's head is another."""
    if not isinstance(init, ImageBind) or settings.sense not in init.modalities:
        kind = f"a model of {', '.join(init.modalities)}"
        raise InputError(
            f"--init {settings.init}", found=kind, expected=f"an ImageBind with a tower of {settings.sense}"
        )
    if has_adapters(init):
        if settings.lora is not None and not settings.merge:
            raise InputError(
                f"--lora on {settings.init}",
                found="a base that holds adapters itself",
                expected="a whole tower under the new adapters",
                remedy="Say --merge to write a whole tower, or give the base of those adapters as --init",
            )
        merge_adapters(init)
    part = init.config.tower(settings.sense)
    changes = {name: settings.changes.get(name, getattr(part, name)) for name in ("drop_path", "head")}
    recipe = recipe.but(**changes)
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
    if settings.lora is not None:
        return _adapted(settings, recipe, anchor, init, model, is_whole=is_whole)
    head = "" if is_whole else ", with a new head"
    return model, recipe, f"that of {settings.init}{head}, {_millions(model)}"


def _adapted(
    settings: BindSettings,
    recipe: BindingRecipe,
    anchor: Encoder,
    init: ImageBind,
    model: ImageBind,
    *,
    is_whole: bool,
) -> tuple[nn.Module, BindingRecipe, str]:
    """The tower of ``init`` with adapters to train."""
    assert settings.lora is not None
    if not is_whole or not init.embedding_space.matches(anchor.embedding_space):
        raise InputError(
            f"--lora on {settings.init}",
            found=f"an anchor in another space, {settings.anchor}",
            expected=f"the space that {settings.init} is in already: adapters do not move a tower to another",
            remedy="Leave out --anchor, or train the whole tower without --lora",
        )
    lora = LoraRecipe.from_dict(settings.lora)
    size = _millions(model)
    add_adapters(model, settings.sense, lora)
    trained = sum(p.numel() for p in model.towers.parameters() if p.requires_grad)
    kind = "DoRA" if lora.dora else "LoRA"
    line = (
        f"that of {settings.init}, {size}, with {kind} of rank {lora.rank} on {', '.join(lora.targets)}: "
        f"{trained / 1e6:.2f} M to train"
    )
    return model, recipe, line


def load_factory(place: str, sense: str, shape: tuple[int, ...], width: int) -> nn.Module:
    """The network that a function of a Python file makes; the file is the user's own code, and is run.

    Args:
        place: ``FILE.py:function``. The function is called with ``shape=`` of one sample and ``embed_dim=`` of a row.
        sense: for messages.
        shape: of one sample.
        width: of a row.

    Raises:
        InputError: there is no such file or function, or what it returns is no network.
    """
    file, colon, name = place.rpartition(":")
    expected = f"small, base, or FILE.py:function, whose function(shape=, embed_dim=) makes the {sense} tower"
    if not colon or not file.endswith(".py") or not name.isidentifier():
        raise InputError("--tower", found=repr(place), expected=expected)
    if not Path(file).is_file():
        raise InputError("--tower", found=f"no file {file!r} (from {str(Path.cwd())!r})", expected=expected)
    specification = importlib.util.spec_from_file_location(f"bindplug_tower_{Path(file).stem}", file)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module
    try:
        specification.loader.exec_module(module)
    except Exception as error:
        raise InputError(
            file, found=f"code that fails ({type(error).__name__}: {error})", expected=expected
        ) from error
    factory: Any = getattr(module, name, None)
    if not callable(factory):
        raise InputError(file, found=f"no function {name}", expected=expected)
    try:
        tower = factory(shape=shape, embed_dim=width)
    except Exception as error:
        problem = f"{name}(shape={shape}, embed_dim={width}) fails ({type(error).__name__}: {error})"
        raise InputError(file, found=problem, expected=expected) from error
    if not isinstance(tower, nn.Module):
        raise InputError(file, found=f"a {type(tower).__name__} from {name}", expected="a torch.nn.Module")
    return tower


def _millions(network: nn.Module) -> str:
    count = sum(parameter.numel() for parameter in network.parameters())
    return f"{count / 1e6:.1f} M parameters" if count >= 1e5 else f"{count} parameters"
