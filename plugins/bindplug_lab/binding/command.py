"""``bindplug bind``: pairs in, a tower and a card out."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bindplug.cli.building import (
    OK,
    SKIPPED,
    ModelChoice,
    device_option,
    output_options,
    overwrite_option,
    print_json,
    say,
)
from bindplug.errors import BindplugError
from bindplug_lab.binding.arguments import machine_of, settings_of
from bindplug_lab.binding.report import recipe_text, report_card, report_problems

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bindplug import Encoder
    from bindplug_lab.binding.machine import Machine
    from bindplug_lab.binding.settings import BindSettings

GROUPS = {
    "Pairs": (
        "sense",
        "format",
        "column",
        "split",
        "reader",
        "windows",
        "hop",
        "strict",
        "workers",
        "cache_gb",
    ),
    "Anchor and tower": (
        "anchor",
        "init",
        "tower",
        "width",
        "blocks",
        "heads",
        "head",
        "drop_path",
        "augment",
    ),
    "LoRA": ("lora", "lora_alpha", "lora_targets", "dora", "merge"),
    "Recipe": (
        *("recipe", "epochs", "batch", "lr", "weight_decay", "temperature", "learn_temperature", "seed"),
        *("validation", "patience"),
    ),
    "Run": (
        *(
            "output",
            "overwrite",
            "resume",
            "dry_run",
            "device",
            "precision",
            "accumulate",
            "gradient_checkpointing",
            "checkpoint_every",
        ),
        *("tracker", "keep_run", "as_json", "quiet"),
    ),
}
"""Options by the heading of the help they stand under; any others come last."""


class GroupedCommand(click.Command):
    """A command whose help has its options under headings."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        records = {
            parameter.name: record
            for parameter in self.get_params(ctx)
            if isinstance(parameter, click.Option) and (record := parameter.get_help_record(ctx)) is not None
        }
        for title, names in GROUPS.items():
            with formatter.section(title):
                formatter.write_dl([records.pop(name) for name in names if name in records])
        if records:
            with formatter.section("Other options"):
                formatter.write_dl(list(records.values()))


@click.command(cls=GroupedCommand)
@click.argument("pairs")
@click.option(
    "--sense", required=True, help="audio, depth, thermal, imu, or a word of your own for .npy arrays."
)
@click.option(
    "--format",
    type=click.Choice(["folder", "table", "shards", "dataset"]),
    help="What PAIRS are; recognized by default.",
)
@click.option(
    "--column",
    multiple=True,
    metavar="ROLE=NAME",
    help="A column of another name, as image=photo; of shards the ending. Repeatable.",
)
@click.option("--split", metavar="NAME", help="Of a data set that has several; train by default.")
@click.option(
    "-O",
    "--reader-option",
    "reader",
    multiple=True,
    metavar="MODALITY.NAME=VALUE",
    help="Option of the sense's reader, as depth.unit=mm or imu.sample_rate=200. Repeatable.",
)
@click.option(
    "--windows",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Cut recordings into windows, each a pair with the picture of its moment; videos always are, into 2 s by "
    "default (imu: 5 s).",
)
@click.option(
    "--hop",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="From the start of one window to that of the next; a window's length by default.",
)
@click.option(
    "--strict", is_flag=True, help="Stop at the first unpaired or unreadable item instead of listing it."
)
@click.option(
    "--workers",
    type=click.IntRange(min=0),
    metavar="N",
    help="Threads that read; one for each core by default, at most 4; 0 for none.",
)
@click.option(
    "--cache-gb",
    type=click.FloatRange(min=0),
    default=4.0,
    show_default=True,
    help="Most disk for samples that were read once; if they need more, they are read anew each time.",
)
@click.option("--anchor", metavar="ID", help="Model whose space is bound to: any that `bindplug.load` opens.")
@click.option(
    "--init",
    metavar="ID",
    help="Model whose tower the training starts from: an ImageBind, or a directory that `bindplug bind` wrote. Its "
    "anchor is the run's, if none is given.",
)
@click.option(
    "--tower",
    metavar="SIZE",
    help="small, base (the published size), or FILE.py:function of your own code, which is run. By the number of "
    "pairs by default.",
)
@click.option("--width", type=click.IntRange(min=1), help="Of the tower's tokens.")
@click.option("--blocks", type=click.IntRange(min=1), help="Of the tower.")
@click.option("--heads", type=click.IntRange(min=1), help="Of the tower's attention.")
@click.option(
    "--head", type=click.Choice(["linear", "mlp"]), help="Projection into the space; linear by default."
)
@click.option("--drop-path", type=click.FloatRange(0, 1, max_open=True), help="Stochastic depth in training.")
@click.option(
    "--augment",
    type=click.Choice(["none", "basic", "strong"]),
    default="none",
    show_default=True,
    help="Of pictures, which are then embedded anew each time: crops and flips, and changes of light. Depth and "
    "thermal maps get the same crops.",
)
@click.option(
    "--lora",
    type=click.IntRange(min=1),
    metavar="RANK",
    help="Train adapters of this rank on the tower of --init, which stays as it is, and write them alone. Adapters "
    "of that rank in --init are trained further.",
)
@click.option(
    "--lora-alpha",
    type=click.FloatRange(min=0, min_open=True),
    help="The adapters' update is scaled by alpha / RANK; RANK by default.",
)
@click.option(
    "--lora-targets",
    metavar="NAMES",
    help="Layers to adapt, separated by commas: names of the tower, head, all-linear, all-layers; the blocks' "
    "projections by default.",
)
@click.option("--dora", is_flag=True, help="DoRA: learn each weight's magnitude beside the update.")
@click.option("--merge", is_flag=True, help="Add the adapters to the weights and write a whole tower.")
@click.option(
    "--recipe",
    type=click.Choice(["small", "published"]),
    help="Starting values of what follows; by the number of pairs by default.",
)
@click.option("--epochs", type=click.FloatRange(min=0, min_open=True), help="Passes over the pairs.")
@click.option(
    "--batch-size",
    "--batch",
    "batch",
    type=click.IntRange(min=2),
    help="Pairs in a step, each of which is contrasted with all.",
)
@click.option("--lr", type=click.FloatRange(min=0, min_open=True), help="Peak learning rate.")
@click.option("--weight-decay", type=click.FloatRange(min=0), help="Of matrices.")
@click.option("--temperature", type=click.FloatRange(min=0, min_open=True), help="Of the contrast.")
@click.option("--learn-temperature", is_flag=True, help="Learn it instead of keeping it fixed.")
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of weights, order and split."
)
@click.option(
    "--validation",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.1,
    show_default=True,
    help="Share of recordings held out; windows of one recording stay together. 0 for none.",
)
@click.option(
    "--patience",
    type=click.IntRange(min=1),
    help="Stop after so many validations without progress; never by default.",
)
@click.option("--output", "-o", required=True, metavar="DIR", help="Directory to write.")
@overwrite_option
@click.option("--resume", is_flag=True, help="Go on from the checkpoints of an interrupted run.")
@click.option(
    "--dry-run", is_flag=True, help="Read everything, list problems, estimate time and memory; train nothing."
)
@device_option
@click.option(
    "--precision", type=click.Choice(["no", "bf16", "fp16"]), help="Mixed precision; float32 by default."
)
@click.option(
    "--accumulate",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Parts of a batch computed one after the other, for less memory at the same numbers.",
)
@click.option(
    "--gradient-checkpointing",
    is_flag=True,
    help="Compute blocks again in the backward pass: much less memory, a third more time, the same numbers.",
)
@click.option(
    "--checkpoint-every",
    type=click.IntRange(min=1),
    metavar="STEPS",
    help="An epoch by default, more of short ones.",
)
@click.option("--tracker", multiple=True, help="tensorboard, wandb or trackio. Repeatable.")
@click.option("--keep-run", is_flag=True, help="Leave checkpoints and caches in DIR.run after success.")
@output_options
def bind(**options: Any) -> int:
    """Train a tower on PAIRS of a picture and another sense, and write it as a model.

    PAIRS are a folder of files with the same names (dog1.jpg and dog1.wav, or videos, which are both), a CSV, JSON
    Lines or Parquet table of paths, webdataset shards, or a Hugging Face data set on disk. The pictures are embedded
    by the frozen anchor; the tower learns to say the same of the other sense. Neither labels nor text are used.

    \b
    bindplug bind pairs/ --sense audio --anchor open_clip:ViT-B-16:laion2b_s34b_b88k -o my-ear
    bindplug bind videos/ --sense audio --anchor imagebind_huge --windows 2 --hop 1 -o my-ear
    bindplug bind pairs.csv --sense depth --init imagebind_huge --epochs 5 -o my-eye
    bindplug bind pairs/ --sense audio --init imagebind_huge --lora 16 -o my-lora
    bindplug bind pairs/ --sense sonar --anchor imagebind_huge --tower sonar.py:tower -o my-sonar
    bindplug classify sounds/ --modality audio --model my-ear --labels "a dog,a car"
    """
    from bindplug_lab.binding.places import reserved_places, run_directory

    settings = settings_of(options)
    choice = ModelChoice(settings.anchor, options["device"], None, 32)
    machine = machine_of(options, choice)
    was_there = run_directory(settings.output).exists()
    with reserved_places(settings, machine) as directory:
        code = _run(settings, machine, directory, options)
        if options["dry_run"] and machine.is_main and not was_there:
            shutil.rmtree(directory, ignore_errors=True)
    return code


def _run(settings: BindSettings, machine: Machine, directory: Path, options: Mapping[str, Any]) -> int:
    """The run, in a directory that is its own; the exit code."""
    from bindplug_lab.binding import run
    from bindplug_lab.binding.places import clean_up

    speak = say if machine.is_main and not options["quiet"] else _nothing

    def load(name: str, modalities: set[str] | None) -> Encoder:
        return ModelChoice(name, str(machine.device), None, 32).load(modalities)

    ready = run.get_ready(settings, machine, load, directory, speak)
    if machine.is_main:
        report_problems(ready.prepared.problems, directory, options["quiet"])
    for line in (*ready.notes, f"{ready.recipe_line}: {recipe_text(ready)}", f"tower: {ready.built.line}"):
        speak(line)
    speak(
        f"{len(ready.train)} pairs to train on, {0 if ready.held_out is None else len(ready.held_out)} held out"
    )
    speak(str(ready.estimate))
    code = SKIPPED if ready.prepared.problems else OK
    if options["dry_run"]:
        if options["as_json"] and machine.is_main:
            print_json(run.summary(ready, settings))
        return code
    with _advice(directory, speak):
        result = run.train(settings, machine, ready, directory)
        if not machine.is_main:
            return OK
        card = run.write(settings, machine, ready, result, load)
    clean_up(settings, machine)
    if options["as_json"]:
        print_json(card)
    else:
        report_card(card, settings, speak)
    return code


def _nothing(line: str) -> None:
    """Say nothing."""


@contextmanager
def _advice(directory: Path, speak: Callable[[str], None]) -> Iterator[None]:
    """Say where the checkpoints are if the block fails."""
    try:
        yield
    except (BindplugError, OSError, KeyboardInterrupt):
        if any((directory / "checkpoints").glob("step-*")):
            speak(
                f"the checkpoints stay in {directory / 'checkpoints'}; the same command with --resume goes on from them"
            )
        raise
