"""``bindplug bridge``: fit a map from a model's space to another tool's, and see whether to trust it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bindplug.cli.options import ModelChoice, output_options
from bindplug.errors import CheckpointError

if TYPE_CHECKING:
    from bindplug.bridges import Bridge, TextEmbedder
    from bindplug.corpus import Corpus

METHODS = ("procrustes", "ridge", "vocabulary")
BUILTIN = "builtin"


@click.group()
def bridge() -> None:
    """Maps between embedding spaces, fitted from text alone."""


@bridge.command()
@click.option(
    "--source", default="imagebind_tiny", show_default=True, help="Name of a model, or path to weights."
)
@click.option(
    "--target",
    required=True,
    metavar="TARGET",
    help="open_clip:NAME:TAG (TAG may be a weight file), transformers:ID (or a directory), or FILE.npy.",
)
@click.option(
    "--target-names", metavar="FILE", help="For FILE.npy: its rows' names, one a line or as a JSON list."
)
@click.option(
    "--target-space", metavar="NAME", help="Name of the target's space, where its origin does not tell."
)
@click.option(
    "--corpus", metavar="FILE", help="Texts to fit with, one a line; the built-in English phrases by default."
)
@click.option("--method", type=click.Choice(METHODS), default="procrustes", show_default=True)
@click.option(
    "--strength", type=click.FloatRange(min=0), help="Of the ridge, relative; cross-validated by default."
)
@click.option(
    "--scale",
    type=click.FloatRange(min=0, min_open=True),
    help="Of the vocabulary's softmax; chosen by default.",
)
@click.option(
    "--source-prompt",
    metavar="TEXT",
    help='Put each text into this for the source, as "a {}", names\' default.',
)
@click.option(
    "--held-out",
    type=click.FloatRange(min=0, max=1, max_open=True),
    default=0.1,
    show_default=True,
    help="Share of the texts that quality is measured on.",
)
@click.option("--output", "-o", required=True, metavar="DIR", help="The directory to write.")
@click.option("--overwrite", is_flag=True, help="Replace a bridge that is there.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda, cuda:1, mps, ...")
@click.option(
    "--batch-size", type=click.IntRange(min=1), default=256, show_default=True, help="Texts in one pass."
)
@output_options
def fit(
    source: str,
    target: str,
    target_names: str | None,
    target_space: str | None,
    corpus: str | None,
    method: str,
    strength: float | None,
    scale: float | None,
    source_prompt: str | None,
    held_out: float,
    output: str,
    overwrite: bool,
    device: str,
    batch_size: int,
    as_json: bool,
    quiet: bool,
) -> None:
    """Fit a bridge from a model's space to a CLIP's, or to a detector's class vectors.

    \b
    bindplug bridge fit --source imagebind_huge --target open_clip:ViT-B-32:openai -o h14-to-b32
    bindplug bridge fit --source imagebind_huge --target lvis.npy --target-names lvis.txt -o h14-to-lvis
    """
    from bindplug.bridges import fit_bridge

    _check_output(Path(output), overwrite)
    options = _options(method, strength, scale)
    # The small things first: a wrong name is told before gigabytes are read.
    names, texts = _texts(target, target_names, corpus)
    aim = _target(target, names, target_space, device)
    model = ModelChoice(source, device).load({"text"})
    made = fit_bridge(
        model,
        aim,
        texts,
        method=method,
        batch_size=batch_size,
        progress=False if quiet else None,
        source_prompt=source_prompt or ("a {}" if names else "{}"),
        held_out=held_out,
        provenance={"source": source},
        **options,
    )
    made.save(output, overwrite=overwrite)
    _show(made, output, as_json)


@bridge.command()
@click.argument("directory")
@output_options
def report(directory: str, as_json: bool, quiet: bool) -> None:
    """What a bridge was fitted with and how well it maps."""
    import warnings

    from bindplug.bridges import BridgeQuality, load_bridge

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BridgeQuality)  # the report says the same
        loaded = load_bridge(directory)
    _show(loaded, directory, as_json)


def _check_output(path: Path, overwrite: bool) -> None:
    if path.exists() and not overwrite and (not path.is_dir() or any(path.iterdir())):
        raise CheckpointError(f"{path} exists; give another directory, or --overwrite to replace a bridge")


def _options(method: str, strength: float | None, scale: float | None) -> dict[str, Any]:
    if strength is not None and method != "ridge":
        raise click.UsageError("--strength belongs to --method ridge")
    if scale is not None and method != "vocabulary":
        raise click.UsageError("--scale belongs to --method vocabulary")
    return {"strength": strength} if method == "ridge" else {"scale": scale} if method == "vocabulary" else {}


def _texts(target: str, target_names: str | None, corpus: str | None) -> tuple[list[str] | None, Corpus]:
    """The names of the target's rows, if it has any, and the texts to fit with."""
    from bindplug.bridges.targets import read_names
    from bindplug.corpus import Corpus, builtin_corpus, read_corpus

    if not target.endswith(".npy"):
        if target_names:
            raise click.UsageError("--target-names belongs to --target FILE.npy")
        return None, builtin_corpus() if corpus in (None, BUILTIN) else read_corpus(corpus)
    if corpus is not None:
        raise click.UsageError("with --target FILE.npy the names are the corpus; leave --corpus out")
    if target_names is None:
        raise click.UsageError("--target FILE.npy needs --target-names FILE, a name for each of its rows")
    names = read_names(target_names)
    return names, Corpus.of(names, name=Path(target_names).name)


def _target(target: str, names: list[str] | None, space: str | None, device: str) -> TextEmbedder:
    from bindplug.bridges.targets import open_target

    return open_target(target, names=names, space=space, device=device)


def _show(made: Bridge, directory: str, as_json: bool) -> None:
    card = {
        "path": directory,
        "kind": made.kind,
        "source": {"name": made.source.name, "width": made.source.width},
        "target": {"name": made.target.name, "width": made.target.width},
        "modalities": list(made.modalities),
        "report": made.report.to_dict(),
        "provenance": made.provenance,
    }
    if as_json:
        from bindplug.cli.tables import print_json

        print_json(card)
        return
    click.echo(f"{directory}: {made.source} -> {made.target}")
    click.echo(str(made.report))
