"""The registration of bindplug_app: the command ``bindplug app``."""

from __future__ import annotations

from collections.abc import Callable

from bindplug.cards import CommandCard
from bindplug.hookspecs import hookimpl


@hookimpl
def register_commands(register: Callable[[CommandCard], None]) -> None:
    """``bindplug app``."""
    register(
        CommandCard(
            name="app",
            description="Open a page that searches your files by sound, picture, depth, heat, motion and words.",
            target="bindplug_app.command:app",
            requires=("click", "gradio", "lancedb"),
            extra="app",
        )
    )
