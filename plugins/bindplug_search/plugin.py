"""The registrations of bindplug_search: its commands, and the engine ``ray`` of ``bindplug embed``.

Imports neither LanceDB, Ray nor pyarrow, so that they can be listed where those are not installed.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bindplug.cards import CommandCard, EngineCard, IndexCard
from bindplug.hookspecs import hookimpl
from bindplug_search.adopt.recognition import is_adopted


@hookimpl
def register_commands(register: Callable[[CommandCard], None]) -> None:
    """``bindplug index`` and ``bindplug search``."""
    register(
        CommandCard(
            name="index",
            description="Keep an index of your files, to be searched by every sense.",
            target="bindplug_search.commands:index",
            requires=("click", "rich", "pyarrow"),
            extra="index",
        )
    )
    register(
        CommandCard(
            name="search",
            description="Find files of an index by sounds, pictures, depth, heat, motion and words.",
            target="bindplug_search.command_search:search",
            requires=("click", "rich", "pyarrow"),
            extra="index",
        )
    )


def recognises(path: Path) -> bool:
    """Whether there is an index of ours at a path."""
    return (path / "bindplug.json").is_file()


@hookimpl
def register_indexes(register: Callable[[IndexCard], None]) -> None:
    """Indexes in a LanceDB table, and files of other tools that were adopted."""
    register(
        IndexCard(
            name="lance",
            description="a LanceDB table in a directory",
            open="bindplug_search.creation:open_store",
            create="bindplug_search.creation:create_store",
            recognises=recognises,
            suffixes=(".lance",),
            requires=("lancedb", "pyarrow"),
            extra="index",
        )
    )
    register(
        IndexCard(
            name="adopted",
            description="embeddings that another tool wrote, searched where they lie",
            open="bindplug_search.adopt:open_adopted",
            recognises=is_adopted,
        )
    )


@hookimpl
def register_engines(register: Callable[[EngineCard], None]) -> None:
    """``bindplug embed --engine ray``."""
    register(
        EngineCard(
            name="ray",
            description="Ray Data: many processes of this machine, or a cluster.",
            target="bindplug_search.engine.run:run",
            requires=("ray",),
            extra="ray",
            options=("actors", "cpus", "gpus", "column", "id"),
            finds_modality=True,
        )
    )
