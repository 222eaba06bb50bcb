"""A detection script written for detectron2's Detic, and the one line by which it takes sounds.

python examples/detectron2_script.py [--output detectron2_script.png]
python examples/detectron2_script.py --config Detic.yaml --weights weights.pth --picture street.jpg --audio bark.wav \\
    --model imagebind_huge [--bridge h14-to-b32]

Offline standins/detectron2_predictor.py gives the toy Detic detectron2's shape; detectron2 itself was not tried here.
"""

import argparse

import numpy as np
from PIL import Image

import bindplug
from bindplug_toyworld import Scene

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--config", help="a Detic configuration for detectron2")
parser.add_argument("--weights", help="its checkpoint")
parser.add_argument("--picture", help="a picture of your own")
parser.add_argument("--audio", help="a sound of your own")
parser.add_argument("--bridge", help="a bridge from the model's space to the detector's")
parser.add_argument("--model", default="imagebind_tiny", help="a model's name, or a path to weights")
parser.add_argument("--output", default="detectron2_script.png", help="where the picture with boxes goes")
options = parser.parse_args()

# ---- the script as it was: any picture, the detector's own classes -----------------------------------------------
if options.config:
    from detectron2.config import get_cfg
    from detectron2.engine import DefaultPredictor
    from detic.config import add_detic_config

    cfg = get_cfg()
    add_detic_config(cfg)
    cfg.merge_from_file(options.config)
    cfg.MODEL.WEIGHTS = options.weights
    predictor, space = DefaultPredictor(cfg), None
else:
    from standins.detectron2_predictor import DefaultPredictor

    predictor = DefaultPredictor()
    space = predictor.space  # published Detics classify in CLIP ViT-B/32's, which needs no telling
toys = Scene(7, "eval", labels=("dog", "bell", "train", "frog"), canvas=(256, 256)).image
street = np.asarray(Image.open(options.picture).convert("RGB") if options.picture else toys)[:, :, ::-1]
instances = predictor(street)["instances"]
names = [predictor.metadata.thing_classes[k] for k in instances.pred_classes.tolist()]
print("its own classes:", ", ".join(names))

# ---- the line more -----------------------------------------------------------------------------------------------
predictor = bindplug.upgrade(predictor, bindplug.load(options.model), space=space, bridge=options.bridge)
bark = Scene(100, "eval", labels=["dog"]).audio
sound = bindplug.audio(options.audio) if options.audio else bindplug.audio(bark, sample_rate=16000)
found = predictor(street, [sound], threshold=0.3)
for box, score in zip(found.boxes.tolist(), found.scores.tolist(), strict=True):
    print(f"the sound: {score:.2f} at {', '.join(f'{edge:.0f}' for edge in box)}")
found.labels = ["the sound"] * len(found)
found.draw(options.output, scale=1 if options.picture else 2)
again = len(predictor(street)["instances"])
print(f"as before: {again} things of its own classes; the picture: {options.output}")
