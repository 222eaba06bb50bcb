"""Zero-shot classification of sounds: no sound was ever labelled for the model.

python examples/classify_sounds.py [FILE.wav …] [--model imagebind_huge]
"""

import argparse

import bindplug
from bindplug_toyworld import CLASSNAMES, NAMES, Scene

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("files", nargs="*", help="sound files; without any, eight sounds of the toy world")
parser.add_argument("--model", default="imagebind_tiny", help="a model's name, or a path to weights")
options = parser.parse_args()

model = bindplug.load(options.model, modalities={"audio", "text"})
if options.files:
    sounds = {name: bindplug.audio(name) for name in options.files}
else:
    scenes = [Scene(500 + index, "eval", labels=[name]) for index, name in enumerate(NAMES[:8])]
    sounds = {f"a {s.label}": bindplug.audio(s.audio, sample_rate=s.sample_rate_hz) for s in scenes}

for name, ranking in zip(sounds, bindplug.classify(model, list(sounds.values()), CLASSNAMES), strict=True):
    best = ", ".join(f"{entry.label} {entry.probability:.0%}" for entry in ranking.entries[:3])
    print(f"{name:12} {best}")
