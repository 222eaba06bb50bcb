"""What plugins register: descriptions, never the things described, so that listing imports nothing heavy.

A ``target`` is ``"package.module:attribute"`` and is imported on first use.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bindplug.errors import MissingDependency, PluginError
from bindplug.modality import Modality
from bindplug.space import EmbeddingSpace

__all__ = [
    "AdapterCard",
    "BridgeCard",
    "Card",
    "CommandCard",
    "EngineCard",
    "IndexCard",
    "InputCard",
    "ModelCard",
    "ModelSourceCard",
    "allows_commercial_use",
    "is_instance_by_name",
    "resolve",
    "unwrapped",
]

Recognises = Callable[[object], bool]

WRAPPERS = {
    "torch.DataParallel": "module",
    "torch.DistributedDataParallel": "module",
    "torch.OptimizedModule": "_orig_mod",  # made by torch.compile
}
"""Modules that hold one other module, and the attribute that holds it."""


@dataclass(frozen=True, kw_only=True)
class Card:
    """What all cards say.

    Args:
        name: unique among cards of its kind; lower case, words joined by ``_`` or ``-``.
        description: one line for a person choosing.
        requires: import names of packages without which it cannot work.
        extra: extra of the plugin's distribution that installs them.
    """

    name: str
    description: str = ""
    requires: tuple[str, ...] = ()
    extra: str = ""

    def missing(self) -> tuple[str, ...]:
        """Those of ``requires`` that are not installed; asks the import system without importing them."""
        return tuple(module for module in self.requires if not _installed(module))

    def ensure_available(self, owner: str, distribution: str) -> None:
        """Raise :class:`MissingDependency`, with the pip line that mends it, if a requirement is absent."""
        for module in self.missing():
            raise MissingDependency(f"{owner} ({self.name})", module, self.extra, distribution=distribution)


@dataclass(frozen=True, kw_only=True)
class ModelCard(Card):
    """A model that is found by name: an encoder for :func:`bindplug.load`, or what another tool opens.

    Args:
        modalities: what it embeds; empty for other tools.
        space: where its vectors live, or where those it takes do.
        license: of the weights, as an SPDX identifier.
        weights: where they ship, ``"package:directory/in/the/package"``; empty if they do not ship.
        url: where they can be downloaded, if they can.
        filename: the downloaded file's name; the last part of ``url`` by default.
        size_bytes: about how large the download is.
        sha256: hex digest of the file, where the publisher states one.
        loader: target of a function ``(path | None, *, modalities, device, dtype) -> Encoder`` for networks
            other than ImageBind; empty for ImageBind's.
        origin: paper or page that describes the model.
        tool: what opens it: an ``"encoder"`` is :func:`bindplug.load`'s; a ``"detector"`` or a ``"generator"`` is
            opened by the plugin for such tools, which asks :func:`bindplug.models.find_model`.
        toy: whether it was made to try things out and knows nothing of real data; commands say so.
    """

    modalities: tuple[str, ...]
    space: EmbeddingSpace
    license: str
    weights: str = ""
    url: str = ""
    filename: str = ""
    size_bytes: int | None = None
    sha256: str | None = None
    loader: str = ""
    origin: str = ""
    tool: str = "encoder"
    toy: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "modalities", tuple(Modality.parse(m).value for m in self.modalities))
        # A name with a scheme, as "transformers:ID", says where the model comes from.
        if not (self.weights or self.url or self.loader or ":" in self.name):
            raise PluginError(f"model card {self.name!r} says neither weights, url nor loader")
        if self.url and not self.filename:
            object.__setattr__(self, "filename", self.url.rsplit("/", 1)[-1])


PERMISSIVE = frozenset(
    ("0bsd", "apache-2.0", "bsd-2-clause", "bsd-3-clause", "cc-by-4.0", "cc0-1.0", "isc", "mit", "unlicense")
)
"""Licenses, in lower case, that allow commercial use without further terms than attribution."""


def allows_commercial_use(license: str) -> bool | None:
    """Whether a license allows commercial use: False for those that say NC, None for those that must be read.

    Args:
        license: an SPDX identifier, as ``"Apache-2.0"``.
    """
    name = license.strip().lower()
    if name in PERMISSIVE:
        return True
    words = name.replace("_", "-").replace(" ", "-").split("-")
    return False if "nc" in words or "noncommercial" in words else None


@dataclass(frozen=True, kw_only=True)
class ModelSourceCard(Card):
    """Where models come from whose ids start with a scheme, as ``transformers:laion/clap-htsat-unfused``.

    Args:
        name: the scheme, what stands before the first colon of an id.
        target: function ``(rest, *, modalities, device, dtype) -> Encoder``, where ``rest`` is what follows the
            scheme's colon: an id on the hub, or a directory. ``modalities`` is a tuple of names or None for all,
            ``device`` a :class:`torch.device`, ``dtype`` a :class:`torch.dtype` or None for the stored one.
        form: of its ids, for help and errors, as ``"transformers:ID or transformers:DIRECTORY"``.
        models: cards of some models it can load, each named by its id, for ``bindplug models``.
    """

    target: str
    form: str = ""
    models: tuple[ModelCard, ...] = ()

    @property
    def scheme(self) -> str:
        """What stands before the colon: the card's name."""
        return self.name

    def __post_init__(self) -> None:
        if not self.form:
            object.__setattr__(self, "form", f"{self.name}:ID")


@dataclass(frozen=True, kw_only=True)
class AdapterCard(Card):
    """A way to give an existing tool ears: what :func:`bindplug.upgrade` looks through.

    Args:
        target: function ``(original, model, *, bridge=None, **options) -> upgraded object``.
        recognises: says whether the adapter is for an object, without importing anything for the question
            (see :func:`is_instance_by_name`).
        space: the space the tool expects its vectors in; None where the object decides.
    """

    target: str
    recognises: Recognises
    space: EmbeddingSpace | None = None


@dataclass(frozen=True, kw_only=True)
class BridgeCard(Card):
    """A map from one space to another.

    Args:
        source: the space it maps from.
        destination: the space it maps to.
        target: function ``() -> bridge``.
    """

    source: EmbeddingSpace
    destination: EmbeddingSpace
    target: str


@dataclass(frozen=True, kw_only=True)
class InputCard(Card):
    """A reader for one more kind of file, used as ``bindplug.read(name, source)``.

    Args:
        modality: what it reads.
        target: function ``(source, **options) -> Query``.
    """

    modality: str
    target: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "modality", Modality.parse(self.modality).value)


@dataclass(frozen=True, kw_only=True)
class IndexCard(Card):
    """A store of searchable rows (see :class:`bindplug.indexes.VectorIndex`).

    Args:
        open: target of a function ``(path: Path) -> VectorIndex``.
        recognises: says whether what is at a path is an index of this store, without importing anything for the
            question; False where nothing is.
        create: target of a function ``(path: Path, *, model: str, space: EmbeddingSpace) -> VectorIndex`` that makes
            an empty index; empty for a store that only opens what others made.
        suffixes: of the indexes that it makes, as ``(".lance",)``.
    """

    open: str
    recognises: Callable[[Path], bool]
    create: str = ""
    suffixes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class CommandCard(Card):
    """A command of the ``bindplug`` command line.

    Args:
        target: a click command, or a function that takes the remaining arguments as a list of strings.
    """

    target: str


@dataclass(frozen=True, kw_only=True)
class EngineCard(Card):
    """Another way to do the work of ``bindplug embed``, used as ``bindplug embed --engine NAME``.

    Args:
        target: function ``(job) -> summary`` from a :class:`bindplug.cli.building.EmbedJob` to a
            :class:`bindplug.cli.building.EmbedSummary`.
        options: names that ``--engine-option NAME=VALUE`` takes.
        finds_modality: whether it takes sources that no modality was stated of, with an empty ``modality``, and finds
            out or refuses what they are.
    """

    target: str
    options: tuple[str, ...] = ()
    finds_modality: bool = False


def resolve(target: str, owner: str) -> Any:
    """The object at ``"package.module:attribute"``, imported now.

    Raises:
        PluginError: the target is malformed, or does not exist; the message names the owner.
    """
    module, _, attribute = target.partition(":")
    if not module or not attribute:
        raise PluginError(
            f"plugin {owner!r}: target {target!r} is not of the form 'package.module:attribute'"
        )
    try:
        value: Any = import_module(module)
        for part in attribute.split("."):
            value = getattr(value, part)
    except ModuleNotFoundError as error:
        if error.name and (module == error.name or module.startswith(error.name + ".")):
            raise PluginError(f"plugin {owner!r}: target {target!r} does not exist ({error})") from error
        raise
    except AttributeError as error:
        raise PluginError(f"plugin {owner!r}: target {target!r} does not exist ({error})") from error
    return value


def is_instance_by_name(value: object, qualified_name: str) -> bool:
    """Whether ``value`` is an instance of the class of that name, without importing where it is defined.

    Args:
        value: any object.
        qualified_name: ``"diffusers.DiffusionPipeline"`` matches a class of that name anywhere inside the
            package, so that a class which moves between its modules is still recognized.
    """
    package, _, name = qualified_name.rpartition(".")
    return any(
        base.__name__ == name and (base.__module__ == package or base.__module__.startswith(package + "."))
        for base in type(value).__mro__
    )


def unwrapped(value: Any) -> Any:
    """The innermost module of a parallel or compiled one; any other object itself. Imports nothing."""
    for name, attribute in WRAPPERS.items():
        if is_instance_by_name(value, name):
            return unwrapped(getattr(value, attribute))
    return value


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):  # the parent package is absent, or stands in sys.modules without a spec
        return False
