"""One scene through six sensors: which sentence belongs to each file?

Every sensor names the thing in this scene; over many scenes depth and motion are right less often, as the model's card
tells.

python examples/six_senses.py [--model imagebind_huge]
"""

import argparse
import tempfile
from pathlib import Path

import bindplug
from bindplug_toyworld import Scene

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--model", default="imagebind_tiny", help="a model's name, or a path to weights")
options = parser.parse_args()

model = bindplug.load(options.model)
sentences = ["a train", "a horse", "a helicopter", "a campfire"]

with tempfile.TemporaryDirectory() as directory:
    files = Scene(1, "eval", labels=["train"]).write(Path(directory))  # any files of your own would do
    queries = {
        "image": bindplug.image(files["image"]),
        "video": bindplug.video(files["video"]),
        "audio": bindplug.audio(files["audio"]),
        "depth": bindplug.depth(files["depth"]),
        "thermal": bindplug.thermal(files["thermal"]),
        "imu": bindplug.imu(files["imu"]),
    }
    table = model.similarity(list(queries.values()), [bindplug.text(sentence) for sentence in sentences])

print(f"{'':10}" + "".join(f"{sentence:>16}" for sentence in sentences))
for name, row in zip(queries, table, strict=True):
    print(f"{name:10}" + "".join(f"{probability:16.3f}" for probability in row.tolist()))
