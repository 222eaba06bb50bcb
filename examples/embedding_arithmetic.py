"""A picture plus a sound finds the picture that holds both.

python examples/embedding_arithmetic.py [--model imagebind_huge] [--output embedding_arithmetic.png]
"""

import argparse
from itertools import combinations

from PIL import Image

import bindplug
from bindplug_toyworld import Scene

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--model", default="imagebind_tiny", help="a model's name, or a path to weights")
parser.add_argument("--output", default="embedding_arithmetic.png", help="where the three best pictures go")
options = parser.parse_args()

model = bindplug.load(options.model)
things = ("dog", "bell", "train", "fire", "frog", "boat")
pairs = [pair for pair in combinations(things, 2) for _ in range(3)]
gallery = [Scene(index, "eval", labels=pair) for index, pair in enumerate(pairs)]
rows = model.embed([bindplug.image(scene.image) for scene in gallery])

seen, heard = Scene(200, "eval", labels=["dog"]), Scene(201, "eval", labels=["bell"])
query = bindplug.image(seen.image) + bindplug.audio(heard.audio, sample_rate=heard.sample_rate_hz)
# sounds lie apart from pictures; a model that knows where moves both to where the searched pictures lie
recenter = rows.mean(0) if {"image", "audio"} <= model.centers.keys() else None
cosines = (model.embed([query], recenter=recenter) @ rows.T)[0]

order = cosines.argsort(descending=True).tolist()
best = order[:3]
both = next(rank for rank, place in enumerate(order, start=1) if gallery[place].labels == ("dog", "bell"))
print("a picture of a dog + the sound of a bell:")
for place in best:
    print(f"  {cosines[place]:.3f}  {' and '.join(gallery[place].labels)}")
print(f"the first scene that holds both is number {both} of {len(gallery)}")

strip = Image.new("RGB", (224 * 3, 224))
for column, place in enumerate(best):
    strip.paste(gallery[place].image, (224 * column, 0))
strip.save(options.output)
print(f"the pictures: {options.output}")
