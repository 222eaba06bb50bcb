"""One query from a command line: sources to add, sources to subtract, and their weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click

from bindplug.cli.sources import (
    ORDER,
    Source,
    Sources,
    check_option_values,
    parse_reader_options,
    source_options,
)
from bindplug.errors import NoDirection
from bindplug.modality import Modality
from bindplug.query import CANCELLED, Query

F = TypeVar("F", bound=Callable[..., Any])

MINUS = "minus_"
"""First part of the names of parameters whose sources are subtracted."""


def term_options(command: F) -> F:
    """Add ``--image FILE``, ..., ``--text SENTENCE``, ``--minus-image FILE``, ... and ``--weights W,W,...``."""
    command = click.option(
        "--weights",
        multiple=True,
        metavar="W,W,...",
        help="A weight for each source, in the order typed; 1 each by default. Repeatable.",
    )(command)
    for modality in reversed(Modality):
        metavar = "SENTENCE" if modality is Modality.TEXT else "FILE"
        minus = click.option(
            f"--minus-{modality.value}", multiple=True, metavar=metavar, help="To lead away from. Repeatable."
        )
        command = minus(command)
    return source_options(command)


def gather_terms(
    by_option: Mapping[str, Sequence[str]], weights: Sequence[str] = (), reader: Sequence[str] = ()
) -> tuple[Sources, Query]:
    """The sources that a command line names, in the order typed, and their weighted sum.

    Args:
        by_option: for each modality's name, with and without ``minus_`` before it, the values of its option.
        weights: numbers joined by commas, one for each source.
        reader: ``MODALITY.NAME=VALUE`` assignments.

    Raises:
        click.UsageError: there is no source, or another number of weights.
        InputError: a file is not there.
        OptionError: a reader option has a value that the reader does not take.
        NoDirection: the sources cancel.
    """
    options = parse_reader_options(reader)
    inputs = _in_order(by_option)
    if not inputs:
        raise click.UsageError("nothing to look for: give --image FILE, --audio FILE, --text SENTENCE, ...")
    sources = Sources([Source(name.removeprefix(MINUS), value) for name, value in inputs], options)
    sources.ensure_present()
    check_option_values(options)
    factors = parse_weights(weights, len(inputs))
    terms = [
        (-factor if name.startswith(MINUS) else factor) * query
        for (name, _), factor, query in zip(inputs, factors, sources.queries(), strict=True)
    ]
    total = Query(term for query in terms for term in query.terms)
    if not total.terms:
        raise NoDirection(f"the sources named: {CANCELLED}")
    return sources, total


def _in_order(by_option: Mapping[str, Sequence[str]]) -> list[tuple[str, str]]:
    """Pairs of parameter and value as typed; by modality where the command keeps no order."""
    names = [f"{prefix}{modality.value}" for prefix in ("", MINUS) for modality in Modality]
    values = {name: list(by_option.get(name) or ()) for name in names}
    context = click.get_current_context(silent=True)
    order = (context.meta.get(ORDER) if context else None) or []
    pairs = [(name, values[name].pop(0)) for name in order if values.get(name)]
    return pairs + [(name, value) for name, rest in values.items() for value in rest]


def parse_weights(weights: Sequence[str], count: int) -> list[float]:
    """The numbers of ``--weights``, one for each of ``count`` sources; 1 each where none are given."""
    if not weights:
        return [1.0] * count
    try:
        factors = [float(part) for value in weights for part in value.split(",")]
    except ValueError:
        raise click.BadParameter(
            f"{','.join(weights)!r} is no list of numbers, as 1,0.7", param_hint="--weights"
        ) from None
    if len(factors) != count:
        raise click.BadParameter(
            f"{len(factors)} weights for {count} sources; give one for each", param_hint="--weights"
        )
    return factors
