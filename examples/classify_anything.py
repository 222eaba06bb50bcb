"""Zero-shot classification of sounds, depth maps, heat images and motions, none of which was ever labelled.

python examples/classify_anything.py [--model imagebind_huge]
python examples/classify_anything.py --audio bark.wav --depth room.png --labels "dog,train,sofa" --model imagebind_huge
"""

import argparse
import tempfile
from pathlib import Path

import bindplug
from bindplug_toyworld import CLASSNAMES, MOVING, NAMES, Scene

SENSORS = ("audio", "depth", "thermal", "imu")

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
for sensor in SENSORS:
    parser.add_argument(f"--{sensor}", nargs="+", metavar="FILE", help=f"{sensor} files of your own")
parser.add_argument("--labels", help="class names, joined by commas; those of the toy world by default")
parser.add_argument("--model", default="imagebind_tiny", help="a model's name, or a path to weights")
options = parser.parse_args()


def recorded(sensor: str, folder: Path) -> dict[str, Path]:
    """Files of eight things of the toy world; only some of them move a sensor of motion."""
    things = (MOVING if sensor == "imu" else NAMES)[:8]
    scenes = {thing: Scene(500 + k, "eval", labels=[thing], fps=1) for k, thing in enumerate(things)}
    return {thing: scene.write(folder / thing)[sensor] for thing, scene in scenes.items()}


with tempfile.TemporaryDirectory() as directory:
    files = {sensor: {file: file for file in getattr(options, sensor) or ()} for sensor in SENSORS}
    own = any(files.values())
    if not own:
        files = {sensor: recorded(sensor, Path(directory, sensor)) for sensor in SENSORS}
    model = bindplug.load(options.model, modalities={"text", *filter(files.get, SENSORS)})
    for sensor in filter(files.get, SENSORS):
        print(sensor)
        classes = {thing: CLASSNAMES[NAMES.index(thing)] for thing in (MOVING if sensor == "imu" else NAMES)}
        labels = options.labels.split(",") if options.labels else list(classes.values())
        queries = [getattr(bindplug, sensor)(file) for file in files[sensor].values()]
        rankings = bindplug.classify(model, queries, labels)
        for name, ranking in zip(files[sensor], rankings, strict=True):
            best = ", ".join(f"{entry.label} {entry.probability:.0%}" for entry in ranking.entries[:3])
            print(f"  {name:12} {best}")
        if not own:
            named = zip(files[sensor], rankings, strict=True)
            right = [ranking.best.label == classes[thing] for thing, ranking in named]
            print(f"  {sum(right)} of {len(right)} right, among {len(labels)} classes")
