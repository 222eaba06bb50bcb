"""The registrations of bindplug_search: the commands ``bindplug index`` and ``bindplug search``.

Imports neither LanceDB nor pyarrow, so that they can be listed where those are not installed.
"""

from __future__ import annotations

from collections.abc import Callable

from bindplug.cards import CommandCard
from bindplug.hookspecs import hookimpl


@hookimpl
def register_commands(register: Callable[[CommandCard], None]) -> None:
    """``bindplug index`` and ``bindplug search``."""
    register(
        CommandCard(
            name="index",
            description="Keep an index of your files, to be searched by every sense.",
            target="bindplug_search.commands:index",
            requires=("click", "rich"),
            extra="index",
        )
    )
