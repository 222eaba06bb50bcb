"""What a command line names: sources of stated modality in the order typed, and options of their readers."""

from __future__ import annotations

import inspect
import json
import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from bindplug.cli.lists import STANDARD_INPUT, expand, read_lines
from bindplug.errors import BindplugError, InputError, OptionError
from bindplug.modality import Modality
from bindplug.query import Leaf, Query

if TYPE_CHECKING:
    from bindplug.encoder import Encoder

F = TypeVar("F", bound=Callable[..., Any])
ReaderOptions = Mapping[str, Mapping[str, Any]]
"""For each modality name, the options its reader gets."""

ORDER = "bindplug.order"
"""Key of the context's ``meta`` under which :class:`SourceCommand` keeps the names of parameters as typed."""

NO_SOURCE = "no-such-directory/no-such-file"

_HELP = {
    Modality.IMAGE: "An image file.",
    Modality.TEXT: "A sentence.",
    Modality.IMU: "A motion log, or accelerometer=FILE,gyroscope=FILE.",
    Modality.AUDIO: "A sound file.",
    Modality.DEPTH: "A depth map.",
    Modality.THERMAL: "A thermal picture.",
}
_SENSORS = ("accelerometer", "gyroscope", "gravity")
_NAMES = {modality.value: modality.value for modality in Modality}


class SourceCommand(click.Command):
    """A command that knows in which order its options were typed, for :func:`gather`."""

    def make_parser(self, ctx: click.Context) -> Any:
        parser = super().make_parser(ctx)
        parse = parser.parse_args

        def parse_and_record(args: list[str]) -> Any:
            values, rest, order = parse(args)
            ctx.meta[ORDER] = [parameter.name for parameter in order]
            return values, rest, order

        parser.parse_args = parse_and_record  # type: ignore[method-assign]
        return parser


@dataclass(frozen=True, slots=True)
class Source:
    """One thing to embed: a path, or for text the sentence itself, and its modality."""

    modality: str
    value: str
    span: tuple[float, float] | None = None
    """Start and end in seconds of a window of a recording; None for the whole."""

    @property
    def is_text(self) -> bool:
        """Whether the value is a sentence and not a path."""
        return self.modality == Modality.TEXT.value

    @property
    def files(self) -> dict[str, str]:
        """Files by sensor, where a motion log is ``accelerometer=a.csv,gyroscope=g.csv``; else empty."""
        files: dict[str, str] = {}
        for part in self.value.split(",") if self.modality == Modality.IMU.value else ():
            sensor, equals, path = part.partition("=")
            if equals and sensor.strip() in _SENSORS:
                files[sensor.strip()] = path.strip()
            elif files:  # a comma within a path
                files[list(files)[-1]] += f",{part}"
        return files

    @property
    def source(self) -> str | dict[str, str]:
        """What the reader is given: the value, or the files of a motion log by sensor."""
        return self.files or self.value

    def query(self, options: ReaderOptions) -> Query:
        """The query for it, read with the options of its modality."""
        settings = dict(options.get(self.modality, {}))
        if self.span is not None:
            settings |= {"start": self.span[0], "end": self.span[1]}
        return Query([(1.0, Leaf(Modality.parse(self.modality), self.source, settings))])


@dataclass
class Sources:
    """Sources in the order typed, and their readers' options."""

    items: list[Source] = field(default_factory=list)
    options: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def modalities(self) -> list[str]:
        """Modalities that occur, each once."""
        return list(dict.fromkeys(source.modality for source in self.items))

    def queries(self) -> list[Query]:
        """A query for each source."""
        return [source.query(self.options) for source in self.items]

    def ensure_present(self, remedy: str = "") -> None:
        """Return if every file exists, so that a missing one is told before a model is loaded.

        Args:
            remedy: what else the command offers.

        Raises:
            InputError: naming the first that is missing.
        """
        missing = [path for path in self._paths() if not Path(path).exists()]
        if missing:
            more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
            raise InputError(
                f"{missing[0]}{more}", found="no such file", expected="files that exist", remedy=remedy
            )

    def ensure_not_replaced(self, outputs: Iterable[Path]) -> None:
        """Return if no output is one of the files to read, which writing it would destroy.

        Raises:
            InputError: naming the first output that is.
        """
        inputs = {_real_path(path) for path in self._paths()}
        for output in outputs:
            if _real_path(output) in inputs:
                raise InputError(
                    f"--output: {output}", found="one of the files to read", expected="another file"
                )

    def _paths(self) -> list[str]:
        return [path for s in self.items if not s.is_text for path in s.files.values() or [s.value]]


def _real_path(path: str | Path) -> str:
    """``path`` without symbolic links; a loop of them, or what cannot be a path, stays as it is."""
    try:
        return os.path.realpath(path)
    except (OSError, ValueError):
        return os.fspath(path)


def source_options(command: F) -> F:
    """Add a repeatable option for every modality (``--image FILE``, ..., ``--text SENTENCE``)."""
    for modality in reversed(Modality):
        text = _HELP.get(modality) or f"A {modality.value} file."
        metavar = "SENTENCE" if modality is Modality.TEXT else "FILE"
        option = click.option(
            f"--{modality.value}", multiple=True, metavar=metavar, help=f"{text} Repeatable."
        )
        command = option(command)
    return command


def folder_options(command: F) -> F:
    """Add ``--recursive`` and ``--include PATTERN``, for commands whose FILES may be directories."""
    include = click.option(
        "--include",
        multiple=True,
        metavar="PATTERN",
        help="Of a directory, take files of such names, as '*.wav'. Repeatable.",
    )
    recursive = click.option(
        "--recursive", is_flag=True, help="Look into the subdirectories of a directory too."
    )
    return recursive(include(command))


def reader_options(command: F) -> F:
    """Add ``-O MODALITY.NAME=VALUE`` (the parameter ``reader``), e.g. ``-O depth.preset=sun_png``."""
    return click.option(
        "--reader-option",
        "-O",
        "reader",
        multiple=True,
        metavar="MODALITY.NAME=VALUE",
        help="How to read files of a modality, e.g. depth.preset=sun_png or audio.channel=mix. Repeatable.",
    )(command)


def modality_option(command: F) -> F:
    """Add ``--modality`` (a name or None)."""
    return click.option(
        "--modality",
        type=click.Choice([m.value for m in Modality]),
        help="What the FILES are; it is never guessed from a file's name.",
    )(command)


def parse_reader_options(assignments: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Options by modality from ``MODALITY.NAME=VALUE``; a VALUE that is JSON is taken as such.

    Raises:
        click.BadParameter: an item has another form, or names no modality.
    """
    options: dict[str, dict[str, Any]] = {}
    for assignment in assignments:
        target, equals, value = assignment.partition("=")
        modality, dot, name = target.partition(".")
        if not (equals and dot and name) or modality not in {m.value for m in Modality}:
            raise click.BadParameter(
                f"{assignment!r} is not MODALITY.NAME=VALUE, as depth.preset=sun_png", param_hint="-O"
            )
        try:
            options.setdefault(modality, {})[name] = json.loads(value)
        except (ValueError, RecursionError):
            options.setdefault(modality, {})[name] = value
    return options


def check_option_values(options: ReaderOptions) -> None:
    """Refuse values that bindplug's own readers do not take, before a model is loaded.

    Readers look at their options before they open a source, so a source that does not exist tells.

    Raises:
        OptionError: naming the modality, the option and the values that it takes.
    """
    if not options:
        return
    from bindplug.inputs import make_preprocess

    for modality, settings in options.items():
        reader = make_preprocess([modality])[modality]
        names = inspect.signature(reader.read).parameters
        values = {name: value for name, value in settings.items() if name in names}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                reader.read(NO_SOURCE, **values)
        except OptionError as error:
            raise OptionError(f"-O {modality}: {error}") from None
        except BindplugError:
            continue


def check_reader_options(model: Encoder, options: ReaderOptions) -> None:
    """Refuse options that a reader does not know, before any file is read.

    Raises:
        click.BadParameter: naming the options that the reader has.
    """
    for modality, settings in options.items():
        reader = model.preprocess.get(modality)
        if reader is None:
            continue
        parameters = list(inspect.signature(reader.read).parameters.values())[1:]
        names = [p.name for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)]
        unknown = [name for name in settings if name not in names]
        if unknown and not any(p.kind is p.VAR_KEYWORD for p in parameters):
            raise click.BadParameter(
                f"the {modality} reader has no option {unknown[0]!r}; it has: {', '.join(names) or 'none'}",
                param_hint="-O",
            )


def gather(
    by_option: Mapping[str, Sequence[str]],
    files: Sequence[str] = (),
    modality: str | None = None,
    lists: Sequence[str] = (),
    reader: Sequence[str] = (),
    *,
    recursive: bool = False,
    include: Sequence[str] = (),
    as_typed: bool = False,
) -> Sources:
    """The sources that a command line names: options and lists in the order typed, then the arguments.

    Directories and patterns are expanded; sentences that are the name of a file warn.

    Args:
        by_option: for each modality's name, the values of its option.
        files: arguments; ``-`` stands for a list on standard input.
        modality: of the arguments, and of list lines without one.
        lists: files with one source a line; ``-`` for standard input.
        reader: ``MODALITY.NAME=VALUE`` assignments.
        recursive, include: as in :func:`bindplug.cli.lists.expand`.
        as_typed: leave directories and patterns for the caller to expand.

    Raises:
        click.UsageError: files without a stated modality, or nothing at all.
        InputError: a list file cannot be read, or a directory or pattern stands for no file.
        OptionError: a reader option has a value that the reader does not take.
    """
    if files and modality is None:
        raise click.UsageError(
            f"say what {files[0]} is: --modality image|video|text|audio|depth|thermal|imu, "
            f"or --image {files[0]}, --audio {files[0]}, ..."
        )
    options = parse_reader_options(reader)
    sources: list[Source] = []
    for name, value in _in_order(by_option, lists):
        sources += read_list(value, modality) if name == "lists" else [Source(name, value)]
    for value in files:
        from_list = value == STANDARD_INPUT
        sources += read_list(value, modality) if from_list else [Source(str(modality), value)]
    if not sources:
        choices = "FILES with --modality, or " if modality_is_an_option() else ""
        raise click.UsageError(f"nothing to read: give {choices}--image FILE, --text SENTENCE, ...")
    items: list[Source] = []
    for source in sources:
        if source.is_text:
            if not as_typed:  # it may be a table of sentences
                _warn_of_file_name(source.value)
            items.append(source)
        elif source.files or as_typed:
            items.append(source)
        else:
            paths = expand(source.value, recursive=recursive, include=include)
            items += [Source(source.modality, path) for path in paths]
    check_option_values(options)
    return Sources(items, options)


def modality_is_an_option() -> bool:
    """Whether the running command has ``--modality``."""
    context = click.get_current_context(silent=True)
    return context is None or "modality" in context.params


def read_list(path: str, modality: str | None) -> list[Source]:
    """Sources from a file (``-`` for standard input) with one a line: ``source``, or ``modality<TAB>source``.

    Raises:
        InputError: the file cannot be read, or a line names no modality and none was given.
    """
    lines = read_lines(path, "a UTF-8 text file with one source a line")
    return [_source_of_line(line, modality, f"{path}, line {number}") for number, line in lines]


def short_names(sources: Sequence[Source], width: int = 40) -> list[str]:
    """How tables name sources: files by as much of their path's end as tells them apart, sentences in quotes."""
    parts = {s.value: Path(s.value).parts for s in sources if not s.is_text}
    names = []
    for source in sources:
        if source.is_text:
            names.append(_cut(f"“{source.value}”", width))
            continue
        own = parts[source.value]
        others = [path for value, path in parts.items() if value != source.value]
        depth = next((n for n in range(1, len(own)) if all(p[-n:] != own[-n:] for p in others)), len(own))
        name = str(Path(*own[-depth:])) if own else source.value
        names.append(_cut(name, width) if depth == 1 else _cut_start(name, width))
    return names


def _in_order(by_option: Mapping[str, Sequence[str]], lists: Sequence[str]) -> list[tuple[str, str]]:
    """``(parameter, value)`` as typed; by modality where the command keeps no order."""
    values = {m.value: list(by_option.get(m.value) or ()) for m in Modality} | {"lists": list(lists)}
    context = click.get_current_context(silent=True)
    order = (context.meta.get(ORDER) if context else None) or []
    pairs = [(name, values[name].pop(0)) for name in order if values.get(name)]
    return pairs + [(name, value) for name, rest in values.items() for value in rest]


def _source_of_line(line: str, modality: str | None, place: str) -> Source:
    head, tab, rest = line.partition("\t")
    line_modality = _NAMES.get(head.strip()) if tab else None
    if line_modality is not None:
        return Source(line_modality, rest.strip())
    if modality is None:
        detail = repr(line if len(line) <= 60 else f"{line[:57]}...")
        raise InputError(place, found=detail, expected="modality<TAB>source, as no --modality is given")
    return Source(modality, line.strip())


def _warn_of_file_name(sentence: str) -> None:
    try:
        is_file = bool(Path(sentence).suffix) and Path(sentence).is_file()
    except (OSError, ValueError):  # a sentence may be no path at all
        return
    if is_file:
        message = f"the text {sentence!r} is the name of a file; to read the file use --image, --audio, ..."
        warnings.warn(message, stacklevel=3)


def _cut(name: str, width: int) -> str:
    return name if len(name) <= width else f"{name[: width - 1]}…"


def _cut_start(name: str, width: int) -> str:
    return name if len(name) <= width else f"…{name[len(name) - width + 1 :]}"
