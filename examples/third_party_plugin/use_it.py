"""Use the plugin of this folder: a stereo camera's disparity map, classified in words.

pip install examples/third_party_plugin
python examples/third_party_plugin/use_it.py [--model imagebind_huge]
python examples/third_party_plugin/use_it.py --disparity 000000_10.png --focal 721.5 --baseline 0.54 --labels "car,tree"

Nothing in bindplug knows this package: it is found through its entry point.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

import bindplug
from bindplug_toyworld import CLASSNAMES, Scene

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--disparity", type=Path, help="a 16-bit disparity map of your own")
parser.add_argument("--focal", type=float, default=250.0, help="its focal length in pixels")
parser.add_argument("--baseline", type=float, default=0.2, help="its baseline in metres")
parser.add_argument("--labels", help="class names, joined by commas")
parser.add_argument("--model", default="imagebind_tiny", help="a model's name, or a path to weights")
options = parser.parse_args()

for plugin in bindplug.list_plugins():
    if plugin.name == "stereo":
        print(
            f"{plugin.name} {plugin.version} of {plugin.distribution}: {plugin.status}, {', '.join(plugin.provides)}"
        )

with tempfile.TemporaryDirectory() as directory:
    path = options.disparity or Path(directory) / "disparity.png"
    if options.disparity is None:
        scene = Scene(501, "eval", labels=["bird"])
        disparity_px = options.focal * options.baseline / scene.depth
        Image.fromarray((256 * disparity_px).round().clip(0, 65535).astype(np.uint16)).save(path)
    query = bindplug.read("stereo_disparity", path, focal_px=options.focal, baseline_m=options.baseline)
    model = bindplug.load(options.model, modalities={"depth", "text"})
    names = options.labels.split(",") if options.labels else list(CLASSNAMES)
    print(bindplug.classify(model, [query], names, top_k=3)[0])
