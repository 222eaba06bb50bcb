"""Options that several commands share, spelled the same everywhere."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from bindplug.errors import InputError

if TYPE_CHECKING:
    from bindplug.encoder import Encoder

F = TypeVar("F", bound=Callable[..., Any])
DTYPES = ("float32", "float16", "bfloat16")
DEFAULT_MODEL = "imagebind_tiny"
QUIET_VARIABLE = "BINDPLUG_QUIET"
"""Environment variable that withholds progress bars everywhere."""


@dataclass(frozen=True)
class ModelChoice:
    """Which model to load and how, and how many items go through it at once."""

    name: str = DEFAULT_MODEL
    device: str = "cpu"
    dtype: str | None = None
    batch_size: int = 32

    def load(self, modalities: Iterable[str] | None = None) -> Encoder:
        """The model, with the towers of these modalities only; with all of them for None.

        Raises:
            InputError: there is no such device here.
            UnknownModel, WeightsNotFound, CheckpointError: as :func:`bindplug.models.load`.
        """
        import torch

        from bindplug.models import load

        try:
            torch.empty(0, device=torch.device(self.device))
        except (RuntimeError, AssertionError) as error:
            reason = str(error).strip().splitlines()[0]
            found = f"{self.device!r} ({reason})"
            raise InputError(
                "--device", found=found, expected="a device of this machine: cpu, cuda, ..."
            ) from None
        wanted = None if modalities is None else set(modalities)
        dtype = getattr(torch, self.dtype) if self.dtype else None
        return load(self.name, modalities=wanted, device=self.device, dtype=dtype)


def output_options(command: F) -> F:
    """Add ``--json`` (the parameter ``as_json``) and ``--quiet``."""
    quiet = click.option(
        "--quiet", "-q", is_flag=True, callback=_silence, help="No progress bars, no warnings, no remarks."
    )
    command = quiet(command)
    return click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")(command)


def _silence(ctx: click.Context, param: click.Parameter, value: bool) -> bool:
    """Downloads and readers ask the environment; what it held returns when the command ends."""
    before = os.environ.get(QUIET_VARIABLE)
    if value and before is None:
        os.environ[QUIET_VARIABLE] = "1"
        ctx.call_on_close(lambda: os.environ.pop(QUIET_VARIABLE, None))
    return value


def model_options(command: F) -> F:
    """Add ``--model --device --dtype --batch-size``, which reach the command as one ``choice``."""

    @functools.wraps(command)
    def gathered(*, model: str, device: str, dtype: str | None, batch_size: int, **rest: Any) -> Any:
        return command(choice=ModelChoice(model, device, dtype, batch_size), **rest)

    options = (
        click.option(
            "--model", default=DEFAULT_MODEL, show_default=True, help="Name of a model, or path to weights."
        ),
        click.option("--device", default="cpu", show_default=True, help="cpu, cuda, cuda:1, mps, ..."),
        click.option(
            "--dtype", type=click.Choice(DTYPES), help="Of the weights; what they were saved in by default."
        ),
        click.option(
            "--batch-size",
            type=click.IntRange(min=1),
            default=32,
            show_default=True,
            help="Items in one pass.",
        ),
    )
    for option in reversed(options):
        gathered = option(gathered)
    return gathered  # type: ignore[return-value]
