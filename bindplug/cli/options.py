"""Options that several commands share, spelled the same everywhere."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from bindplug.device import AUTO, DTYPES, describe_device, resolve_device, resolve_dtype
from bindplug.errors import InputError

if TYPE_CHECKING:
    import torch

    from bindplug.encoder import Encoder

F = TypeVar("F", bound=Callable[..., Any])
DEFAULT_MODEL = "imagebind_tiny"
QUIET_VARIABLE = "BINDPLUG_QUIET"
"""Environment variable that withholds progress bars everywhere."""


DTYPE_ALIASES = ", ".join(alias for alias, name in DTYPES.items() if alias != name)


class DtypeName(click.Choice):
    """A dtype by torch's name; ``fp32``, ``fp16`` and ``bf16`` are understood too."""

    def __init__(self) -> None:
        super().__init__(sorted(set(DTYPES.values()), reverse=True), case_sensitive=False)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return super().convert(DTYPES.get(str(value).lower(), value), param, ctx)


def dtype_help(what: str) -> str:
    """Help of an option for a dtype, aliases included, as ``"Of the weights; ..."``."""
    return f"{what}; what they were saved in by default. {DTYPE_ALIASES} are understood too."


@dataclass(frozen=True)
class ModelChoice:
    """Which model to load and how, and how many items go through it at once."""

    name: str = DEFAULT_MODEL
    device: str = AUTO
    dtype: str | None = None
    batch_size: int = 32

    @property
    def torch_device(self) -> torch.device:
        """The device that ``device`` names.

        Raises:
            InputError: there is no such device here.
        """
        return resolve_device(self.device)

    def load(self, modalities: Iterable[str] | None = None) -> Encoder:
        """The model, with the towers of these modalities only; with all of them for None.

        Raises:
            InputError: there is no such device here.
            UnknownModel, WeightsNotFound, CheckpointError: as :func:`bindplug.models.load`.
        """
        from bindplug.models import load

        device = self.torch_device
        announce_toy(self.name)
        names = None if modalities is None else set(modalities)
        model = load(self.name, modalities=names, device=device, dtype=resolve_dtype(self.dtype))
        if self.device == AUTO:
            announce_device(device)
        return model


def announce_toy(name: str) -> None:
    """Say on stderr, once in a command, that a model of this name is a toy, if it is one."""
    from bindplug.models import list_models

    context = click.get_current_context(silent=True)
    if context is None or context.params.get("quiet") or context.meta.get("bindplug.toy"):
        return
    if any(card.name == name and card.toy for card in list_models(tool=None)):
        context.meta["bindplug.toy"] = name
        line = f"bindplug: {name} knows a toy world of 20 things; use imagebind_huge for real data"
        click.echo(line, err=True)


def announce_device(device: torch.device) -> None:
    """Say on stderr, once in a command, which device ``auto`` stands for."""
    context = click.get_current_context(silent=True)
    if context is None or context.params.get("quiet") or context.meta.get("bindplug.device") == str(device):
        return
    context.meta["bindplug.device"] = str(device)
    click.echo(f"bindplug: device {describe_device(device)}", err=True)


def output_options(command: F) -> F:
    """Add ``--json`` (the parameter ``as_json``) and ``--quiet``."""
    quiet = click.option(
        "--quiet", "-q", is_flag=True, callback=_silence, help="No progress bars, no warnings, no remarks."
    )
    command = quiet(command)
    return click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")(command)


def _silence(ctx: click.Context, param: click.Parameter, value: bool) -> bool:
    """Downloads and readers look into the environment; what it held returns when the command ends."""
    before = os.environ.get(QUIET_VARIABLE)
    if value and before is None:
        os.environ[QUIET_VARIABLE] = "1"
        ctx.call_on_close(lambda: os.environ.pop(QUIET_VARIABLE, None))
    return value


def overwrite_option(command: F) -> F:
    """Add ``--overwrite``, for :func:`ensure_new`."""
    return click.option("--overwrite", is_flag=True, help="Replace what is there.")(command)


def on_error_option(command: F) -> F:
    """Add ``--on-error raise|skip``."""
    return click.option(
        "--on-error",
        type=click.Choice(["raise", "skip"]),
        default="raise",
        show_default=True,
        help="Stop at a bad file, or leave it out, name it and exit with 3.",
    )(command)


def ensure_new(paths: Iterable[Path], overwrite: bool) -> None:
    """Return if nothing stands where results go, or it may be replaced.

    Raises:
        InputError: naming the first path that is taken.
    """
    for path in paths:
        if not overwrite and (path.exists() or path.is_symlink()):
            raise InputError(
                str(path),
                found="a file of an earlier run or of somebody else",
                expected="a new place",
                remedy="Say --overwrite to replace it, or give another --output",
            )


def device_option(command: F) -> F:
    """Add ``--device``."""
    return click.option(
        "--device",
        default=AUTO,
        show_default=True,
        help="cpu, cuda, cuda:1, mps, ...; auto takes a GPU where there is one.",
    )(command)


def model_options(command: F) -> F:
    """Add ``--model --device --dtype --batch-size``, which reach the command as one ``choice``."""

    @functools.wraps(command)
    def with_choice(*, model: str, device: str, dtype: str | None, batch_size: int, **rest: Any) -> Any:
        return command(choice=ModelChoice(model, device, dtype, batch_size), **rest)

    options = (
        click.option(
            "--model", default=DEFAULT_MODEL, show_default=True, help="Name of a model, or path to weights."
        ),
        device_option,
        click.option("--dtype", type=DtypeName(), help=dtype_help("Of the weights")),
        click.option(
            "--batch-size",
            type=click.IntRange(min=1),
            default=32,
            show_default=True,
            help="Items in one pass.",
        ),
    )
    for option in reversed(options):
        with_choice = option(with_choice)
    return with_choice  # type: ignore[return-value]


def split_names(values: Iterable[str]) -> list[str]:
    """Names from a repeatable option whose values may each hold several, joined by commas; blanks are dropped."""
    return [name for value in values for name in (part.strip() for part in value.split(",")) if name]
