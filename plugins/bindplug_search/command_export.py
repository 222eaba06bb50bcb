"""``bindplug index export``."""

from __future__ import annotations

from pathlib import Path

import click

from bindplug.cli.building import output_options, print_json, say
from bindplug.errors import InputError


@click.command()
@click.argument("index")
@click.option("--output", "-o", required=True, metavar="FILE", help="FILE.parquet, FILE.npz or FILE.faiss.")
@click.option("--overwrite", is_flag=True, help="Replace the output if it exists.")
@output_options
def export(index: str, output: str, overwrite: bool, as_json: bool, quiet: bool) -> None:
    """Write the rows of an INDEX to a file for other tools.

    Parquet and NPZ are as `bindplug embed` writes them, with a column for each metadata key. Beside FILE.faiss, which
    has the vectors alone, FILE.faiss.jsonl says what each stands for.
    """
    from bindplug_search.opening import open_index

    if Path(output).exists() and not overwrite:
        raise InputError(
            output, found="a file", expected="a new place", remedy="Say --overwrite to replace it"
        )
    count = open_index(index).export(output)
    if as_json:
        print_json({"output": output, "rows": count})
    elif not quiet:
        say(f"{output}: {count} rows")
