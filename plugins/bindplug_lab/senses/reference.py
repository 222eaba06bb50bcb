"""Models that the benchmark's figures are compared with: an untrained one, and a small one that ships here.

``small`` hears and feels through towers a tenth the size of imagebind_tiny's, bound for a minute to imagebind_tiny's
frozen image tower. Image and text are imagebind_tiny's own.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

import bindplug
from bindplug.errors import UnknownModel
from bindplug.imagebind import ImageBind, ImageBindConfig, TowerConfig, save_directory
from bindplug.inputs import normalize_rgb
from bindplug.modality import Modality
from bindplug.training import BindingRecipe, RunOptions, TensorPairs, bind
from bindplug_lab.world import WorldSpec, open_world

ANCHOR = "imagebind_tiny"
WEIGHTS = Path(__file__).parent / "weights" / "small"
REFERENCE = Path(__file__).parent / "reference.json"
SENSORS = ("audio", "depth", "thermal", "imu")
FIRST_SCENE = MappingProxyType(
    {"audio": 24_000_000, "depth": 24_100_000, "thermal": 24_200_000, "imu": 24_300_000}
)
"""Each sensor's first training scene: no scene is seen by two of them."""
PAIRS = 1600
EPOCHS = 12
TEMPERATURES = MappingProxyType({"audio": 0.05, "depth": 0.2, "thermal": 0.1, "imu": 0.2})
"""Source: ImageBind (arXiv 2305.05665), appendix B.1."""
OPTIONS = RunOptions(precision="bf16", workers=0)
BATCH = 128
SEED = 0


def small_config(config: ImageBindConfig) -> ImageBindConfig:
    """imagebind_tiny's shape with smaller sensor towers."""
    return replace(
        config,
        audio=TowerConfig(48, 2, 3, kernel=(16, 25)),
        depth=TowerConfig(48, 2, 3, kernel=(28, 28)),
        thermal=TowerConfig(48, 2, 3, kernel=(28, 28)),
        imu=TowerConfig(48, 2, 3, kernel=(20,)),
    )


def recipe(sensor: str, epochs: float = EPOCHS, batch_size: int = BATCH) -> BindingRecipe:
    """How a sensor of ``small`` is bound."""
    return BindingRecipe(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=2e-3,
        weight_decay=0.05,
        temperature=TEMPERATURES[sensor],
        warmup_epochs=1.0,
        seed=SEED,
    )


def train_small(
    directory: str | Path,
    cache: str | Path,
    *,
    pairs: int = PAIRS,
    epochs: float = EPOCHS,
    overwrite: bool = False,
    quiet: bool | None = None,
) -> Path:
    """Train the sensor towers of ``small`` and write them as a directory of weights.

    Args:
        directory: to write.
        cache: directory of rendered worlds.
        pairs: scenes a sensor.
        epochs: passes over them.
        overwrite: whether to replace a directory.
        quiet: True shows no progress, None asks the environment.
    """
    anchor = cast("ImageBind", bindplug.load(ANCHOR, modalities={"image"}))
    torch.manual_seed(SEED)
    model = ImageBind(small_config(anchor.config), SENSORS, space=anchor.embedding_space)
    model.reset_parameters(torch.Generator().manual_seed(SEED))
    for sensor in SENSORS:
        spec = WorldSpec("train", FIRST_SCENE[sensor], pairs, ("image", sensor), side=224, pool=1)
        world = open_world(spec, cache, quiet=quiet)
        rows = image_rows(anchor, world.tensor("image"))
        inputs = TensorPairs(rows, world.tensor(sensor))
        with sdpa_kernel(SDPBackend.MATH):
            bind(
                model, sensor, inputs, recipe(sensor, epochs, min(BATCH, pairs)), options=OPTIONS, quiet=quiet
            )
    return save_directory(
        model,
        directory,
        dtype=torch.float16,
        license="Apache-2.0",
        source="bindplug_lab.senses.reference.train_small",
        overwrite=overwrite,
    )


@torch.inference_mode()
def image_rows(model: ImageBind, pixels: Tensor) -> Tensor:
    """(N, 3, 224, 224) uint8 pictures -> (N, D) unit rows."""
    parts = [model.encode("image", normalize_rgb(part), normalize=True) for part in pixels.split(64)]
    return torch.cat(parts).clone()


def reference_figures() -> dict[str, dict[str, dict[str, Any]]]:
    """The measured figures that ship with the benchmark.

    Returns:
        For each task and reference model the main metric with its interval: ``value``, ``low``, ``high``, each 0 to 1.
    """
    figures: dict[str, dict[str, dict[str, Any]]] = json.loads(REFERENCE.read_text("utf-8"))["tasks"]
    return figures


def small_model(modalities: Collection[str] | None = None) -> ImageBind:
    """The reference model ``small``: shipped sensor towers beside imagebind_tiny's image and text towers."""
    anchor = cast("ImageBind", bindplug.load(ANCHOR, modalities={"image", "text"}))
    sensors = cast("ImageBind", bindplug.load(WEIGHTS))
    config = small_config(anchor.config)
    model = ImageBind(config, modalities, space=anchor.embedding_space, device="meta")
    state = sensors.state_dict() | anchor.state_dict()
    model.load_state_dict({name: state[name].float() for name in model.state_dict()}, assign=True)
    model.similarity_scales = dict(anchor.similarity_scales)
    return model.eval()


def random_model(modalities: Collection[str] | None = None) -> ImageBind:
    """The reference model ``random``: imagebind_tiny's shape with untrained weights, always the same."""
    anchor = cast("ImageBind", bindplug.load(ANCHOR, modalities={"text"}))
    model = ImageBind(anchor.config)
    model.reset_parameters(torch.Generator().manual_seed(SEED))
    if modalities is not None:
        towers = {Modality.parse(name).tower for name in modalities}
        part = ImageBind(anchor.config, modalities, device="meta")
        part.load_state_dict(
            {
                name: tensor
                for name, tensor in model.state_dict().items()
                if not name.startswith("towers.") or name.split(".")[1] in towers
            },
            assign=True,
        )
        model = part
    return model.eval()


def load(
    name: str, *, modalities: Collection[str] | None, device: torch.device, dtype: torch.dtype | None
) -> ImageBind:
    """The reference model of an id ``senses:small`` or ``senses:random``.

    Raises:
        UnknownModel: there is no such reference model.
    """
    models = {"small": small_model, "random": random_model}
    if name not in models:
        raise UnknownModel(
            f"senses:{name} is no reference model; expected one of senses:small, senses:random"
        )
    model = models[name](modalities)
    return model.to(device) if dtype is None else model.to(device, dtype)
