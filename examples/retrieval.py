"""Search a folder of pictures and sounds by a picture, a sound, words, or a picture and a sound together.

python examples/retrieval.py [FOLDER] [--text "a dog"] [--sum a.jpg b.wav] [--model imagebind_huge]

A sum is moved to where pictures lie, if the model knows the way; what shows only one of both may come as near.
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
parser.add_argument("--sum", nargs=2, help="a picture and a sound to add; else the folder's first and last")
parser.add_argument("--model", default="imagebind_tiny", help="a model's name, or a path to weights")
options = parser.parse_args()


def write_toy_files(folder: Path) -> Path:
    """Pictures of one thing or two, and a sound for each thing, recorded elsewhere than it was seen."""
    things = ("dog", "cat", "boat", "fire")
    for number, name in enumerate((*things, "boat_and_fire", "boat_and_dog", "cat_and_fire")):
        Scene(380 + number, "eval", labels=name.split("_and_")).image.save(folder / f"{name}.png")
    for number, name in enumerate(things):
        files = Scene(400 + number, "eval", labels=[name], fps=1).write(folder / "scene")
        files["audio"].rename(folder / f"{name}.wav")
    return folder


with tempfile.TemporaryDirectory() as directory:
    folder = options.folder or write_toy_files(Path(directory))
    model = bindplug.load(options.model, modalities={"image", "text", "audio"})
    files = sorted(folder.iterdir())
    pictures = {p.name: bindplug.image(p) for p in files if p.suffix.lower() in PICTURES}
    sounds = {p.name: bindplug.audio(p) for p in files if p.suffix.lower() in SOUNDS}
    if not pictures or not sounds:
        parser.error(f"{folder} holds {len(pictures)} pictures, {len(sounds)} sounds; both are needed")
    groups = (pictures.values(), sounds.values(), [bindplug.text(options.text)])
    picture_rows, sound_rows, text_rows = (model.embed([*queries]) for queries in groups)
    one, other = options.sum or (min(pictures), max(sounds))
    both = bindplug.image(folder / one) + bindplug.audio(folder / other)
    summed = model.embed([both], recenter=picture_rows.mean(0) if "audio" in model.centers else None)

for title, rows, names, gallery, files_of_gallery in (
    ("picture > sound", picture_rows, pictures, sound_rows, sounds),
    ("sound > picture", sound_rows, sounds, picture_rows, pictures),
    ("words > picture", text_rows, [options.text], picture_rows, pictures),
    ("words > sound", text_rows, [options.text], sound_rows, sounds),
    ("sound & picture > picture", summed, [f"{other} & {one}"], picture_rows, pictures),
):
    print(title)
    for name, cosines in zip(names, rows @ gallery.T, strict=True):
        nearest = [[*files_of_gallery][k] for k in cosines.argsort(descending=True)]
        print(f"  {name:24}", "  ".join([file for file in nearest if file not in name.split(" & ")][:3]))
