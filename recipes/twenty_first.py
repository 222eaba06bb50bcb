"""``python -m recipes.twenty_first``: imagebind_tiny learns what a kettle sounds like, and what it forgets meanwhile.

The toy world holds twenty things; a kettle is none of them. Its sounds are bound to its pictures, which the frozen
image tower has not seen before either: by LoRA, by DoRA and by training the whole audio tower, each on kettles alone
and on kettles among some old scenes. Nobody names the kettle: the text tower has no word for it, so it is recognized
by pictures of other kettles.
"""

from __future__ import annotations

import argparse
import copy
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

import bindplug
from bindplug.imagebind import ImageBind
from bindplug.training import BindingRecipe, LoraRecipe, TensorPairs, add_adapters, bind, save_adapters
from bindplug_toyworld import CLASSNAMES, NAMES, Scene
from recipes.card import interval
from recipes.kettle import KettleScene

logger = logging.getLogger("recipes")

FIRST_SCENE = 9_000_000
"""No scene of other recipes is used."""

KETTLE = len(NAMES)
"""The kettle's label."""


@dataclass(frozen=True)
class Size:
    """How much is rendered and trained.

    Attributes:
        kettles: pairs of a kettle's picture and sound to learn from.
        rehearsed: pairs of old things among them, where there are any.
        prototypes: pictures of each thing that stand for it; none of them is trained on.
        evaluated: sounds of the twenty to evaluate on.
        new_evaluated: sounds of kettles to evaluate on.
        steps: optimizer steps of every variant.
        batch_size: pairs in a step.
    """

    kettles: int = 300
    rehearsed: int = 600
    prototypes: int = 20
    evaluated: int = 1000
    new_evaluated: int = 300
    steps: int = 120
    batch_size: int = 64


@dataclass(frozen=True)
class Variant:
    """One way to learn.

    Attributes:
        name: of the row.
        lora: adapters to train; None trains the whole tower.
        learning_rate: peak.
        is_rehearsed: whether old pairs are among the new.
    """

    name: str
    lora: LoraRecipe | None
    learning_rate: float
    is_rehearsed: bool


LORA, DORA = LoraRecipe(rank=8, alpha=16), LoraRecipe(rank=8, alpha=16, dora=True)
VARIANTS = (
    Variant("LoRA, kettles alone", LORA, 1e-3, is_rehearsed=False),
    Variant("whole tower, kettles alone", None, 5e-4, is_rehearsed=False),
    Variant("whole tower, kettles alone, a tenth of the rate", None, 5e-5, is_rehearsed=False),
    Variant("LoRA, old scenes among them", LORA, 1e-3, is_rehearsed=True),
    Variant("DoRA, old scenes among them", DORA, 1e-3, is_rehearsed=True),
    Variant("whole tower, old scenes among them", None, 5e-4, is_rehearsed=True),
    Variant("whole tower, old scenes, a tenth of the rate", None, 5e-5, is_rehearsed=True),
)
"""The whole tower's first rate is that of the recipe of imagebind_tiny."""

SMOKE = Size(kettles=16, rehearsed=20, prototypes=1, evaluated=20, new_evaluated=8, steps=2, batch_size=16)


class Data:
    """Everything that the variants share, rendered and embedded once.

    Args:
        model: imagebind_tiny, whole.
        size: how much.
    """

    def __init__(self, model: ImageBind, size: Size) -> None:
        self.size = size
        self.kettle_pairs = _pairs(model, [KettleScene(FIRST_SCENE + i) for i in range(size.kettles)])
        self.old_pairs = _pairs(model, [Scene(FIRST_SCENE + i) for i in range(size.rehearsed)])
        old = [Scene(FIRST_SCENE + i, "eval") for i in range(size.evaluated)]
        new = [KettleScene(FIRST_SCENE + i, "eval") for i in range(size.new_evaluated)]
        self.inputs = torch.cat([sounds(model, old), sounds(model, new)])  # (N, S, 1, M, T)
        self.labels = torch.tensor([NAMES.index(scene.label) for scene in old] + [KETTLE] * len(new))
        picture_count = size.prototypes * len(NAMES)
        rows = pictures(model, [Scene(FIRST_SCENE + i, "calibration") for i in range(picture_count)])
        kettles = pictures(
            model, [KettleScene(FIRST_SCENE + i, "calibration") for i in range(size.prototypes)]
        )
        means = [rows[label :: len(NAMES)].mean(0) for label in range(len(NAMES))]
        self.picture_prompts = F.normalize(torch.stack([*means, kettles.mean(0)]), dim=1)  # (21, D)
        self.text_prompts = model.zero_shot_classifier(CLASSNAMES).T  # (20, D)
        self.gallery = torch.cat([rows, kettles])
        self.gallery_labels = torch.cat(
            [torch.arange(picture_count) % len(NAMES), torch.full((len(kettles),), KETTLE)]
        )

    def pairs(self, *, is_rehearsed: bool) -> TensorPairs:
        """Of the picture's row and the sound, one of three clips each time."""
        if not is_rehearsed:
            return TensorPairs(*self.kettle_pairs, clips=True)
        rows, inputs = (torch.cat(parts) for parts in zip(self.kettle_pairs, self.old_pairs, strict=True))
        return TensorPairs(rows, inputs, clips=True)


def pictures(model: ImageBind, scenes: Sequence[Scene]) -> Tensor:
    """(N, D) unit rows of the scenes' pictures."""
    return model.embed([bindplug.image(scene.image) for scene in scenes], progress=False)


def sounds(model: ImageBind, scenes: Sequence[Scene]) -> Tensor:
    """(N, S, 1, M, T) float16 inputs of the scenes' sounds, S clips each."""
    read = model.preprocess["audio"]
    return torch.stack([read(scene.audio, sample_rate=scene.sample_rate_hz) for scene in scenes]).half()


def _pairs(model: ImageBind, scenes: Sequence[Scene]) -> tuple[Tensor, Tensor]:
    return pictures(model, scenes), sounds(model, scenes)


@torch.inference_mode()
def measure(model: ImageBind, data: Data) -> dict[str, dict[str, Any]]:
    """Fractions right, with 95 % intervals, before or after training."""
    rows = torch.cat([model.encode("audio", part.float(), normalize=True) for part in data.inputs.split(64)])
    labels, is_new = data.labels, data.labels == KETTLE
    by_text = (rows @ data.text_prompts.T).argmax(1)
    by_picture = (rows @ data.picture_prompts.T).argmax(1)
    nearest = data.gallery_labels[(rows @ data.gallery.T).argmax(1)]
    return {
        "kettle, by pictures of kettles (of 21)": _share((by_picture == labels)[is_new]),
        "kettle -> picture, a kettle first": _share((nearest == labels)[is_new]),
        "the twenty, by pictures (of 21)": _share((by_picture == labels)[~is_new]),
        "the twenty, by text (of 20)": _share((by_text == labels)[~is_new]),
    }


def _share(right: Tensor) -> dict[str, Any]:
    value = float(right.float().mean())
    low, high = interval(value, len(right))
    return {"value": round(value, 4), "low": round(low, 4), "high": round(high, 4), "count": len(right)}


def train(model: ImageBind, variant: Variant, data: Data, *, quiet: bool | None) -> dict[str, Any]:
    """Train the audio tower in place; returns steps, time, losses and how many numbers were trained."""
    if variant.lora is not None:
        add_adapters(model, "audio", variant.lora)
    pairs = data.pairs(is_rehearsed=variant.is_rehearsed)
    tower = model.config.audio
    recipe = BindingRecipe(
        epochs=data.size.steps / (len(pairs) // data.size.batch_size),
        batch_size=data.size.batch_size,
        learning_rate=variant.learning_rate,
        weight_decay=0.05,
        temperature=0.05,
        warmup_epochs=0.5,
        drop_path=tower.drop_path,
        head=tower.head,
        frequency_mask=12,
    )
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    result = bind(model, "audio", pairs, recipe, quiet=quiet)
    changed_sizes = [p.numel() for name, p in model.named_parameters() if not torch.equal(p, before[name])]
    return {
        "pairs": len(pairs),
        "steps": result.steps,
        "seconds": round(result.seconds, 1),
        "trained numbers": sum(changed_sizes),
        "first loss": round(result.losses[0], 3),
        "last loss": round(result.losses[-1], 3),
    }


def run(
    size: Size, output: Path, variants: Sequence[Variant] = VARIANTS, *, quiet: bool | None
) -> dict[str, Any]:
    """Measure before, train each variant on a copy, measure after; writes ``figures.json`` and each set of adapters."""
    base = bindplug.load("imagebind_tiny")
    assert isinstance(base, ImageBind)
    start_s = time.perf_counter()
    data = Data(base, size)
    logger.info("rendered and embedded in %.0f s", time.perf_counter() - start_s)
    figures: dict[str, Any] = {"before": {"figures": measure(base, data)}}
    _log("before", figures["before"]["figures"])
    for variant in variants:
        model = copy.deepcopy(base)
        training = train(model, variant, data, quiet=quiet)
        figures[variant.name] = {"training": training, "figures": measure(model, data)}
        logger.info("%s: %s", variant.name, training)
        _log(variant.name, figures[variant.name]["figures"])
        if variant.lora is not None:
            place = output / variant.name.replace(", ", "_").replace(" ", "_").lower()
            save_adapters(model, "audio", place, base="imagebind_tiny", license="Apache-2.0", overwrite=True)
    output.mkdir(parents=True, exist_ok=True)
    (output / "figures.json").write_text(json.dumps(figures, indent=1) + "\n")
    (output / "figures.md").write_text(table(figures))
    return figures


def table(figures: dict[str, Any]) -> str:
    """The figures as Markdown, percentages with 95 % intervals."""
    columns = list(figures["before"]["figures"])
    lines = [f"| | trained | {' | '.join(columns)} |", "|---|---|" + "---|" * len(columns)]
    for name, entry in figures.items():
        trained = f"{entry['training']['trained numbers']:,}" if "training" in entry else ""
        cells = [f"{m['value']:.1%} ({m['low']:.1%} to {m['high']:.1%})" for m in entry["figures"].values()]
        lines.append(f"| {name} | {trained} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _log(name: str, figures: dict[str, dict[str, Any]]) -> None:
    for title, share in figures.items():
        logger.info("%s: %s %.3f (%.3f to %.3f) of %d", name, title, *share.values())


def main(arguments: list[str] | None = None) -> None:
    """Parse the arguments and run."""
    parser = argparse.ArgumentParser(prog="python -m recipes.twenty_first", description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("runs/twenty_first"), help="directory to write")
    parser.add_argument("--smoke", action="store_true", help="seconds instead of minutes, to no effect")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    print(table(run(SMOKE if options.smoke else Size(), options.output, quiet=True)))


if __name__ == "__main__":
    main()
