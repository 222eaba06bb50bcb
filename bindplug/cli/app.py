"""The root command: built-in commands, plugins' commands, and the one edge where errors become exit codes."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click

from bindplug import plugins
from bindplug.cards import resolve
from bindplug.cli.groups import SuggestingGroup
from bindplug.cli.messages import FAILED, INTERRUPTED, OK, say
from bindplug.errors import BindplugError

TRACEBACK_VARIABLE = "BINDPLUG_TRACEBACK"
"""Environment variable that, set to anything, shows errors with their traceback."""

BUILTIN = {
    "models": (
        "bindplug.cli.models:models",
        "Models that can be loaded by name, and where their weights are.",
    ),
    "plugins": ("bindplug.cli.plugins:plugins", "Plugins found, and how each fares."),
    "embed": ("bindplug.cli.embed:embed", "Embed many files into one Parquet or NPZ file."),
    "compare": ("bindplug.cli.compare:compare", "Compare files and sentences of any kinds with each other."),
    "classify": ("bindplug.cli.classify:classify", "Sort files into classes that you name."),
    "cutoffs": ("bindplug.cli.cutoffs:cutoffs", "From which score on a match is a match, with a guarantee."),
    "convert": ("bindplug.cli.convert:convert", "Convert weights between layouts."),
    "bridge": (
        "bindplug.cli.bridge:bridge",
        "Map one embedding space to another, and see how well it works.",
    ),
    "verify": ("bindplug.cli.verify:verify", "Check weights against checksums and published figures."),
    "bench": ("bindplug.cli.bench:bench", "Measure how fast a model runs here, at equal numbers."),
}
"""Commands of the core: where they are and what they do, so that listing them imports none."""


class Root(SuggestingGroup):
    """A group whose commands are imported when they are used."""

    def make_context(self, *arguments: Any, **options: Any) -> click.Context:
        with _answered_by_run():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: click.Context) -> Any:
        with _answered_by_run():
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*BUILTIN, *sorted(name for name in plugins.registry().commands if name not in BUILTIN)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in BUILTIN:
            return resolve(BUILTIN[cmd_name][0], "bindplug")
        entry = plugins.registry().commands.get(cmd_name)
        return None if entry is None else _as_command(cmd_name, entry)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        registered = plugins.registry().commands
        texts = {name: text for name, (_, text) in BUILTIN.items()}
        with formatter.section("Commands"):
            formatter.write_dl(
                [(n, texts.get(n) or registered[n].card.description) for n in self.list_commands(ctx)]
            )


@contextmanager
def _answered_by_run() -> Iterator[None]:
    """Broken pipes lose their number, by which click would know them and exit with 1."""
    try:
        yield
    except BrokenPipeError:
        raise BrokenPipeError from None


def _as_command(name: str, entry: plugins.Entry[Any]) -> click.Command:
    target = entry.load(entry.card.target)
    if isinstance(target, click.Command):
        return target

    def call(arguments: tuple[str, ...]) -> Any:
        return target(list(arguments))

    return click.Command(
        name,
        callback=call,
        params=[click.Argument(["arguments"], nargs=-1, type=click.UNPROCESSED)],
        help=entry.card.description,
        context_settings={"ignore_unknown_options": True, "help_option_names": []},
    )


@click.group(
    cls=Root,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 1 error, 2 wrong usage, 3 done with inputs skipped, 130 interrupted.",
)
@click.version_option(package_name="bindplug", message="%(prog)s %(version)s")
def root() -> None:
    """ImageBind as a CLIP-compatible encoder: images, video, text, sound, depth, heat and motion in one space.

    Every command takes --json and --quiet, and most of those that load a model take --model, --device, --dtype and
    --batch-size.
    """


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; errors become one line on stderr and an exit code.

    Args:
        arguments: what follows the program's name; that of this process by default.

    Returns:
        The exit code.
    """
    warnings.showwarning = _one_line
    try:
        code = root.main(
            None if arguments is None else list(arguments), prog_name="bindplug", standalone_mode=False
        )
        return code if isinstance(code, int) else OK
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt) as error:
        say(str(error) or "interrupted")  # training says how to go on
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output, e.g. `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except (BindplugError, OSError) as error:
        if os.environ.get(TRACEBACK_VARIABLE):
            raise
        say(f"error: {error}")
        return FAILED


def _one_line(message: Warning | str, *_: object, **__: object) -> None:
    context = click.get_current_context(silent=True)
    if context is None or not context.params.get("quiet"):
        say(f"warning: {message}")
