"""From one sound to another in pictures: the way between two queries, walked with one seed.

python examples/morph.py [--frames 8] [--output morph.png]
python examples/morph.py --sounds rain.wav fire.wav --pipeline PATH_OR_ID --model imagebind_huge --output morph.gif
"""

import argparse
from pathlib import Path

from PIL import Image

import bindplug
from bindplug_diffusers import load_pipeline, quiet_logging
from bindplug_toyworld import CLASSNAMES, Scene

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--sounds", nargs=2, metavar="FILE", help="two sounds of your own")
parser.add_argument("--frames", type=int, default=8, help="pictures, the first and last sound's included")
parser.add_argument("--pipeline", default="toy_unclip", help="a name, a directory, or an id of the hub")
parser.add_argument("--model", default="imagebind_tiny", help="a model's name, or a path to weights")
parser.add_argument("--device", default="cpu", help="where the pipeline runs, as cuda")
parser.add_argument("--steps", type=int, default=20, help="denoising steps")
parser.add_argument("--seed", type=int, default=3, help="the same for all pictures")
parser.add_argument("--output", default="morph.png", help="a strip of pictures, or as .gif an animation")
options = parser.parse_args()

if options.sounds:
    first, last = (bindplug.audio(file) for file in options.sounds)
else:
    scenes = Scene(720, "eval", labels=["boat"]), Scene(721, "eval", labels=["train"])
    first, last = (bindplug.audio(scene.audio, sample_rate=scene.sample_rate_hz) for scene in scenes)

with quiet_logging(True):
    pipe, space = load_pipeline(options.pipeline, options.device, None)
    pipe.set_progress_bar_config(disable=True)
    pipe = bindplug.upgrade(pipe, bindplug.load(options.model, device=options.device), space=space)
    way = bindplug.interpolate(first, last, options.frames)
    frames = pipe(way, seed=options.seed, num_inference_steps=options.steps).images

if not options.sounds:
    judge = bindplug.load("toy_foreign_clip")
    seen = bindplug.classify(judge, [bindplug.image(frame) for frame in frames], CLASSNAMES)
    print("from the sound of a boat to that of a train:", ", ".join(ranking.best.label for ranking in seen))

frames = [
    frame.resize((max(160, frame.width), max(160, frame.height)), Image.Resampling.BICUBIC)
    for frame in frames
]
if Path(options.output).suffix == ".gif":
    frames[0].save(
        options.output, save_all=True, append_images=frames[1:] + frames[-2:0:-1], duration=150, loop=0
    )
else:
    strip = Image.new("RGB", (sum(frame.width for frame in frames), frames[0].height))
    for column, frame in enumerate(frames):
        strip.paste(frame, (column * frame.width, 0))
    strip.save(options.output)
print(f"the pictures: {options.output}")
