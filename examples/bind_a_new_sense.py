"""Bind a sense of one's own to a frozen CLIP, in a minute, with neither labels nor text; then ask it in words.

The sense is invented: a sonar, 256 numbers. What stands before it answers a ping with echoes of its own, stretched by
its size, delayed and damped by its distance, in noise. A small network learns to say of a ping what the frozen image
tower says of the picture taken at the same moment. Text was never paired with it, yet text classifies it.

python examples/bind_a_new_sense.py [--steps 300] [--model imagebind_huge]
"""

import argparse
import time

import numpy as np
import torch
from torch import nn

import bindplug
from bindplug.training import TensorPairs, parameter_groups, symmetric_info_nce, warmup_cosine
from bindplug_toyworld import CLASSNAMES, Scene
from bindplug_toyworld.things import label_of

LENGTH, BATCH, SCALE = 256, 64, 20.0

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--scenes", type=int, default=400, help="pairs of picture and ping to learn from")
parser.add_argument("--steps", type=int, default=300, help="of training, 64 pairs each")
parser.add_argument("--model", default="imagebind_tiny", help="a model's name, or a path to weights")
options = parser.parse_args()


def ping(scene: Scene) -> np.ndarray:
    """What the sonar records of a scene's first thing: (256,) float32."""
    here = scene.placements[0]
    shape = np.random.default_rng(label_of(scene.label))  # the same echoes for every dog
    noise = np.random.default_rng([scene.seed, scene.split == "eval"])
    delays, strengths = shape.uniform(0, 120, 6), shape.uniform(0.4, 1.0, 6) * shape.choice([-1, 1], 6)
    stretch, far = 0.8 + 0.4 * here.half_px / min(scene.canvas), min(here.distance_m / 12, 1)
    when = 80 * far + stretch * delays * noise.uniform(0.95, 1.05)
    t = np.arange(LENGTH)[:, None]
    echo = (strengths * np.exp(-(((t - when) / 3) ** 2)) * np.cos((t - when) / 2)).sum(1) / (1 + far)
    return (echo + noise.normal(0, 0.08, LENGTH)).astype(np.float32)


class SonarTower(nn.Sequential):
    """(B, 256) pings to (B, D) rows of the CLIP's space."""

    def __init__(self, width: int) -> None:
        layers: list[nn.Module] = [nn.Unflatten(1, (1, LENGTH))]
        for inside, outside in ((1, 16), (16, 32), (32, 64), (64, 64)):
            layers += [
                nn.Conv1d(inside, outside, 7, stride=2, padding=3),
                nn.GroupNorm(8, outside),
                nn.GELU(),
            ]
        super().__init__(
            *layers, nn.Flatten(), nn.Linear(64 * LENGTH // 16, 128), nn.GELU(), nn.Linear(128, width)
        )


def main() -> None:
    """Record, bind, ask."""
    started = time.perf_counter()
    torch.manual_seed(0)
    model = bindplug.load(options.model, modalities={"image", "text"})
    scenes = [Scene(number) for number in range(options.scenes)]
    anchors = model.embed([bindplug.image(scene.image) for scene in scenes])
    pairs = TensorPairs(anchors, torch.from_numpy(np.stack([ping(scene) for scene in scenes])))

    tower, generator = SonarTower(model.embedding_space.width), torch.Generator().manual_seed(0)
    optimiser = torch.optim.AdamW(parameter_groups(tower.named_parameters(), weight_decay=0.1))
    for step in range(options.steps):
        chosen = torch.randperm(len(pairs), generator=generator)[:BATCH]
        for group in optimiser.param_groups:
            group["lr"] = 2e-3 * warmup_cosine(step, total_steps=options.steps, warmup_steps=20)
        heard = pairs.samples(chosen, generator)
        heard = heard.roll(int(torch.randint(-8, 9, (), generator=generator)), dims=1)
        loss = symmetric_info_nce(pairs.anchors(chosen), tower(heard), SCALE)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    print(
        f"bound with {len(pairs)} pairs of picture and ping; loss {loss.item():.2f}, at chance {np.log(BATCH):.2f}"
    )

    unseen = [Scene(number, "eval") for number in range(200)]
    tower.eval()
    with torch.no_grad():
        rows = nn.functional.normalize(
            tower(torch.from_numpy(np.stack([ping(scene) for scene in unseen]))), dim=1
        )
    queries = [
        bindplug.embedding(row, model.embedding_space) for row in rows
    ]  # from here on a sense as any other
    rankings = bindplug.classify(model, queries, CLASSNAMES, scale=SCALE)
    right = np.mean(
        [ranking.best.index == label_of(scene.label) for ranking, scene in zip(rankings, unseen, strict=True)]
    )
    print(f"named in words, which it never met: {right:.0%} of {len(unseen)} unseen pings")
    print(f"chance: {1 / len(CLASSNAMES):.0%}")
    print(f"{time.perf_counter() - started:.0f} seconds in all")


main()
