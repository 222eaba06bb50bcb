"""Write a trained model down: weights, card and log, in the directory that the package ships."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from bindplug.imagebind import ImageBind, save_directory
from bindplug_toyworld.evaluation import Measure, format_confusion
from recipes.card import CARD, begin_card, write_card
from recipes.motion_noise import format_motion_noise
from recipes.scales import format_calibration
from recipes.sizes import RecipeSize

COMMAND = "python -m recipes"


def round_to_half(model: ImageBind) -> None:
    """Round weights to what float16 holds, so that what is measured is what ships; scales, kept in float32, stay."""
    with torch.no_grad():
        for parameter in model.towers.parameters():
            parameter.copy_(parameter.half())


def ship(
    model: ImageBind,
    figures: dict[str, Any],
    measures: Sequence[Measure],
    size: RecipeSize,
    directory: Path,
    *,
    log: Path,
    calibration: Mapping[str, Any],
    motion_noise: Mapping[str, Any],
) -> Path:
    """Write ``model`` as float16 safetensors with its card (``card.json``, ``README.md``) and training log.

    Args:
        model: the trained model.
        figures: what each stage of the training reported.
        measures: the evaluation of exactly these weights, after rounding to float16.
        size: the recipe.
        directory: replaced.
        log: the training log, copied beside the weights.
        calibration: what ``recipes.scales.measure_calibration`` gave.
        motion_noise: what ``recipes.motion_noise.measure_motion_noise`` gave.
    """
    save_directory(
        model, directory, dtype=torch.float16, license="Apache-2.0", source=COMMAND, overwrite=True
    )
    card = {
        **begin_card(size, COMMAND),
        "training": figures,
        "parameters": {name: sum(p.numel() for p in t.parameters()) for name, t in model.towers.items()},
        "evaluation": {measure.name: measure.to_dict() for measure in measures},
        "calibration": dict(calibration),
        "motion_noise": dict(motion_noise),
    }
    write_card(directory, card)
    write_readme(directory)
    shutil.copyfile(log, directory / "training.log")
    return directory


def write_readme(directory: Path) -> None:
    """Write ``README.md`` from what ``card.json`` holds."""
    card = json.loads((directory / CARD).read_text())
    measures = [
        Measure(
            name,
            entry["value"],
            entry["count"],
            entry["chance"],
            tuple(entry.get("classnames", ())),
            tuple(map(tuple, entry.get("confusion", ()))),
        )
        for name, entry in card["evaluation"].items()
    ]
    (directory / "README.md").write_text(_readme(card, measures, directory))


def _readme(card: dict[str, Any], measures: Sequence[Measure], directory: Path) -> str:
    megabytes = sum(file.stat().st_size for file in directory.glob("*.safetensors")) / 1e6
    minutes = sum(stage["seconds"] for stage in card["training"].values()) / 60
    scenes = sum(stage["scenes"] for stage in card["recipe"]["clip"]["stages"])
    samples = sum(stage.get("samples_seen", 0) for stage in card["training"].values())
    millions = {name: count / 1e6 for name, count in card["parameters"].items()}
    measured = "\n".join(
        f"| {m.name} | {100 * m.value:.1f} % | {_promise(m)} | {100 * m.chance:.1f} % | {m.count} |"
        for m in measures
    )
    matrices = "\n\n".join(
        f"### {m.name}\n\n```\n{format_confusion(m)}\n```" for m in measures if m.confusion
    )
    return f"""# imagebind_tiny

The embedded default of bindplug: ImageBind's architecture at {sum(millions.values()):.1f} M parameters, trained
from nothing on the procedural toy world. It knows twenty things and nothing else; it exists so that everything
runs offline with *learned* alignment. License: Apache-2.0, weights and data.

- Image and text towers: a CLIP (open_clip's class) of {scenes} scenes with captions, {samples} samples; then frozen.
  `bindplug convert --to open-clip` gives it back.
- Audio, depth, thermal and IMU towers: each bound to the frozen image tower alone, on scenes no other tower saw.
  No sensor was ever paired with text or with another sensor: every figure below that pairs a sensor with
  anything but images is emergent. Sound, depth and heat towers start from the image tower's weights, the motion
  tower from a whitening of its windows.
- `centers.safetensors` holds each modality's mean row, for `embed(..., recenter=...)`; words that no caption
  held have zero token embeddings.
- {megabytes:.1f} MB as float16 safetensors ({", ".join(f"{n} {c:.1f} M" for n, c in millions.items())} parameters).
- Training took {minutes:.0f} minutes on {card["machine"]}; seeds are fixed; `make weights` runs it again.
  `training.log` is the log of the run that made these files, `card.json` holds recipe, figures and confusion matrices.

| on evaluation scenes | measured | promised | chance | queries |
|---|---|---|---|---|
{measured}

Classification is zero-shot, with CLIP's 80 prompt templates. Retrieval counts the nearest item being of the
right class; `image + audio -> scene` adds an image of one thing and a sound of another and asks for a scene that
holds both among the five nearest of {next(m.count for m in measures if m.name.startswith("image + audio"))}. The
sum's parts are moved to the mean of the scenes to be searched, `recenter=gallery.mean(0)`; `as they are` is without,
`moved to images` is `recenter="image"`, the mean of pictures of one thing, which does not help here.

The motions are clean, and 100 % is brittle: with white noise on the accelerometer
{format_motion_noise(card["motion_noise"])}.

## Calibration

`model.similarity` and `bindplug.classify` multiply cosines by a scale. In training, sensors had fixed scales, which
make them far too careful; the shipped ones are fitted on {next(iter(card["calibration"].values()))["fitted_on"]} \
scenes a modality that neither training nor evaluation
saw. ECE, the expected calibration error, is the mean distance between the probability of the first answer and the
share of right answers, over 15 bins: at 0.44 probabilities are off by 44 points on average.
Class names stand in the prompts of `bindplug.classify`.

{format_calibration(card["calibration"])}

Probabilities hold for such scenes and such classes. A file of anything else gets one of the class names as well.

## Confusion matrices

A row is the truth, a column the answer, in the same order.

{matrices}
"""


def _promise(measure: Measure) -> str:
    return "" if measure.threshold is None else f"{100 * measure.threshold:.0f} %"
