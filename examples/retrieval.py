"""Search a folder of pictures and sounds by a picture, a sound, words, or a picture and a sound together.

python examples/retrieval.py [FOLDER] [--text "a dog"] [--seen a.jpg --heard b.wav] [--model imagebind_huge]

FOLDER may hold any pictures and sounds, one of each at least. Without one, a folder of toy files is written. A sum
finds pictures that hold both; one that shows only what was heard often comes as near.
"""

import argparse
import tempfile
from pathlib import Path

import bindplug
from bindplug_toyworld import Scene

PICTURES, SOUNDS = {".png", ".jpg", ".jpeg", ".webp"}, {".wav", ".flac", ".ogg", ".mp3"}

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("folder", nargs="?", type=Path, help="pictures and sounds of your own")
parser.add_argument("--text", default="a dog", help="words to search by")
parser.add_argument("--seen", help="of the folder's pictures, the one to add a sound to")
parser.add_argument("--heard", help="of the folder's sounds, the one to add to it")
parser.add_argument("--model", default="imagebind_tiny", help="a model's name, or a path to weights")
options = parser.parse_args()


def write_toy_files(folder: Path) -> None:
    """Pictures of one thing or two, and a sound for each thing, recorded elsewhere than it was seen."""
    shown = ("dog", "train", "boat", "fire", "boat fire", "boat dog", "train fire")
    for number, things in enumerate(shown):
        files = Scene(380 + number, "eval", labels=things.split(), fps=1).write(folder / "scene")
        files["image"].rename(folder / f"{things.replace(' ', '_and_')}.png")
    for number, thing in enumerate(("dog", "train", "boat", "fire")):
        files = Scene(400 + number, "eval", labels=[thing], fps=1).write(folder / "scene")
        files["audio"].rename(folder / f"{thing}.wav")


with tempfile.TemporaryDirectory() as directory:
    folder = options.folder or Path(directory)
    if options.folder is None:
        write_toy_files(folder)
        options.seen, options.heard = options.seen or "boat.png", options.heard or "fire.wav"
    pictures, sounds = (
        sorted(p for p in folder.iterdir() if p.suffix.lower() in s) for s in (PICTURES, SOUNDS)
    )
    model = bindplug.load(options.model, modalities={"image", "text", "audio"})
    seen = model.embed([bindplug.image(path) for path in pictures])
    heard = model.embed([bindplug.audio(path) for path in sounds])
    told = model.embed([bindplug.text(options.text)])
    one, other = folder / (options.seen or pictures[0].name), folder / (options.heard or sounds[0].name)
    # a sum is moved to where pictures lie, if the model knows the way: sounds lie apart from them
    known = {"image", "audio"} <= model.centres.keys()
    summed = model.embed([bindplug.image(one) + bindplug.audio(other)], recentre="image" if known else None)
    others = [k for k, path in enumerate(pictures) if path != one]

for title, rows, names, gallery, found in (
    ("picture > sound", seen, [p.name for p in pictures], heard, sounds),
    ("sound > picture", heard, [p.name for p in sounds], seen, pictures),
    ("words > picture", told, [options.text], seen, pictures),
    ("words > sound", told, [options.text], heard, sounds),
    (
        "sound & picture > picture",
        summed,
        [f"{other.name} & {one.name}"],
        seen[others],
        [pictures[k] for k in others],
    ),
):
    print(title)
    for name, cosines in zip(names, rows @ gallery.T, strict=True):
        print(f"  {name:24}", "  ".join(found[k].name for k in cosines.argsort(descending=True)[:3]))
