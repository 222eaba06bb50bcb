"""Measure a trained toy detector, and write it down in the directory that the package ships."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from bindplug.space import EmbeddingSpace
from bindplug_detic.detector import Detic
from bindplug_detic.directory import NETWORK, save_directory
from bindplug_detic.network import DeticNetwork
from bindplug_detic.vocabulary import Vocabulary
from bindplug_toyworld.things import CLASSNAMES
from recipes.card import CARD, begin_card, write_card
from recipes.detection_evaluation import (
    FLOOR,
    DetectionMeasure,
    evaluate_own_words,
    format_meaningless_prompts,
    format_measures,
)
from recipes.detector_size import DetectorSize

COMMAND = "python -m recipes.detector"


def evaluate_plainly(
    network: DeticNetwork,
    vectors: Tensor,
    space: EmbeddingSpace,
    scenes: int,
    side: int,
    *,
    quiet: bool | None = None,
) -> DetectionMeasure:
    """How well the detector finds the things by its own class vectors, without bridge or query."""
    detector = Detic(network, Vocabulary(CLASSNAMES, vectors), space)

    def detect(picture: Image.Image) -> Any:
        return detector(picture, threshold=FLOOR, with_masks=False)

    return evaluate_own_words(detect, scenes=scenes, side=side, quiet=quiet)


def ship_detector(
    network: DeticNetwork,
    vectors: Tensor,
    space: EmbeddingSpace,
    figures: dict[str, Any],
    measures: Sequence[DetectionMeasure],
    size: DetectorSize,
    directory: Path,
    *,
    log: Path,
) -> Path:
    """Write the detector as float16 safetensors with its vocabulary, ``card.json``, ``README.md`` and training log.

    Args:
        network: trained.
        vectors: (20, D) class vectors, the vocabulary it ships with.
        space: that they live in.
        figures: what the training reported.
        measures: the evaluation of exactly these weights.
        size: the recipe.
        directory: replaced.
        log: the training log, copied beside the weights.
    """
    save_directory(
        network,
        directory,
        vocabulary=(CLASSNAMES, vectors),
        space=space,
        dtype=torch.float16,
        license="Apache-2.0",
        source=COMMAND,
        overwrite=True,
    )
    shutil.copyfile(log, directory / "training.log")
    card = {
        **begin_card(size, COMMAND),
        "training": figures,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
    }
    write_card(directory, card)
    write_measures(directory, measures)
    return directory


def write_measures(directory: Path, measures: Sequence[DetectionMeasure]) -> None:
    """Put an evaluation into a shipped detector's ``card.json`` and ``README.md``, in place of any earlier one."""
    card = json.loads((directory / CARD).read_text())
    card["evaluation"] = {measure.name: measure.to_dict() for measure in measures}
    write_card(directory, card)
    write_readme(directory)


def write_readme(directory: Path) -> None:
    """Write ``README.md`` from what ``card.json`` holds."""
    card = json.loads((directory / CARD).read_text())
    measures = [
        DetectionMeasure(*name.rsplit(", ", 1), **entry) for name, entry in card["evaluation"].items()
    ]
    (directory / "README.md").write_text(_readme(directory, card, measures))


def _readme(directory: Path, card: dict[str, Any], measures: Sequence[DetectionMeasure]) -> str:
    manifest = json.loads((directory / "config.json").read_text())
    space, config, recipe = manifest["embedding_space"], manifest["config"], card["recipe"]
    minutes = (card["training"]["seconds"] + card["training"]["rendering_seconds"]) / 60
    yardstick = next((m for m in measures if m.modality == "text"), measures[0])
    things = "\n".join(f"| {name} | {value:.3f} |" for name, value in yardstick.per_thing.items())
    return f"""# toy_detic

`bindplug_detic`'s own network at {card["parameters"] / 1e6:.2f} M parameters, trained from nothing on the procedural
toy world. It finds twenty things and nothing else; it exists so that prompting a detector with sounds, depth or
heat runs offline with *learned* alignment. License: Apache-2.0, weights and data.

- Classifies in the space `{space["name"]}` ({space["width"]}-d), which is not that of `imagebind_tiny`: prompts need a
  bridge, as with the published detector. Its vocabulary is the twenty names, each the mean over CLIP's templates.
- ResNet of {tuple(config["resnet_blocks"])} bottlenecks from {config["resnet_stem_width"]} channels, a pyramid of \
{config["fpn_channels"]} channels, {len(config["cascade_weights"])} cascade stages, masks.
  Pictures are resized to a short edge of {config["short_edge"]} pixels.
- {(directory / NETWORK).stat().st_size / 1e6:.1f} MB as float16 safetensors.
- {recipe["scenes"]} training scenes of one to five things, {card["training"]["samples_seen"]} seen; \
{minutes:.0f} minutes with rendering, on {card["machine"]};
  the seed is fixed, `{card["command"]}` runs it again. `training.log` is the log of the run that made these
  files, `card.json` holds recipe and figures. Each step moves the class vectors a little
  (by {recipe["vector_noise"]} of their length): what comes over a bridge never lands on one exactly.

Measured on {yardstick.scenes} evaluation scenes of two to five things, each prompted for all things at once, by another
scene's recording of the thing alone. AP50 is the mean over things of the average precision at IoU 0.5. A false
positive is a thing seen, with a score above {yardstick.threshold}, in a scene without it. `own words` is the
detector's own vocabulary, without query or bridge.

{format_measures(measures)}

Read the `vocabulary` rows as classification: there a prompt becomes the class vectors that it is nearest to, so that
naming the recording first and prompting by its name gives the same. `linear` maps the prompt itself.
{_meaningless(card.get("meaningless_prompts"))}
## Average precision of each thing ({yardstick.name})

| thing | AP50 |
|---|---|
{things}
"""


def _meaningless(measured: Mapping[str, Any] | None) -> str:
    if measured is None:
        return ""
    return f"""
Prompts that mean none of the things can find some all the same. Share of {measured["scenes"]} pictures with a
detection above 0.3, `suppress` at its default:

{format_meaningless_prompts(measured["routes"])}
"""
