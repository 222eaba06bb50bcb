"""Finding plugins and keeping what they register, so that one broken plugin never stops the others."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

import pluggy

from bindplug import hookspecs
from bindplug.card_checks import check_card
from bindplug.cards import (
    AdapterCard,
    BridgeCard,
    Card,
    CommandCard,
    EngineCard,
    IndexCard,
    InputCard,
    ModelCard,
    ModelSourceCard,
    resolve,
)
from bindplug.containment import CapturedOutput, Failure, contained, describe_error, one_line
from bindplug.errors import BindplugError, MissingDependency, PluginError, UnknownReader
from bindplug.hookspecs import GROUP
from bindplug.query import Query
from bindplug.space import EmbeddingSpace

__all__ = [
    "Entry",
    "Plugin",
    "Registry",
    "list_plugins",
    "read",
    "refresh",
    "registry",
]

BUILTIN = (EntryPoint("imagebind", "bindplug.builtin", GROUP),)
"""The core's own plugins; they pass through the same door as everyone's."""

DISABLE_VARIABLE = "BINDPLUG_DISABLE"
"""Environment variable with names of plugins to leave out, joined by commas."""

OWN_DISTRIBUTION = "bindplug"
"""The distribution whose plugins come before all others, so that none can take a name of theirs."""

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
    """A registered card with its provenance.

    Attributes:
        card: what was registered; a space stands for itself.
        plugin: that registered it.
    """

    card: C
    plugin: Plugin

    def load(self, target: str) -> Any:
        """The object at a target of this card, imported now.

        Raises:
            MissingDependency: a package that the card requires, or that its module imports, is absent.
            PluginError: the target does not exist, or importing it fails in any other way.
        """
        extra = ""
        if isinstance(self.card, Card):
            self.card.ensure_available(self.plugin.name, self.plugin.distribution)
            extra = self.card.extra
        try:
            with contained():
                return resolve(target, self.plugin.name)
        except BindplugError:
            raise
        except ModuleNotFoundError as error:
            absent = (error.name or "").partition(".")[0]
            raise MissingDependency(
                self.plugin.name, absent, extra, distribution=self.plugin.distribution
            ) from error
        except Failure as error:
            raise PluginError(f"plugin {self.plugin.name!r}: importing {target!r} failed: {error}") from error

    def call(self, target: str, *args: Any, **options: Any) -> Any:
        """What the function at a target of this card returns.

        What it prints goes to stderr. Its errors pass as they are.

        Raises:
            MissingDependency: as :meth:`load`.
            PluginError: as :meth:`load`; or the function tried to end the process.
        """
        function = self.load(target)
        try:
            with redirect_stdout(CapturedOutput()):
                return function(*args, **options)
        except (Exception, KeyboardInterrupt):
            raise
        except BaseException as error:
            is_exit = isinstance(error, SystemExit)
            reason = f"it called sys.exit({error.code!r})" if is_exit else describe_error(error)  # type: ignore[attr-defined]
            raise PluginError(f"plugin {self.plugin.name!r}: {target!r} failed: {reason}") from error


class Registry:
    """What all plugins registered.

    Attributes:
        plugins: every plugin found, by name.
        models, model_sources, adapters, spaces, bridges, inputs, commands, engines, indexes: entries by name.
    """

    def __init__(self) -> None:
        self.plugins: dict[str, Plugin] = {}
        self.models: dict[str, Entry[ModelCard]] = {}
        self.model_sources: dict[str, Entry[ModelSourceCard]] = {}
        self.adapters: dict[str, Entry[AdapterCard]] = {}
        self.spaces: dict[str, Entry[EmbeddingSpace]] = {}
        self.bridges: dict[str, Entry[BridgeCard]] = {}
        self.inputs: dict[str, Entry[InputCard]] = {}
        self.commands: dict[str, Entry[CommandCard]] = {}
        self.indexes: dict[str, Entry[IndexCard]] = {}
        self.engines: dict[str, Entry[EngineCard]] = {}

    def add(self, entry_point: EntryPoint, blocked: Iterable[str] = ()) -> Plugin:
        """Load a plugin and keep what it registers; whatever goes wrong becomes its status.

        What it prints while it is loaded goes to stderr, and its ``reason`` says so.
        """
        plugin = _plugin_of(entry_point)
        if entry_point.name in self.plugins:
            other = self.plugins[entry_point.name]
            plugin.status = "broken"
            plugin.reason = (
                f"the name {entry_point.name!r} belongs to {other.distribution or other.module} as well as to "
                f"{plugin.distribution or plugin.module}"
            )
            self.plugins[f"{entry_point.name} ({entry_point.value})"] = plugin
            return plugin
        self.plugins[entry_point.name] = plugin
        if entry_point.name in blocked:
            plugin.status, plugin.reason = "blocked", f"named in {DISABLE_VARIABLE}"
            return plugin
        output = CapturedOutput(keep=True)
        try:
            with contained(output):
                self._register(plugin, entry_point.load())
        except MissingDependency as error:
            plugin.status, plugin.reason, plugin.remedy = "unavailable", one_line(str(error)), error.remedy
        except ModuleNotFoundError as error:
            _note_absent(plugin, error, own_package=entry_point.module.partition(".")[0])
        except BindplugError as error:
            plugin.status, plugin.reason = "broken", describe_error(error)
        except Failure as error:
            plugin.status, plugin.reason = "broken", str(error)
        if output.getvalue():
            print(one_line(output.getvalue()), file=sys.stderr)
            note = f"it prints while it is loaded: {one_line(output.getvalue())!r}"
            plugin.reason = f"{plugin.reason}; {note}" if plugin.reason else note
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
        _note_missing(plugin, [entry.card for _, entry in pending if isinstance(entry.card, Card)])
        kinds = {id(getattr(self, kind)): kind for _, kind, _ in HOOKS}
        plugin.provides = [f"{kinds[id(entries)]}:{entry.card.name}" for entries, entry in pending]
        for entries, entry in pending:
            entries[entry.card.name] = entry


HOOKS: tuple[tuple[str, str, type], ...] = (
    ("register_models", "models", ModelCard),
    ("register_model_sources", "model_sources", ModelSourceCard),
    ("register_adapters", "adapters", AdapterCard),
    ("register_spaces", "spaces", EmbeddingSpace),
    ("register_bridges", "bridges", BridgeCard),
    ("register_inputs", "inputs", InputCard),
    ("register_commands", "commands", CommandCard),
    ("register_indexes", "indexes", IndexCard),
    ("register_engines", "engines", EngineCard),
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
        check_card(hook, card, plugin.name)
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


def _plugin_of(entry_point: EntryPoint) -> Plugin:
    name, value = one_line(entry_point.name), one_line(entry_point.value)
    if entry_point.dist is None:
        return Plugin(name, value, distribution=one_line(entry_point.module.partition(".")[0]))
    return Plugin(
        name,
        value,
        distribution=one_line(entry_point.dist.name or ""),
        version=one_line(entry_point.dist.version or ""),  # None where the metadata name none
    )


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
        plugin.status, plugin.reason = "broken", describe_error(error)
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
    disabled_names = tuple(
        sorted(name.strip() for name in os.environ.get(DISABLE_VARIABLE, "").split(",") if name.strip())
    )
    if disabled_names not in _cache:
        contents = Registry()
        for entry_point in (*BUILTIN, *sorted(entry_points(group=GROUP), key=_precedence)):
            contents.add(entry_point, blocked=disabled_names)
        _cache[disabled_names] = contents
    return _cache[disabled_names]


def _precedence(entry_point: EntryPoint) -> tuple[bool, str, str]:
    """bindplug's own plugins first, then by name: whoever sorts early cannot take a name of theirs."""
    own = entry_point.dist is not None and entry_point.dist.name == OWN_DISTRIBUTION
    return not own, entry_point.name, entry_point.value


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
    readers = registry().inputs
    if reader not in readers:
        raise UnknownReader(f"no plugin registers a reader {reader!r}; known: {', '.join(readers) or 'none'}")
    entry = readers[reader]
    query = entry.call(entry.card.target, source, **options)
    if not isinstance(query, Query):
        raise PluginError(
            f"plugin {entry.plugin.name!r}: reader {reader!r} returned a {type(query).__name__}; expected a Query"
        )
    return query
