"""Upgrading existing tools: ask every registered adapter who recognises the object, let that one wrap it."""

from __future__ import annotations

from typing import Any

from bindplug.cards import AdapterCard, unwrapped
from bindplug.containment import Failure, contained, describe_error
from bindplug.encoder import Encoder
from bindplug.errors import AmbiguousUpgrade, BindplugError, PluginError, SpaceMismatch, UnsupportedTarget
from bindplug.plugins import Entry, registry
from bindplug.space import EmbeddingSpace

__all__ = [
    "Upgraded",
    "upgrade",
]


def upgrade(target: Any, model: Encoder | None = None, *, bridge: Any = None, **options: Any) -> Any:
    """A wrapper around an existing tool that also takes queries; the tool itself is left as it is.

    Args:
        target: the tool: a predictor, a pipeline, a CLIP.
        model: the encoder that embeds queries; some adapters make one from the tool.
        bridge: a map from the model's space to the tool's, where they differ.
        options: the adapter's own.

    Returns:
        A wrapper that forwards everything ``target`` has.

    Raises:
        UnsupportedTarget: no adapter recognises ``target``; the message lists who was asked. Or it takes queries as
            it is.
        AmbiguousUpgrade: several do.
        MissingDependency: the adapter needs a package that is absent.
        SpaceMismatch: the tool lives in another space than the model, and no bridge is given.
    """
    entry = _claimant(target)
    card = entry.card
    if card.space is not None and model is not None and bridge is None:
        _ensure_space(card.space, model, doing=f"the adapter {card.name!r}")
    upgraded = entry.call(card.target, target, model, bridge=bridge, **options)
    if upgraded is target:
        raise PluginError(
            f"plugin {entry.plugin.name!r}: adapter {card.name!r} returned the original; it must wrap it"
        )
    return upgraded


class Upgraded:
    """Base of what adapters return: has everything the original has, and keeps its own changes to itself.

    Attributes set on the wrapper stay on the wrapper. Special methods (``__call__``, ``__len__``) are looked
    up by Python on the class, so an adapter defines those it wants.

    Args:
        original: the object to wrap.
        model: the encoder that embeds queries.
    """

    def __init__(self, original: Any, model: Any = None) -> None:
        self.original = original
        self.model = model

    def __getattr__(self, name: str) -> Any:
        # Copying and unpickling ask an instance that has no attributes yet.
        if name == "original" or (name.startswith("__") and name.endswith("__")):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self.original, name)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *dir(self.original)})

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.original!r})"


def _claimant(target: Any) -> Entry[AdapterCard]:
    answers: list[str] = []
    claims: list[Entry[AdapterCard]] = []
    for entry in registry().adapters.values():
        answer = "does not recognise it"
        try:
            with contained():
                if entry.card.recognises(target):
                    claims.append(entry)
        except (BindplugError, ModuleNotFoundError) as error:
            answer = f"failed when asked ({describe_error(error)})"
        except Failure as error:
            answer = f"failed when asked ({error})"
        answers.append(f"{_named(entry)} {answer}")
    kind = f"{type(target).__module__}.{type(target).__qualname__}"
    if len(claims) > 1:
        raise AmbiguousUpgrade(
            f"{' and '.join(_named(entry) for entry in claims)} both recognise a {kind}; "
            f"set BINDPLUG_DISABLE to the plugin that should not"
        )
    if not claims and isinstance(unwrapped(target), Encoder):
        raise UnsupportedTarget(
            f"upgrade() takes a tool, such as a CLIP, a detector or a pipeline; a {kind} takes queries already: "
            f"model.embed([bindplug.audio(...)]). To give a tool its senses: bindplug.upgrade(tool, model)"
        )
    if not claims:
        raise UnsupportedTarget(f"nothing installed can upgrade a {kind}. {_who_was_asked(answers)}")
    return claims[0]


def _who_was_asked(answers: list[str]) -> str:
    idle = [plugin for plugin in registry().plugins.values() if plugin.status != "ready"]
    lines = [f"Asked: {'; '.join(answers)}." if answers else "No adapter is registered."]
    lines += [f"Plugin {p.name!r} is {p.status}: {p.reason}." for p in idle]
    return " ".join(lines)


def _named(entry: Entry[AdapterCard]) -> str:
    return f"{entry.card.name!r} of plugin {entry.plugin.name!r}"


def _ensure_space(expected: EmbeddingSpace, model: Encoder, doing: str) -> None:
    try:
        expected.ensure(model.embedding_space, doing=doing)
    except SpaceMismatch as error:
        fitting = [
            name
            for name, entry in registry().bridges.items()
            if entry.card.source.matches(model.embedding_space) and entry.card.destination.matches(expected)
        ]
        raise SpaceMismatch(f"{error}. Registered bridges that do: {', '.join(fitting) or 'none'}") from None
