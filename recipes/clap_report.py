"""``python -m recipes.clap_report``: the toy CLAP bridged to two CLIPs by text, and by text and pairs.

It measures what the bridged sounds find and make, beside those of imagebind_tiny, which was bound to pictures: the
boxes of toy_detic (the foreign toy CLIP's space), the pictures of toy_unclip (the toy CLIP's), and the scenes whose
pictures and names lie nearest.
"""

from __future__ import annotations

import argparse
import json
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import bindplug
from bindplug.bridges import Bridge, BridgeQuality, LinearBridge, fit, load_bridge
from bindplug.encoder import Encoder
from bindplug.models import find_model
from bindplug.query import Query, embedding
from bindplug_detic.detector import Detic
from bindplug_toyworld.evaluation import embed_scenes, evaluation_scenes, query_of
from bindplug_toyworld.generation_demo import Judge
from bindplug_toyworld.scene import Scene
from bindplug_toyworld.things import CLASSNAMES, NAMES
from recipes.card import interval
from recipes.detection_evaluation import evaluate_detection
from recipes.generation_evaluation import generate_all, judge_pictures, sensor_queries
from recipes.options import begin, shared_options

logger = logging.getLogger("recipes")

CAPTIONS = 4000
STRENGTH = 1.0
"""Of the ridge, as of the bundled bridge."""
PAIRS = (50, 200, 500)
RECORDINGS = 6
"""Recordings of each thing that the scenes take turns with."""
WAYS = (
    "text",
    "text, recentered on 500 sounds",
    *(f"text and {count} pairs" for count in PAIRS),
    "imagebind_tiny, bound to pictures",
)
FIRST_PAIR = 9_500_000
HEADING = "## Bridged to CLIPs it has never met"
EXPLANATION = """Bridges are fitted on captions of training scenes, then refined with pairs of a sound and a picture of
further training scenes. All figures are of unseen scenes: of {sounds} sounds those named right by the foreign toy
CLIP's prompts, and those whose nearest of as many pictures shows the thing; AP50 of toy_detic, prompted by sounds, in
{scenes} scenes; the pictures that toy_unclip makes of {pictures} sounds, without prototypes, as the foreign toy CLIP
judges them. 95 % intervals are in brackets."""
FIRST_SOUND, FIRST_PICTURE = 910_000, 930_000
PROMPT = "a photo of a {}."


def main(arguments: list[str] | None = None) -> None:
    """Fit, measure, print the table and write the figures."""
    options = _parser().parse_args(arguments)
    run = begin(options, "clap_report.log")
    counts = (40, 8, 8) if options.smoke else tuple(options.counts)
    clap = bindplug.load(f"transformers:{options.model}")
    figures = report(clap, counts, run.workspace, options.ways, quiet=run.quiet)
    (options.output or run.workspace / "clap_bridges.json").write_text(json.dumps(figures, indent=1) + "\n")
    print(format_figures(figures))
    if options.write:
        write_figures(options.write, figures)


def report(
    clap: Encoder, counts: Sequence[int], workspace: Path, chosen: Sequence[str], *, quiet: bool | None
) -> dict[str, Any]:
    """Every way to bridge the toy CLAP, and imagebind_tiny by its bundled bridge.

    Args:
        clap: the toy CLAP.
        counts: of sounds and pictures to search, of scenes to detect in, of pictures to make.
        workspace: keeps rows for a rerun.
        chosen: which of :data:`WAYS`.
        quiet: True shows no progress, None asks the environment.
    """
    tiny, foreign = bindplug.load("imagebind_tiny"), bindplug.load("toy_foreign_clip")
    captions = list(dict.fromkeys(Scene(index, "train").caption for index in range(CAPTIONS)))
    scenes = [Scene(FIRST_PAIR + index, "train") for index in range(max(PAIRS))]
    sounds = clap.embed([query_of(scene, "audio") for scene in scenes], progress=False)
    targets = {"toy_foreign_clip": foreign, "imagebind_tiny": tiny}
    bridges: dict[str, dict[str, Bridge]] = {}
    pairs: dict[str, Any] = {}
    for name, target in targets.items():
        pictures = target.embed([query_of(scene, "image") for scene in scenes], progress=False)
        clap_bridges = bridges_of(clap, target, captions, sounds, pictures)
        if name == "imagebind_tiny":
            # The pipeline wants rows of pictures: around their mean, which the target knows, not around text's.
            for bridge in clap_bridges.values():
                bridge.target_mean = tiny.centers["image"].float()
        for way, bridge in clap_bridges.items():
            bridges.setdefault(way, {})[name] = bridge
            pairs.setdefault(name, {})[way] = [one.to_dict() for one in bridge.report.pairs]
    ways: dict[str, Any] = {
        way: measured(clap, both["toy_foreign_clip"], both["imagebind_tiny"], counts, workspace, quiet=quiet)
        for way, both in bridges.items()
        if way in chosen
    }
    if WAYS[-1] in chosen:
        ways[WAYS[-1]] = measured(tiny, load_bridge(find_bridge()), None, counts, workspace, quiet=quiet)
    return {
        "command": f"python -m recipes.clap_report --counts {' '.join(map(str, counts))}",
        "sounds": counts[0],
        "scenes": counts[1],
        "pictures": counts[2],
        "ways": ways,
        "pairs": pairs,
    }


def bridges_of(
    clap: Encoder, target: Encoder, captions: Sequence[str], sounds: Tensor, pictures: Tensor
) -> dict[str, Bridge]:
    """Bridges by text, by text with the sounds' own center, and by text and pairs.

    Args:
        clap: the source.
        target: the target.
        captions: texts to fit on.
        sounds: (N, D_source) rows of sounds.
        pictures: (N, D_target) rows of the same scenes' pictures.
    """
    options: dict[str, Any] = {"method": "ridge", "strength": STRENGTH, "progress": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BridgeQuality)  # captions of one thing are many: top-1 says little
        by_text = fit(clap, target, captions, **options)
        bridges: dict[str, Bridge] = {"text": by_text}
        assert isinstance(by_text, LinearBridge)
        bridges[WAYS[1]] = by_text.copy().recenter("audio", sounds)
        rows = [
            (
                embedding(sound, clap.embedding_space, modality="audio"),
                embedding(picture, target.embedding_space, modality="image"),
            )
            for sound, picture in zip(sounds, pictures, strict=True)
        ]
        for count in PAIRS:
            bridges[f"text and {count} pairs"] = fit(clap, target, pairs=rows[:count], bridge=by_text)
    return bridges


def measured(
    model: Encoder,
    to_foreign: Bridge,
    to_toy: Bridge | None,
    counts: Sequence[int],
    workspace: Path,
    *,
    quiet: bool | None,
) -> dict[str, Any]:
    """What sounds do by way of a bridge.

    Args:
        model: embeds the sounds.
        to_foreign: bridge to the foreign toy CLIP's space.
        to_toy: bridge to the toy CLIP's; None if the model lives there.
        counts: as of :func:`report`.
        workspace: keeps rows for a rerun.
        quiet: True shows no progress, None asks the environment.
    """
    foreign = bindplug.load("toy_foreign_clip")
    sounds = _rows(model, "audio", counts[0], FIRST_SOUND, workspace)
    gallery = _rows(foreign, "image", counts[0], FIRST_PICTURE, workspace)
    truth = torch.arange(counts[0]) % len(NAMES)
    rows = to_foreign(sounds, "audio")
    prompts: list[Query] = [bindplug.text(PROMPT.format(name)) for name in CLASSNAMES]
    names_right = (rows @ foreign.embed(prompts, progress=False).T).argmax(1) == truth
    # Around the means of either side: pictures lie around another mean than the text that rows are mapped to.
    centered = torch.nn.functional.normalize(gallery - gallery.mean(0), dim=1)
    nearest = ((rows - to_foreign.target_mean) @ centered.T).argmax(1)
    pictures_right = truth[nearest] == truth
    detector = bindplug.upgrade(Detic.from_pretrained("toy_detic"), model, bridge=to_foreign)
    detection_scores = evaluate_detection(
        detector, "audio", "linear", scenes=counts[1], recordings_of_each=RECORDINGS, quiet=quiet
    )
    result = {
        "names": _share(names_right),
        "pictures_of_the_thing_first": _share(pictures_right),
        "ap50": round(detection_scores.ap50, 4),
        "false_positive_rate": round(detection_scores.false_positive_rate, 4),
        "boxes": detection_scores.boxes,
        "generated": generated(model, to_toy, counts[2], quiet=quiet),
    }
    logger.info("%s", result)
    return result


def generated(model: Encoder, bridge: Bridge | None, count: int, *, quiet: bool | None) -> dict[str, Any]:
    """The share of toy_unclip's pictures from sounds that show what was heard, as the foreign toy CLIP sees them.

    No prototypes are blended in, which are of imagebind_tiny's space alone.
    """
    from diffusers import DiffusionPipeline

    directory = find_model("toy_unclip", tool="generator")
    pipeline = DiffusionPipeline.from_pretrained(directory)
    pipeline.set_progress_bar_config(disable=True)
    generator = bindplug.upgrade(pipeline, model, bridge=bridge, prototypes=False)
    queries = sensor_queries("audio", count)
    judge = Judge(bindplug.load("toy_foreign_clip"))
    pictures = generate_all(generator, queries, quiet=quiet)
    measure = judge_pictures(judge, queries, pictures)
    return {"value": round(measure.value, 4), "count": count, "interval": _interval(measure.value, count)}


def find_bridge() -> Path:
    """Where the bundled bridge lies."""
    import bindplug_toyworld

    return Path(str(bindplug_toyworld.__file__)).parent / "weights" / "toy_bridge"


def _rows(model: Encoder, modality: str, count: int, first: int, workspace: Path) -> Tensor:
    name = model.embedding_space.name.replace(":", "_").replace("/", "_")
    file = workspace / f"rows_{name}_{modality}_{count}.pt"
    if not file.is_file():
        scenes = evaluation_scenes(NAMES, count, first)
        torch.save(embed_scenes(model, modality, scenes, count, quiet=True), file)
    rows: Tensor = torch.load(file, weights_only=True)
    return rows


def _share(right: Tensor) -> dict[str, Any]:
    value, count = float(right.double().mean()), len(right)
    return {"value": round(value, 4), "count": count, "interval": _interval(value, count)}


def _interval(value: float, count: int) -> list[float]:
    return [round(end, 4) for end in interval(value, count)]


def format_figures(figures: dict[str, Any]) -> str:
    """A Markdown table, a row a way."""
    lines = [
        "| bridged by | names right | picture of the thing first | AP50 of toy_detic | right pictures of toy_unclip |",
        "|---|---|---|---|---|",
    ]
    for way, figure in figures["ways"].items():
        shares = []
        for name in ("names", "pictures_of_the_thing_first", "generated"):
            low, high = figure[name]["interval"]
            shares.append(f"{figure[name]['value']:.1%} ({100 * low:.0f} to {100 * high:.0f})")
        lines.append(f"| {way} | {shares[0]} | {shares[1]} | {figure['ap50']:.3f} | {shares[2]} |")
    return "\n".join(lines)


def write_figures(directory: Path, figures: dict[str, Any]) -> None:
    """Put the figures beside the toy CLAP's weights, and their table onto its page."""
    (directory / "bridges.json").write_text(json.dumps(figures, indent=1) + "\n")
    page = directory / "README.md"
    before = page.read_text().split(HEADING)[0].rstrip()
    page.write_text(
        f"{before}\n\n{HEADING}\n\n{EXPLANATION.format(**figures)}\n\n{format_figures(figures)}\n"
    )


def _parser() -> argparse.ArgumentParser:
    shared = shared_options(holds="rows", output="the JSON file goes")
    parser = argparse.ArgumentParser(
        prog="python -m recipes.clap_report", description=__doc__, parents=[shared]
    )
    parser.add_argument(
        "--counts",
        type=int,
        nargs=3,
        default=(1000, 150, 200),
        metavar="N",
        help="sounds and pictures to search, scenes to detect in, pictures to make (default 1000 150 200)",
    )
    parser.add_argument("--write", type=Path, help="directory of the toy CLAP, to put the figures into")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--model", required=True, help="directory of the toy CLAP")
    return parser


if __name__ == "__main__":
    main()
