"""What a card that a plugin registers has to hold: a printable name, and fields of the types they are declared with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

from bindplug.cards import CommandCard
from bindplug.errors import PluginError
from bindplug.space import EmbeddingSpace

RESERVED_COMMANDS = frozenset(
    ("bench", "bridge", "classify", "compare", "convert", "cutoffs", "embed", "models", "plugins", "verify")
)
"""Names of the core's own commands, which no plugin may take."""

FIELD_TYPES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "str": ("a text", lambda value: isinstance(value, str)),
    "bool": ("True or False", lambda value: isinstance(value, bool)),
    "tuple[str, ...]": (
        "a tuple of texts",
        lambda value: isinstance(value, (tuple, list)) and all(isinstance(item, str) for item in value),
    ),
    "EmbeddingSpace": ("an EmbeddingSpace", lambda value: isinstance(value, EmbeddingSpace)),
    "Recognises": ("a function", callable),
}
"""Annotations of the fields of cards -> what they stand for, and whether a value is that."""


def check_card(hook: str, card: Any, plugin: str) -> None:
    """Check the name and the fields of a card.

    Args:
        hook: that registers it, for errors.
        card: a dataclass with a ``name``.
        plugin: name of the plugin, for errors.

    Raises:
        PluginError: the name is no printable text or that of one of bindplug's own commands, or a field is of another
            type.
    """
    _check_name(hook, card, plugin)
    for field in fields(card):
        annotation = str(field.type)
        kind = annotation.removesuffix(" | None")
        value = getattr(card, field.name)
        if kind not in FIELD_TYPES or (value is None and kind != annotation):
            continue
        expected, fits = FIELD_TYPES[kind]
        if not fits(value):
            raise PluginError(
                f"plugin {plugin!r}: {hook} registered {card.name!r} with {field.name}={value!r}; "
                f"expected {expected}"
            )


def _check_name(hook: str, card: Any, plugin: str) -> None:
    name = card.name
    if not isinstance(name, str) or not name or not name.isprintable() or name != name.strip():
        raise PluginError(f"plugin {plugin!r}: {hook} registered the name {name!r}; expected printable text")
    if isinstance(card, CommandCard) and name in RESERVED_COMMANDS:
        raise PluginError(
            f"plugin {plugin!r}: {hook} registered {name!r}, which is a command of bindplug itself; expected another "
            "name"
        )
