"""``bindplug plugins``: who extends this installation, and how each fares."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from bindplug.cli.options import output_options

COLORS = {"ready": "green", "unavailable": "yellow", "broken": "red", "blocked": "dim"}


@click.command()
@output_options
def plugins(as_json: bool, quiet: bool) -> None:
    """Plugins found, what each provides, and what is wrong with those that are not ready."""
    from bindplug.plugins import list_plugins

    rows = [asdict(plugin) for plugin in list_plugins()]
    if as_json:
        from bindplug.cli.tables import print_json

        print_json(rows)
    else:
        _show(rows)


def _show(rows: list[dict[str, Any]]) -> None:
    from rich.markup import escape
    from rich.padding import Padding

    from bindplug.cli.tables import console

    out = console()
    wide = max(len(plugin["name"]) for plugin in rows)
    for plugin in rows:
        color = COLORS.get(plugin["status"], "white")
        origin = f"{plugin['distribution']} {plugin['version']}".strip()
        name, status = f"{plugin['name']:<{wide}}", f"{plugin['status']:<11}"
        out.print(f"[bold]{escape(name)}[/]  [{color}]{status}[/]  [dim]{escape(origin)}[/]")
        lines = [
            ("provides", ", ".join(plugin["provides"])),
            ("note", plugin["reason"]),
            ("mend", plugin["remedy"]),
        ]
        for label, value in lines:
            if value:
                out.print(Padding(f"[dim]{label}:[/] {escape(value)}", (0, 0, 0, 2)))
