"""Bind a sense of one's own to a frozen CLIP, in a minute, with neither labels nor text; then ask it in words.

The sense is invented: a sonar, 256 numbers. What stands before it answers a ping with echoes of its own, stretched by
its size, delayed and damped by its distance, in noise. A small network learns to say of a ping what the frozen image
tower says of the picture taken at the same moment. Text was never paired with it, yet text classifies it.

python examples/bind_a_new_sense.py [--scenes 400] [--model imagebind_huge]
"""

import argparse

import numpy as np
import torch
from torch import nn

import bindplug
from bindplug.training import BindingRecipe, TensorPairs, bind_tower
from bindplug_toyworld import CLASSNAMES, NAMES, Scene

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--scenes", type=int, default=400, help="pairs of picture and ping to learn from")
parser.add_argument("--model", default="imagebind_tiny", help="a model's name, or a path to weights")
options = parser.parse_args()


def pings(scenes: list[Scene]) -> torch.Tensor:
    """What the sonar records of each scene's first thing: (N, 256) float32."""
    t, recorded = np.arange(256)[:, None], []
    for scene in scenes:
        here = scene.placements[0]
        shape = np.random.default_rng(NAMES.index(scene.label))  # the same echoes for every dog
        noise = np.random.default_rng([scene.seed, scene.split == "eval"])
        delays, strengths = shape.uniform(0, 120, 6), shape.uniform(0.4, 1.0, 6) * shape.choice([-1, 1], 6)
        stretch, far = 0.8 + 0.4 * here.half_px / min(scene.canvas), min(here.distance_m / 12, 1)
        since = t - 80 * far - stretch * delays * noise.uniform(0.95, 1.05)
        echo = (strengths * np.exp(-((since / 3) ** 2)) * np.cos(since / 2)).sum(1) / (1 + far)
        recorded.append(echo + noise.normal(0, 0.08, 256))
    return torch.from_numpy(np.float32(recorded))


model = bindplug.load(options.model, modalities={"image", "text"})
layers: list[nn.Module] = [nn.Unflatten(1, (1, 256))]
for narrow, wide in ((1, 16), (16, 32), (32, 64), (64, 64)):
    layers += [nn.Conv1d(narrow, wide, 7, stride=2, padding=3), nn.GroupNorm(8, wide), nn.GELU()]
tower = nn.Sequential(*layers, nn.Flatten(), nn.Linear(1024, model.embedding_space.width))

scenes = [Scene(number) for number in range(options.scenes)]
pairs = TensorPairs(model.embed([bindplug.image(scene.image) for scene in scenes]), pings(scenes))
recipe = BindingRecipe(epochs=25, batch_size=64, learning_rate=2e-3, weight_decay=0.1, temperature=0.05)
# pings come a little sooner or later each time, so that the network learns the echoes and not the moment
bound = bind_tower(
    tower, pairs, recipe, augment=lambda x, chance: x.roll(int(torch.randint(-8, 9, (), generator=chance)), 1)
)
print(f"bound in {bound.seconds:.0f} s with {len(pairs)} pairs of picture and ping")

scenes = [Scene(number, "eval") for number in range(200)]
queries = [bindplug.embedding(row, model.embedding_space) for row in tower(pings(scenes)).detach()]
heard = [ranking.best.index for ranking in bindplug.classify(model, queries, CLASSNAMES, scale=bound.scale)]
right = np.mean(np.equal(heard, [NAMES.index(scene.label) for scene in scenes]))
print(f"named in words, which it never met: {right:.0%} of 200 pings, by chance {1 / len(CLASSNAMES):.0%}")
