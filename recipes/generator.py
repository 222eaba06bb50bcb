"""``python -m recipes.generator``: train the toy unCLIP on a model's image embeddings."""

from __future__ import annotations

import argparse
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

import bindplug
from bindplug.errors import InputError
from bindplug.imagebind import ImageBind
from bindplug_diffusers import Prototypes
from recipes.generation_evaluation import Judge
from recipes.generator_data import Pictures, probe, render_pictures
from recipes.generator_guidance import calibrate_guidance
from recipes.generator_pipeline import assemble, write_pipeline
from recipes.generator_ship import evaluate_all, prototypes_of, ship_generator
from recipes.generator_size import FULL, SMOKE, GeneratorSize
from recipes.generator_unet import Conditioning, build_unet, fit_unet
from recipes.generator_vae import build_vae, encode_all, fit_decoder, fit_vae
from recipes.options import begin, shared_options
from recipes.stages import run_stage

logger = logging.getLogger("recipes.generator")

NOT_TRAINING = ("evaluated", "prototypes", "prototypes_weight")
"""Parts of the recipe that change no weights."""
AUTOENCODER = ("scenes", "vae", "side", "latent", "crop", "kl", "edge", "seed")
"""What the names of the autoencoder's parts of the recipe start with."""


def train_generator(
    encoder: ImageBind, size: GeneratorSize, workspace: Path, *, quiet: bool | None = None
) -> tuple[Any, Pictures, dict[str, Any]]:
    """The pipeline, trained now or by an earlier run of the same recipe, stage by stage.

    Args:
        encoder: what embeds the training pictures.
        size: the recipe.
        workspace: holds the rendered scenes and the finished stages.
        quiet: True shows no progress, None asks the environment.

    Returns:
        The pipeline, the training pictures, and each stage's figures for the card.
    """
    pictures = render_pictures(
        workspace / "generation", encoder, count=size.scenes, side=size.side, quiet=quiet
    )
    logger.info("%d scenes, %.0f s", len(pictures), pictures.seconds)
    torch.manual_seed(size.seed)
    vae, unet = build_vae(size), build_unet(size, pictures.rows.shape[-1])
    recipe = {name: value for name, value in asdict(size).items() if name not in NOT_TRAINING}
    first = {name: value for name, value in recipe.items() if name.startswith(AUTOENCODER)}
    figures = {"rendering": {"seconds": pictures.seconds}}
    figures["vae"] = run_stage(
        workspace / "toy_unclip_vae",
        vae,
        first,
        lambda: (vae, fit_vae(vae, pictures.pixels, size, quiet=quiet)),
    )
    latents = encode_all(vae, pictures.pixels)
    figures["decoder"] = run_stage(
        workspace / "toy_unclip_decoder",
        vae,
        first | {name: value for name, value in recipe.items() if name.startswith("decoder")},
        lambda: (vae, fit_decoder(vae, pictures.pixels, latents, size, quiet=quiet)),
    )
    second = {name: value for name, value in recipe.items() if not name.startswith("decoder")}
    second["probe"] = [round(number, 3) for number in probe(encoder).tolist()]
    settings = {name: value for name, value in second.items() if not name.startswith("guidance")}
    figures["unet"] = run_stage(
        workspace / "toy_unclip_unet",
        unet,
        settings,
        lambda: fit_unet(unet, latents, pictures.rows, size, quiet=quiet),
    )
    student = build_unet(size, pictures.rows.shape[-1])
    figures["guidance"] = run_stage(
        workspace / "toy_unclip_guidance",
        student,
        second,
        lambda: calibrate_guidance(unet, latents, pictures.rows, size, quiet=quiet),
    )
    figures["unet"]["parameters"] = sum(p.numel() for p in student.parameters())
    conditioning = Conditioning.measured(pictures.rows.flatten(0, 1))
    return assemble(vae, student, conditioning, encoder), pictures, figures


def main(arguments: list[str] | None = None) -> None:
    """Train, write, evaluate and tell; a rerun takes up what an earlier one left in the workspace."""
    options = _parser().parse_args(arguments)
    size = SMOKE if options.smoke else FULL
    run = begin(options, "generator_training.log")
    workspace, quiet = run.workspace, run.quiet
    model = bindplug.load(options.model)
    if not isinstance(model, ImageBind):
        expected = "a model of ImageBind's architecture, whose image tower the pipeline is trained for"
        raise InputError("--model", found=f"a {type(model).__name__}", expected=expected)
    pipe, pictures, figures = train_generator(model, size, workspace, quiet=quiet)
    directory = write_pipeline(pipe, options.output or workspace / "toy_unclip")
    prototypes_of(pictures, model, size).save(directory / Prototypes.FILE)
    judge = Judge(bindplug.load(options.judge, modalities=["image", "text"]))
    measures = evaluate_all(directory, model, judge, size, workspace / "toy_unclip_sheets", quiet=quiet)
    model_names = {"model": Path(options.model).name, "judge": Path(options.judge).name}
    ship_generator(directory, figures, measures, size, **model_names, log=run.log)


def _parser() -> argparse.ArgumentParser:
    shared = shared_options(
        holds="rendered scenes, training and contact sheets (1 GB)", output="the pipeline goes"
    )
    parser = argparse.ArgumentParser(
        prog="python -m recipes.generator", description=__doc__, parents=[shared]
    )
    parser.add_argument(
        "--model",
        default="imagebind_tiny",
        help="whose image embeddings it is conditioned on: registered name or directory",
    )
    parser.add_argument(
        "--judge",
        default="toy_foreign_clip",
        help="the CLIP that judges its pictures: registered name or directory",
    )
    return parser


if __name__ == "__main__":
    main()
