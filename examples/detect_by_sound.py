"""Point at a sound, find what makes it; the detector has never heard anything.

python examples/detect_by_sound.py [--output detect_by_sound.png]
python examples/detect_by_sound.py --picture street.jpg --audio bark.wav --detector weights.pth \\
    --model imagebind_huge --bridge h14-to-b32
"""

import argparse

import bindplug
from bindplug_detic import Detic
from bindplug_toyworld import Scene

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--picture", help="a picture of your own")
parser.add_argument("--audio", nargs="+", default=[], metavar="FILE", help="sounds of your own")
parser.add_argument("--detector", default="toy_detic", help="a detector's name, or an official checkpoint")
parser.add_argument("--bridge", help="to an official detector's space; see fit_a_bridge.py")
parser.add_argument("--model", default="imagebind_tiny", help="a model's name, or a path to weights")
parser.add_argument("--output", default="detect_by_sound.png", help="where the picture with boxes goes")
options = parser.parse_args()

picture = (
    options.picture or Scene(7, "eval", labels=("dog", "bell", "train", "frog"), canvas=(256, 256)).image
)
prompts = {file: bindplug.audio(file) for file in options.audio}
if not prompts:
    bark, whistle = (Scene(index, "eval", labels=[thing]) for index, thing in ((100, "dog"), (102, "train")))
    prompts = {
        "the bark": bindplug.audio(bark.audio, sample_rate=bark.sample_rate_hz),
        "the train's whistle": bindplug.audio(whistle.audio, sample_rate=whistle.sample_rate_hz),
        "the word frog": bindplug.text("a frog"),
    }

# the detector classifies in another CLIP's space than the model's: a bridge leads there, the toys' being registered
detector = Detic.from_pretrained(options.detector)
detector = bindplug.upgrade(detector, bindplug.load(options.model), bridge=options.bridge)
found = detector(picture, list(prompts.values()), threshold=0.3)

found.labels = [list(prompts)[which] for which in found.label_indices.tolist()]
for label, score, box in zip(found.labels, found.scores.tolist(), found.boxes.tolist(), strict=True):
    print(f"{label}: {score:.2f} at {', '.join(f'{edge:.0f}' for edge in box)}")
found.draw(options.output, scale=1 if options.picture else 2)
print(f"the picture: {options.output}")
