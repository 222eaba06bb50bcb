"""Fit the similarity scales of a trained model, and measure how far its probabilities come true.

``python -m recipes.scales --model DIR --write`` does it for a model that was written earlier.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import bindplug
from bindplug.encoder import Encoder
from bindplug.training import calibration_error, fit_scale
from bindplug.zeroshot import GENERIC_TEMPLATES
from bindplug_toyworld.evaluation import embed_scenes, evaluation_scenes, things_of
from bindplug_toyworld.scene import Scene
from bindplug_toyworld.things import CLASSNAMES, label_of
from recipes.card import CARD, write_card

SENSORS = ("image", "audio", "depth", "thermal", "imu")
FIT_SCENES = 600
"""Scenes a modality that scales are fitted on, of the split ``"calibration"``."""


def calibration_scenes(modality: str, count: int) -> Iterator[Scene]:
    """``count`` scenes of one thing each, of a split that neither training nor evaluation uses."""
    things, first = things_of(modality), 100_000 * (1 + SENSORS.index(modality))
    return (
        Scene(first + index, "calibration", labels=(things[index % len(things)],)) for index in range(count)
    )


def class_rows(model: Encoder, modality: str) -> Tensor:
    """(K, D) rows of the class names of a modality's things, by the prompts of ``bindplug.classify``."""
    names = [CLASSNAMES[label_of(thing)] for thing in things_of(modality)]
    return model.zero_shot_classifier(names, GENERIC_TEMPLATES, progress=False).T


def fit_scales(model: Encoder, scenes: int = FIT_SCENES, *, quiet: bool | None = None) -> dict[str, float]:
    """Each modality's scale against class names; that of images, against text, is kept under ``"text"``."""
    scales = {}
    for modality in SENSORS:
        rows = embed_scenes(model, modality, calibration_scenes(modality, scenes), scenes, quiet=quiet)
        scale = fit_scale(rows.cpu(), class_rows(model, modality).cpu(), _labels(modality, scenes))
        scales["text" if modality == "image" else modality] = round(scale, 2)
    return scales


def evaluation_rows(model: Encoder, scenes: int, *, quiet: bool | None = None) -> dict[str, Tensor]:
    """For each of :data:`SENSORS` the embeddings of the evaluation's scenes."""
    return {
        modality: embed_scenes(
            model,
            modality,
            evaluation_scenes(things_of(modality), scenes, 100_000 * number),
            scenes,
            quiet=quiet,
        )
        for number, modality in enumerate(SENSORS, start=1)
    }


def measure_calibration(
    model: Encoder, rows: Mapping[str, Tensor], scales: Mapping[str, float]
) -> dict[str, dict[str, Any]]:
    """Expected calibration errors on evaluation scenes, at the scale of training and at the fitted one.

    Args:
        model: whose text tower embeds the class names.
        rows: for each of :data:`SENSORS`, (N, D) embeddings of scenes that go round the modality's things.
        scales: what :func:`fit_scales` gave.
    """
    figures = {}
    for modality, embedded in rows.items():
        cosines = embedded.cpu() @ class_rows(model, modality).cpu().T  # (N, K)
        labels, key = _labels(modality, len(embedded)), "text" if modality == "image" else modality
        trained, fitted = model.scale_of(key), scales[key]
        figures[f"{modality} -> text"] = {
            "trained_scale": round(trained, 2),
            "trained_ece": round(calibration_error((trained * cosines).softmax(1), labels), 4),
            "fitted_scale": fitted,
            "fitted_ece": round(calibration_error((fitted * cosines).softmax(1), labels), 4),
            "fitted_on": FIT_SCENES,
            "count": len(embedded),
        }
    return figures


def format_calibration(calibration: Mapping[str, Mapping[str, Any]]) -> str:
    """A Markdown table, a row a modality."""
    lines = [
        "| | scale of training | its ECE | fitted scale | its ECE | queries |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {m['trained_scale']:.0f} | {m['trained_ece']:.3f} | {m['fitted_scale']:.1f} | "
        f"{m['fitted_ece']:.3f} | {m['count']} |"
        for name, m in calibration.items()
    ]
    return "\n".join(lines)


def _labels(modality: str, count: int) -> Tensor:
    return torch.arange(count) % len(things_of(modality))


def main(arguments: list[str] | None = None) -> None:
    """Fit, measure, print, and write into the model's directory if asked to."""
    parser = argparse.ArgumentParser(prog="python -m recipes.scales", description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="directory of a model")
    parser.add_argument("--scenes", type=int, default=1000, help="evaluation scenes a modality")
    parser.add_argument("--write", action="store_true", help="put scales and figures into the directory")
    parser.add_argument("--quiet", action="store_true")
    options = parser.parse_args(arguments)
    model, quiet = bindplug.load(options.model), True if options.quiet else None
    scales = fit_scales(model, quiet=quiet)
    rows = evaluation_rows(model, options.scenes, quiet=quiet)
    calibration = measure_calibration(model, rows, scales)
    print(format_calibration(calibration))
    if options.write:
        write_scales(options.model, scales, calibration)


def write_scales(directory: Path, scales: Mapping[str, float], calibration: Mapping[str, Any]) -> None:
    """Put fitted scales into a model's ``config.json``, and the figures into its card."""
    config, card = directory / "config.json", directory / CARD
    manifest = json.loads(config.read_text()) | {"similarity_scales": dict(scales)}
    config.write_text(json.dumps(manifest, indent=2) + "\n")
    if card.is_file():
        write_card(directory, json.loads(card.read_text()) | {"calibration": dict(calibration)})


if __name__ == "__main__":
    main()
