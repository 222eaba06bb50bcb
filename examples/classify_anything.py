"""Zero-shot classification of sounds, depth maps, heat images and motions, none of which was ever labelled.

python examples/classify_anything.py [--model imagebind_huge]
python examples/classify_anything.py --audio bark.wav --depth room.png --labels "dog,train,sofa" --model imagebind_huge
"""

import argparse

import bindplug
from bindplug_toyworld import CLASSNAMES, MOVING, NAMES, Scene

SENSORS = ("audio", "depth", "thermal", "imu")

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
for sensor in SENSORS:
    parser.add_argument(
        f"--{sensor}", nargs="+", default=[], metavar="FILE", help=f"{sensor} files of your own"
    )
parser.add_argument("--labels", help="class names, joined by commas; those of the toy world by default")
parser.add_argument("--model", default="imagebind_tiny", help="a model's name, or a path to weights")
options = parser.parse_args()


def recorded(sensor: str, thing: str, seed: int) -> bindplug.Query:
    """A thing of the toy world, as one sensor records it."""
    scene = Scene(seed, "eval", labels=[thing])
    if sensor == "audio":
        return bindplug.audio(scene.audio, sample_rate=scene.sample_rate_hz)
    if sensor == "depth":
        return bindplug.depth(scene.depth, unit="m")
    if sensor == "thermal":
        return bindplug.thermal(scene.thermal, unit="celsius")
    return bindplug.imu(scene.imu, sample_rate=scene.imu_rate_hz)


queries: dict[str, dict[str, bindplug.Query]] = {}
for sensor in SENSORS:
    read = getattr(bindplug, sensor)
    queries[sensor] = {file: read(file) for file in getattr(options, sensor)}
own = any(queries.values())
if not own:
    for sensor in SENSORS:
        things = (MOVING if sensor == "imu" else NAMES)[:8]
        queries[sensor] = {thing: recorded(sensor, thing, 500 + k) for k, thing in enumerate(things)}

labels = options.labels.split(",") if options.labels else list(CLASSNAMES)
model = bindplug.load(options.model, modalities={"text", *(sensor for sensor in SENSORS if queries[sensor])})
for sensor in filter(queries.get, SENSORS):
    print(sensor)
    # only some things move a sensor of motion
    names = (
        [CLASSNAMES[NAMES.index(thing)] for thing in MOVING]
        if sensor == "imu" and not options.labels
        else labels
    )
    rankings = bindplug.classify(model, list(queries[sensor].values()), names)
    for name, ranking in zip(queries[sensor], rankings, strict=True):
        best = ", ".join(f"{entry.label} {entry.probability:.0%}" for entry in ranking.entries[:3])
        print(f"  {name:12} {best}")
    if not own:
        right = [
            r.best.label == CLASSNAMES[NAMES.index(n)] for n, r in zip(queries[sensor], rankings, strict=True)
        ]
        print(f"  {sum(right)} of {len(right)} right, among {len(names)} classes")
