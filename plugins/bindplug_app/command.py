"""``bindplug app``: a page in the browser."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bindplug.cli.building import (
    OK,
    ModelChoice,
    model_options,
    output_options,
    print_json,
    say,
    split_names,
)
from bindplug.errors import InputError

if TYPE_CHECKING:
    from bindplug.encoder import Encoder
    from bindplug_app.finder import Finder

PORT = 7860
TOY_DETECTOR, TOY_PIPELINE = "toy_detic", "toy_unclip"


@click.command()
@click.argument("index", required=False)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help=f"{PORT} by default, or the next that is free; 0 takes a free one.",
)
@click.option(
    "--share", is_flag=True, help="Also give it a public address for three days, by Gradio's servers."
)
@click.option("--open", "open_page", is_flag=True, help="Show the page in the browser.")
@click.option(
    "--detector",
    metavar="NAME",
    help="Finds things in pictures: a detector's name, or path to Detic's weights.",
)
@click.option(
    "--pipeline",
    metavar="PATH_OR_ID",
    help="Paints: a diffusers pipeline's name, directory, or id of the hub.",
)
@click.option(
    "--index-bridge",
    metavar="NAME|DIR",
    help="A bridge from the model's space to the index's, by name or path.",
)
@click.option(
    "--bridge", metavar="NAME|DIR", help="A bridge from the model's space to the detector's, by name or path."
)
@click.option(
    "--modalities",
    "--modality",
    "modalities",
    multiple=True,
    metavar="A,B,...",
    help="Load the towers of these only, joined by commas; all by default. Repeatable.",
)
@model_options
@output_options
def app(
    index: str | None,
    host: str,
    port: int | None,
    share: bool,
    open_page: bool,
    detector: str | None,
    pipeline: str | None,
    index_bridge: str | None,
    bridge: str | None,
    modalities: tuple[str, ...],
    choice: ModelChoice,
    as_json: bool,
    quiet: bool,
) -> int:
    """Open a page that searches an INDEX by sound, picture, depth, heat, motion and words.

    Without an INDEX it shows the toy world: some two hundred small files of every kind, which are made on first use.
    Prints the address of the page; nothing leaves this machine. Queries are made with the index's own model unless
    --model names another. With the toy model a toy detector and a toy painter are there too.

    \b
    bindplug app
    bindplug app library.lance --open
    """
    from bindplug_app.server import free_port, interruptible, leave, run, temporary_files

    number = free_port(host, PORT if port is None else port, next_free=port is None)
    if port is None and number != PORT and not quiet:
        say(f"port {PORT} is taken; the page is at {number}")
    with interruptible(), temporary_files():
        finder = _finder(index, choice, modalities, detector, pipeline, index_bridge, bridge, quiet)
        from bindplug_app.page import create_page
        from bindplug_serve import LOOPBACK_NAMES

        is_local = host in LOOPBACK_NAMES and not share
        if not is_local:
            say("warning: everyone who reaches the page may search the index and play its files")
        page = create_page(finder, show_paths=is_local, hosts=LOOPBACK_NAMES if is_local else ())

        def announce(address: str, public: str | None) -> None:
            if as_json:
                print_json({"url": address, "public_url": public, "index": index, "rows": finder.info().rows})
            else:
                click.echo(address + (f"  {public}" if public else ""))
                if not quiet:
                    say("end with Ctrl+C")
            sys.stdout.flush()
            if open_page:
                click.launch(address)

        run(page, host, number, share=share, announce=announce)
    leave()
    return OK


def _finder(
    path: str | None,
    choice: ModelChoice,
    modalities: tuple[str, ...],
    detector: str | None,
    pipeline: str | None,
    index_bridge: str | None,
    bridge: str | None,
    quiet: bool,
) -> Finder:
    """The index and the model, after what can be checked before a model is loaded has been."""
    from bindplug import Modality
    from bindplug_app.finder import Finder
    from bindplug_search import open_index

    names = {Modality.parse(name).value for name in split_names(modalities)} or None
    if path is not None:
        choice = replace(choice, name=_model_of(path, choice))
    model = choice.load(names)
    place = _toy_index(model, choice.name, quiet) if path is None else Path(path)
    is_toy = _is_toy(choice.name)
    return Finder(
        open_index(place, model=model, bridge=index_bridge),
        model,
        detector=detector or (TOY_DETECTOR if is_toy else None),
        pipeline=pipeline or (TOY_PIPELINE if is_toy else None),
        bridge=bridge,
    )


def _model_of(path: str, choice: ModelChoice) -> str:
    """Name of the model that queries of an index are made with: what ``--model`` names, or else its own.

    Raises:
        InputError: there is no index at the path, it is damaged, or it does not say which model made it.
    """
    from bindplug.indexes import open_vector_index
    from bindplug_search import query_model

    context = click.get_current_context()
    is_typed = context.get_parameter_source("model") is click.core.ParameterSource.COMMANDLINE
    name = query_model(open_vector_index(path))
    if name or is_typed:
        return choice.name if is_typed else name
    raise InputError(
        path, found="rows of a model that is not known", expected="a model", remedy="Say which: --model NAME"
    )


def _toy_index(model: Encoder, name: str, quiet: bool) -> Path:
    from bindplug_app.library import toy_library

    if not _is_toy(name):
        raise InputError(
            f"--model {name}",
            found="no index to search with it",
            expected="an index, as bindplug app library.lance",
            remedy="Make one: bindplug index add library.lance FOLDER --image '*.jpg' --model " + name,
        )
    return toy_library(model, name=name, quiet=quiet)


def _is_toy(name: str) -> bool:
    from bindplug.models import list_models
    from bindplug_toyworld import TOY_SPACE

    return any(card.name == name and card.space == TOY_SPACE for card in list_models())
