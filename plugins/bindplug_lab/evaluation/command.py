"""``bindplug eval``: models on benchmarks, side by side, with intervals."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bindplug.cli.building import (
    OK,
    DtypeName,
    ModelChoice,
    device_option,
    dtype_help,
    output_options,
    report_skipped,
    say,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bindplug import Encoder
    from bindplug_lab.evaluation.results import Result, Settings
    from bindplug_lab.evaluation.run import Evaluation
    from bindplug_lab.tasks import Task

GIB = 1 << 30


@click.command()
@click.argument("models", nargs=-1, metavar="MODEL...")
@click.option(
    "--tasks",
    "-t",
    multiple=True,
    metavar="NAMES",
    help="Tasks or groups joined by commas, or paths of .toml files. Repeatable.",
)
@click.option("--list", "list_tasks", is_flag=True, help="List the tasks and leave.")
@click.option(
    "--data", metavar="DIR", help="Folder of the data sets, each in a folder of its own, or of one alone."
)
@click.option(
    "--output",
    "-o",
    metavar="DIR",
    help="Directory for results: results.json, results.md, results.png, and each result by itself.",
)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    metavar="N",
    help="Draw this many items of each task, balanced by class.",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of everything that is drawn."
)
@click.option(
    "--draws",
    type=click.IntRange(min=10),
    default=1000,
    show_default=True,
    help="Resamples of the items, for intervals.",
)
@click.option(
    "--level", type=click.FloatRange(0.5, 0.999), default=0.95, show_default=True, help="Of the intervals."
)
@click.option(
    "--allow-missing", is_flag=True, help="Measure on the items that are there if the data are incomplete."
)
@click.option(
    "--strict", is_flag=True, help="Stop at the first item that cannot be read instead of leaving it out."
)
@click.option(
    "--cache", metavar="DIR", help="Where embeddings are kept; `evaluation` beside the weights by default."
)
@click.option("--no-cache", is_flag=True, help="Keep no embeddings.")
@click.option(
    "--cache-size",
    type=click.FloatRange(min=0, min_open=True),
    default=2.0,
    show_default=True,
    metavar="GIB",
    help="Embeddings that are kept; the least recently used go first.",
)
@click.option(
    "--overwrite",
    is_flag=True,
    help="Measure again what the output holds of other settings, files or weights.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=0),
    metavar="N",
    help="Threads that read files while the model works.",
)
@click.option(
    "--batch-size", type=click.IntRange(min=1), default=32, show_default=True, help="Items in one pass."
)
@device_option
@click.option("--dtype", type=DtypeName(), help=dtype_help("Of the weights"))
@output_options
def evaluate(
    models: tuple[str, ...],
    tasks: tuple[str, ...],
    list_tasks: bool,
    data: str | None,
    output: str | None,
    limit: int | None,
    seed: int,
    draws: int,
    level: float,
    allow_missing: bool,
    strict: bool,
    cache: str | None,
    no_cache: bool,
    cache_size: float,
    overwrite: bool,
    workers: int | None,
    batch_size: int,
    device: str,
    dtype: str | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Evaluate models on benchmarks, with intervals, beside published figures and chance.

    A MODEL is a name, a directory of `bindplug bind` or `convert`, or a model of another library by its scheme. With
    --output, a run that was interrupted goes on where it stopped when the same command is given again, and further
    models and tasks are added to the report.

    \b
    bindplug eval imagebind_huge --tasks esc50,audiocaps --data /data -o results/
    bindplug eval my-ear imagebind_tiny --tasks senses-v1
    """
    if list_tasks:
        return _list(as_json)
    if not models:
        raise click.UsageError("name a model, as bindplug eval imagebind_tiny --tasks ..., or say --list")
    if not tasks:
        raise click.UsageError("name tasks with --tasks; bindplug eval --list has them")
    if cache is not None and no_cache:
        raise click.UsageError("--cache and --no-cache exclude each other")
    from bindplug_lab.evaluation.cache import open_cache
    from bindplug_lab.evaluation.results import Settings
    from bindplug_lab.evaluation.run import evaluate as run_evaluation

    settings = Settings(limit, seed, draws, level, allow_missing)

    def load(name: str, modalities: set[str] | None) -> Encoder:
        return ModelChoice(name, device, dtype, batch_size).load(modalities)

    def on_result(result: Result, reused: bool) -> None:
        if output is not None:
            _write(Path(output), settings, models)
        if not quiet and not as_json:
            origin = "taken over" if reused else f"{result.seconds:.1f} s"
            say(
                f"{result.task}, {result.model}: {result.main} {result.metrics[result.main].text()} % ({origin})"
            )

    rows = open_cache(cache, not no_cache, int(cache_size * GIB))
    with nullcontext() if rows is None else rows:
        evaluation = run_evaluation(
            list(models),
            _names(tasks),
            data=data,
            output=output,
            settings=settings,
            cache=rows,
            strict=strict,
            overwrite=overwrite,
            batch_size=batch_size,
            workers=workers,
            quiet=quiet or None,
            loader=load,
            on_result=on_result,
        )
    if as_json:
        from bindplug.cli.building import print_json
        from bindplug_lab.evaluation.report import as_json as record

        print_json(record(evaluation.results, settings))
    else:
        _show(evaluation)
        if output is not None and not quiet:
            say(f"report: {Path(output) / 'results.md'}")
    return report_skipped(
        [{**item, "source": f"{item['task']}, {item['item']}"} for item in evaluation.skipped]
    )


def _names(tasks: tuple[str, ...]) -> list[str]:
    return [name for value in tasks for name in (part.strip() for part in value.split(",")) if name]


def _write(directory: Path, settings: Settings, models: tuple[str, ...]) -> None:
    """Bring the report of a directory up to date with all results in it, those of ``models`` first."""
    from bindplug.errors import MissingDependency
    from bindplug_lab.evaluation.figure import bars
    from bindplug_lab.evaluation.report import as_json, markdown
    from bindplug_lab.evaluation.results import ResultStore
    from bindplug_lab.output import write_whole

    places = {name: place for place, name in enumerate(models)}
    all_results = ResultStore(directory, settings).all()
    results = sorted(all_results, key=lambda result: places.get(result.model, len(places)))
    picture = "results.png"
    try:
        write_whole(directory / picture, bars(results))
    except MissingDependency:
        picture = ""
    text = json.dumps(as_json(results, settings), indent=2, ensure_ascii=False) + "\n"
    write_whole(directory / "results.json", text.encode("utf-8", "replace"))
    write_whole(directory / "results.md", markdown(results, settings, picture).encode("utf-8", "replace"))


def _show(evaluation: Evaluation) -> None:
    from rich.table import Table
    from rich.text import Text

    from bindplug.cli.building import console
    from bindplug_lab.evaluation.report import by_task, differences, short_labels, table_rows, verdict

    out = console()
    labels = short_labels(result.model for result in evaluation.results)
    for group in by_task(evaluation.results):
        table = Table(title=f"{group[0].title}, percent", title_justify="left", box=None, title_style="bold")
        table.add_column("")
        for result in group:
            table.add_column(Text(labels[result.model]), justify="right")
        rows = table_rows(group)
        has_published = any(published for _, _, published, _ in rows)
        if has_published:
            table.add_column("published", overflow="fold")
        table.add_column("chance", justify="right")
        for name, cells, published, chance in rows:
            head = Text(name, style="bold" if name == group[0].main else "")
            table.add_row(head, *cells, *([Text(published)] if has_published else []), chance)
        out.print(table)
        for result in group:
            remarks = [f"{result.count} items", *result.remarks]
            out.print(Text(f"{labels[result.model]}: {'; '.join(remarks)}", style="dim"))
        out.print()
    for item in differences(evaluation.results):
        pair = f"{item.task}, {item.metric}: {labels[item.model]} minus {labels[item.base]}"
        if item.interval is None:
            out.print(Text(f"{pair}: not measured on the same items"))
        else:
            out.print(Text(f"{pair}: {item.interval.text()}; clear: {verdict(item.interval)}"))


def _list(as_json: bool) -> int:
    from rich.table import Table
    from rich.text import Text

    from bindplug.cli.building import console, print_json
    from bindplug_lab.evaluation.protocols import modalities_of
    from bindplug_lab.tasks import list_tasks

    tasks = list_tasks()
    if as_json:
        print_json(
            [
                {
                    "name": task.name,
                    "title": task.title,
                    "protocol": task.protocol,
                    "modalities": list(modalities_of(task)),
                    "metrics": list(task.metrics),
                    "size": task.size,
                    "groups": list(task.groups),
                    "needs_data": task.needs_data,
                    "folder": task.folder,
                    "url": task.url,
                    "terms": task.terms,
                }
                for task in tasks
            ]
        )
        return OK
    table = Table(box=None)
    table.add_column("task", no_wrap=True)  # a name that is cut short cannot be typed
    table.add_column("what")
    table.add_column("modalities")
    table.add_column("items", justify="right", no_wrap=True)
    for task in tasks:
        cells = (task.name, task.title, ", ".join(modalities_of(task)), str(task.size or ""))
        table.add_row(*map(Text, cells))
    out = console()
    out.print(table)
    for group, names in groups_of(tasks).items():
        out.print(Text(f"{group} stands for {len(names)} tasks: {', '.join(names)}"))
    return OK


def groups_of(tasks: Sequence[Task]) -> dict[str, list[str]]:
    """Names of the tasks that a name of a group stands for."""
    groups: dict[str, list[str]] = {}
    for task in tasks:
        for group in task.groups:
            groups.setdefault(group, []).append(task.name)
    return groups
