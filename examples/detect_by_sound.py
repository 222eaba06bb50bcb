"""Point at a sound, find what makes it; the detector has never heard anything.

python examples/detect_by_sound.py [--detector weights.pth --model imagebind_huge] [--output found.png]
"""

import argparse

import bindplug
from bindplug_detic import Detic
from bindplug_toyworld import Scene

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument(
    "--detector", default="toy_detic", help="a bundled detector's name, or an official checkpoint"
)
parser.add_argument("--model", default="imagebind_tiny", help="a model's name, or a path to weights")
parser.add_argument("--output", default="found.png", help="where the picture with boxes goes")
options = parser.parse_args()

street = Scene(7, "eval", labels=("dog", "bell", "train", "frog"), canvas=(256, 256))
bark, whistle = (Scene(index, "eval", labels=[thing]) for index, thing in ((100, "dog"), (102, "train")))

# the detector classifies in another CLIP's space than the model's: a registered bridge leads there
detector = bindplug.upgrade(Detic.from_pretrained(options.detector), bindplug.load(options.model))
prompts = [bindplug.audio(heard.audio, sample_rate=heard.sample_rate_hz) for heard in (bark, whistle)]
found = detector(street.image, [*prompts, "a frog"], threshold=0.3)

names = ["the bark", "the train's whistle", "the word frog"]
for box, score, which in zip(
    found.boxes.tolist(), found.scores.tolist(), found.label_indices.tolist(), strict=True
):
    print(f"{names[which]}: {score:.2f} at {', '.join(f'{edge:.0f}' for edge in box)}")
found.draw(options.output)
print(f"the picture: {options.output}")
