"""A bridge to another CLIP's space, fitted from text alone, then crossed by a sound.

python examples/fit_a_bridge.py [--output my-bridge]
python examples/fit_a_bridge.py --model imagebind_huge --target open_clip:ViT-B-32:openai --output h14-to-b32
"""

import argparse

import bindplug
from bindplug.bridges import fit_bridge, load_bridge, open_target
from bindplug.corpus import Corpus, builtin_corpus
from bindplug_toyworld import Scene

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument(
    "--model", default="imagebind_tiny", help="where the bridge starts: a model's name or path"
)
parser.add_argument("--target", default="toy_foreign_clip", help="or open_clip:NAME:TAG, transformers:ID")
parser.add_argument("--texts", type=int, default=1500, help="captions to fit the toy bridge with")
parser.add_argument("--output", help="a directory to keep the bridge in")
options = parser.parse_args()

model = bindplug.load(options.model)
if options.target == "toy_foreign_clip":
    target = bindplug.load(options.target)
    corpus = Corpus.of(
        [Scene(number).caption for number in range(options.texts)], name="captions of the toy world"
    )
else:
    target, corpus = open_target(options.target), builtin_corpus()

bridge = fit_bridge(model, target, corpus, method="ridge", strength=1.0)
across = bridge.report.retrieval
print(f"{bridge.source.name}, {bridge.source.width} numbers > {bridge.target.name}, {bridge.target.width}")
print(f"fitted with {bridge.report.corpus_size} texts; of {across.candidates} held-out ones,")
print(f"{across.top1:.0%} find their own vector first and {across.top10:.0%} among ten; centered cosine "
      f"{across.centered_cosine:.2f}")  # fmt: skip

# what all sounds have in common is no meaning: a varied sample of them tells the bridge where sounds lie
varied = [Scene(1000 + number) for number in range(40)]
bridge.recenter("audio", model.embed([bindplug.audio(s.audio, sample_rate=s.sample_rate_hz) for s in varied]))

words = ["a dog", "a train", "rain", "a bell", "a person running"]
if isinstance(target, bindplug.Encoder):
    rows = target.embed([bindplug.text(word) for word in words])
else:
    rows = target.embed_texts(words)
heard = {thing: Scene(780, "eval", labels=[thing]) for thing in ("dog", "train", "rain", "bell", "running")}
sounds = [bindplug.audio(scene.audio, sample_rate=scene.sample_rate_hz) for scene in heard.values()]
best = (bridge.embed(model, sounds) @ rows.T).argmax(dim=1).tolist()
for thing, place in zip(heard, best, strict=True):
    print(f"  the sound of {thing:8} is nearest to the other CLIP's {words[place]!r}")

if options.output:
    bridge.save(options.output, overwrite=True)
    print(f"kept: {load_bridge(options.output)!r}")
