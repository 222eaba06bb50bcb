"""``python -m recipes.detector_report``: a detector by prompt and route, onto its card."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

import bindplug
from bindplug_detic.detector import Detic
from bindplug_detic.routes import ROUTES
from recipes.detection_evaluation import (
    FLOOR,
    MODALITIES,
    DetectionMeasure,
    evaluate_detection,
    evaluate_own_words,
    format_measures,
)
from recipes.detector_ship import write_measures


def main(arguments: list[str] | None = None) -> None:
    """Measure, print the table, and write it onto the card of the detector's directory if asked to."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    measures = report(
        Detic.from_pretrained(options.detector),
        bindplug.load(options.model),
        bridge=options.bridge,
        routes=options.routes,
        modalities=options.modalities,
        scenes=options.scenes,
        quiet=True if options.quiet else None,
    )
    print(format_measures(measures))
    if options.json:
        options.json.write_text(json.dumps({m.name: m.to_dict() for m in measures}, indent=1) + "\n")
    if options.write:
        write_measures(options.write, measures)


def report(
    detector: Detic,
    model: Any,
    *,
    bridge: Any = None,
    routes: Sequence[str],
    modalities: Sequence[str],
    scenes: int,
    quiet: bool | None = None,
) -> list[DetectionMeasure]:
    """Every modality by every route, after the detector's own words.

    Args:
        detector: with the twenty things, in the order of labels, as its vocabulary.
        model: embeds the prompts.
        bridge: as in ``bindplug.upgrade``.
        routes: of ``bindplug_detic.routes.ROUTES``.
        modalities: of :data:`~recipes.detection_evaluation.MODALITIES`.
        scenes: evaluation scenes of each.
        quiet: True shows no progress, None asks the environment.
    """
    upgraded = bindplug.upgrade(detector, model, bridge=bridge)
    measures = [
        evaluate_own_words(
            lambda picture: detector(picture, threshold=FLOOR, with_masks=False), scenes=scenes, quiet=quiet
        )
    ]
    for route in routes:
        for modality in modalities:
            measures.append(evaluate_detection(upgraded, modality, route, scenes=scenes, quiet=quiet))
            if quiet is not True:
                print(format_measures(measures[-1:]).splitlines()[-1], file=sys.stderr)
    return measures


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m recipes.detector_report", description=__doc__)
    parser.add_argument("--detector", default="toy_detic", help="registered name or directory")
    parser.add_argument("--model", default="imagebind_tiny", help="registered name or directory")
    parser.add_argument("--bridge", help="directory of a bridge (default: the registered one)")
    parser.add_argument("--routes", nargs="+", choices=ROUTES, default=["linear", "vocabulary", "rescore"])
    parser.add_argument("--modalities", nargs="+", choices=MODALITIES, default=list(MODALITIES))
    parser.add_argument("--scenes", type=int, default=400)
    parser.add_argument("--json", type=Path, help="file for all figures")
    parser.add_argument("--write", type=Path, help="directory of the detector, whose card gets the figures")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quiet", action="store_true")
    return parser


if __name__ == "__main__":
    main()
