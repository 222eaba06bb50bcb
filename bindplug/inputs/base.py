"""What every reader shares: one item or a batch, and the choice to raise on bad input or to skip it."""

from __future__ import annotations

import functools
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from bindplug.errors import BindplugError, InputError
from bindplug.inputs.notes import Note, collected_notes, deliver, notes_on
from bindplug.inputs.source import check_choice, describe_source
from bindplug.modality import Modality
from bindplug.progress import iterate_with_progress

Options = Mapping[str, Any]
ModelInput = Tensor | Mapping[str, Tensor]
"""What a network takes: one tensor, or the named tensors of a library's processor."""
LONGEST_REASON = 200


@dataclass(frozen=True)
class Skipped:
    """A source left out of a batch: its place in the list, its name, and why."""

    index: int
    source: str
    reason: str


@dataclass
class Batch:
    """Model inputs made from a list of sources.

    Attributes:
        items: one tensor, or several named ones, for each kept source, without a batch axis.
        kept: the kept sources' places in the list given, ascending.
        skipped: what was left out, and why.
        notes: remarks on the kept sources, see :class:`bindplug.inputs.Note`.
    """

    items: list[ModelInput] = field(default_factory=list)
    kept: list[int] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.items)

    def stack(self) -> Any:
        """The items as one tensor (len(kept), ...), or as one such tensor for each name.

        Raises:
            InputError: nothing was kept, or the items differ in shape (a differing number of clips).
        """
        if not self.items:
            reasons = "; ".join(skip.reason for skip in self.skipped[:3]) or "the batch had no sources"
            raise InputError(
                "<batch>", found=f"nothing to stack ({reasons})", expected="at least one good source"
            )
        shapes = {shape_of(item) for item in self.items}
        if len(shapes) > 1:
            raise InputError(
                "<batch>", found=f"items of shapes {sorted(shapes)}", expected="one shape",
                remedy="Ask for the same number of clips of each source.",
            )  # fmt: skip
        return stack_items(self.items)

    def report(self) -> str:
        """One line a skipped source and one a note; empty if there are none."""
        lines = [f"skipped #{skip.index} {skip.reason}" for skip in self.skipped]
        return "\n".join([*lines, *(f"note on #{item.index} {item}" for item in self.notes)])


def shape_of(item: ModelInput) -> tuple[Any, ...]:
    """The shape of a tensor; of named tensors, pairs of name and shape."""
    if isinstance(item, Tensor):
        return tuple(item.shape)
    return tuple((name, tuple(part.shape)) for name, part in sorted(item.items()))


def stack_items(items: Sequence[ModelInput]) -> ModelInput:
    """Items of one shape with a batch axis in front, name by name where they have names."""
    tensors = [item for item in items if isinstance(item, Tensor)]
    if len(tensors) == len(items):
        return torch.stack(tensors)
    named_inputs = [item for item in items if not isinstance(item, Tensor)]
    return {name: torch.stack([item[name] for item in named_inputs]) for name in named_inputs[0]}


@contextmanager
def decoding(source: object, expected: str = "a readable source") -> Iterator[None]:
    """Turn whatever a decoder raises in the block into an ``InputError`` that names ``source``.

    Errors of bindplug's own pass, and so does what ends the program. :class:`Preprocess` puts this around every
    :meth:`Preprocess.read`; use it inside one where ``expected`` can say more.

    Raises:
        InputError: the block raised anything else.
    """
    try:
        yield
    except (BindplugError, torch.cuda.OutOfMemoryError):
        raise
    except MemoryError as error:
        remedy = "Cut or scale it down; a damaged header may also claim any size."
        problem = f"more data than this machine has memory for ({_reason(error)})"
        raise InputError(describe_source(source), found=problem, expected=expected, remedy=remedy) from error
    except Exception as error:
        problem = f"data that cannot be decoded ({_reason(error)})"
        raise InputError(describe_source(source), found=problem, expected=expected) from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # what extensions in Rust raise
            raise
        problem = f"data that cannot be decoded ({_reason(error)})"
        raise InputError(describe_source(source), found=problem, expected=expected) from error


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split())
    text = text if len(text) <= LONGEST_REASON else f"{text[:LONGEST_REASON]}…"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _with_boundary(read: Callable[..., Any]) -> Callable[..., Any]:
    """``read`` so that only bindplug's errors leave it, and its notes are attributed to the source."""
    signature = inspect.signature(read)

    @functools.wraps(read)
    def guarded(self: Preprocess, source: object, *rest: Any, **options: Any) -> Any:
        signature.bind(self, source, *rest, **options)  # an unknown option is the caller's TypeError
        with notes_on(source), decoding(source, f"a readable {self.modality} source"):
            return read(self, source, *rest, **options)

    return guarded


class Preprocess(ABC):
    """Turns sources of one modality into what the network takes.

    Two steps: :meth:`read` brings a source into memory and checks it, :meth:`finish` makes tensors of
    what was read. Calling the object does both for one source. Both are called from several threads at once
    when an encoder reads ahead of its model, so neither may keep state between calls.
    """

    modality: ClassVar[Modality]
    joint: ClassVar[bool] = False
    """Whether :meth:`finish` gains from seeing a whole batch at once."""

    def __init_subclass__(cls, **options: Any) -> None:
        """Put the boundary for errors and notes around the reader's own :meth:`read`."""
        super().__init_subclass__(**options)
        if "read" in vars(cls):
            cls.read = _with_boundary(vars(cls)["read"])  # type: ignore[method-assign]

    @abstractmethod
    def read(self, *args: Any, **options: Any) -> Any:
        """Read and check one source (the only positional argument).

        Remarks go through :func:`bindplug.inputs.note`. Whatever a decoder raises leaves this method as an
        ``InputError`` with the source's name; ``BindplugError`` passes.

        Raises:
            InputError: the source cannot become model input.
        """

    def duration(self, source: object, **options: Any) -> float:
        """Length of a recording in seconds.

        Args:
            source: see the class.
            options: the reader's options.

        Raises:
            InputError: the source cannot be read, or has no length in time.
        """
        problem = f"a source of {self.modality}, which has no length in time"
        raise InputError(
            describe_source(source), found=problem, expected="a sound, a video or a motion recording"
        )

    @abstractmethod
    def finish(
        self, readings: Sequence[Any], device: torch.device | str | None = None
    ) -> Sequence[ModelInput]:
        """Model inputs, float32 on ``device`` (CPU by default), one for each of ``readings``."""

    def __call__(self, source: object, **options: Any) -> Any:
        """Model input from one source: float32 on the CPU, without a batch axis; named tensors of some models.

        Args:
            source: see the class.
            options: the reader's options, see :meth:`read`.

        Raises:
            InputError: the source cannot become model input.
        """
        reading = self.read(source, **options)
        with decoding(source):
            return self.finish([reading])[0]

    def batch(
        self,
        sources: Iterable[object],
        *,
        options: Options | Sequence[Options] | None = None,
        on_error: str = "raise",
        progress: bool = False,
        device: torch.device | str | None = None,
    ) -> Batch:
        """Model inputs from many sources; what is remarked on them is in ``notes`` and issued as warnings.

        Args:
            sources: what to read; an iterable is consumed one at a time.
            options: reader options, one mapping for all or one for each source.
            on_error: ``"raise"`` at the first bad source, or ``"skip"`` it and report it.
            progress: whether to draw a bar on stderr once reading takes over two seconds.
            device: where the tensors are made; the CPU by default.

        Raises:
            InputError: a source is bad and ``on_error="raise"``.
            OptionError, MissingDependency: an option has a value that it does not take, or the package that
                reads this modality is absent (never skipped: every source would fail).
        """
        check_choice("on_error", on_error, ("raise", "skip"))
        batch, readings = Batch(), []
        names: list[object] = []
        steps = iterate_with_progress(
            enumerate(_with_options(sources, options)),
            label=f"reading {self.modality}",
            total=len(sources) if isinstance(sources, Sized) else None,
            quiet=None if progress else True,
        )
        for index, (source, reader_options) in steps:
            try:
                with collected_notes() as notes:
                    reading = self.read(source, **reader_options)
                if self.joint:
                    readings.append(reading)
                    names.append(source)
                else:
                    with decoding(source):
                        batch.items += self.finish([reading], device)
            except InputError as error:
                if on_error == "raise":
                    raise
                batch.skipped.append(Skipped(index, describe_source(source), str(error)))
                continue
            batch.kept.append(index)
            batch.notes += [Note(index, item.source, item.text) for item in notes]
        if readings:
            self._finish_jointly(batch, readings, names, on_error, device)
        deliver(batch.notes)
        return batch

    def _finish_jointly(
        self,
        batch: Batch,
        readings: Sequence[Any],
        sources: Sequence[object],
        on_error: str,
        device: torch.device | str | None,
    ) -> None:
        """Fill ``batch.items`` in one call of :meth:`finish`; if that fails, one by one to find the culprit."""
        try:
            batch.items = list(self.finish(readings, device))
            return
        except torch.cuda.OutOfMemoryError:
            raise
        except Exception as error:
            failure = error
        items: list[ModelInput] = []
        places = []
        for reading, source, index in zip(readings, sources, batch.kept, strict=True):
            try:
                with decoding(source):
                    items += self.finish([reading], device)
            except InputError as error:
                if on_error == "raise":
                    raise error from failure
                batch.skipped.append(Skipped(index, describe_source(source), str(error)))
            else:
                places.append(index)
        batch.items, batch.kept = items, places
        batch.notes = [item for item in batch.notes if item.index in places]
        batch.skipped.sort(key=lambda skip: skip.index)


def to_device(tensor: Tensor, device: torch.device | str | None) -> Tensor:
    """``tensor`` on ``device`` (CPU by default); to a CUDA device from pinned memory, without waiting for it."""
    target = torch.device(device or "cpu")
    if target.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(target, non_blocking=True)
    return tensor.to(target)


def _with_options(
    sources: Iterable[object], options: Options | Sequence[Options] | None
) -> Iterator[tuple[object, Options]]:
    if options is None or isinstance(options, Mapping):
        return ((source, options or {}) for source in sources)
    if isinstance(sources, Sized) and len(options) != len(sources):
        raise ValueError(
            f"{len(options)} option mappings for {len(sources)} sources; expected one each, or one for all"
        )
    return zip(sources, options, strict=True)
