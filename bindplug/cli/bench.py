"""``bindplug bench``: how fast a model runs here, at equal numbers, and how near the machine's limit."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

import click

from bindplug.cli.options import DEFAULT_MODEL, ModelChoice, device_option, output_options
from bindplug.device import resolve_device

if TYPE_CHECKING:
    import torch

    from bindplug.bench.throughput import Measurement
    from bindplug.encoder import Encoder


@click.command()
@click.argument("name", default="", metavar="[MODEL]")
@click.option("--model", help=f"As MODEL, {DEFAULT_MODEL} by default.")
@click.option(
    "--modalities",
    multiple=True,
    metavar="A,B,...",
    help="Which to measure; all, without video, by default. Repeatable.",
)
@click.option(
    "--dtype",
    "dtypes",
    multiple=True,
    default=["fp32,bf16"],
    show_default=True,
    help="Some of fp32, bf16, fp16, int8, or torch's names for them. Repeatable.",
)
@click.option(
    "--batch-size",
    "--batch",
    "batch_size",
    type=click.IntRange(min=1),
    default=8,
    show_default=True,
    help="Images, texts or clips in one pass.",
)
@click.option(
    "--repeats", type=click.IntRange(min=1), default=5, show_default=True, help="Measurements of each."
)
@device_option
@click.option("--pack", "packed", is_flag=True, help="Pack the weights for the CPU first.")
@click.option("--compile", "compiled", is_flag=True, help="Compile the model's blocks first.")
@output_options
def bench(
    name: str,
    model: str | None,
    modalities: tuple[str, ...],
    dtypes: tuple[str, ...],
    batch_size: int,
    repeats: int,
    device: str,
    packed: bool,
    compiled: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Measure how fast MODEL, a name or a path, runs on this machine.

    Every modality in every dtype, on noise of the right shape: items per second, the least cosine with float32 rows
    (float32 itself is compared with items embedded one by one), the share of the rate that this machine's matrix
    products reach in that dtype, and peak memory. Exits with 1 if a dtype's numbers are not float32's.

    \b
    bindplug bench imagebind_tiny --dtype fp32,bf16 --modalities image,audio
    """
    from bindplug.bench.machine import describe
    from bindplug.bench.plan import modality_names, parse_dtypes, run
    from bindplug.cli.messages import FAILED, OK
    from bindplug.progress import iterate_with_progress

    if name and model:
        raise click.UsageError(f"two models: {name} and --model {model}")
    model = name or model or DEFAULT_MODEL
    dtype_names = parse_dtypes(",".join(dtypes))
    place = str(resolve_device(device))

    def load(modality: str | None, dtype: torch.dtype | None = None) -> Encoder:
        format_name = None if dtype is None else str(dtype).removeprefix("torch.")
        return ModelChoice(model, device, format_name).load(None if modality is None else [modality])

    names = modality_names(",".join(modalities) or None, _modalities(model, load))
    machine = describe(place)  # before this command's own load counts
    steps = run(load, names, dtype_names, batch=batch_size, repeats=repeats, packed=packed, compiled=compiled)
    total = len(names) * len(dtype_names)
    measurements = list(iterate_with_progress(steps, label="measuring", total=total, quiet=quiet or None))
    report = {
        "model": model,
        "device": place,
        "packed": packed,
        "compiled": compiled,
        "batch_size": batch_size,
        "repeats": repeats,
        "machine": machine,
        "results": [measurement.to_dict() for measurement in measurements],
    }
    if as_json:
        from bindplug.cli.tables import print_json

        print_json(report)
    else:
        _show(report, measurements)
    return OK if all(measurement.equal for measurement in measurements) else FAILED


def _modalities(model: str, load: Any) -> list[str]:
    """What the model can embed: its card says so without loading it, else it is loaded once."""
    from bindplug.models import list_models

    cards = {card.name: card for card in list_models()}
    return list(cards[model].modalities if model in cards else load(None).modalities)


def _show(report: dict[str, Any], measurements: list[Measurement]) -> None:
    from rich.markup import escape
    from rich.table import Table
    from rich.text import Text

    from bindplug.cli.tables import console

    out = console()
    machine = report["machine"]
    out.print(f"[bold]{escape(report['model'])}[/] on {escape(machine['device'])}")
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for name, justify in (
        ("", "left"), ("dtype", "left"), ("items/s", "right"), ("least, most", "left"), ("cosine", "right"),
        ("of square", "right"), ("of own", "right"), ("peak", "right"),
    ):  # fmt: skip
        table.add_column(name, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    for measurement in measurements:
        middle, least, most = (
            statistics.median(measurement.items_per_s),
            min(measurement.items_per_s),
            max(measurement.items_per_s),
        )
        table.add_row(
            measurement.modality,
            measurement.dtype,
            _number(middle),
            f"[dim]{_number(least)}, {_number(most)}[/]",
            Text(f"{measurement.cosine:.5f}", style="" if measurement.equal else "bold red"),
            _share(measurement.share_of(measurement.square_rate)),
            _share(measurement.share_of(measurement.own_rate)),
            "" if measurement.peak_bytes is None else f"{measurement.peak_bytes / 1e9:.2f} GB",
        )
    out.print(table)
    for measurement in measurements:
        if not measurement.equal:
            out.print(
                f"[bold red]UNEQUAL[/] {measurement.modality} in {measurement.dtype}: least cosine "
                f"{measurement.cosine:.6f}, "
                f"largest difference {measurement.deviation:.1e} of the largest number"
            )
    out.print(_legend(report, measurements), style="dim")


def _legend(report: dict[str, Any], measurements: list[Measurement]) -> str:
    machine = report["machine"]
    lines = [
        f"Passes of {report['batch_size']} images, texts or clips; medians of {report['repeats']}; "
        f"{machine['threads']} threads, torch {machine['torch']}. cosine: the least with float32 rows."
    ]
    rates = {
        measurement.dtype: measurement.square_rate
        for measurement in measurements
        if measurement.square_rate is not None
    }
    if rates:
        rates_text = ", ".join(f"{rate / 1e9:.0f} in {dtype}" for dtype, rate in rates.items())
        lines.append(
            f"Shares of the rate of one large square matrix product (GFLOP/s: {rates_text}) and of the model's own "
            "products alone, measured beside it."
        )
    if machine["load_1_min"] > machine["cores"] / 2:
        lines.append(f"Load {machine['load_1_min']:.1f} on {machine['cores']} cores: other work slows this.")
    return "\n".join(lines)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.0%}"
