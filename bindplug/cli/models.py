"""``bindplug models``: what can be loaded by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from bindplug.cards import ModelCard, allows_commercial_use
from bindplug.cli.options import output_options
from bindplug.errors import BindplugError

COMMERCIAL = {
    True: ", commercial use allowed",
    False: ", no commercial use",
    None: ", read it before commercial use",
}


@click.command()
@click.option("--commercial", is_flag=True, help="Only models whose weights' license allows commercial use.")
@output_options
def models(commercial: bool, as_json: bool, quiet: bool) -> None:
    """Models that are known by name, their licenses, and where their weights are.

    Models of other libraries are loaded by any id, as transformers:OWNER/NAME; some are listed. Nothing is loaded or
    downloaded.
    """
    from bindplug.models import list_models
    from bindplug.plugins import registry

    sources = [entry.card for entry in registry().model_sources.values()]
    every = [*list_models(tool=None), *(card for source in sources for card in source.models)]
    cards = [describe_card(card) for card in every]
    if commercial:
        noncommercial = [card for card in cards if card["commercial"] is not True]
        cards = [card for card in cards if card["commercial"] is True]
        if noncommercial and not quiet:
            names = ", ".join(
                f"{card['name']} ({card['license'] or 'unknown license'})" for card in noncommercial
            )
            click.echo(f"bindplug: left out {names}", err=True)
    if as_json:
        from bindplug.cli.tables import print_json

        print_json(cards)
    else:
        _show(cards)


def describe_card(card: ModelCard) -> dict[str, Any]:
    """A card and the whereabouts of its weights, as plain values.

    ``weights`` is a path or None; ``wanted_at`` is where downloaded or placed ones would be found first.
    """
    from bindplug.hub import find_weights, home

    problem = ""
    weights = None
    try:
        weights = find_weights(card) if card.weights or card.url else None
    except BindplugError as error:
        problem = str(error)
    return {
        "name": card.name,
        "tool": card.tool,
        "toy": card.toy,
        "description": card.description,
        "modalities": list(card.modalities),
        "space": {"name": card.space.name, "width": card.space.width},
        "license": card.license,
        "commercial": allows_commercial_use(card.license),
        "weights": str(weights) if weights else None,
        "wanted_at": str(home() / card.filename) if card.filename else None,
        "problem": problem,
        "url": card.url or None,
        "size_bytes": card.size_bytes,
        "origin": card.origin or None,
        "missing": list(card.missing()),
    }


def _whereabouts(model: dict[str, Any]) -> str:
    if model["problem"]:
        return f"[red]{_escaped(model['problem'])}[/]"
    if model["weights"]:
        return f"[green]found[/] {_escaped(_shortened(model['weights']))}"
    if model["url"]:
        size = f" ({model['size_bytes'] / 1e9:.1f} GB)" if model["size_bytes"] else ""
        return f"[yellow]to download[/]{size}, or place at {_escaped(_shortened(model['wanted_at']))}"
    if ":" in model["name"]:
        return "fetched from the hub when first used; its card has the license in full"
    return "made by its plugin"


def _show(cards: list[dict[str, Any]]) -> None:
    from rich.padding import Padding

    from bindplug.cli.tables import console

    out = console()
    for model in cards:
        out.print(f"[bold]{_escaped(model['name'])}[/]  {_escaped(model['description'])}")
        lines = [
            ("tool", model["tool"])
            if model["tool"] != "encoder"
            else ("modalities", " ".join(model["modalities"])),
            ("space", f"{_escaped(model['space']['name'])}, {model['space']['width']}-d"),
            ("license of the weights", _escaped(model["license"]) + COMMERCIAL[model["commercial"]]),
            ("weights", _whereabouts(model)),
        ]
        for name, value in lines:
            out.print(Padding(f"[dim]{name}:[/] {value}", (0, 0, 0, 2)))


def _shortened(path: str) -> str:
    home = str(Path.home())
    return f"~{path[len(home) :]}" if path.startswith(home + "/") else path


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)
