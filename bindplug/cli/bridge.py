"""``bindplug bridge``: fit a map from a model's space to another tool's, and see whether to trust it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bindplug.cli.groups import SuggestingGroup
from bindplug.cli.lists import STANDARD_INPUT, read_lines
from bindplug.cli.options import DEFAULT_MODEL, ModelChoice, device_option, output_options
from bindplug.device import resolve_device
from bindplug.errors import CheckpointError, InputError

if TYPE_CHECKING:
    from bindplug.bridges import Bridge, TextEmbedder
    from bindplug.corpus import Corpus
    from bindplug.encoder import Encoder

METHODS = ("procrustes", "ridge", "vocabulary")
BUILTIN = "builtin"


@click.group(cls=SuggestingGroup)
def bridge() -> None:
    """Maps between embedding spaces, fitted from text and refined with pairs."""


@bridge.command(short_help="Fit a bridge, and write it to a directory.")
@click.option(
    "--source",
    "--model",
    "source",
    default=DEFAULT_MODEL,
    show_default=True,
    help="Name or id of a model, or path to weights.",
)
@click.option(
    "--target",
    required=True,
    metavar="TARGET",
    help="Likewise, as open_clip:NAME:TAG (TAG may be a weight file) or transformers:ID; or FILE.npy.",
)
@click.option(
    "--target-names", metavar="FILE", help="For FILE.npy: its rows' names, one a line or as a JSON list."
)
@click.option(
    "--target-space", metavar="NAME", help="Name of the target's space, where its origin does not tell."
)
@click.option(
    "--corpus",
    metavar="FILE",
    help="Texts to fit with, one a line (- for standard input); the built-in English phrases by default.",
)
@click.option(
    "--pairs",
    multiple=True,
    metavar="FILE",
    help="A CSV of paired items, columns named by modality as audio,image; repeatable. 50 pairs at least.",
)
@click.option(
    "--bridge", "start", metavar="NAME|DIR", help="Refine this bridge instead of fitting from text."
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
@device_option
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
    pairs: tuple[str, ...],
    start: str | None,
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
    bindplug bridge fit --source transformers:laion/clap-htsat-unfused --target open_clip:ViT-B-32:openai \
        --pairs sounds.csv -o clap-to-b32
    """
    from bindplug.bridges import fit as fit_sides
    from bindplug.bridges.pair_files import columns_of

    _check_output(Path(output), overwrite)
    options = _options(method, strength, scale)
    # The small things first: a wrong name is told before gigabytes are read.
    if start is not None and not pairs:
        raise click.UsageError("--bridge is refined with --pairs FILE")
    for file in pairs:
        columns_of(file)
    names, texts = _texts(target, target_names, corpus)
    if names is not None and pairs:
        raise click.UsageError("--pairs needs a target that embeds items, not FILE.npy")
    embedder = _target(target, names, target_space, str(resolve_device(device)), text_only=not pairs)
    choice = ModelChoice(source, device)
    model = choice.load() if pairs else choice.load({"text"})
    result = fit_sides(
        model,
        embedder,
        texts,
        list(pairs) or None,
        bridge=start,
        method=method,
        batch_size=batch_size,
        progress=False if quiet else None,
        source_prompt=source_prompt or ("a {}" if names else "{}"),
        held_out=held_out,
        provenance={"source": source},
        **options,
    )
    result.save(output, overwrite=overwrite)
    _show(result, output, as_json)


@bridge.command("list")
@output_options
def list_bridges(as_json: bool, quiet: bool) -> None:
    """Bridges that are known by name, and the spaces they lead between."""
    from bindplug.plugins import registry

    cards = [entry.card for entry in registry().bridges.values()]
    if as_json:
        from bindplug.cli.tables import print_json

        print_json(
            [
                {
                    "name": card.name,
                    "description": card.description,
                    "source": {"name": card.source.name, "width": card.source.width},
                    "target": {"name": card.destination.name, "width": card.destination.width},
                }
                for card in cards
            ]
        )
        return
    for card in cards:
        click.echo(f"{card.name}: {card.source} -> {card.destination}")
        click.echo(f"  {card.description}")
    if not cards and not quiet:
        click.echo("no bridge is registered; fit one with `bindplug bridge fit`", err=True)


@bridge.command(short_help="What a bridge was fitted with, and how well it maps.")
@click.argument("name", metavar="BRIDGE")
@output_options
def report(name: str, as_json: bool, quiet: bool) -> None:
    """What BRIDGE, a directory or a registered name, was fitted with and how well it maps."""
    import warnings

    from bindplug.bridges import Bridge, BridgeQuality, as_bridge

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BridgeQuality)  # the report says the same
        loaded = as_bridge(name, source=None, target=None)
    if not isinstance(loaded, Bridge):
        kind = f"a {type(loaded).__name__}, which keeps no report"
        raise InputError(name, found=kind, expected="a bridge that was fitted")
    _show(loaded, name, as_json)


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
    from bindplug.corpus import Corpus, builtin_corpus

    if not target.endswith(".npy"):
        if target_names:
            raise click.UsageError("--target-names belongs to --target FILE.npy")
        return None, builtin_corpus() if corpus in (None, BUILTIN) else _corpus(str(corpus))
    if corpus is not None:
        raise click.UsageError("with --target FILE.npy the names are the corpus; leave --corpus out")
    if target_names is None:
        raise click.UsageError("--target FILE.npy needs --target-names FILE, a name for each of its rows")
    names = read_names(target_names)
    return names, Corpus.of(names, name=Path(target_names).name)


def _corpus(path: str) -> Corpus:
    from bindplug.corpus import Corpus

    lines = [line for _, line in read_lines(path, "a UTF-8 text file, one text a line")]
    return Corpus.of(lines, name="standard input" if path == STANDARD_INPUT else Path(path).name)


def _target(
    target: str, names: list[str] | None, space: str | None, device: str, *, text_only: bool
) -> Encoder | TextEmbedder:
    from bindplug.bridges.learning import open_side
    from bindplug.bridges.targets import open_target

    if names is not None or space is not None or target.endswith(".npy"):
        return open_target(target, names=names, space=space, device=device)
    return open_side(target, text_only=text_only, device=device)


def _show(bridge: Bridge, name: str, as_json: bool) -> None:
    card = {
        "path": name,
        "kind": bridge.kind,
        "source": {"name": bridge.source.name, "width": bridge.source.width},
        "target": {"name": bridge.target.name, "width": bridge.target.width},
        "modalities": list(bridge.modalities),
        "report": bridge.report.to_dict(),
        "provenance": bridge.provenance,
    }
    if as_json:
        from bindplug.cli.tables import print_json

        print_json(card)
        return
    click.echo(f"{name}: {bridge.source} -> {bridge.target}")
    click.echo(str(bridge.report))
