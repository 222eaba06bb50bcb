"""Measure a trained toy unCLIP, and write it down in the directory that the package ships."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import StableUnCLIPImg2ImgPipeline
from PIL import Image

import bindplug
from bindplug.encoder import Encoder
from bindplug_diffusers import Prototypes
from bindplug_toyworld.things import CLASSNAMES, NAMES
from recipes.card import CARD, begin_card, interval, write_card
from recipes.generation_evaluation import (
    BLENDS,
    MODALITIES,
    GenerationMeasure,
    Judge,
    QuerySet,
    blend_queries,
    contact_sheet,
    evaluate_generation,
    format_measures,
    judge_pictures,
    sensor_queries,
)
from recipes.generator_data import Pictures, portrait, shrunk
from recipes.generator_size import DEFAULT_GUIDANCE, GeneratorSize
from recipes.generator_vae import as_input

logger = logging.getLogger(__name__)

COMMAND = "python -m recipes.generator"
AS_THEY_ARE, RECENTERED = "as they are", "recentered"
BY_DEFAULT, ALONE = "prototypes", "prototypes alone"
"""What a call does by default: a share of the nearest prototypes; and those alone, with nothing of the query."""


def prototypes_of(pictures: Pictures, encoder: Encoder, size: GeneratorSize) -> Prototypes:
    """Image rows of the first training scenes, which go round the things."""
    labels = pictures.labels[: size.prototypes].tolist()
    names = tuple(f"{NAMES[label]} {number}" for number, label in enumerate(labels))
    rows = pictures.rows[: size.prototypes, 0]
    return Prototypes(rows, encoder.embedding_space, names, weight=size.prototypes_weight)


def evaluate_all(
    directory: Path,
    model: Encoder,
    judge: Judge,
    size: GeneratorSize,
    sheets: Path,
    *,
    quiet: bool | None = None,
) -> list[GenerationMeasure]:
    """Every measure of the written pipeline, at its call's own defaults, with a contact sheet of each.

    Args:
        directory: of the pipeline, with its prototypes.
        model: embeds the queries.
        judge: of the pictures.
        size: tells how many.
        sheets: where the contact sheets go.
        quiet: True shows no progress, None asks the environment.
    """
    pipe = StableUnCLIPImg2ImgPipeline.from_pretrained(directory)
    pipe.set_progress_bar_config(disable=True)
    generator = bindplug.upgrade(pipe, model)
    methods: dict[str, dict[str, Any]] = {AS_THEY_ARE: {"recenter": False, "prototypes": False}}
    if "image" in model.centers:
        methods[RECENTERED] = {"recenter": True, "prototypes": False}
    methods[BY_DEFAULT] = {}
    alone = replace(Prototypes.load(directory / Prototypes.FILE), weight=1.0)
    methods[ALONE] = {"prototypes": alone}
    sheets.mkdir(parents=True, exist_ok=True)
    measures: list[GenerationMeasure] = []
    questions = [sensor_queries(modality, size.evaluated) for modality in MODALITIES]
    questions += [blend_queries(*pair, size.evaluated) for pair in BLENDS]
    measures += ceilings(pipe.vae, judge, questions[0], size)
    for query_set in questions:
        results, pictures_by_method = evaluate_generation(generator, judge, query_set, methods, quiet=quiet)
        measures += results
        for measure in results:
            logger.info("%s: %.4f of %d", measure.name, measure.value, measure.count)
        _draw(query_set, judge, pictures_by_method, sheets)
    return measures


@torch.inference_mode()
def ceilings(vae: Any, judge: Judge, query_set: QuerySet, size: GeneratorSize) -> list[GenerationMeasure]:
    """What the judge makes of the scenes' portraits at the generator's size, also through its autoencoder."""
    small = [shrunk(portrait(scene), size.side) for scene in query_set.scenes]
    through = []
    for picture in small:
        x = as_input(torch.from_numpy(_pixels(picture))[None])
        y = vae.decode(vae.encode(x).latent_dist.mean).sample[0].clamp(-1, 1)
        through.append(Image.fromarray(((y.permute(1, 2, 0) + 1) * 127.5).round().to(torch.uint8).numpy()))
    measures = [
        judge_pictures(judge, query_set, small, "the scenes' portraits"),
        judge_pictures(judge, query_set, through, "through the autoencoder"),
    ]
    for measure in measures:
        logger.info("%s: %.4f of %d", measure.method, measure.value, measure.count)
    return measures


def _pixels(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture).transpose(2, 0, 1).copy()


def _draw(
    query_set: QuerySet, judge: Judge, pictures_by_method: dict[str, list[Image.Image]], sheets: Path
) -> None:
    for method, pictures in pictures_by_method.items():
        title = f"{query_set.modality}, {method}: the scene of the first query, then generated pictures"
        sheet = contact_sheet(query_set, pictures, judge.answers(pictures), title=title)
        sheet.save(sheets / f"{query_set.modality}_{method}.png".replace(" ", "_"))


def ship_generator(
    directory: Path,
    figures: dict[str, Any],
    measures: Sequence[GenerationMeasure],
    size: GeneratorSize,
    *,
    model: str,
    judge: str,
    log: Path,
) -> Path:
    """Put ``card.json``, ``README.md`` and the training log beside the written pipeline.

    Args:
        directory: of the pipeline.
        figures: what each stage of the training reported.
        measures: the evaluation of exactly these weights.
        size: the recipe.
        model, judge: names of the encoder it was trained with and of the one that judged.
        log: the training log.
    """
    shutil.copyfile(log, directory / "training.log")
    card = {
        **begin_card(size, COMMAND),
        "model": model,
        "judge": judge,
        "training": figures,
        "evaluation": {measure.name: measure.to_dict() for measure in measures},
    }
    write_card(directory, card)
    write_readme(directory)
    for file in directory.rglob("*.safetensors"):
        file.chmod(0o644)
    return directory


def write_readme(directory: Path) -> None:
    """Write ``README.md`` from what ``card.json`` holds."""
    card = json.loads((directory / CARD).read_text())
    measures = []
    for name, entry in card["evaluation"].items():
        modality, _, method = name.partition(", ")
        measures.append(
            GenerationMeasure(
                modality,
                method,
                entry["value"],
                entry["count"],
                entry["chance"],
                entry.get("both"),
                tuple(entry.get("classnames", ())),
                tuple(map(tuple, entry.get("confusion", ()))),
            )
        )
    (directory / "README.md").write_text(_readme(directory, card, measures))


def _readme(directory: Path, card: dict[str, Any], measures: Sequence[GenerationMeasure]) -> str:
    recipe, training = card["recipe"], card["training"]
    minutes = sum(stage["seconds"] for stage in training.values()) / 60
    megabytes = sum(file.stat().st_size for file in directory.rglob("*") if file.is_file()) / 1e6
    own = [m for m in measures if m.method in (AS_THEY_ARE, RECENTERED, BY_DEFAULT, ALONE)]
    limits = [m for m in measures if m not in own]
    limited = "\n".join(
        f"- {m.method}, {recipe['side']} px: {100 * m.value:.1f} % of {m.count}." for m in limits
    )
    by_method = {m.method: m for m in own if m.modality == "audio"}
    headline = by_method.get(RECENTERED, by_method[AS_THEY_ARE])
    matrix = "\n".join(
        f"| {name} | {row[CLASSNAMES.index(name)]} of {sum(row)} |"
        for name, row in zip(headline.classnames, headline.confusion, strict=True)
    )
    guided = (
        f"It was taught that guidance at scale {DEFAULT_GUIDANCE:.0f}, the pipeline's default, acts as\n"
        f"  {recipe['guidance']:g} would have before: leave `guidance_scale` as it is."
        if recipe["guidance_steps"]
        else "It was trained for guidance; scales of 2 to 4 suit it."
    )
    return f"""# toy_unclip

diffusers' own `StableUnCLIPImg2ImgPipeline` at {training["unet"]["parameters"] / 1e6:.1f} M parameters, trained from \
nothing on the procedural toy world.
It paints twenty things and nothing else; it exists so that making pictures of sounds, depth, heat, motion and blends
runs offline with *learned* alignment. License: Apache-2.0, weights and data.

    pipe = StableUnCLIPImg2ImgPipeline.from_pretrained("{directory.name}")
    pipe = bindplug.upgrade(pipe, bindplug.load("{card["model"]}"))
    pipe(audio("siren.wav"), seed=0).images[0]

**{_percent(headline)} of its pictures of sounds show what was heard**, as its conditioning makes them (chance
{100 * headline.chance:.0f} %). By default a query is also led to prototypes, the nearest of {recipe["prototypes"]} \
image rows of training scenes: {_percent(by_method[BY_DEFAULT])}.
Then the query hardly does more than select: pictures made of the prototypes alone, with nothing of the query, are
right as often, {_percent(by_method[ALONE])}.

- Conditioned on {card["model"]}'s image embeddings and on nothing else: sound, depth, heat, motion and text were never
  seen in training. What it makes of them is emergent.
- Pictures of {recipe["side"]} x {recipe["side"]} pixels. {guided}
- Prompts are taken and not looked at. `image_encoder` is a placeholder that refuses pictures: a picture enters as a
  query, `pipe(image(...))`, or as `image_embeds`.
- {megabytes:.1f} MB in all, networks as float16 safetensors. `{Prototypes.FILE}` holds {recipe["prototypes"]} image
  rows of training scenes. An upgraded pipeline leads queries of other modalities to the nearest of them, which get a
  share of {recipe["prototypes_weight"]:g}; `prototypes=False` leaves that out.
- It paints portraits, the thing alone, upright and as large as the picture, before a plain backdrop: that is what it
  learned, of {recipe["scenes"]} scenes with all their clutter. The denoiser saw {training["unet"]["samples_seen"]}.
- {minutes:.0f} minutes on {card["machine"]}; the seed is fixed, `{card["command"]}` runs it again.
  `training.log` is the log of the run that made these files, `card.json` holds recipe, figures and confusion matrices.

Measured on evaluation scenes, one picture a query, at the pipeline's own steps and guidance, judged by
{card["judge"]}, another CLIP of another seed and width, zero-shot over the twenty things. Of a blend of two things,
right is a picture of either; `both` is both among the judge's first two.

{format_measures(own)}

In brackets the 95 % interval. `{RECENTERED}` moves queries to where images lie; `{BY_DEFAULT}`, the default, then
leads them to the nearest of the prototypes, 10 of {recipe["prototypes"]}; `{ALONE}` leaves nothing of the query.
What could be had at best, of the very scenes of the image queries:

{limited}

## Each thing ({headline.name})

| thing | right |
|---|---|
{matrix}
"""


def _percent(measure: GenerationMeasure) -> str:
    low, high = interval(measure.value, measure.count)
    return f"{100 * measure.value:.1f} % ({100 * low:.0f} to {100 * high:.0f})"
