"""Upgrading existing tools: ask every registered adapter who recognises the object, let that one wrap it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, ClassVar

from torch import nn
from typing_extensions import Self

from bindplug.cards import AdapterCard, unwrapped
from bindplug.containment import Failure, contained, describe_error
from bindplug.encoder import Encoder
from bindplug.errors import AmbiguousUpgrade, BindplugError, PluginError, SpaceMismatch, UnsupportedTarget
from bindplug.plugins import Entry, registry
from bindplug.space import EmbeddingSpace

__all__ = [
    "Upgraded",
    "UpgradedModule",
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
        PluginError: the adapter cannot be imported, or returns the tool itself.
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


class UpgradedModule(Upgraded):
    """Base of upgraded torch modules: an instance of the original's class too, around the same weights.

    Parameters, buffers, submodules and hooks are the original's own, under their own names. So optimizers, freezing,
    ``.to(...)``, ``state_dict`` and code that checks the class act as on the original, and on the original. A parameter
    or submodule that is replaced, as in ``upgraded.visual = other``, is replaced in the original too. Other attributes
    that are set stay on this object.

    Use :meth:`around` to make an instance. A subclass's methods come before those of the original's class.

    Attributes:
        original: the module that was upgraded.
        wrapper: the parallel, compiled or hooked module around ``original``, if there is one; ``forward`` runs it.
    """

    ADDED: ClassVar[tuple[str, ...]] = ()
    """Submodules that the original does not have."""

    TRANSIENT: ClassVar[tuple[str, ...]] = ()
    """Attributes that copies and pickles leave out."""

    CONSTRUCTORS: ClassVar[tuple[str, ...]] = ()
    """Class methods of the original's class that make new modules, which are then plain ones."""

    original_class: ClassVar[Any]
    training: bool

    def __init_subclass__(cls) -> None:
        """Not the original's, which has run for its own class and may evaluate annotations made for type checkers."""

    @classmethod
    def around(cls, original: nn.Module, *, wrapper: Any = None, **attributes: Any) -> Self:
        """An instance for a module.

        Args:
            original: the module.
            wrapper: the module around it, if there is one.
            attributes: of the instance; those named in ``ADDED`` become submodules.
        """
        state = {name: value for name, value in vars(original).items() if name not in _RUN_BY_ORIGINAL}
        if wrapper is None and len(state) < len(vars(original)):
            wrapper = original
        if wrapper is not None:  # it calls the original, whose hooks then run there
            state |= {name: value for name, value in vars(nn.Module()).items() if "ward_" in name}
        state["_modules"] = dict(original._modules)
        upgraded = _restore_module(cls, type(original), state | {"original": original, "wrapper": wrapper})
        for name, value in attributes.items():
            if name in cls.ADDED and isinstance(value, nn.Module):
                upgraded._modules[name] = value
            else:
                vars(upgraded)[name] = value
        result: Self = upgraded
        return result

    @property
    def forward_original(self) -> Any:
        """What runs the original's ``forward``: this object's own towers, or the module around them."""
        if self.wrapper is not None:
            return self.wrapper
        return super().forward  # type: ignore[misc]

    def train(self, mode: bool = True) -> Self:
        """torch's; the original is then in the same mode."""
        self.original.training = mode
        return super().train(mode)  # type: ignore[misc, no-any-return]

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        is_replica = "_is_replica" in vars(self)  # DataParallel's, for the length of a call
        if name in self._modules and name not in self.ADDED and not is_replica:
            self.original._modules[name] = self._modules[name]

    def __delattr__(self, name: str) -> None:
        super().__delattr__(name)
        if name not in self.ADDED:
            self.original._modules.pop(name, None)

    def __getattr__(self, name: str) -> Any:
        try:
            return nn.Module.__getattr__(self, name)  # type: ignore[arg-type]
        except AttributeError:
            wrapper = vars(self).get("wrapper")
            if wrapper is None or wrapper is vars(self).get("original") or name.startswith("__"):
                raise
        return getattr(wrapper, name)

    def __repr__(self) -> str:
        return f"{self._upgraded_class.__name__}({self.original!r})"

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        """The class is made again from the original's, as it has no name to be imported by."""
        state = {name: value for name, value in vars(self).items() if name not in self.TRANSIENT}
        return _restore_module, (self._upgraded_class, self.original_class, state)

    _upgraded_class: ClassVar[type[UpgradedModule]]


_RUN_BY_ORIGINAL = ("forward", "_compiled_call_impl")
"""What accelerate's hooks and ``Module.compile`` set on an instance; they run the original's ``forward``."""


def _restore_module(kind: type[UpgradedModule], original_class: Any, state: Mapping[str, Any]) -> Any:
    upgraded = object.__new__(_upgraded_class(kind, original_class))  # type: ignore[arg-type]
    vars(upgraded).update(state)
    return upgraded


@cache
def _upgraded_class(kind: type[UpgradedModule], original_class: Any) -> Any:
    """A subclass of both. It keeps the original's name, under which libraries look classes up and save them."""

    def constructor(name: str) -> Any:
        return staticmethod(getattr(original_class, name))

    namespace = {
        "original_class": original_class,
        "_upgraded_class": kind,
        "__init__": original_class.__init__,
        "__module__": original_class.__module__,
        "__qualname__": original_class.__qualname__,
        "__doc__": kind.__doc__,
    }
    namespace |= {name: constructor(name) for name in kind.CONSTRUCTORS if hasattr(original_class, name)}
    return type(original_class.__name__, (kind, original_class), namespace)


def _claimant(target: Any) -> Entry[AdapterCard]:
    answers: list[str] = []
    claims: list[Entry[AdapterCard]] = []
    for entry in registry().adapters.values():
        answer = "does not recognize it"
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
            f"{' and '.join(_named(entry) for entry in claims)} both recognize a {kind}; "
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
