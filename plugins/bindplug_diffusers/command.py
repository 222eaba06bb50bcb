"""``bindplug generate``: pictures of queries, from the command line."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bindplug.cli.building import (
    DEFAULT_MODEL,
    DtypeName,
    ModelChoice,
    SourceCommand,
    Sources,
    check_reader_options,
    device_option,
    dtype_help,
    ensure_new,
    gather,
    output_options,
    overwrite_option,
    parse_weights,
    reader_options,
    source_options,
)
from bindplug.errors import InputError
from bindplug.query import Query, interpolate
from bindplug_diffusers.pipeline_loader import DEFAULT_PIPELINE, load_pipeline, quiet_logging

if TYPE_CHECKING:
    from PIL.Image import Image

GRID_COLUMNS = 8
SEEDS = 2**32


@click.command(cls=SourceCommand)
@source_options
@reader_options
@click.option(
    "--weights",
    multiple=True,
    metavar="W,W,...",
    help="A weight for each source, in the order typed; negative ones lead away. 1 each by default. Repeatable.",
)
@click.option("--each", is_flag=True, help="A picture for each source instead of one of their sum.")
@click.option(
    "--interpolate",
    "steps_between",
    type=click.IntRange(min=2),
    metavar="N",
    help="N pictures that lead from the first of two sources to the second.",
)
@click.option("--prompt", metavar="TEXT", help="A text prompt for the pipeline.")
@click.option("--negative-prompt", metavar="TEXT", help="A text to lead away from.")
@click.option(
    "--strength",
    type=click.FloatRange(min=0),
    default=1.0,
    show_default=True,
    help="Length of the embedding; 1 is that of the pipeline's training.",
)
@click.option(
    "--noise-level",
    type=click.IntRange(min=0),
    help="Noise on the embedding (unCLIP); more varies pictures more.",
)
@click.option(
    "--recenter/--no-recenter",
    default=None,
    help="Move embeddings to where those of images lie; by default if the model has the centers for it.",
)
@click.option(
    "--prototypes",
    metavar="PATH",
    help="A folder of images, or a file of prototypes, to blend with; by default the pipeline's own, if it has some.",
)
@click.option("--no-prototypes", is_flag=True, help="Blend with none.")
@click.option(
    "--steps", type=click.IntRange(min=1), help="Denoising steps; the pipeline's own number by default."
)
@click.option("--guidance-scale", type=float, help="The pipeline's own by default.")
@click.option(
    "--count", type=click.IntRange(min=1), default=1, show_default=True, help="Pictures for each query."
)
@click.option(
    "--seed", type=click.IntRange(0, SEEDS - 1), help="Makes the same picture again; printed with the result."
)
@click.option("--grid", is_flag=True, help="Write all pictures onto one sheet.")
@click.option(
    "--pipeline",
    "pipeline_name",
    default=DEFAULT_PIPELINE,
    show_default=True,
    metavar="PATH_OR_ID",
    help="A diffusers pipeline: a registered name, a directory, or an id of the hub.",
)
@click.option(
    "--ip-adapter",
    metavar="PATH_OR_ID:FILE",
    help="An IP-Adapter to load into it, as h94/IP-Adapter:models/ip-adapter_sd15.safetensors.",
)
@click.option("--pipeline-dtype", type=DtypeName(), help=dtype_help("Of the pipeline's weights"))
@click.option("--output", "-o", required=True, metavar="FILE", help="The picture to write, as out.png.")
@overwrite_option
@click.option(
    "--model", default=DEFAULT_MODEL, show_default=True, help="Name of a model, or path to weights."
)
@click.option("--dtype", type=DtypeName(), help=dtype_help("Of the model's weights"))
@device_option
@output_options
def generate(
    model: str,
    dtype: str | None,
    device: str,
    reader: tuple[str, ...],
    weights: tuple[str, ...],
    each: bool,
    steps_between: int | None,
    prompt: str | None,
    negative_prompt: str | None,
    strength: float,
    noise_level: int | None,
    recenter: bool | None,
    prototypes: str | None,
    no_prototypes: bool,
    steps: int | None,
    guidance_scale: float | None,
    count: int,
    seed: int | None,
    grid: bool,
    pipeline_name: str,
    ip_adapter: str | None,
    pipeline_dtype: str | None,
    output: str,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
    **by_modality: Any,
) -> None:
    """Make a picture of a sound, a depth map, a heat image, a motion, a picture, a sentence, or a blend.

    Several sources are one query, their weighted sum; --each makes a picture of each.

    \b
    bindplug generate --audio siren.wav -o out.png
    bindplug generate --audio waves.wav --image crane.jpg --weights 1,0.7 --prompt "oil painting" -o out.png
    bindplug generate --audio rain.wav --audio fire.wav --interpolate 6 --grid -o morph.png
    """
    if prototypes is not None and no_prototypes:
        raise click.UsageError("--prototypes and --no-prototypes exclude each other")
    path = _checked_output(output)
    sources = gather(by_modality, reader=reader)
    queries = queries_of(sources, weights, each, steps_between)
    sources.ensure_present()
    places = picture_paths(path, len(queries) * count, grid)
    sources.ensure_not_replaced(places)
    ensure_new(places, overwrite)
    if prototypes is not None and not Path(prototypes).expanduser().exists():
        expected = "a folder of images, or a file of prototypes"
        raise InputError("--prototypes", found=f"no such file {prototypes!r}", expected=expected)
    from bindplug_diffusers.adapter import upgrade  # imports torch, which --help does not need

    choice = ModelChoice(model, device, dtype)
    options = {
        "prompt": prompt,
        "negative_prompt": negative_prompt,
        "num_inference_steps": steps,
        "guidance_scale": guidance_scale,
        "noise_level": noise_level,
    }
    arguments = {name: value for name, value in options.items() if value is not None}
    # the bundled pipeline loads within a second: progress bars for that would only flash
    with quiet_logging(quiet or pipeline_name == DEFAULT_PIPELINE):
        pipe, space = load_pipeline(pipeline_name, str(choice.torch_device), pipeline_dtype, ip_adapter)
    check_pipeline(pipe, arguments)
    with quiet_logging(quiet):
        if quiet:
            pipe.set_progress_bar_config(disable=True)
        encoder = choice.load({*sources.modalities, *(("image",) if prototypes else ())})
        check_reader_options(encoder, sources.options)
        upgraded = upgrade(
            pipe,
            encoder,
            space=space,
            strength=strength,
            recenter=recenter,
            prototypes=False if no_prototypes else prototypes,
        )
        first_seed = secrets.randbelow(SEEDS) if seed is None else seed
        output_of_call = upgraded(list(queries), num_images_per_prompt=count, seed=first_seed, **arguments)
    result = {
        "pipeline": pipeline_name,
        "model": choice.name,
        "entrance": upgraded.entrance.name,
        "space": upgraded.embedder.space.name,
        "strength": strength,
        "prototypes": len(upgraded.embedder.prototypes or ()),
        **arguments,
        "pictures": write_pictures(path, list(output_of_call.images), queries, count, first_seed, grid),
    }
    _print(result, as_json, quiet)


def queries_of(
    sources: Sources, weights: Sequence[str], each: bool, steps_between: int | None
) -> list[Query]:
    """The queries of a command line: a sum of all sources, one query for each, or an interpolation between two.

    Raises:
        click.UsageError: options that exclude each other, or that do not fit the number of sources.
    """
    queries = sources.queries()
    if each and steps_between:
        raise click.UsageError("--each and --interpolate exclude each other")
    if weights and (each or steps_between):
        raise click.UsageError("--weights are for a sum; leave --each and --interpolate out")
    if steps_between:
        if len(queries) != 2:
            raise click.UsageError(
                f"--interpolate leads from one source to another; {len(queries)} are given"
            )
        return interpolate(queries[0], queries[1], steps_between)
    if each:
        return queries
    factors = parse_weights(weights, len(queries))
    return [sum(factor * query for factor, query in zip(factors, queries, strict=True))]  # type: ignore[list-item]


def check_pipeline(pipe: Any, arguments: dict[str, Any]) -> None:
    """Check, before a model is loaded, that a pipeline makes pictures of queries and takes the arguments.

    Raises:
        UnsupportedTarget: it takes no query.
        InputError: it makes something else than pictures, needs more than queries, or lacks an argument.
    """
    from bindplug_diffusers.entrances import find_entrance
    from bindplug_diffusers.pipeline_info import accepts

    kind = type(pipe).__name__
    if not find_entrance(pipe).makes_pictures:
        expected = "a pipeline that makes pictures; use others from Python"
        raise InputError("--pipeline", found=f"a {kind}, which makes embeddings", expected=expected)
    if not accepts(pipe, "num_images_per_prompt"):
        expected = "a pipeline that makes pictures; use others from Python"
        raise InputError("--pipeline", found=f"a {kind}, which needs more than queries", expected=expected)
    for name in arguments:
        if not accepts(pipe, name):
            option = "--steps" if name == "num_inference_steps" else f"--{name.replace('_', '-')}"
            expected = f"one that takes {option}, or the option left out"
            raise InputError("--pipeline", found=f"a {kind}", expected=expected)


def picture_paths(path: Path, number: int, grid: bool) -> list[Path]:
    """Where each of ``number`` pictures goes: ``path`` for one or a sheet, else ``out-1.png``, ``out-2.png``, ..."""
    if number == 1 or grid:
        return [path] * number
    return [path.with_name(f"{path.stem}-{i + 1}{path.suffix}") for i in range(number)]


def write_pictures(
    path: Path, pictures: Sequence[Image], queries: Sequence[Query], count: int, seed: int, grid: bool
) -> list[dict[str, Any]]:
    """Write the pictures, and return path, query and seed of each.

    Raises:
        InputError: a file cannot be written.
    """
    results = []
    files = picture_paths(path, len(pictures), grid)
    for number, (picture, file) in enumerate(zip(pictures, files, strict=True)):
        if not grid or len(pictures) == 1:
            _save(picture, file)
        query, copy = divmod(number, count)
        results.append({"path": str(file), "query": repr(queries[query]), "seed": seed + copy})
    if grid and len(pictures) > 1:
        _save(sheet(pictures, count if count > 1 and len(queries) > 1 else GRID_COLUMNS), path)
    return results


def _save(picture: Image, path: Path) -> None:
    try:
        picture.save(path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(str(path), found=reason, expected="a place to write a picture") from error


def sheet(pictures: Sequence[Image], columns: int) -> Image:
    """One picture of all, row by row."""
    from PIL import Image

    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    width, height = pictures[0].size
    grid = Image.new("RGB", (columns * width, rows * height), "white")
    for number, picture in enumerate(pictures):
        grid.paste(picture, (number % columns * width, number // columns * height))
    return grid


def _checked_output(output: str) -> Path:
    from PIL import Image

    path = Path(output).expanduser()
    suffixes = sorted(
        {suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.SAVE}
    )
    if path.suffix.lower() not in suffixes:
        raise InputError(output, found=f"the suffix {path.suffix!r}", expected="a picture's, as out.png")
    if path.is_dir() or not path.absolute().parent.is_dir():
        detail = "a directory" if path.is_dir() else f"no directory {str(path.absolute().parent)!r}"
        expected = "a picture to write, as out.png, in a directory that exists"
        raise InputError(output, found=detail, expected=expected)
    if not os.access(path if path.exists() else path.absolute().parent, os.W_OK):
        raise InputError(output, found="no permission to write it", expected="a place to write a picture")
    return path


def _print(result: dict[str, Any], as_json: bool, quiet: bool) -> None:
    if as_json:
        from bindplug.cli.building import print_json

        print_json(result)
    elif not quiet:
        for picture in result["pictures"]:
            click.echo(f"{picture['path']}  {picture['query']}  seed {picture['seed']}")
