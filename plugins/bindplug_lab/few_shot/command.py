"""``bindplug few-shot``: accuracy over the number of examples a class."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bindplug.cli.building import (
    DtypeName,
    ModelChoice,
    check_option_values,
    device_option,
    dtype_help,
    ensure_new,
    output_options,
    overwrite_option,
    parse_reader_options,
    reader_options,
    report_notes,
    report_skipped,
    say,
)
from bindplug.errors import BindplugError, InputError
from bindplug.modality import Modality

if TYPE_CHECKING:
    from bindplug import Encoder
    from bindplug_lab.few_shot.run import FewShot
    from bindplug_lab.tasks import FewShotItems

FILES = ("few_shot.json", "few_shot.md", "curve.png")
"""What a directory of results gets."""

SENSORS = tuple(modality.value for modality in Modality if modality is not Modality.TEXT)


class Numbers(click.ParamType):
    """Whole numbers of at least 1, joined by commas."""

    name = "numbers"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        parts = [part.strip() for part in str(value).split(",") if part.strip()]
        if not parts or not all(part.isascii() and part.isdigit() and int(part) for part in parts):
            self.fail(f"{value!r} is not whole numbers joined by commas, as 1,2,4", param, ctx)
        return tuple(sorted({int(part) for part in parts}))


@click.command()
@click.argument("model", metavar="MODEL")
@click.option("--support", metavar="DIR", help="A folder with a folder of examples for each class.")
@click.option("--test", metavar="DIR", help="A folder of the same classes, with files to test on.")
@click.option(
    "--task", metavar="NAME", help="A few-shot task by name or .toml file, in place of the folders."
)
@click.option("--data", metavar="DIR", help="Folder of the task's data.")
@click.option(
    "--allow-missing",
    is_flag=True,
    help="Use the items of the task that are there if its data are incomplete.",
)
@click.option(
    "--modality",
    type=click.Choice(SENSORS),
    help="What the files are; the sense of a model that `bindplug bind` made by default. Never guessed from names.",
)
@click.option("--shots", type=Numbers(), help="Examples a class, as 1,2,4,8,16, the default.")
@click.option(
    "--repeats",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    help="Supports drawn for each number of shots.",
)
@click.option(
    "--learner",
    "learners",
    multiple=True,
    type=click.Choice(["logistic", "prototypes", "cache"]),
    help="Repeatable; all by default.",
)
@click.option(
    "--template",
    multiple=True,
    metavar="TEXT",
    help='A prompt for zero-shot, such as "the sound of {}". Repeatable.',
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of what is drawn.")
@click.option(
    "--level", type=click.FloatRange(0.5, 0.999), default=0.95, show_default=True, help="Of the intervals."
)
@click.option("--output", "-o", metavar="DIR", help="Directory for few_shot.json, few_shot.md and curve.png.")
@click.option("--plot", metavar="FILE", help="Where to draw the curve: FILE.png, FILE.svg or FILE.pdf.")
@click.option(
    "--strict", is_flag=True, help="Stop at the first file that cannot be read instead of leaving it out."
)
@click.option(
    "--cache", metavar="DIR", help="Where embeddings are kept; `evaluation` beside the weights by default."
)
@click.option("--no-cache", is_flag=True, help="Keep no embeddings.")
@overwrite_option
@click.option("--workers", type=click.IntRange(min=0), metavar="N", help="Threads that read files.")
@click.option(
    "--batch-size", type=click.IntRange(min=1), default=32, show_default=True, help="Items in one pass."
)
@device_option
@click.option("--dtype", type=DtypeName(), help=dtype_help("Of the weights"))
@reader_options
@output_options
def few_shot(
    model: str,
    support: str | None,
    test: str | None,
    task: str | None,
    data: str | None,
    allow_missing: bool,
    modality: str | None,
    shots: tuple[int, ...] | None,
    repeats: int,
    learners: tuple[str, ...],
    template: tuple[str, ...],
    seed: int,
    level: float,
    output: str | None,
    plot: str | None,
    strict: bool,
    cache: str | None,
    no_cache: bool,
    overwrite: bool,
    workers: int | None,
    batch_size: int,
    device: str,
    dtype: str | None,
    reader: tuple[str, ...],
    as_json: bool,
    quiet: bool,
) -> int:
    """Classify from a few examples a class with a frozen encoder, and draw the curve.

    Logistic regression, prototypes, and a cache blended with text, each over several drawn supports, beside zero-shot.

    \b
    bindplug few-shot imagebind_tiny --modality audio --support train/ --test test/ --shots 1,2,4,8,16 --plot curve.png
    """
    if (task is None) == (support is None and test is None) or (task is None and None in (support, test)):
        raise click.UsageError("give --support DIR and --test DIR, or --task NAME")
    if cache is not None and no_cache:
        raise click.UsageError("--cache and --no-cache exclude each other")
    if task is None and data is not None:
        raise click.UsageError(
            "--data is the folder of a --task's data; folders are given by --support and --test"
        )
    if task is None and allow_missing:
        raise click.UsageError("--allow-missing is for the data of a --task; folders hold what they hold")
    if task is not None and (modality is not None or reader):
        raise click.UsageError(
            "--task says what its files are; --modality and --reader-option are of folders"
        )
    form = _plot_form(plot)
    outputs = [Path(output, name) for name in FILES] if output else []
    ensure_new([*outputs, *([Path(plot)] if plot else [])], overwrite)
    options = parse_reader_options(reader)
    check_option_values(options)
    from bindplug.templates import GENERIC_TEMPLATES
    from bindplug_lab.evaluation.cache import open_cache
    from bindplug_lab.few_shot.curve import DEFAULT_SHOTS
    from bindplug_lab.few_shot.learners import LEARNERS
    from bindplug_lab.few_shot.run import few_shot_curve

    items, templates, task_shots = None, template or GENERIC_TEMPLATES, None
    if task is not None:
        items, task_templates, task_shots = _task_items(task, data, allow_missing)
        templates = template or task_templates or GENERIC_TEMPLATES
    choice = ModelChoice(model, device, dtype, batch_size)
    encoder = _load(choice, modality)
    rows = open_cache(cache, not no_cache)
    with nullcontext() if rows is None else rows:
        result = few_shot_curve(
            encoder,
            items if items is not None else str(support),
            None if items is not None else test,
            modality=modality,
            options=options.get(modality or str(getattr(encoder, "sense", "")), {}),
            shots=shots or task_shots or DEFAULT_SHOTS,
            repeats=repeats,
            learners=learners or tuple(LEARNERS),
            templates=templates,
            seed=seed,
            level=level,
            name=model,
            cache=rows,
            batch_size=batch_size,
            workers=workers,
            quiet=quiet or None,
            strict=strict,
        )
    settings = {"seed": seed, "level": level, "task": task, "support": support, "test": test}
    _write(result, model, settings, output, plot, form)
    _print(result, model, settings, as_json)
    if not quiet:
        report_notes(result.notes)
        for path in [*([Path(output) / FILES[1]] if output else []), *([plot] if plot else [])]:
            say(f"written: {path}")
    return report_skipped([{**item, "source": item["item"]} for item in result.skipped])


def _load(choice: ModelChoice, modality: str | None) -> Encoder:
    """The model with the towers that are needed; all of a model whose sense is its own."""
    if modality is None:
        return choice.load(None)
    try:
        return choice.load({modality, "text"})
    except BindplugError:
        return choice.load(None)  # a model without text; or the same error again


def _task_items(
    name: str, data: str | None, allow_missing: bool
) -> tuple[FewShotItems, tuple[str, ...], tuple[int, ...] | None]:
    from bindplug_lab.tasks import FewShotItems, load_task

    task = load_task(name)
    if task.protocol != "few_shot":
        raise InputError(
            f"task {task.name!r}",
            found=f"the protocol {task.protocol!r}",
            expected="'few_shot', with support and test items",
            remedy="Give --support and --test, or measure the task with bindplug eval",
        )
    items = task.items(data, allow_missing=allow_missing)
    assert isinstance(items, FewShotItems)
    return items, task.templates, task.shots or None


def _plot_form(plot: str | None) -> str:
    form = "png" if plot is None else Path(plot).suffix.lower().lstrip(".")
    if form not in ("png", "svg", "pdf"):
        raise click.UsageError(f"--plot {plot}: give a name that ends in .png, .svg or .pdf")
    return form


def _write(
    result: FewShot, model: str, settings: dict[str, Any], output: str | None, plot: str | None, form: str
) -> None:
    from bindplug_lab.few_shot.plot import plot_curve
    from bindplug_lab.few_shot.report import as_json, markdown
    from bindplug_lab.output import write_whole

    title = f"{Path(model).name}, {result.curve.classes} classes"
    try:
        if output is not None:
            directory = Path(output)
            directory.mkdir(parents=True, exist_ok=True)
            text = json.dumps(as_json(result, model, settings), indent=2, ensure_ascii=False) + "\n"
            write_whole(directory / FILES[0], text.encode("utf-8", "replace"))
            write_whole(directory / FILES[2], plot_curve(result.curve, title))
            report = markdown(result, model, settings, FILES[2])
            write_whole(directory / FILES[1], report.encode("utf-8", "replace"))
        if plot is not None:
            Path(plot).parent.mkdir(parents=True, exist_ok=True)
            write_whole(Path(plot), plot_curve(result.curve, title, form))
    except OSError as error:
        raise InputError(
            output or str(plot),
            found=error.strerror or str(error),
            expected="a place that can be written, with space left",
        ) from None


def _print(result: FewShot, model: str, settings: dict[str, Any], as_json: bool) -> None:
    from bindplug_lab.few_shot import report

    if as_json:
        from bindplug.cli.building import print_json

        print_json(report.as_json(result, model, settings))
        return
    from rich.table import Table
    from rich.text import Text

    from bindplug.cli.building import console

    curve = result.curve
    table = Table(
        title=f"Accuracy in percent, {curve.classes} classes, {result.test_count} test items",
        title_justify="left",
        title_style="bold",
        box=None,
    )
    table.add_column("examples a class")
    for k in curve.shots:
        table.add_column(str(k), justify="right")
    for row in report.table_rows(result):
        table.add_row(*map(Text, row))
    out = console()
    out.print(table)
    if curve.zero_shot is not None:
        out.print(Text(f"zero-shot, from the classes' names: {curve.zero_shot.text()}"))
        for name, gains in curve.gains.items():
            out.print(Text(f"{name}, {curve.shots[-1]} a class: {gains[-1].text()} points above zero-shot"))
    out.print(Text(f"chance: {100 * curve.chance:.2f}"))
    if result.missing_count:
        out.print(Text(f"files of the data set that are missing here: {result.missing_count}", style="bold"))
