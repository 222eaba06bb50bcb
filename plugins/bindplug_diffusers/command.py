"""``bindplug generate``: a picture of what was heard, measured, felt, seen or said."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bindplug.cli.options import DtypeName, ModelChoice, model_options, output_options
from bindplug.cli.sources import (
    SourceCommand,
    Sources,
    check_reader_options,
    gather,
    reader_options,
    source_options,
)
from bindplug.errors import InputError
from bindplug.query import Query, interpolate
from bindplug_diffusers.opening import DEFAULT_PIPELINE, hushed, open_pipeline

if TYPE_CHECKING:
    from PIL.Image import Image

    from bindplug_diffusers.adapter import PipelineWithQueries

GRID_COLUMNS = 8
SEEDS = 2**32


@click.command(cls=SourceCommand)
@source_options
@reader_options
@click.option(
    "--weights",
    metavar="W,W,...",
    help="A weight for each source, in the order given; a negative one leads away from it. 1 each by default.",
)
@click.option("--each", is_flag=True, help="A picture for each source instead of one of their sum.")
@click.option(
    "--interpolate",
    "steps_between",
    type=click.IntRange(min=2),
    metavar="N",
    help="N pictures that lead from the first of two sources to the second.",
)
@click.option("--prompt", metavar="TEXT", help="What the pipeline is told in words besides.")
@click.option("--negative-prompt", metavar="TEXT", help="Words to lead away from.")
@click.option(
    "--strength",
    type=click.FloatRange(min=0),
    default=1.0,
    show_default=True,
    help="Length of the embedding; 1 is what the pipeline was trained with.",
)
@click.option(
    "--noise-level", type=click.IntRange(min=0), help="Noise on the embedding (unCLIP): more is freer."
)
@click.option(
    "--recenter/--no-recenter",
    default=None,
    help="Move embeddings to where images lie; by default where the model ships what it takes.",
)
@click.option(
    "--prototypes",
    metavar="PATH",
    help="A folder of images, or a file of prototypes, to lead towards; by default the pipeline's own, if it has some.",
)
@click.option("--no-prototypes", is_flag=True, help="Lead towards none.")
@click.option(
    "--steps", type=click.IntRange(min=1), help="Denoising steps; the pipeline's own number by default."
)
@click.option("--guidance-scale", type=float, help="The pipeline's own by default.")
@click.option(
    "--count", type=click.IntRange(min=1), default=1, show_default=True, help="Pictures for each query."
)
@click.option(
    "--seed", type=click.IntRange(0, SEEDS - 1), help="For the same picture again; told with the result."
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
@click.option("--pipeline-dtype", type=DtypeName(), help="Of the pipeline's weights.")
@click.option("--output", "-o", required=True, metavar="FILE", help="The picture to write, as out.png.")
@model_options
@output_options
@click.pass_context
def generate(
    ctx: click.Context,
    choice: ModelChoice,
    reader: tuple[str, ...],
    weights: str | None,
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
    as_json: bool,
    quiet: bool,
    **given: Any,
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
    sources = gather(given, reader=reader)
    sources.ensure_present()
    queries = queries_of(sources, weights, each, steps_between)
    prepared = {
        "prompt": prompt,
        "negative_prompt": negative_prompt,
        "num_inference_steps": steps,
        "guidance_scale": guidance_scale,
        "noise_level": noise_level,
    }
    arguments = {name: value for name, value in prepared.items() if value is not None}
    # the bundled one opens within a second: bars for that would only flash
    with hushed(quiet or pipeline_name == DEFAULT_PIPELINE):
        pipe, space = open_pipeline(pipeline_name, str(choice.torch_device), pipeline_dtype, ip_adapter)
    with hushed(quiet):
        if quiet:
            pipe.set_progress_bar_config(disable=True)
        model = choice.load({*sources.modalities, *(("image",) if prototypes else ())})
        check_reader_options(model, sources.options)
        options = {"space": space, "strength": strength, "recenter": recenter}
        upgraded = _upgraded(pipe, model, options | {"prototypes": False if no_prototypes else prototypes})
        chosen = secrets.randbelow(SEEDS) if seed is None else seed
        pictures = made(upgraded, queries, count, chosen, arguments)
    result = {
        "pipeline": pipeline_name,
        "model": choice.name,
        "entrance": upgraded.entrance.name,
        "space": upgraded.directions.space.name,
        "strength": strength,
        "prototypes": len(upgraded.directions.prototypes or ()),
        **arguments,
        "pictures": written(path, pictures, queries, count, chosen, grid),
    }
    _show(result, as_json, quiet)


def queries_of(sources: Sources, weights: str | None, each: bool, steps_between: int | None) -> list[Query]:
    """The queries that a command line asks for: a sum, one of each source, or a way between two.

    Raises:
        click.UsageError: options that exclude each other, or that do not fit the number of sources.
    """
    queries = sources.queries()
    if each and steps_between:
        raise click.UsageError("--each and --interpolate exclude each other")
    if weights is not None and (each or steps_between):
        raise click.UsageError("--weights are for a sum; leave --each and --interpolate out")
    if steps_between:
        if len(queries) != 2:
            raise click.UsageError(
                f"--interpolate leads from one source to another; {len(queries)} are given"
            )
        return interpolate(queries[0], queries[1], steps_between)
    if each:
        return queries
    factors = _weights(weights, len(queries))
    return [sum(factor * query for factor, query in zip(factors, queries, strict=True))]  # type: ignore[list-item]


def made(
    upgraded: PipelineWithQueries, queries: Sequence[Query], count: int, seed: int, arguments: dict[str, Any]
) -> list[Image]:
    """``count`` pictures of each query, those of one query together.

    Raises:
        InputError: the pipeline makes something else than pictures of queries alone.
    """
    from bindplug_diffusers.inspection import accepts

    if not accepts(upgraded.original, "num_images_per_prompt"):
        kind = type(upgraded.original).__name__
        expected = "a pipeline that makes pictures; use others from Python"
        raise InputError("--pipeline", found=f"a {kind}, which needs more than queries", expected=expected)
    for name in arguments:
        if not accepts(upgraded.original, name):
            option = "--steps" if name == "num_inference_steps" else f"--{name.replace('_', '-')}"
            found = f"a {type(upgraded.original).__name__}"
            raise InputError(
                "--pipeline", found=found, expected=f"one that takes {option}, or the option left out"
            )
    output = upgraded(list(queries), num_images_per_prompt=count, seed=seed, **arguments)
    return list(output.images)


def written(
    path: Path, pictures: Sequence[Image], queries: Sequence[Query], count: int, seed: int, grid: bool
) -> list[dict[str, Any]]:
    """Write the pictures, and tell of each where it is, what query it is of, and its seed."""
    told = []
    for number, picture in enumerate(pictures):
        place = path
        if len(pictures) > 1 and not grid:
            place = path.with_name(f"{path.stem}-{number + 1}{path.suffix}")
            picture.save(place)
        query, copy = divmod(number, count)
        told.append({"path": str(place), "query": repr(queries[query]), "seed": seed + copy})
    if len(pictures) == 1:
        pictures[0].save(path)
    elif grid:
        sheet(pictures, count if count > 1 and len(queries) > 1 else GRID_COLUMNS).save(path)
    return told


def sheet(pictures: Sequence[Image], columns: int) -> Image:
    """All pictures on one, row by row."""
    from PIL import Image

    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    width, height = pictures[0].size
    whole = Image.new("RGB", (columns * width, rows * height), "white")
    for number, picture in enumerate(pictures):
        whole.paste(picture, (number % columns * width, number // columns * height))
    return whole


def _weights(weights: str | None, count: int) -> list[float]:
    if weights is None:
        return [1.0] * count
    try:
        factors = [float(part) for part in weights.split(",")]
    except ValueError:
        raise click.BadParameter(
            f"{weights!r} is no list of numbers, as 1,0.7", param_hint="--weights"
        ) from None
    if len(factors) != count:
        raise click.BadParameter(
            f"{len(factors)} weights for {count} sources; give one for each", param_hint="--weights"
        )
    return factors


def _checked_output(output: str) -> Path:
    from PIL import Image

    path = Path(output).expanduser()
    known = sorted({suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.SAVE})
    if path.suffix.lower() not in known:
        raise InputError(output, found=f"the suffix {path.suffix!r}", expected="a picture's, as out.png")
    if path.is_dir() or not path.absolute().parent.is_dir():
        found = "a directory" if path.is_dir() else f"no directory {str(path.absolute().parent)!r}"
        raise InputError(output, found=found, expected="a picture to write, as out.png")
    return path


def _upgraded(pipe: Any, model: Any, options: dict[str, Any]) -> PipelineWithQueries:
    from bindplug_diffusers.adapter import upgrade

    return upgrade(pipe, model, **options)


def _show(result: dict[str, Any], as_json: bool, quiet: bool) -> None:
    if as_json:
        from bindplug.cli.tables import print_json

        print_json(result)
    elif not quiet:
        for picture in result["pictures"]:
            click.echo(f"{picture['path']}  {picture['query']}  seed {picture['seed']}")
