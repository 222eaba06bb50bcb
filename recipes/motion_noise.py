"""How zero-shot classification of motion falls when the accelerometer is noisier than in training."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

import bindplug
from bindplug.encoder import Encoder
from bindplug_toyworld.evaluation import evaluation_scenes, things_of
from bindplug_toyworld.things import CLASSNAMES, label_of
from recipes.card import CARD, write_card

DEVIATIONS = (0.02, 0.05, 0.1, 0.2, 0.5)
"""Standard deviations of the noise in m/s^2; a phone's own is 0.01 to 0.03."""
FIRST_SCENE = 500_000
SCENES = 400


def measure_motion_noise(model: Encoder, scenes: int = SCENES) -> dict[str, dict[str, float]]:
    """The share of motions classified right, by the deviation of white noise on the accelerometer's three axes."""
    things = things_of("imu")
    classifier = model.zero_shot_classifier([CLASSNAMES[label_of(thing)] for thing in things], progress=False)
    labels = torch.arange(scenes) % len(things)
    random = np.random.default_rng(0)
    measured = {}
    for deviation in DEVIATIONS:
        queries = []
        for scene in evaluation_scenes(things, scenes, FIRST_SCENE):
            assert scene.imu is not None  # the things of this modality move
            motion = scene.imu.copy()
            motion[:3] += random.normal(0, deviation, motion[:3].shape)
            queries.append(bindplug.imu(motion.astype(np.float32), sample_rate=scene.imu_rate_hz))
        answers = (model.embed(queries, progress=False) @ classifier).argmax(dim=1).cpu()
        right = float((answers == labels).float().mean())
        measured[f"{deviation:g}"] = {"value": round(right, 4), "count": scenes}
    return measured


def format_motion_noise(measured: Mapping[str, Mapping[str, Any]]) -> str:
    """One line for a card."""
    parts = (f"{100 * m['value']:.1f} % at {deviation} m/s²" for deviation, m in measured.items())
    count = next(iter(measured.values()))["count"]
    return f"{', '.join(parts)} ({count} motions each)"


def main(arguments: list[str] | None = None) -> None:
    """Measure, print, and write into the card of the model's directory if asked to."""
    parser = argparse.ArgumentParser(prog="python -m recipes.motion_noise", description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="directory of a model")
    parser.add_argument("--scenes", type=int, default=SCENES)
    parser.add_argument("--write", action="store_true", help="put the figures into the card")
    options = parser.parse_args(arguments)
    measured = measure_motion_noise(bindplug.load(options.model), options.scenes)
    print(format_motion_noise(measured))
    if options.write:
        card = json.loads((options.model / CARD).read_text()) | {"motion_noise": measured}
        write_card(options.model, card)


if __name__ == "__main__":
    main()
