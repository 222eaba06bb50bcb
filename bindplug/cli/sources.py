"""What a command line names: sources of stated modality, and options of their readers."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from bindplug.errors import InputError
from bindplug.modality import Modality
from bindplug.query import Leaf, Query

if TYPE_CHECKING:
    from bindplug.encoder import Encoder

F = TypeVar("F", bound=Callable[..., Any])
ReaderOptions = Mapping[str, Mapping[str, Any]]
"""For each modality name, the options its reader gets."""

_ARTICLE = {
    Modality.TEXT: "A sentence.",
    Modality.IMU: "A recording by a motion sensor.",
    Modality.AUDIO: "A sound.",
}
_NAMES = {modality.value: modality.value for modality in Modality}
_KIND = {Modality.DEPTH: "A depth map.", Modality.THERMAL: "A thermal picture."}


@dataclass(frozen=True, slots=True)
class Source:
    """One thing to embed: a path, or for text the sentence itself, and its modality."""

    modality: str
    value: str

    @property
    def is_text(self) -> bool:
        """Whether the value is a sentence and not a path."""
        return self.modality == Modality.TEXT.value

    def query(self, options: ReaderOptions) -> Query:
        """The query for it, read with the options of its modality."""
        return Query([(1.0, Leaf(Modality.parse(self.modality), self.value, options.get(self.modality, {})))])


@dataclass
class Sources:
    """Sources in the order in which tables show them, and their readers' options."""

    items: list[Source] = field(default_factory=list)
    options: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def modalities(self) -> list[str]:
        """Modalities that occur, each once."""
        return list(dict.fromkeys(source.modality for source in self.items))

    def queries(self) -> list[Query]:
        """A query for each source."""
        return [source.query(self.options) for source in self.items]


def source_options(command: F) -> F:
    """Add a repeatable option for every modality (``--image FILE``, ..., ``--text SENTENCE``)."""
    for modality in reversed(Modality):
        text = _ARTICLE.get(modality) or _KIND.get(modality) or f"A {modality.value} file."
        metavar = "SENTENCE" if modality is Modality.TEXT else "FILE"
        option = click.option(
            f"--{modality.value}", multiple=True, metavar=metavar, help=f"{text} Repeatable."
        )
        command = option(command)
    return command


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


def parse_reader_options(given: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Options by modality from ``MODALITY.NAME=VALUE``; a VALUE that is JSON is taken as such.

    Raises:
        click.BadParameter: an item has another form, or names no modality.
    """
    parsed: dict[str, dict[str, Any]] = {}
    for item in given:
        target, equals, value = item.partition("=")
        modality, dot, name = target.partition(".")
        if not (equals and dot and name) or modality not in {m.value for m in Modality}:
            raise click.BadParameter(
                f"{item!r} is not MODALITY.NAME=VALUE, as depth.preset=sun_png", param_hint="-O"
            )
        try:
            parsed.setdefault(modality, {})[name] = json.loads(value)
        except json.JSONDecodeError:
            parsed.setdefault(modality, {})[name] = value
    return parsed


def check_reader_options(model: Encoder, options: ReaderOptions) -> None:
    """Refuse options that a reader does not know, before any file is read.

    Raises:
        click.BadParameter: naming the options that the reader has.
    """
    for modality, chosen in options.items():
        reader = model.preprocess.get(modality)
        if reader is None:
            continue
        parameters = list(inspect.signature(reader.read).parameters.values())[1:]
        known = [p.name for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)]
        unknown = [name for name in chosen if name not in known]
        if unknown and not any(p.kind is p.VAR_KEYWORD for p in parameters):
            raise click.BadParameter(
                f"the {modality} reader has no option {unknown[0]!r}; it has: {', '.join(known) or 'none'}",
                param_hint="-O",
            )


def gather(
    by_modality: Mapping[str, Iterable[str]],
    files: Sequence[str] = (),
    modality: str | None = None,
    lists: Sequence[str] = (),
    reader: Sequence[str] = (),
) -> Sources:
    """The sources that options, arguments and list files name, in that order.

    Raises:
        click.UsageError: files without a stated modality, or nothing at all.
        InputError: a list file cannot be read.
    """
    if files and modality is None:
        raise click.UsageError(
            f"say what {files[0]} is: --modality image|video|text|audio|depth|thermal|imu, "
            f"or --image {files[0]}, --audio {files[0]}, ..."
        )
    items = [Source(m.value, value) for m in Modality for value in by_modality.get(m.value) or ()]
    items += [Source(str(modality), value) for value in files]
    for path in lists:
        items += read_list(path, modality)
    if not items:
        raise click.UsageError(
            "nothing to read: give FILES with --modality, or --image FILE, --text SENTENCE, ..."
        )
    return Sources(items, parse_reader_options(reader))


def read_list(path: str, modality: str | None) -> list[Source]:
    """Sources from a file (``-`` for stdin) with one a line: ``source``, or ``modality<TAB>source``.

    Raises:
        InputError: the file cannot be read, or a line names no modality and none was given.
    """
    sources = []
    try:
        with nullcontext(sys.stdin) if path == "-" else Path(path).open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    sources.append(_listed(line.rstrip("\n"), modality, f"{path}, line {number}"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(path, found=reason, expected="a UTF-8 text file with one source a line") from None
    return sources


def _listed(line: str, modality: str | None, place: str) -> Source:
    head, tab, rest = line.partition("\t")
    stated = _NAMES.get(head.strip()) if tab else None
    if stated is not None:
        return Source(stated, rest.strip())
    if modality is None:
        found = repr(line if len(line) <= 60 else f"{line[:57]}...")
        raise InputError(place, found=found, expected="modality<TAB>source, as no --modality is given")
    return Source(modality, line.strip())


def short_names(sources: Sequence[Source], width: int = 40) -> list[str]:
    """How tables name sources: files by as much of their path's end as tells them apart, sentences in quotes."""
    names = [f"“{s.value}”" if s.is_text else Path(s.value).name for s in sources]
    for i, source in enumerate(sources):
        others = [o.value for o in sources if not o.is_text and Path(o.value).name == Path(source.value).name]
        if not source.is_text and len(set(others)) > 1:
            names[i] = "/".join(Path(source.value).parts[-2:])
    return [name if len(name) <= width else f"{name[: width - 1]}…" for name in names]
