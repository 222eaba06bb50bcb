"""In how many pictures a detector finds something for prompts that mean nothing to it."""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import bindplug
from bindplug.errors import UnknownWords
from bindplug.query import Query
from bindplug_detic import Detic
from bindplug_detic.prompted_detector import MeaninglessPrompt
from recipes.card import CARD, write_card
from recipes.detection_evaluation import DEFAULT_THRESHOLD, cluttered_scenes, format_meaningless_prompts
from recipes.detector_ship import write_readme

FIRST_SCENE = 5_000
SCENES = 100


def meaningless_prompts() -> dict[str, Query]:
    """Prompts that stand for none of the twenty things."""
    noise = np.random.default_rng(0).normal(0, 0.1, 64_000).astype(np.float32)
    return {
        "silence": bindplug.audio(np.zeros(64_000, np.float32), sample_rate=16_000),
        "white noise": bindplug.audio(noise, sample_rate=16_000),
        "a zebra": bindplug.text("a zebra"),
        "a photo of a wolf.": bindplug.text("a photo of a wolf."),
        "a flat depth map": bindplug.depth(np.full((224, 224), 3, np.float32), unit="m"),
    }


def measure_meaningless_prompts(
    detector: Any, routes: Sequence[str], scenes: int = SCENES
) -> dict[str, dict[str, float]]:
    """For each route and prompt, the share of pictures with a detection above the default threshold.

    Args:
        detector: what ``bindplug.upgrade(detector, model)`` gave; called with its default ``suppress``.
        routes: of the prompts.
        scenes: evaluation scenes of two to five things.
    """
    prompts, pictures = meaningless_prompts(), [s.image for s in cluttered_scenes(scenes, start=FIRST_SCENE)]
    measured: dict[str, dict[str, float]] = {}
    for route in routes:
        measured[route] = {}
        for name, query in prompts.items():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UnknownWords)
                warnings.simplefilter("ignore", MeaninglessPrompt)
                prepared = detector.prepare([query], route)
                hits = [
                    len(detector(p, prepared, threshold=DEFAULT_THRESHOLD, with_masks=False).scores) > 0
                    for p in pictures
                ]
            measured[route][name] = sum(hits) / scenes
    return measured


def main(arguments: list[str] | None = None) -> None:
    """Measure, print, and write into the card of the detector's directory if asked to."""
    parser = argparse.ArgumentParser(prog="python -m recipes.meaningless_prompts", description=__doc__)
    parser.add_argument("--detector", default="toy_detic", help="registered name or directory")
    parser.add_argument("--model", default="imagebind_tiny", help="registered name or directory")
    parser.add_argument("--routes", nargs="+", default=["linear", "vocabulary", "rescore"])
    parser.add_argument("--scenes", type=int, default=SCENES)
    parser.add_argument("--write", type=Path, help="directory of the detector, whose card gets the figures")
    options = parser.parse_args(arguments)
    detector = bindplug.upgrade(Detic.from_pretrained(options.detector), bindplug.load(options.model))
    measured = measure_meaningless_prompts(detector, options.routes, options.scenes)
    print(format_meaningless_prompts(measured))
    if options.write:
        card = json.loads((options.write / CARD).read_text())
        card["meaningless_prompts"] = {"scenes": options.scenes, "routes": measured}
        write_card(options.write, card)
        write_readme(options.write)


if __name__ == "__main__":
    main()
