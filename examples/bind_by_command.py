"""Bind a sense of one's own with the command alone: a folder of pictures and arrays in, a model out.

The invented sonar of bind_a_new_sense.py again, this time as files: pings/0001.jpg is what the camera saw and
pings/0001.npy what the sonar recorded. `bindplug bind` pairs them by name, builds a network for such arrays, trains it
and writes a directory; `bindplug.load` opens it, and text names pings that it never met.

python examples/bind_by_command.py [--scenes 400] [--model imagebind_huge] [--folder sonar]
"""

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np

import bindplug
from bindplug_toyworld import CLASSNAMES, NAMES, Scene

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--scenes", type=int, default=400, help="pairs of picture and ping to learn from")
parser.add_argument("--model", default="imagebind_tiny", help="the anchor: any model that sees and reads")
parser.add_argument("--epochs", type=int, default=40, help="passes over the pairs")
parser.add_argument("--folder", type=Path, default=Path("sonar"), help="where files and model are written")
options = parser.parse_args()


def ping(scene: Scene) -> np.ndarray:
    """What the sonar records of the scene's first thing: (256,) float32."""
    here = scene.placements[0]
    shape = np.random.default_rng(NAMES.index(scene.label))  # the same echoes for every dog
    noise = np.random.default_rng([scene.seed, scene.split == "eval"])
    delays, strengths = shape.uniform(0, 120, 6), shape.uniform(0.4, 1.0, 6) * shape.choice([-1, 1], 6)
    stretch, far = 0.8 + 0.4 * here.half_px / min(scene.canvas), min(here.distance_m / 12, 1)
    since = np.arange(256)[:, None] - 80 * far - stretch * delays * noise.uniform(0.95, 1.05)
    echo = (strengths * np.exp(-((since / 3) ** 2)) * np.cos(since / 2)).sum(1) / (1 + far)
    return np.float32(echo + noise.normal(0, 0.08, 256))


pairs = options.folder / "pings"
pairs.mkdir(parents=True, exist_ok=True)
for number in range(options.scenes):
    scene = Scene(number)
    scene.image.save(pairs / f"{number:04d}.jpg")
    np.save(pairs / f"{number:04d}.npy", ping(scene))

model = options.folder / "my-sonar"
command = (
    f"bind {pairs} --sense sonar --anchor {options.model} --epochs {options.epochs} -o {model} --overwrite"
)
print(f"bindplug {command}", flush=True)
subprocess.run([sys.executable, "-m", "bindplug.cli", *command.split()], stderr=subprocess.STDOUT, check=True)

sonar = bindplug.load(model)
scenes = [Scene(number, "eval") for number in range(200)]
queries = sonar.sense_queries([ping(scene) for scene in scenes])  # files' names would do as well
rankings = bindplug.classify(sonar, queries, CLASSNAMES, scale=sonar.scale_of("sonar"))
right = np.mean(np.equal([r.best.index for r in rankings], [NAMES.index(scene.label) for scene in scenes]))
print(f"named in words, which it never met: {right:.0%} of 200 pings, by chance {1 / len(CLASSNAMES):.0%}")
