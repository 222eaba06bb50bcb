"""``bindplug index``: a group whose commands are imported when they are used."""

from __future__ import annotations

import click

from bindplug.cards import resolve
from bindplug.cli.building import SuggestingGroup

SUBCOMMANDS = {
    "add": ("bindplug_search.command_add:add", "Bring files of every kind into an index."),
    "update": ("bindplug_search.command_update:update", "Notice changed, new and removed files."),
    "remove": ("bindplug_search.command_remove:remove", "Take files out of an index."),
    "optimize": (
        "bindplug_search.command_update:optimize",
        "Build the approximate search of a large index anew, and measure it.",
    ),
    "export": ("bindplug_search.command_export:export", "Write the rows to Parquet, NPZ or FAISS."),
    "adopt": (
        "bindplug_search.command_adopt:adopt",
        "Make embeddings that another tool wrote searchable by every sense.",
    ),
    "info": (
        "bindplug_search.command_info:info",
        "What an index holds: rows by kind, model, space, recall.",
    ),
}
"""Commands of the group: where they are and what they do, so that listing them imports none."""


class IndexGroup(SuggestingGroup):
    """A group that imports a command when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(SUBCOMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in SUBCOMMANDS:
            return None
        command: click.Command = resolve(SUBCOMMANDS[cmd_name][0], "search")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in SUBCOMMANDS.items()])


@click.group(cls=IndexGroup)
def index() -> None:
    """Keep an index of your files, to be searched by every sense."""
