"""What every reader shares: one item or a batch, and the choice to raise on bad input or to skip it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from bindplug.errors import InputError
from bindplug.inputs.progress import iterate_with_progress
from bindplug.inputs.source import check_choice, describe_source
from bindplug.modality import Modality

Options = Mapping[str, Any]


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
        items: one tensor for each kept source, without a batch axis.
        kept: the kept sources' places in the list given, ascending.
        skipped: what was left out, and why.
    """

    items: list[Tensor] = field(default_factory=list)
    kept: list[int] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.items)

    def stack(self) -> Tensor:
        """The items as one tensor, (len(kept), ...).

        Raises:
            InputError: nothing was kept, or the items differ in shape (a differing number of clips).
        """
        if not self.items:
            reasons = "; ".join(skip.reason for skip in self.skipped[:3]) or "the batch had no sources"
            raise InputError(
                "<batch>", found=f"nothing to stack ({reasons})", expected="at least one good source"
            )
        shapes = {tuple(item.shape) for item in self.items}
        if len(shapes) > 1:
            raise InputError(
                "<batch>", found=f"items of shapes {sorted(shapes)}", expected="one shape",
                remedy="Ask for the same number of clips of each source.",
            )  # fmt: skip
        return torch.stack(self.items)

    def report(self) -> str:
        """One line a skipped source, empty if none was skipped."""
        return "\n".join(f"skipped #{skip.index} {skip.reason}" for skip in self.skipped)


class Preprocess(ABC):
    """Turns sources of one modality into what the network takes.

    Two steps: :meth:`read` brings a source into memory and checks it, :meth:`finish` makes tensors of
    what was read. Calling the object does both for one source. Both are called from several threads at once
    when an encoder reads ahead of its model, so neither may keep state between calls.
    """

    modality: ClassVar[Modality]
    joint: ClassVar[bool] = False
    """Whether :meth:`finish` gains from seeing a whole batch at once."""

    @abstractmethod
    def read(self, *args: Any, **options: Any) -> Any:
        """Read and check one source (the only positional argument).

        Raises:
            InputError: the source cannot become model input.
        """

    @abstractmethod
    def finish(self, readings: Sequence[Any], device: torch.device | str | None = None) -> list[Tensor]:
        """Model inputs, float32 on ``device`` (CPU by default), one for each of ``readings``."""

    def __call__(self, source: object, **options: Any) -> Tensor:
        """Model input from one source: float32 on the CPU, without a batch axis.

        Args:
            source: see the class.
            options: the reader's options, see :meth:`read`.

        Raises:
            InputError: the source cannot become model input.
        """
        return self.finish([self.read(source, **options)])[0]

    def batch(
        self,
        sources: Iterable[object],
        *,
        options: Options | Sequence[Options] | None = None,
        on_error: str = "raise",
        progress: bool = False,
        device: torch.device | str | None = None,
    ) -> Batch:
        """Model inputs from many sources.

        Args:
            sources: what to read; an iterable is asked for one at a time.
            options: reader options, one mapping for all or one for each source.
            on_error: ``"raise"`` at the first bad source, or ``"skip"`` it and report it.
            progress: whether to draw a bar on stderr once reading takes over two seconds.
            device: where the tensors are made; the CPU by default.

        Raises:
            InputError: a source is bad and ``on_error="raise"``.
            MissingDependency: a package that reads the format is absent (never skipped).
        """
        check_choice("on_error", on_error, ("raise", "skip"))
        batch, readings = Batch(), []
        steps = iterate_with_progress(
            enumerate(_with_options(sources, options)),
            label=f"reading {self.modality}",
            total=len(sources) if isinstance(sources, Sized) else None,
            quiet=None if progress else True,
        )
        for index, (source, chosen) in steps:
            try:
                reading = self.read(source, **chosen)
                if self.joint:
                    readings.append(reading)
                else:
                    batch.items += self.finish([reading], device)
            except InputError as error:
                if on_error == "raise":
                    raise
                batch.skipped.append(Skipped(index, describe_source(source), str(error)))
                continue
            batch.kept.append(index)
        if readings:
            batch.items = self.finish(readings, device)
        return batch


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
