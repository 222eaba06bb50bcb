"""``bindplug index adopt``: ears for an index that another tool made."""

from __future__ import annotations

from dataclasses import replace
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
    choice: ModelChoice,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> int:
    """Make a FILE of embeddings that another tool wrote searchable by every sense.

    FILE is .parquet, .lance, .npy, .npz or .faiss. Some of the files behind its rows are embedded again with every
    model at hand (--model, --candidate and those whose weights are here) to find out which one made them, and what was
    done to them since. FILE itself is never changed.

    \b
    bindplug index adopt photos.parquet
    bindplug index adopt vectors.faiss --paths paths.txt --root ~/photos --candidate open_clip:ViT-B-32:openai
    bindplug search photos.parquet --audio bark.wav
    """
    from bindplug_search.adopt.adoption import adopt as adopt_file
    from bindplug_search.adopt.candidates import encoders_at_hand
    from bindplug_search.opening import remembered_name

    if bridge is not None and fit_bridge:
        raise click.UsageError("--bridge names one, --fit-bridge makes one; give one of them")
    device = choice.torch_device
    adoption = adopt_file(
        file,
        encoders_at_hand([choice.name, *candidates], device=device, dtype=choice.dtype),
        batch_size=choice.batch_size,
        progress=False if quiet else None,
        query_model=remembered_name(choice.name),
        write=not check,
        **options,
    )
    remarks: list[str] = []
    if adoption.record is not None:
        remarks = _bridged(adoption, adoption.record, choice, bridge, fit_bridge, quiet)
    if as_json:
        print_json(_as_json(adoption, remarks))
    else:
        _show(adoption, remarks, quiet)
    return OK if adoption.record is not None else FAILED


def _bridged(
    adoption: Adoption, record: Record, choice: ModelChoice, bridge: str | None, fit: bool, quiet: bool
) -> list[str]:
    """See to the way of the model's queries into the space of the rows; remarks on it."""
    from bindplug_search.adopt.record import write_record

    space = _space_of(choice)
    if record.space.matches(space):
        return []
    model_space = f"{choice.name} lives in another space ({space.name})"
    if bridge is not None:
        as_bridge(bridge, source=space, target=record.space, doing="the adopted rows")
        place = Path(bridge).expanduser()
        name = str(place.absolute()) if place.exists() else bridge
        remark = f"{model_space}: its queries take the bridge {bridge}"
    elif fit:
        if adoption.place is None:
            return [f"{model_space}: a bridge is fitted when the record is written"]
        name = "bridge"
        remark = _fitted(adoption, record, choice, quiet)
    else:
        if registered_bridge(space, record.space) is not None:
            return [f"{model_space}: its queries take the bridge that is registered between the two"]
        command = fit_command(space, record.space)
        return [
            f"{model_space}, and no bridge is known. Fit one here (--fit-bridge --overwrite), or: {command}"
        ]
    if adoption.place is not None and bridge is not None:
        write_record(replace(record, bridge=name), adoption.place, overwrite=True)
    return [remark]


def _fitted(adoption: Adoption, record: Record, choice: ModelChoice, quiet: bool) -> str:
    """Fit a bridge between the text towers of the two models and keep it inside of the record."""
    from bindplug.bridges import fit_bridge
    from bindplug.corpus import builtin_corpus
    from bindplug_search.adopt.record import write_record

    assert adoption.place is not None
    source = choice.load({"text"})
    target = replace(choice, name=record.encoder).load({"text"})
    fitted = fit_bridge(source, target, builtin_corpus(), batch_size=256, progress=False if quiet else None)
    write_record(replace(record, bridge="bridge"), adoption.place, overwrite=True)
    fitted.save(adoption.place / "bridge", overwrite=True)
    return f"{choice.name} lives in another space: a bridge was fitted from texts ({fitted.report})"


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
