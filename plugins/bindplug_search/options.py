"""Options that several commands of an index have."""

from __future__ import annotations

import click

where_option = click.option(
    "--where",
    multiple=True,
    metavar="KEY=VALUE",
    help="Only files whose metadata meets this; != < <= > >= work too. Repeatable.",
)
