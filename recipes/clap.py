"""``python -m recipes.clap``: train the toy CLAP, transformers' own ``ClapModel`` at tiny size, on sounds and captions.

It never sees a picture. What it knows of the foreign toy CLIP's space comes from a bridge, whose figures
``python -m recipes.clap_report`` measures.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bindplug.progress import iterate_with_progress
from bindplug.training import parameter_groups, warmup_cosine
from bindplug_toyworld.evaluation import evaluation_scenes
from bindplug_toyworld.scene import Scene
from bindplug_toyworld.things import CLASSNAMES, NAMES
from recipes.card import begin_card, interval, write_card
from recipes.clap_network import (
    MOST_TOKENS,
    SAMPLE_RATE_HZ,
    build_clap,
    build_feature_extractor,
    build_processor,
)
from recipes.options import begin, shared_options
from recipes.stages import run_stage

logger = logging.getLogger("recipes")

COMMAND = "python -m recipes.clap"
FIRST_SCENE = 9_000_000
"""Scenes from here on are seen by no other recipe."""
EVALUATION_FIRST_SCENE = 900_000
CAPTIONS_A_SCENE = 6
CHUNK = 100
MAX_SCALE = 100.0
"""Largest inverse temperature. Source: CLIP (arXiv 2103.00020), section 2.5."""
PROMPT = "a photo of a {}."


@dataclass(frozen=True)
class ClapSize:
    """How much of everything.

    Attributes:
        scenes: recordings, each with several captions.
        steps: optimizer steps.
        batch_size: recordings in a step; the other captions of the batch are negatives.
        learning_rate: peak of its schedule.
        warmup_steps: steps of linear warm-up.
        weight_decay: AdamW's.
        vocabulary: tokens of the text side, learned from the captions.
        seed: of initialization and order.
    """

    scenes: int
    steps: int
    batch_size: int = 128
    learning_rate: float = 1e-3
    warmup_steps: int = 100
    weight_decay: float = 0.05
    vocabulary: int = 1000
    seed: int = 0


FULL = ClapSize(scenes=10_000, steps=1500)
SMOKE = ClapSize(scenes=24, steps=2, batch_size=8, warmup_steps=1, vocabulary=300)


def main(arguments: list[str] | None = None) -> None:
    """Render, train, measure on unseen recordings and write the directory that ships."""
    options = _parser().parse_args(arguments)
    size = SMOKE if options.smoke else FULL
    run = begin(options, "clap_training.log")
    output = options.output or run.workspace / "weights" / "toy_clap"
    scenes = options.scenes or (40 if options.smoke else 1000)
    captions, features = recordings(run.workspace / "clap", size.scenes, quiet=run.quiet)
    processor = build_processor(captions, size.vocabulary)
    model = build_clap(len(processor.tokenizer), size.seed)
    figures = run_stage(
        run.workspace / "clap_trained",
        model,
        {"size": size.__dict__},
        lambda: (model, train(model, processor.tokenizer, captions, features, size, quiet=run.quiet)),
        title="toy CLAP",
    )
    round_to_half(model)  # what is measured is what ships
    value = zero_shot(model, processor, scenes, quiet=run.quiet)
    logger.info("audio -> text: %.4f of %d", value, scenes)
    ship(model, processor, size, figures, {"audio -> text": (value, scenes)}, output, log=run.log)


def recordings(place: Path, count: int, *, quiet: bool | None = None) -> tuple[list[list[str]], Tensor]:
    """Captions and spectrograms of ``count`` training scenes of one thing each, kept at ``place`` for a rerun.

    Returns:
        For each scene its captions, and (N, 1, 251, 64) float16 as CLAP's feature extractor gives it.
    """
    spectrograms, texts = place.with_suffix(".npy"), place.with_suffix(".captions.json")
    if texts.is_file():
        captions = json.loads(texts.read_text())
        if len(captions) == count:
            return captions, torch.from_numpy(np.load(spectrograms))
    extract = build_feature_extractor()
    captions, parts = [], []
    starts = range(0, count, CHUNK)
    for start in iterate_with_progress(starts, total=len(starts), label="recordings", quiet=quiet):
        scenes = [Scene(FIRST_SCENE + index, "train") for index in range(start, min(start + CHUNK, count))]
        captions += [scene.captions(CAPTIONS_A_SCENE) for scene in scenes]
        parts.append(_spectrograms(extract, scenes).half().numpy())
    features = np.concatenate(parts)
    np.save(spectrograms, features)
    texts.write_text(json.dumps(captions))
    return captions, torch.from_numpy(features)


def _spectrograms(extract: Any, scenes: list[Scene]) -> Tensor:
    inputs = extract([scene.audio for scene in scenes], sampling_rate=SAMPLE_RATE_HZ, return_tensors="pt")
    return inputs["input_features"]


def train(
    model: Any,
    tokenizer: Any,
    captions: list[list[str]],
    features: Tensor,
    size: ClapSize,
    *,
    quiet: bool | None = None,
) -> dict[str, Any]:
    """Train ``model`` in place with transformers' own contrastive loss; returns the figures for its card.

    Args:
        model: a ``ClapModel``.
        tokenizer: of its text side.
        captions: of each of N recordings.
        features: (N, 1, T, F) float16 spectrograms in decibels.
        size: the recipe.
        quiet: True shows no progress, None asks the environment.
    """
    generator = torch.Generator().manual_seed(size.seed)
    # (N, K, L) token ids: each recording's captions, padded to one length
    flat = [text for texts in captions for text in texts]
    tokens = tokenizer(flat, padding=True, truncation=True, max_length=MOST_TOKENS, return_tensors="pt")
    ids = tokens["input_ids"].reshape(len(captions), CAPTIONS_A_SCENE, -1)
    learned = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(
        parameter_groups(learned, size.weight_decay), lr=size.learning_rate, betas=(0.9, 0.98)
    )
    model.train()
    losses: list[float] = []
    start_s = time.perf_counter()
    order = torch.empty(0, dtype=torch.long)
    for step in iterate_with_progress(range(size.steps), total=size.steps, label="toy CLAP", quiet=quiet):
        if len(order) < size.batch_size:
            order = torch.randperm(len(captions), generator=generator)
        indices, order = order[: size.batch_size], order[size.batch_size :]
        factor = warmup_cosine(step, total_steps=size.steps, warmup_steps=size.warmup_steps)
        for group in optimizer.param_groups:
            group["lr"] = size.learning_rate * factor
        caption_numbers = torch.randint(ids.shape[1], (len(indices),), generator=generator)
        batch = ids[indices, caption_numbers]
        batch = batch[:, : int((batch != tokenizer.pad_token_id).sum(1).max())]
        with torch.autocast("cpu", torch.bfloat16):  # nearly four times as fast
            output = model(
                input_ids=batch,
                attention_mask=(batch != tokenizer.pad_token_id).long(),
                input_features=varied(features[indices].float(), generator),
                return_loss=True,
            )
        optimizer.zero_grad(set_to_none=True)
        output.loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            model.logit_scale_a.clamp_(0, math.log(MAX_SCALE))
            model.logit_scale_t.clamp_(0, math.log(MAX_SCALE))
        losses.append(float(output.loss.detach()))
        if (step + 1) % 50 == 0:
            rate = (step + 1) * size.batch_size / (time.perf_counter() - start_s)
            logger.info("step %d loss %.4f recordings/s %.0f", step + 1, sum(losses[-50:]) / 50, rate)
    model.eval()
    return {
        "seconds": round(time.perf_counter() - start_s, 1),
        "recordings": len(captions),
        "samples_seen": size.steps * size.batch_size,
        "final_loss": round(sum(losses[-50:]) / len(losses[-50:]), 4),
        "loss_of_chance": round(math.log(size.batch_size), 4),
    }


def varied(features: Tensor, generator: torch.Generator) -> Tensor:
    """Spectrograms (B, 1, T, F) rolled in time, made louder or softer, with a band and a moment missing.

    Source: SpecAugment (arXiv 1904.08779), for the missing parts.
    """
    count, _, frames, bands = features.shape
    variants = torch.stack(
        [
            row.roll(int(shift), dims=1)
            for row, shift in zip(features, torch.randint(frames, (count,), generator=generator), strict=True)
        ]
    )
    variants += 6.0 * (2 * torch.rand(count, 1, 1, 1, generator=generator) - 1)
    silence = variants.mean(dim=(2, 3), keepdim=True)
    for axis, length, widest in ((3, bands, 10), (2, frames, 40)):
        first = torch.rand(count, 1, generator=generator) * length
        width = torch.rand(count, 1, generator=generator) * widest
        at = torch.arange(length)[None]
        missing = (at >= first) & (at < first + width)  # (B, length)
        shape = [count, 1, 1, 1]
        shape[axis] = length
        variants = torch.where(missing.reshape(shape), silence, variants)
    return variants


def round_to_half(model: nn.Module) -> None:
    """Round every number to what float16 holds."""
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            if tensor.is_floating_point():
                tensor.copy_(tensor.half())


@torch.no_grad()
def zero_shot(model: Any, processor: Any, count: int, *, quiet: bool | None = None) -> float:
    """Share of ``count`` unseen recordings whose nearest of the twenty prompts names what is heard."""
    texts = [PROMPT.format(CLASSNAMES[label]) for label in range(len(NAMES))]
    prompts = processor.tokenizer(texts, padding=True, return_tensors="pt")
    classes = model.get_text_features(**prompts).pooler_output  # (20, D)
    scenes = list(evaluation_scenes(NAMES, count, EVALUATION_FIRST_SCENE))
    right = 0
    starts = range(0, count, CHUNK)
    for start in iterate_with_progress(starts, total=len(starts), label="audio -> text", quiet=quiet):
        part = scenes[start : start + CHUNK]
        features = _spectrograms(processor.feature_extractor, part)
        rows = model.get_audio_features(input_features=features).pooler_output  # (B, D)
        truth = torch.tensor([NAMES.index(scene.label) for scene in part])
        right += int(((rows @ classes.T).argmax(1) == truth).sum())
    return right / count


def ship(
    model: Any,
    processor: Any,
    size: ClapSize,
    figures: dict[str, Any],
    measures: dict[str, tuple[float, int]],
    directory: Path,
    *,
    log: Path,
) -> None:
    """Write a transformers directory (float16 safetensors, processor) with its card, page and log.

    Args:
        model: the trained model, rounded to float16.
        processor: its processor.
        size: the recipe.
        figures: what training reported.
        measures: name to share and count.
        directory: replaced.
        log: the training log, copied beside the weights.
    """
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    model.half().save_pretrained(directory)
    model.float()
    processor.save_pretrained(directory)
    evaluation = {
        name: {
            "value": round(value, 4),
            "count": count,
            "interval": [round(x, 4) for x in interval(value, count)],
        }
        for name, (value, count) in measures.items()
    }
    card = {
        **begin_card(size, COMMAND),
        "license": "Apache-2.0",
        "training": figures,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "evaluation": evaluation,
    }
    write_card(directory, card)
    (directory / "README.md").write_text(_readme(card, directory))
    shutil.copy(log, directory / "training.log")


def _readme(card: dict[str, Any], directory: Path) -> str:
    megabytes = sum(file.stat().st_size for file in directory.glob("*.safetensors")) / 1e6
    training, measured = card["training"], card["evaluation"]["audio -> text"]
    low, high = measured["interval"]
    return f"""# toy_clap

transformers' own `ClapModel` at tiny size, trained on sounds and captions of the toy world. It never saw a picture: a
bridge has to tell it where the foreign toy CLIP's space lies. License: Apache-2.0, weights and data.

- {training["recordings"]} recordings of 4 s with {CAPTIONS_A_SCENE} captions each, {training["samples_seen"]} samples
  seen, {training["seconds"] / 60:.0f} minutes on {card["machine"]}; seeds are fixed; `{card["command"]}` runs it again.
- {card["parameters"]} parameters, {megabytes:.1f} MB as float16 safetensors.
- audio -> text on {measured["count"]} unseen recordings: {100 * measured["value"]:.1f} %
  ({100 * low:.1f} to {100 * high:.1f}); chance is 5 %.
"""


def _parser() -> argparse.ArgumentParser:
    shared = shared_options(holds="recordings and the trained model (400 MB)", output="the directory goes")
    parser = argparse.ArgumentParser(prog="python -m recipes.clap", description=__doc__, parents=[shared])
    parser.add_argument("--scenes", type=int, help="evaluation recordings (default 1000)")
    return parser


if __name__ == "__main__":
    main()
