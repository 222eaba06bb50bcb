"""A picture of what was heard; the generator has only ever seen embeddings of pictures.

python examples/sound_to_image.py [--output sound_to_image.png]
python examples/sound_to_image.py siren.wav waves.wav --pipeline PATH_OR_ID --model imagebind_huge

A pipeline is a name, a directory or an id of the hub: a StableUnCLIPImg2ImgPipeline of ViT-H, for example.
"""

import argparse

from PIL import Image

import bindplug
from bindplug_diffusers import load_pipeline, quiet_logging
from bindplug_toyworld import CLASSNAMES, NAMES, Scene

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("sounds", nargs="*", help="sound files of your own; without any, four of the toy world")
parser.add_argument("--pipeline", default="toy_unclip", help="a name, a directory, or an id of the hub")
parser.add_argument("--model", default="imagebind_tiny", help="a model's name, or a path to weights")
parser.add_argument("--device", default="cpu", help="where the pipeline runs, as cuda")
parser.add_argument("--steps", type=int, default=20, help="denoising steps")
parser.add_argument("--seed", type=int, default=0, help="of the first picture")
parser.add_argument("--output", default="sound_to_image.png", help="where the pictures go, side by side")
options = parser.parse_args()

heard = [bindplug.audio(file) for file in options.sounds]
things = () if heard else ("train", "frog", "boat", "fire")
for number, thing in enumerate(things):
    scene = Scene(700 + number, "eval", labels=[thing])
    heard.append(bindplug.audio(scene.audio, sample_rate=scene.sample_rate_hz))

with quiet_logging(True):
    pipe, space = load_pipeline(options.pipeline, options.device, None)
    pipe.set_progress_bar_config(disable=True)
    pipe = bindplug.upgrade(pipe, bindplug.load(options.model, device=options.device), space=space)
    seeds = [options.seed + number for number in range(len(heard))]
    pictures = pipe(heard, seed=seeds, num_inference_steps=options.steps).images

if things:  # another CLIP, which shares nothing with the model, says what it sees
    judge = bindplug.load("toy_foreign_clip")
    seen = bindplug.classify(judge, [bindplug.image(picture) for picture in pictures], CLASSNAMES)
    for thing, ranking in zip(things, seen, strict=True):
        print(
            f"heard: {CLASSNAMES[NAMES.index(thing)]:8} shown: {ranking.best.label} {ranking.best.probability:.0%}"
        )

side = max(224, pictures[0].height)
strip = Image.new("RGB", (side * len(pictures), side))
for column, picture in enumerate(pictures):
    strip.paste(picture.resize((side, side), Image.Resampling.BICUBIC), (side * column, 0))
strip.save(options.output)
print(f"the pictures: {options.output}")
