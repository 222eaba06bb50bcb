"""Finding plugins and keeping what they register, so that one broken plugin never stops the others."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

import pluggy

from bindplug import hookspecs
from bindplug.cards import (
    AdapterCard,
    BridgeCard,
    Card,
    CommandCard,
    InputCard,
    ModelCard,
    resolve,
)
from bindplug.errors import MissingDependency, PluginError, UnknownReader
from bindplug.hookspecs import GROUP
from bindplug.query import Query
from bindplug.space import EmbeddingSpace

BUILTIN = (EntryPoint("imagebind", "bindplug.builtin", GROUP),)
"""The core's own plugins; they pass through the same door as everyone's."""

DISABLE_VARIABLE = "BINDPLUG_DISABLE"
"""Environment variable with names of plugins to leave out, joined by commas."""

C = TypeVar("C", bound="Card | EmbeddingSpace", covariant=True)


@dataclass
class Plugin:
    """A plugin that was found, and how it fares.

    Attributes:
        name: the entry point's name.
        module: import name of the module with the hooks.
        distribution: the distribution it came with, and its version.
        status: ``ready``, ``unavailable`` (a package it needs is absent), ``broken`` or ``blocked``.
        reason: why it is not ready, or which of its parts are not.
        remedy: the pip line that mends it, where one does.
        provides: what it registered, as ``kind:name``.
    """

    name: str
    module: str
    distribution: str = ""
    version: str = ""
    status: str = "ready"
    reason: str = ""
    remedy: str = ""
    provides: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Entry(Generic[C]):
    """A registered card with its provenance."""

    card: C
    plugin: Plugin

    def load(self, target: str) -> Any:
        """The object at a target of this card, imported now.

        Raises:
            MissingDependency: a package the card requires is absent.
            PluginError: the target does not exist.
        """
        if isinstance(self.card, Card):
            self.card.ensure_available(self.plugin.name, self.plugin.distribution)
        return resolve(target, self.plugin.name)


class Registry:
    """What all plugins registered.

    Attributes:
        plugins: every plugin found, by name.
        models, adapters, spaces, bridges, inputs, commands: entries by name.
    """

    def __init__(self) -> None:
        self.plugins: dict[str, Plugin] = {}
        self.models: dict[str, Entry[ModelCard]] = {}
        self.adapters: dict[str, Entry[AdapterCard]] = {}
        self.spaces: dict[str, Entry[EmbeddingSpace]] = {}
        self.bridges: dict[str, Entry[BridgeCard]] = {}
        self.inputs: dict[str, Entry[InputCard]] = {}
        self.commands: dict[str, Entry[CommandCard]] = {}

    def add(self, found: EntryPoint, blocked: Iterable[str] = ()) -> Plugin:
        """Load a plugin and keep what it registers; whatever goes wrong becomes its status."""
        plugin = _described(found)
        if found.name in self.plugins:
            other = self.plugins[found.name]
            plugin.status = "broken"
            plugin.reason = (
                f"the name {found.name!r} belongs to {other.distribution or other.module} as well as to "
                f"{plugin.distribution or plugin.module}"
            )
            self.plugins[f"{found.name} ({found.value})"] = plugin
            return plugin
        self.plugins[found.name] = plugin
        if found.name in blocked:
            plugin.status, plugin.reason = "blocked", f"named in {DISABLE_VARIABLE}"
            return plugin
        try:
            self._register(plugin, found.load())
        except MissingDependency as error:
            plugin.status, plugin.reason, plugin.remedy = "unavailable", str(error), error.remedy
        except ModuleNotFoundError as error:
            _note_absent(plugin, error, own_package=found.module.partition(".")[0])
        except Exception as error:
            plugin.status, plugin.reason = "broken", f"{type(error).__name__}: {error}"
        return plugin

    def _register(self, plugin: Plugin, module: object) -> None:
        """Call the hooks of one plugin; its cards are kept all together or, on any fault, not at all."""
        manager = pluggy.PluginManager(GROUP)
        manager.add_hookspecs(hookspecs)
        manager.register(module, name=plugin.name)
        manager.check_pending()
        pending: list[tuple[dict[str, Entry[Any]], Entry[Any]]] = []
        for hook, kind, expected in HOOKS:
            entries = getattr(self, kind)
            getattr(manager.hook, hook)(register=_receiver(hook, expected, entries, plugin, pending))
        if not any(manager.get_hookcallers(module) or ()):
            raise PluginError(f"plugin {plugin.name!r} ({plugin.module}) implements none of bindplug's hooks")
        for entries, entry in pending:
            entries[entry.card.name] = entry
        kinds = {id(getattr(self, kind)): kind for _, kind, _ in HOOKS}
        plugin.provides = [f"{kinds[id(entries)]}:{entry.card.name}" for entries, entry in pending]
        _note_missing(plugin, [entry.card for _, entry in pending if isinstance(entry.card, Card)])


HOOKS: tuple[tuple[str, str, type], ...] = (
    ("register_models", "models", ModelCard),
    ("register_adapters", "adapters", AdapterCard),
    ("register_spaces", "spaces", EmbeddingSpace),
    ("register_bridges", "bridges", BridgeCard),
    ("register_inputs", "inputs", InputCard),
    ("register_commands", "commands", CommandCard),
)
"""Each hook, the registry's shelf it fills, and what it must register."""


def _receiver(
    hook: str,
    expected: type[Any],
    entries: dict[str, Entry[Any]],
    plugin: Plugin,
    pending: list[tuple[dict[str, Entry[Any]], Entry[Any]]],
) -> Callable[[Any], None]:
    def register(card: Any) -> None:
        if not isinstance(card, expected):
            raise PluginError(
                f"plugin {plugin.name!r}: {hook} registered a {type(card).__name__}; expected {expected.__name__}"
            )
        rivals: list[Entry[Any]] = [entries[card.name]] if card.name in entries else []
        rivals += [entry for shelf, entry in pending if shelf is entries and entry.card.name == card.name]
        if any(not _same_space(rival.card, card) for rival in rivals):
            owner = rivals[0].plugin
            raise PluginError(
                f"{hook}: the name {card.name!r} is registered by {_owner(owner)} and by {_owner(plugin)}; "
                f"set {DISABLE_VARIABLE} to the name of one of them"
            )
        if not rivals:
            pending.append((entries, Entry(card, plugin)))

    return register


def _same_space(first: Any, second: Any) -> bool:
    """A space is a fact and not anyone's property: two plugins may name the same one."""
    return isinstance(first, EmbeddingSpace) and first == second


def _owner(plugin: Plugin) -> str:
    return f"{plugin.name!r} ({plugin.distribution or plugin.module})"


def _described(found: EntryPoint) -> Plugin:
    if found.dist is None:
        return Plugin(found.name, found.value, distribution=found.module.partition(".")[0])
    return Plugin(found.name, found.value, distribution=found.dist.name, version=found.dist.version)


def _note_missing(plugin: Plugin, cards: list[Card]) -> None:
    lacking = [card for card in cards if card.missing()]
    if not lacking:
        return
    errors = [_missing_error(card, plugin) for card in lacking]
    plugin.reason = "; ".join(
        dict.fromkeys(f"{card.name} needs {', '.join(card.missing())}" for card in lacking)
    )
    plugin.remedy = " && ".join(dict.fromkeys(error.remedy for error in errors))
    if len(lacking) == len(cards):
        plugin.status = "unavailable"


def _note_absent(plugin: Plugin, error: ModuleNotFoundError, own_package: str) -> None:
    """An absent package of someone else's can be installed; an absent module of its own is a fault."""
    absent = (error.name or "").partition(".")[0]
    if absent in ("", own_package, "bindplug"):
        plugin.status, plugin.reason = "broken", f"{type(error).__name__}: {error}"
        return
    missing = MissingDependency(plugin.name, absent, extra="")
    plugin.status, plugin.reason, plugin.remedy = "unavailable", str(missing), missing.remedy


def _missing_error(card: Card, plugin: Plugin) -> MissingDependency:
    return MissingDependency(plugin.name, card.missing()[0], card.extra, distribution=plugin.distribution)


_cache: dict[tuple[object, ...], Registry] = {}


def registry() -> Registry:
    """What the plugins of this environment register.

    ``BINDPLUG_DISABLE`` is read at every call. Discovery itself runs once for each of its values; after
    installing a package in a running process call :func:`refresh`.
    """
    disabled = tuple(
        sorted(name.strip() for name in os.environ.get(DISABLE_VARIABLE, "").split(",") if name.strip())
    )
    if disabled not in _cache:
        found = Registry()
        for entry_point in (*BUILTIN, *sorted(entry_points(group=GROUP), key=lambda e: (e.name, e.value))):
            found.add(entry_point, blocked=disabled)
        _cache[disabled] = found
    return _cache[disabled]


def refresh() -> None:
    """Forget what was discovered, so that the next use looks again."""
    _cache.clear()


def list_plugins() -> list[Plugin]:
    """Every plugin found, with its status."""
    return list(registry().plugins.values())


def read(reader: str, source: object, **options: object) -> Query:
    """A query from a source in a format that a plugin reads.

    Args:
        reader: name of a registered reader.
        source: what it takes, usually a path.
        options: the reader's own.

    Raises:
        UnknownReader: no plugin registers a reader of that name.
        MissingDependency: the reader needs a package that is absent.
        PluginError: the reader returned something other than a query.
    """
    known = registry().inputs
    if reader not in known:
        raise UnknownReader(f"no plugin registers a reader {reader!r}; known: {', '.join(known) or 'none'}")
    entry = known[reader]
    query = entry.load(entry.card.target)(source, **options)
    if not isinstance(query, Query):
        raise PluginError(
            f"plugin {entry.plugin.name!r}: reader {reader!r} returned a {type(query).__name__}; expected a Query"
        )
    return query
