"""A zero-shot pipeline of transformers, before and after: another model in the same line, and pipelines of sound work.

    classify = pipeline("zero-shot-image-classification", model="a CLIP")
  > classify = pipeline("zero-shot-image-classification", model="an ImageBind")
  + listen   = pipeline("zero-shot-audio-classification", model="an ImageBind")

python examples/transformers_before_after.py
python examples/transformers_before_after.py --clip laion/CLIP-ViT-H-14-laion2B-s32B-b79K --model imagebind_huge

Offline the CLIP is transformers' own class with imagebind_tiny's image and text towers, standins/transformers_clip.py.
"""

import argparse
import tempfile
from pathlib import Path

from transformers import pipeline

from bindplug_diffusers import quiet_logging
from bindplug_toyworld import Scene
from bindplug_transformers import ImageBindModel, ImageBindProcessor

LABELS = ["train", "frog", "boat", "campfire"]

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--clip", help="the CLIP of the existing project: an id of the hub, or a directory")
parser.add_argument("--model", default="imagebind_tiny", help="a model's name, or a path to weights")
options = parser.parse_args()
scene = Scene(760, "eval", labels=["train", "boat"])


def show(title: str, found: list[dict]) -> None:
    """One line of a table."""
    scores = {each["label"]: each["score"] for each in found}
    print(f"{title:16}" + "".join(f"{scores[label]:12.4f}" for label in LABELS))


print(f"{'':16}" + "".join(f"{label:>12}" for label in LABELS))
with tempfile.TemporaryDirectory() as directory, quiet_logging(True):
    clip = options.clip
    if clip is None:
        from standins.transformers_clip import write_clip

        clip = str(write_clip(Path(directory)))
    classify = pipeline("zero-shot-image-classification", model=clip)
    show("image, before", classify(scene.image, candidate_labels=LABELS))

with tempfile.TemporaryDirectory() as directory, quiet_logging(True):
    ImageBindModel.from_bindplug(options.model).save_pretrained(directory)  # once
    ImageBindProcessor.from_bindplug(options.model).save_pretrained(directory)
    classify = pipeline("zero-shot-image-classification", model=directory)
    show("image, after", classify(scene.image, candidate_labels=LABELS))
    listen = pipeline("zero-shot-audio-classification", model=directory)
    show("sound, after", listen(scene.audio, candidate_labels=LABELS))
