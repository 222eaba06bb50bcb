"""``bindplug score``: how well generated files fit their prompts."""

from __future__ import annotations

import csv
import io
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bindplug.cli.building import (
    ModelChoice,
    SourceCommand,
    check_reader_options,
    ensure_new,
    gather,
    model_options,
    output_options,
    overwrite_option,
    reader_options,
    report_notes,
    report_skipped,
    say,
)
from bindplug.errors import InputError
from bindplug.modality import Modality

if TYPE_CHECKING:
    from bindplug_lab.scoring.pairs import Pairs
    from bindplug_lab.scoring.score import PairScores

NAMES = tuple(modality.value for modality in Modality)
PLURALS = {
    "image": "pictures",
    "video": "videos",
    "audio": "sounds",
    "depth": "depth maps",
    "thermal": "thermal pictures",
    "imu": "motion logs",
}
MEANING = (
    "The score is the mean cosine between the rows of both sides. It is low between modalities even for good pairs: "
    "what counts is how far it is above that of mismatched pairs."
)


def place_options(command: Any) -> Any:
    """Add an option for every modality, each a folder or a file."""
    for name in reversed(NAMES):
        help_text = (
            f"A folder of {PLURALS[name]}, or a file."
            if name != "text"
            else "A folder of .txt files, or a file with name<TAB>sentence on each line."
        )
        command = click.option(f"--{name}", multiple=True, metavar="PATH", help=help_text)(command)
    return command


@click.command(cls=SourceCommand)
@place_options
@click.option("--output", "-o", metavar="FILE.csv", help="A table with the score of each pair.")
@click.option("--allow-unpaired", is_flag=True, help="Leave out names that one side alone has.")
@click.option(
    "--strict", is_flag=True, help="Stop at the first file that cannot be read instead of leaving it out."
)
@click.option(
    "--level", type=click.FloatRange(0.5, 0.999), default=0.95, show_default=True, help="Of the interval."
)
@click.option("--cache", metavar="DIR", help="Keep embeddings there; none are kept by default.")
@click.option("--workers", type=click.IntRange(min=0), metavar="N", help="Threads that read files.")
@overwrite_option
@reader_options
@model_options
@output_options
def score(
    output: str | None,
    allow_unpaired: bool,
    strict: bool,
    level: float,
    cache: str | None,
    workers: int | None,
    overwrite: bool,
    reader: tuple[str, ...],
    choice: ModelChoice,
    as_json: bool,
    quiet: bool,
    **by_option: tuple[str, ...],
) -> int:
    """Score generated files against prompts of another modality, pair by pair.

    Name two folders by their modality; files pair up by their names without suffix. The score is the mean cosine,
    which papers on generation report as the ImageBind score.

    \b
    bindplug score --audio generated/ --image prompts/ --model imagebind_huge
    """
    sources = gather(by_option, reader=reader, as_typed=True)
    sides, options = [(source.modality, source.value) for source in sources.items], sources.options
    if len(sides) != 2:
        raise click.UsageError(
            f"give two places by their modality, as --audio generated/ --image prompts/; {len(sides)} are given"
        )
    if output is not None:
        if Path(output).suffix.lower() != ".csv":
            raise click.UsageError(f"--output {output}: give a name that ends in .csv")
        sources.ensure_not_replaced([Path(output)])
        ensure_new([Path(output)], overwrite)
    from bindplug_lab.evaluation.cache import RowCache
    from bindplug_lab.evaluation.embedding import Embedder
    from bindplug_lab.scoring.pairs import find_pairs
    from bindplug_lab.scoring.score import score_pairs

    pairs = find_pairs(sides[0], sides[1], options, allow_unpaired=allow_unpaired)
    model = choice.load({modality for modality, _ in sides})
    check_reader_options(model, options)
    rows = None if cache is None else RowCache(cache)
    with nullcontext() if rows is None else rows:
        embedder = Embedder(
            model, choice.name, rows, batch_size=choice.batch_size, workers=workers, quiet=quiet or None
        )
        scores = score_pairs(pairs, embedder, level=level, strict=strict)
    if output is not None:
        _write(Path(output), pairs, scores, sides)
    _print(pairs, scores, sides, choice.name, as_json)
    if not quiet:
        report_notes(scores.notes)
        if pairs.unpaired:
            say(f"{len(pairs.unpaired)} names without a partner left out")
        if output is not None:
            say(f"written: {output}")
    return report_skipped([{**item, "source": item["item"]} for item in scores.skipped])


def _write(path: Path, pairs: Pairs, scores: PairScores, sides: list[tuple[str, str]]) -> None:
    from bindplug_lab.output import write_whole

    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    headers = [f"{side}_{modality}" for side, (modality, _) in zip(("first", "second"), sides, strict=True)]
    writer.writerow(["name", *headers, "score"])
    for record in _records(pairs, scores):
        writer.writerow([record["name"], record["first"], record["second"], f"{record['score']:.6f}"])
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, buffer.getvalue().encode("utf-8", "surrogateescape"))
    except OSError as error:
        raise InputError(
            str(path),
            found=error.strerror or str(error),
            expected="a place that can be written, with space left",
        ) from None


def _records(pairs: Pairs, scores: PairScores) -> list[dict[str, Any]]:
    places = {name: place for place, name in enumerate(pairs.names)}
    return [
        {
            "name": name,
            "first": pairs.first_sources[places[name]],
            "second": pairs.second_sources[places[name]],
            "score": round(float(value), 6),
        }
        for name, value in zip(scores.names, scores.values, strict=True)
    ]


def _print(pairs: Pairs, scores: PairScores, sides: list[tuple[str, str]], model: str, as_json: bool) -> None:
    if as_json:
        from bindplug.cli.building import print_json

        print_json(
            {
                "model": model,
                "modalities": [modality for modality, _ in sides],
                "score": scores.mean.as_dict(),
                "mismatched": scores.mismatched,
                "first_place": scores.first_place,
                "pairs": _records(pairs, scores),
                "unpaired": list(pairs.unpaired),
                "skipped": scores.skipped,
                "notes": scores.notes,
            }
        )
        return
    from rich.table import Table
    from rich.text import Text

    from bindplug.cli.building import console

    noun = "pair" if len(scores.names) == 1 else "pairs"
    title = f"ImageBind score of {len(scores.names)} {noun}, {sides[0][0]} and {sides[1][0]}"
    table = Table(title=title, title_justify="left", title_style="bold", box=None, show_header=False)
    table.add_row("score, the mean cosine", scores.mean.text(1.0, 4))
    if scores.mismatched is not None and scores.first_place is not None:
        count = len(scores.names)
        table.add_row("mismatched pairs, which is chance", f"{scores.mismatched:.4f}")
        table.add_row(
            "own partner scores highest", f"{100 * scores.first_place:.1f} % (chance {100 / count:.1f} %)"
        )
    worst = scores.values.argsort(kind="stable")[:3].tolist()
    if len(scores.names) > len(worst):
        names = ", ".join(f"{scores.names[i]} {scores.values[i]:.3f}" for i in worst)
        table.add_row("lowest", Text(names))
    out = console()
    out.print(table)
    out.print(Text(MEANING, style="dim"))
