"""``bindplug index info``."""

from __future__ import annotations

from dataclasses import asdict

import click

from bindplug.cli.building import console, output_options, print_json
from bindplug.indexes import IndexInfo, open_vector_index


@click.command()
@click.argument("index")
@output_options
def info(index: str, as_json: bool, quiet: bool) -> None:
    """What an INDEX holds: rows by kind, the model and space, and the recall of an approximate search."""
    facts = open_vector_index(index).info()
    if as_json:
        print_json({**asdict(facts), "kinds": dict(facts.kinds), "details": dict(facts.details)})
    else:
        _show(facts)


def _show(facts: IndexInfo) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    rows = [
        ("index", f"{facts.path} ({facts.store})"),
        ("rows", f"{facts.rows:,}"),
        *((f"  {kind}", f"{count:,}") for kind, count in facts.kinds.items()),
        ("model", facts.model or "not known"),
        ("space", str(facts.space).removeprefix("the space ")),
        *((name.replace("_", " "), _as_text(value)) for name, value in facts.details.items()),
    ]
    for name, value in rows:
        table.add_row(Text(name, style="dim"), Text(value))
    console().print(table)


def _as_text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name.replace('_', ' ')} {_as_text(item)}" for name, item in value.items())
    if isinstance(value, list):
        return ", ".join(map(_as_text, value)) or "none"
    return str(value)
