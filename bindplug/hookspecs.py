"""The plugin contract. A plugin implements any of these nine hooks with ``@bindplug.hookimpl``.

Every hook is handed ``register`` and calls it once for each card. The host owns names and their collisions.
``docs/writing_a_plugin.md`` walks through a whole plugin.
"""

from __future__ import annotations

from collections.abc import Callable

import pluggy

from bindplug.cards import (
    AdapterCard,
    BridgeCard,
    CommandCard,
    EngineCard,
    IndexCard,
    InputCard,
    ModelCard,
    ModelSourceCard,
)
from bindplug.space import EmbeddingSpace

__all__ = [
    "hookimpl",
    "register_adapters",
    "register_bridges",
    "register_commands",
    "register_engines",
    "register_indexes",
    "register_inputs",
    "register_model_sources",
    "register_models",
    "register_spaces",
]

GROUP = "bindplug"
"""Name of the entry-point group, and of the hooks' project."""

hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)


@hookspec
def register_models(register: Callable[[ModelCard], None]) -> None:
    """Encoders that ``bindplug.load(name)`` loads.

    register(ModelCard(name="my_encoder", modalities=("image", "text"), space=SPACE, license="MIT",
                       weights="my_package:weights/my_encoder"))
    """


@hookspec
def register_model_sources(register: Callable[[ModelSourceCard], None]) -> None:
    """Encoders of other libraries that ``bindplug.load("scheme:id")`` loads.

    register(ModelSourceCard(name="my_library", target="my_package.source:load", requires=("my_library",),
                             form="my_library:ID or my_library:DIRECTORY"))
    """


@hookspec
def register_adapters(register: Callable[[AdapterCard], None]) -> None:
    """Tools that ``bindplug.upgrade(tool, model)`` wraps.

    register(AdapterCard(name="my_detector", target="my_package.adapter:upgrade", requires=("detector",),
                         extra="detector", recognises=lambda o: is_instance_by_name(o, "detector.Detector")))
    """


@hookspec
def register_spaces(register: Callable[[EmbeddingSpace], None]) -> None:
    """Embedding spaces that tools or models of the plugin use, so that they can be named.

    register(EmbeddingSpace("open_clip:ViT-B-32:laion2b_s34b_b79k", 512))
    """


@hookspec
def register_bridges(register: Callable[[BridgeCard], None]) -> None:
    """Maps from one embedding space to another.

    register(BridgeCard(name="imagebind-to-b32", source=IMAGEBIND_SPACE, destination=B32,
                        target="my_package.bridge:load"))
    """


@hookspec
def register_inputs(register: Callable[[InputCard], None]) -> None:
    """Readers for more kinds of files, used as ``bindplug.read(name, source)``.

    register(InputCard(name="my_depth_format", modality="depth", target="my_package.reader:read"))
    """


@hookspec
def register_commands(register: Callable[[CommandCard], None]) -> None:
    """Commands of the ``bindplug`` command line.

    register(CommandCard(name="my-command", description="what it does", target="my_package.cli:main"))
    """


@hookspec
def register_indexes(register: Callable[[IndexCard], None]) -> None:
    """Stores of searchable rows, opened by :func:`bindplug.indexes.open_vector_index`.

    register(IndexCard(name="my_store", open="my_package.store:open", create="my_package.store:create",
                       suffixes=(".mystore",), recognises=lambda path: (path / "my_store.json").is_file()))
    """


@hookspec
def register_engines(register: Callable[[EngineCard], None]) -> None:
    """Other ways to do the work of ``bindplug embed``, as on many machines.

    register(EngineCard(name="my-cluster", target="my_package.engine:run", requires=("dask",), extra="cluster"))
    """
