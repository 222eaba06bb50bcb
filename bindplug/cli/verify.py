"""``bindplug verify``: are these weights what they should be?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

import click

from bindplug.cli.options import device_option, output_options
from bindplug.errors import BindplugError, CheckpointError, InputError, MissingDependency

if TYPE_CHECKING:
    from torch import Tensor

    from bindplug.encoder import Encoder
    from bindplug.imagebind import ImageBind

SAMPLES = ("{}_image.jpg", "{}_audio.wav")
"""Names of the original's sample files. Source: the ``.assets`` directory of the original ImageBind."""


@click.command()
@click.argument("models", nargs=-1)
@click.option("--model", "further", multiple=True, metavar="MODEL", help="As MODELS. Repeatable.")
@click.option(
    "--samples",
    metavar="DIR",
    help="Directory with the original's dog_image.jpg, dog_audio.wav, car_..., bird_..., for its published table.",
)
@device_option
@output_options
def verify(
    models: tuple[str, ...],
    further: tuple[str, ...],
    samples: str | None,
    device: str,
    as_json: bool,
    quiet: bool,
) -> int:
    """Check weights: MODELS are names or paths; without any, all weights found on this machine.

    Converted directories are compared with their checksums and loaded strictly. ImageBind's published
    checkpoint must moreover reproduce the figures that its authors and others published.
    """
    from bindplug.cli.messages import FAILED, OK

    chosen = [*models, *further]
    names = chosen or _names_here()
    if not names:
        raise CheckpointError("no weights are on this machine; name a model or a path")
    if samples and not Path(samples).is_dir():
        raise InputError(samples, found="no such directory", expected="the original's six sample files")
    results = [report_on(name, samples, device, optional=not chosen) for name in names]
    if as_json:
        from bindplug.cli.tables import print_json

        print_json(results)
    else:
        _show(results)
    return OK if all(result["passed"] for result in results) else FAILED


def report_on(
    name: str, samples: str | None = None, device: str = "cpu", *, optional: bool = False
) -> dict[str, Any]:
    """Every check that fits one model: ``{"model", "passed", "checks": [{"name", "passed", "note"}]}``.

    With ``optional``, a model whose package is not installed is no failure.
    """
    checks: list[dict[str, Any]] = []
    try:
        path = _weights_of(name)
        if path is not None and path.is_dir():
            checks += _checksums(path)
        if all(check["passed"] is not False for check in checks):
            checks += _loading(name, samples, device)
    except MissingDependency as error:
        checks.append({"name": "loads", "passed": None if optional else False, "note": str(error)})
    except BindplugError as error:
        checks.append({"name": "weights", "passed": False, "note": str(error)})
    has_passed = bool(checks) and all(check["passed"] is not False for check in checks)
    return {"model": name, "passed": has_passed, "checks": checks}


def _names_here() -> list[str]:
    from bindplug.hub import find_weights
    from bindplug.models import list_models

    names = []
    for card in list_models():
        try:
            if card.loader or find_weights(card) is not None:
                names.append(card.name)
        except BindplugError:
            names.append(card.name)  # damaged or lacking: the check will say how
    return names


def _weights_of(name: str) -> Path | None:
    from bindplug.errors import WeightsNotFound
    from bindplug.hub import find_weights
    from bindplug.models import list_models

    cards = {card.name: card for card in list_models()}
    if name not in cards:
        return Path(name)
    card = cards[name]
    weights = find_weights(card) if card.weights or card.url else None
    if weights is None and not card.loader:
        raise WeightsNotFound(
            f"the weights of {name} are not on this machine; `bindplug models` says where they go"
        )
    return weights


def _checksums(directory: Path) -> list[dict[str, Any]]:
    from bindplug.directories import sha256_of
    from bindplug.imagebind import read_manifest

    try:
        towers = read_manifest(directory)["towers"]
    except CheckpointError:  # another library's layout, a bound tower's, or damage, which loading tells
        note = "none are recorded in this layout"
        return [{"name": "checksums", "passed": None, "note": note}]
    checks = []
    for tower, entry in towers.items():
        file = directory / f"{tower}.safetensors"
        expected = entry.get("sha256") if isinstance(entry, dict) else None
        right = file.is_file() and sha256_of(file) == expected
        note = (
            "sha256 as recorded"
            if right
            else "missing"
            if not file.is_file()
            else "sha256 differs from the record"
        )
        checks.append({"name": file.name, "passed": right, "note": note})
    return checks


def _loading(name: str, samples: str | None, device: str) -> list[dict[str, Any]]:
    """Load strictly, and where it is the published network, compare with the published figures."""
    from bindplug.models import load

    model = load(name, device=device)
    dtype = str(model.dtype).removeprefix("torch.")
    checks: list[dict[str, Any]] = [
        {
            "name": "loads",
            "passed": True,
            "note": f"{', '.join(model.modalities)}; {dtype}; {model.embedding_space}",
        }
    ]
    if has_published_shape(model):
        checks += _published(model, samples)
    return checks


def has_published_shape(model: Encoder) -> TypeGuard[ImageBind]:
    """Whether a model is an ImageBind of the published size, so that the published figures are about it."""
    from bindplug.imagebind import ImageBind, ImageBindConfig

    return isinstance(model, ImageBind) and model.config == ImageBindConfig.huge()


def _published(model: ImageBind, samples: str | None) -> list[dict[str, Any]]:
    from bindplug.imagebind.published_figures import verify as compare

    images, sounds = _samples(model, samples) if samples else (None, None)
    report = compare(model, images=images, sounds=sounds)
    checks: list[dict[str, Any]] = [
        {
            "name": f"published {check.name} ({check.form})",
            "passed": check.passed,
            "note": f"deviation {check.deviation:.1e}, allowed {check.tolerance:.1e}",
            "expected": list(check.expected),
            "found": list(check.found),
        }
        for check in report.checks
    ]
    hint = "" if samples else "; --samples DIR names them"
    return checks + [
        {"name": f"published {name}", "passed": None, "note": f"not compared: {reason}{hint}"}
        for name, reason in report.skipped.items()
    ]


def _samples(model: ImageBind, directory: str) -> tuple[Tensor, Tensor]:
    from bindplug.imagebind.published_figures import TABLE_ITEMS

    pictures, recordings = ([Path(directory) / name.format(item) for item in TABLE_ITEMS] for name in SAMPLES)
    return model.preprocess["image"].batch(pictures).stack(), model.preprocess["audio"].batch(
        recordings
    ).stack()


def _show(results: list[dict[str, Any]]) -> None:
    from rich.markup import escape

    from bindplug.cli.tables import console

    marks = {True: "[green]ok  [/]", False: "[bold red]FAIL[/]", None: "[dim]skip[/]"}
    out = console()
    for result in results:
        out.print(f"[bold]{escape(result['model'])}[/]")
        for check in result["checks"]:
            out.print(f"  {marks[check['passed']]} {escape(check['name'])}: {escape(check['note'])}")
