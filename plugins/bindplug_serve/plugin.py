"""The registration of bindplug_serve: the command ``bindplug serve``."""

from __future__ import annotations

from collections.abc import Callable

from bindplug.cards import CommandCard
from bindplug.hookspecs import hookimpl


@hookimpl
def register_commands(register: Callable[[CommandCard], None]) -> None:
    """``bindplug serve``."""
    register(
        CommandCard(
            name="serve",
            description="Serve a model over HTTP and MCP: embeddings, search, classes, detections.",
            target="bindplug_serve.command:serve",
            requires=("click", "fastapi", "httptools", "mcp", "prometheus_client", "uvicorn"),
            extra="serve",
        )
    )
