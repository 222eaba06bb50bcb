"""From what a person hands over as a bridge (an object, a directory, a registered name, nothing) to the bridge."""

from __future__ import annotations

import os
from pathlib import Path
from typing import overload

from bindplug.bridges.base import load_bridge
from bindplug.bridges.protocol import PARTS, AnyBridge
from bindplug.cards import BridgeCard
from bindplug.errors import InputError, PluginError, SpaceMismatch, WeightsNotFound
from bindplug.models import list_models
from bindplug.plugins import Entry, registry
from bindplug.space import EmbeddingSpace

AFTER = "what comes after this bridge"


@overload
def as_bridge(
    value: AnyBridge | str | os.PathLike[str],
    *,
    source: EmbeddingSpace | None,
    target: EmbeddingSpace | None,
    doing: str = ...,
) -> AnyBridge: ...


@overload
def as_bridge(
    value: AnyBridge | str | os.PathLike[str] | None,
    *,
    source: EmbeddingSpace | None,
    target: EmbeddingSpace | None,
    doing: str = ...,
) -> AnyBridge | None: ...


def as_bridge(
    value: AnyBridge | str | os.PathLike[str] | None,
    *,
    source: EmbeddingSpace | None,
    target: EmbeddingSpace | None,
    doing: str = AFTER,
) -> AnyBridge | None:
    """The bridge that a person means, its spaces checked.

    Args:
        value: a bridge; the directory of one; the name of one that a plugin registers (a name comes before a
            directory of the same name, for which write ``"./name"``); or None for a registered one from ``source``
            to ``target``.
        source: the space that vectors come from; None if it is not known and not to be checked.
        target: the space that vectors are needed in; None likewise.
        doing: who needs vectors of ``target``, for the message.

    Returns:
        The bridge. None if ``value`` is None and ``source`` and ``target`` are one space: no bridge is needed.

    Raises:
        SpaceMismatch: the bridge leads from or to another space; or ``value`` is None and no plugin registers a
            bridge between the two spaces.
        InputError: ``value`` is no bridge; or it is None and a space is not known.
        WeightsNotFound: there is no bridge of that name or at that path.
        CheckpointError: the bridge at the path is damaged.
    """
    if value is None:
        return _between(source, target)
    bridge = _opened(value)
    if source is not None:
        bridge.source.ensure(source, doing=f"the bridge to {bridge.target.name!r}")
    if target is not None:
        target.ensure(bridge.target, doing=doing)
    return bridge


def registered_bridge(source: EmbeddingSpace, target: EmbeddingSpace) -> AnyBridge | None:
    """The bridge that a plugin registers between two spaces, loaded; None if none does.

    Raises:
        MissingDependency: its plugin needs a package that is absent.
        PluginError: what the plugin registered is no bridge, or leads elsewhere than its card says.
    """
    for entry in registry().bridges.values():
        if entry.card.source.matches(source) and entry.card.destination.matches(target):
            return _loaded(entry)
    return None


def fit_command(
    source: EmbeddingSpace, target: EmbeddingSpace | None = None, *, source_id: str = "", target_id: str = ""
) -> str:
    """The command line that fits a bridge between two spaces.

    Args:
        source: where vectors come from.
        target: where they are needed; None for a placeholder.
        source_id, target_id: what the models of the spaces are loaded by, where that is known.
    """
    aim = "open_clip:ARCHITECTURE:TAG" if target is None else (target_id or _model_in(target) or target.name)
    origin = source_id or _model_in(source) or "YOUR_MODEL"
    return f"bindplug bridge fit --source {origin} --target {aim} -o my-bridge"


def _model_in(space: EmbeddingSpace) -> str:
    """Name of a registered model of the space; empty if there is none."""
    return next((card.name for card in list_models() if card.space.matches(space)), "")


def _between(source: EmbeddingSpace | None, target: EmbeddingSpace | None) -> AnyBridge | None:
    if source is None or target is None:
        raise InputError("as_bridge()", found="no bridge", expected="a bridge, as a space is not known")
    if target.matches(source):
        return None
    bridge = registered_bridge(source, target)
    if bridge is None:
        raise SpaceMismatch(
            f"no bridge leads from {source} to {target}. Fit one: {fit_command(source, target)}, then pass "
            f"bridge='my-bridge'"
        )
    return bridge


def _opened(value: object) -> AnyBridge:
    if isinstance(value, str) and value in registry().bridges:
        return _loaded(registry().bridges[value])
    if isinstance(value, (str, os.PathLike)):
        path = Path(value).expanduser()
        if not path.exists():
            names = ", ".join(registry().bridges) or "none"
            raise WeightsNotFound(
                f"there is no bridge {str(path)!r} (from {str(Path.cwd())!r}): give a directory that "
                f"`bindplug bridge fit` wrote, or the name of a registered bridge (known: {names})"
            )
        return load_bridge(path)
    if isinstance(value, AnyBridge) and not isinstance(value, type):
        return value
    absent = [name for name in PARTS if not hasattr(value, name)] or ["a call"]
    lacking = f" without {', '.join(absent)}" if len(absent) < len(PARTS) else ""
    raise InputError(
        "bridge",
        found=f"a {type(value).__name__}{lacking}",
        expected="a bindplug.bridges.Bridge, its path, or the name of a registered one",
    )


def _loaded(entry: Entry[BridgeCard]) -> AnyBridge:
    card = entry.card
    bridge = entry.call(card.target)
    if not isinstance(bridge, AnyBridge):
        raise PluginError(
            f"plugin {entry.plugin.name!r}: bridge {card.name!r} is a {type(bridge).__name__}; expected a Bridge"
        )
    card.source.ensure(bridge.source, doing=f"the card of bridge {card.name!r}")
    card.destination.ensure(bridge.target, doing=f"the card of bridge {card.name!r}")
    return bridge
