"""Steer a pipeline that has no entrance for embeddings: at every step, uphill in similarity to a query. Slow.

At each step the clean picture that the UNet expects is decoded by the VAE and embedded by the image tower; the gradient
of its cosine with the query moves that expectation. Every step costs passes forward and back through VAE and tower, and
results are cruder than an entrance's. Offline it steers the toy unCLIP, run without its condition.

python examples/clip_guidance.py [--output clip_guidance.png]
python examples/clip_guidance.py --audio waves.wav --prompt "a beach" --pipeline ID --model imagebind_huge --device cuda
"""

import argparse

import numpy as np
from PIL import Image

import bindplug
from bindplug_diffusers import guided, load_pipeline, quiet_logging
from bindplug_toyworld import Scene

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--audio", help="a sound of your own")
parser.add_argument("--prompt", default="", help="words for the UNet")
parser.add_argument("--pipeline", default="toy_unclip", help="a name, a directory, or an id of the hub")
parser.add_argument("--model", default="imagebind_tiny", help="a model's name, or a path to weights")
parser.add_argument("--device", default="cpu", help="where everything runs, as cuda")
parser.add_argument("--steps", type=int, default=50, help="of the sampler")
parser.add_argument("--strength", type=float, default=0.4, help="of the guidance")
parser.add_argument("--views", type=int, default=6, help="random crops compared at every step")
parser.add_argument("--seed", type=int, default=2, help="of the first latents")
parser.add_argument("--output", default="clip_guidance.png", help="where both go, the unguided one first")
options = parser.parse_args()

fire = Scene(740, "eval", labels=["fire"])
sound = bindplug.audio(
    options.audio or fire.audio, sample_rate=None if options.audio else fire.sample_rate_hz
)
model = bindplug.load(options.model, device=options.device)
with quiet_logging(True):
    pipe, _ = load_pipeline(options.pipeline, options.device, None)

shared = {"prompt": options.prompt, "steps": options.steps, "views": options.views, "seed": options.seed}
unguided = guided(pipe, model, sound, strength=0, **shared)
steered = guided(pipe, model, sound, strength=options.strength, **shared)

rows = model.embed([bindplug.image(unguided), bindplug.image(steered), sound])
print("cosine with the sound: unguided {:.3f}, guided {:.3f}".format(*(rows[:2] @ rows[2]).tolist()))
pair = Image.fromarray(np.concatenate([unguided, steered], axis=1))
if pair.height < 224:
    pair = pair.resize((pair.width * 224 // pair.height, 224))
pair.save(options.output)
print(f"the pictures: {options.output}")
