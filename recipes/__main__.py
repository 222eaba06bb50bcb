"""``python -m recipes``: train the embedded default from nothing, and write it down."""

from __future__ import annotations

import argparse
import logging

import torch

from bindplug.imagebind import ImageBind, from_open_clip
from bindplug_toyworld.evaluation import evaluate, format_confusion
from bindplug_toyworld.space import TOY_SPACE
from recipes.centers import centers_of
from recipes.clip_stages import pretrained_clip, scenes_of
from recipes.foreign import ship_bridge, ship_foreign
from recipes.motion_noise import SCENES as NOISY_SCENES
from recipes.motion_noise import measure_motion_noise
from recipes.options import begin, shared_options
from recipes.scales import FIT_SCENES, evaluation_rows, fit_scales, measure_calibration
from recipes.sensors import bind_sensors, tiny_config
from recipes.ship import round_to_half, ship
from recipes.sizes import FULL, SMOKE, RecipeSize
from recipes.words import silence_unmet_words

logger = logging.getLogger("recipes")


def main(arguments: list[str] | None = None) -> None:
    """Run the recipe's stages, keeping each stage's result in the workspace so that a rerun continues."""
    options = _parser().parse_args(arguments)
    size = SMOKE if options.smoke else FULL
    run = begin(options, "training.log")
    workspace, quiet = run.workspace, run.quiet
    output = options.output or workspace / "weights"
    scenes = options.scenes or (60 if options.smoke else 1000)
    clip, clip_figures = pretrained_clip(workspace, size.clip, quiet=quiet)
    model = tiny_from(clip, size)
    figures = clip_figures | bind_sensors(model, clip, size, workspace, quiet=quiet)
    logger.info("words met in captions: %d", silence_unmet_words(model, workspace))
    round_to_half(model)  # what is measured is what ships
    model.centers = centers_of(model, scenes_of(workspace, size.clip.stages[-1]), workspace)
    model.similarity_scales = fit_scales(model, 60 if options.smoke else FIT_SCENES, quiet=quiet)
    calibration = measure_calibration(
        model, evaluation_rows(model, scenes, quiet=quiet), model.similarity_scales
    )
    motion_noise = measure_motion_noise(model, 16 if options.smoke else NOISY_SCENES)
    measures = evaluate(model, scenes, quiet=quiet)
    for measure in measures:
        logger.info("%s: %.4f of %d", measure.name, measure.value, measure.count)
        if measure.confusion:
            logger.info("\n%s", format_confusion(measure))
    ship(
        model,
        figures,
        measures,
        size,
        output / "imagebind_tiny",
        log=run.log,
        calibration=calibration,
        motion_noise=motion_noise,
    )
    ship_foreign(workspace, size.foreign, output / "toy_foreign_clip", scenes=scenes, quiet=quiet)
    ship_bridge(output, workspace)


def tiny_from(clip: torch.nn.Module, size: RecipeSize) -> ImageBind:
    """imagebind_tiny with the toy CLIP's image and text towers and freshly initialized sensor towers."""
    torch.manual_seed(size.clip.seed)
    model = ImageBind(tiny_config(size.recipes), space=TOY_SPACE)
    model.load_official(model.official_state_dict() | from_open_clip(clip.state_dict()))
    return model.eval()


def _parser() -> argparse.ArgumentParser:
    shared = shared_options(holds="rendered scenes and stages (15 GB)", output="the models' directories go")
    parser = argparse.ArgumentParser(prog="python -m recipes", description=__doc__, parents=[shared])
    parser.add_argument("--scenes", type=int, help="evaluation scenes a modality (default 1000)")
    return parser


if __name__ == "__main__":
    main()
