"""``bindplug index adopt``: ears for an index that another tool made."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bindplug.bridges import as_bridge, fit_command, registered_bridge
from bindplug.cli.building import (
    FAILED,
    OK,
    ModelChoice,
    console,
    model_options,
    output_options,
    print_json,
    say,
)
from bindplug.modality import Modality

if TYPE_CHECKING:
    from bindplug.bridges import Bridge
    from bindplug.space import EmbeddingSpace
    from bindplug_search.adopt.adoption import Adoption
    from bindplug_search.adopt.record import Record
    from bindplug_search.adopt.trials import Trial


@click.command()
@click.argument("file")
@click.option("--rows", metavar="COLUMN", help="What holds the vectors, where several columns could.")
@click.option(
    "--paths", metavar="COLUMN|FILE", help="What holds the paths: a column, or a file with one path a line."
)
@click.option(
    "--kinds", metavar="COLUMN", help="The column that holds modalities; modality or kind by default."
)
@click.option("--table", metavar="NAME", help="The table, where a Lance directory holds several.")
@click.option("--root", metavar="DIR", help="Where relative paths begin; here or beside FILE by default.")
@click.option(
    "--modality",
    type=click.Choice([m.value for m in Modality]),
    default="image",
    show_default=True,
    help="What the rows were made from, where FILE does not say.",
)
@click.option(
    "--candidate", "candidates", multiple=True, metavar="MODEL", help="Another model to try. Repeatable."
)
@click.option(
    "--items", type=click.IntRange(min=4), default=50, show_default=True, help="Files to embed again."
)
@click.option("--bridge", metavar="BRIDGE", help="A bridge from the model's space to that of the rows.")
@click.option("--fit-bridge", is_flag=True, help="Fit that bridge, from texts, and keep it with the record.")
@click.option("--accept-near", is_flag=True, help="Also adopt rows that are near a model's and not its own.")
@click.option("--check", is_flag=True, help="Tell what the rows are and write nothing.")
@click.option("--output", "-o", metavar="DIR", help="Where the record goes; FILE.bindplug by default.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier record.")
@model_options
@output_options
def adopt(
    file: str,
    candidates: tuple[str, ...],
    bridge: str | None,
    fit_bridge: bool,
    check: bool,
    output: str | None,
    overwrite: bool,
    choice: ModelChoice,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> int:
    """Make a FILE of embeddings that another tool wrote searchable by every sense.

    FILE is .parquet, .lance, .npy, .npz or .faiss, a directory of Parquet files, or what clip-retrieval wrote. Some of
    the files behind its rows are embedded again with every model at hand (--model, --candidate and those whose weights
    are here) to find out which one made them, and what was done to them since. FILE itself is never changed.

    \b
    bindplug index adopt photos.parquet
    bindplug index adopt vectors.faiss --paths paths.txt --root ~/photos --candidate open_clip:ViT-B-32:openai
    bindplug search photos.parquet --audio bark.wav
    """
    from bindplug_search.adopt.adoption import adopt as adopt_file
    from bindplug_search.adopt.adoption import place_of
    from bindplug_search.adopt.candidates import encoders_at_hand
    from bindplug_search.adopt.record import write_record
    from bindplug_search.opening import remembered_name

    if bridge is not None and fit_bridge:
        raise click.UsageError("--bridge names one, --fit-bridge makes one; give one of them")
    place = place_of(file, output, overwrite=overwrite or check)
    device = choice.torch_device
    space = _space_of(choice)
    adoption = adopt_file(
        file,
        encoders_at_hand([choice.name, *candidates], device=device, dtype=choice.dtype),
        batch_size=choice.batch_size,
        progress=False if quiet else None,
        query_model=remembered_name(choice.name),
        output=output,
        write=False,
        **options,
    )
    remarks: list[str] = []
    record = adoption.record
    if record is not None:
        way = _way(record, choice, space, bridge, fit_bridge and not check, quiet)
        remarks = way.remarks
        if not check:
            write_record(replace(record, bridge=way.bridge), place, overwrite=overwrite)
            if way.fitted is not None:
                way.fitted.save(place / way.bridge)
            adoption = replace(adoption, place=place)
    if as_json:
        print_json(_as_json(adoption, remarks))
    else:
        _show(adoption, remarks, quiet)
    return OK if record is not None else FAILED


@dataclass(frozen=True)
class _Way:
    """How queries of a model come into the space of the rows.

    Attributes:
        remarks: on it.
        bridge: as the record keeps it; empty for none.
        fitted: a bridge that is to be kept with the record.
    """

    remarks: list[str] = field(default_factory=list)
    bridge: str = ""
    fitted: Bridge | None = None


def _way(
    record: Record, choice: ModelChoice, space: EmbeddingSpace, bridge: str | None, fit: bool, quiet: bool
) -> _Way:
    if record.space.matches(space):
        return _Way()
    elsewhere = f"{choice.name} lives in another space ({space.name})"
    if bridge is not None:
        as_bridge(bridge, source=space, target=record.space, doing="the adopted rows")
        place = Path(bridge).expanduser()
        name = str(place.absolute()) if place.exists() else bridge
        return _Way([f"{elsewhere}: its queries take the bridge {bridge}"], name)
    if fit:
        fitted = _fitted(record, choice, quiet)
        return _Way([f"{elsewhere}: a bridge was fitted from texts ({fitted.report})"], "bridge", fitted)
    if registered_bridge(space, record.space) is not None:
        return _Way([f"{elsewhere}: its queries take the bridge that is registered between the two"])
    command = fit_command(space, record.space)
    return _Way(
        [f"{elsewhere}, and no bridge is known. Fit one here (--fit-bridge --overwrite), or: {command}"]
    )


def _fitted(record: Record, choice: ModelChoice, quiet: bool) -> Bridge:
    """A bridge between the text towers of the two models."""
    from bindplug.bridges import fit_bridge
    from bindplug.corpus import builtin_corpus

    source = choice.load({"text"})
    target = replace(choice, name=record.encoder).load({"text"})
    return fit_bridge(source, target, builtin_corpus(), batch_size=256, progress=False if quiet else None)


def _space_of(choice: ModelChoice) -> EmbeddingSpace:
    from bindplug.models import list_models

    cards = {card.name: card.space for card in list_models()}
    return cards[choice.name] if choice.name in cards else choice.load().embedding_space


def _as_json(adoption: Adoption, remarks: list[str]) -> dict[str, Any]:
    from bindplug_search.adopt.adoption import figures_of

    identification, record = adoption.identification, adoption.record
    return {
        "verdict": identification.verdict,
        "adopted": adoption.place is not None,
        "record": None if adoption.place is None else str(adoption.place),
        "reason": identification.reason,
        "remarks": [*identification.remarks, *remarks],
        "model": None if record is None else record.encoder,
        "space": None if record is None else {"name": record.space.name, "width": record.space.width},
        "stored_as": None if record is None else record.number_format.to_dict(),
        "transform": None if record is None else record.transform.kind,
        "kinds": {} if record is None else dict(record.kinds),
        "items": identification.items,
        "tried": [
            {"model": trial.encoder, **figures_of(identification, trial)} for trial in identification.trials
        ],
        "passed_over": list(identification.passed_over),
    }


def _show(adoption: Adoption, remarks: list[str], quiet: bool) -> None:
    identification = adoption.identification
    if not quiet:
        _show_trials(identification.trials)
        for line in identification.passed_over:
            click.echo(f"not tried: {line}", err=True)
    if adoption.record is None:
        say(f"error: {identification.reason}{_remedy(identification.verdict)}")
        for line in identification.remarks:
            say(line)
        return
    click.echo(identification.reason)
    for line in (*identification.remarks, *remarks):
        click.echo(f"- {line}")
    if adoption.place is not None and not quiet:
        click.echo(f"written: {adoption.place}", err=True)


def _show_trials(trials: Any) -> None:
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("model", "stored as", "changed", "agree", "nearest", "cosine", "accepted", "others"):
        table.add_column(name)
    for trial in trials:
        table.add_row(*_cells(trial))
    if trials:
        console().print(table)


def _cells(trial: Trial) -> tuple[str, ...]:
    figures = trial.agreement
    return (
        trial.encoder,
        str(trial.number_format),
        trial.transform.kind,
        f"{figures.count}/{figures.items}",
        f"{figures.nearest}/{figures.items}",
        f"{figures.median:.4f}",
        f"{figures.accepted:.4f}",
        f"{figures.chance:.2f}",
    )


def _remedy(verdict: str) -> str:
    remedies = {
        "near": ". If that is near enough: --accept-near",
        "out of step": ". Give the paths in the order of the rows: --paths FILE",
        "not identified": ". Name further models: --candidate transformers:ID, open_clip:NAME:TAG or a path",
        "too alike": ". Sample more files: --items 500",
        "mixed": ". Split the file by model, or embed it anew: bindplug index add",
        "partly": ". Embed the files that changed anew with the tool that made the rows",
    }
    return remedies.get(verdict, "")
