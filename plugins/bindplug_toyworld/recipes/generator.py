"""``python -m bindplug_toyworld.recipes.generator``: train the toy unCLIP on a model's image embeddings."""

from __future__ import annotations

import argparse
import json
import logging
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

import bindplug
from bindplug.errors import InputError
from bindplug.imagebind import ImageBind
from bindplug_toyworld.evaluate_generation import Judge
from bindplug_toyworld.recipes.generator_data import Pictures, probe, render_pictures
from bindplug_toyworld.recipes.generator_guidance import calibrate_guidance
from bindplug_toyworld.recipes.generator_pipeline import assemble, write_pipeline
from bindplug_toyworld.recipes.generator_ship import PROTOTYPES, evaluate_all, prototypes_of, ship_generator
from bindplug_toyworld.recipes.generator_size import FULL, SMOKE, GeneratorSize
from bindplug_toyworld.recipes.generator_unet import Conditioning, build_unet, fit_unet
from bindplug_toyworld.recipes.generator_vae import build_vae, encode_all, fit_vae
from bindplug_toyworld.recipes.log import log_to

logger = logging.getLogger("bindplug_toyworld.recipes.generator")

NOT_TRAINING = ("evaluated", "prototypes")
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
    started = time.perf_counter()
    pictures = render_pictures(
        workspace / "generation", encoder, count=size.scenes, side=size.side, quiet=quiet
    )
    rendering = time.perf_counter() - started
    logger.info("%d scenes, %.0f s", len(pictures), rendering)
    torch.manual_seed(size.seed)
    vae, unet = build_vae(size), build_unet(size, pictures.rows.shape[-1])
    recipe = {name: value for name, value in asdict(size).items() if name not in NOT_TRAINING}
    first = {name: value for name, value in recipe.items() if name.startswith(AUTOENCODER)}
    figures = {"rendering": {"seconds": round(rendering, 1)}}
    figures["vae"] = _stage(
        workspace / "toy_unclip_vae",
        vae,
        first,
        lambda: (vae, fit_vae(vae, pictures.pixels, size, quiet=quiet)),
    )
    latents = torch.stack(
        (encode_all(vae, pictures.pixels), encode_all(vae, pictures.pixels.flip(-1))), dim=1
    )
    second = recipe | {"probe": [round(number, 3) for number in probe(encoder).tolist()]}
    unguided = {name: value for name, value in second.items() if not name.startswith("guidance")}
    figures["unet"] = _stage(
        workspace / "toy_unclip_unet",
        unet,
        unguided,
        lambda: fit_unet(unet, latents, pictures.rows, size, quiet=quiet),
    )
    student = build_unet(size, pictures.rows.shape[-1])
    figures["guidance"] = _stage(
        workspace / "toy_unclip_guidance",
        student,
        second,
        lambda: calibrate_guidance(unet, latents, pictures.rows, size, quiet=quiet),
    )
    figures["unet"]["parameters"] = sum(p.numel() for p in student.parameters())
    conditioning = Conditioning.measured(pictures.rows.flatten(0, 1))
    return assemble(vae, student, conditioning, encoder), pictures, figures


def _stage(
    place: Path, network: Any, wanted: dict[str, Any], train: Callable[[], tuple[Any, dict[str, Any]]]
) -> dict[str, Any]:
    """Fill ``network`` with what the stage made, now or in an earlier run; returns its figures."""
    saved, card = place.with_suffix(".pt"), place.with_suffix(".json")
    wanted = json.loads(json.dumps(wanted))
    earlier = json.loads(card.read_text()) if saved.is_file() and card.is_file() else {}
    if earlier.get("wanted") == wanted:
        network.load_state_dict(torch.load(saved, weights_only=True))
    else:
        trained, figures = train()
        earlier = {"wanted": wanted, "figures": figures}
        logger.info("%s: %s", place.name, figures)
        network.load_state_dict(trained.state_dict())
        torch.save(network.state_dict(), saved)
        card.write_text(json.dumps(earlier))
    network.eval()
    return earlier["figures"]


def main(arguments: list[str] | None = None) -> None:
    """Train, write, evaluate and tell; a rerun takes up what an earlier one left in the workspace."""
    options = _parser().parse_args(arguments)
    size = SMOKE if options.smoke else FULL
    workspace: Path = options.workspace / ("smoke" if options.smoke else "full")
    workspace.mkdir(parents=True, exist_ok=True)
    log = workspace / "generator_training.log"
    log_to(log, quiet=options.quiet)
    torch.set_num_threads(options.threads)
    quiet = True if options.quiet else None
    model = bindplug.load(options.model)
    if not isinstance(model, ImageBind):
        expected = "a model of ImageBind's architecture, whose image tower the pipeline is trained for"
        raise InputError("--model", found=f"a {type(model).__name__}", expected=expected)
    pipe, pictures, figures = train_generator(model, size, workspace, quiet=quiet)
    directory = write_pipeline(pipe, options.output or workspace / "toy_unclip")
    prototypes_of(pictures, model, size.prototypes).save(directory / PROTOTYPES)
    judge = Judge(bindplug.load(options.judge, modalities=["image", "text"]))
    measures = evaluate_all(directory, model, judge, size, workspace / "toy_unclip_sheets", quiet=quiet)
    named = {"model": Path(options.model).name, "judge": Path(options.judge).name}
    ship_generator(directory, figures, measures, size, **named, log=log)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bindplug_toyworld.recipes.generator", description=__doc__
    )
    parser.add_argument(
        "--workspace",
        type=Path,
        default=Path("runs"),
        help="rendered scenes, training and contact sheets (1 GB)",
    )
    parser.add_argument("--output", type=Path, help="where the pipeline goes (default: in the workspace)")
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
    parser.add_argument(
        "--smoke", action="store_true", help="walk through everything in a minute; learns nothing"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quiet", action="store_true")
    return parser


if __name__ == "__main__":
    main()
