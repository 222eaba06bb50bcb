"""A detection script written for detectron2's Detic, and the one line that lets it find sounds.

python examples/detectron2_script.py [--output detectron2_script.png]
PYTHONPATH=.:third_party/CenterNet2 python detectron2_script.py --config configs/Detic_….yaml --weights Detic.pth \\
    --device cuda --picture street.jpg --audio bark.wav --model imagebind_huge [--bridge h14-to-b32]

The second form runs in a checkout of Detic; in the first standins/detectron2_predictor.py stands for detectron2.
"""

import argparse

import numpy as np
from PIL import Image

import bindplug
from bindplug_toyworld import Scene

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
for name in ("config", "weights", "picture", "audio", "bridge"):
    parser.add_argument(f"--{name}")
parser.add_argument("--device", default="cpu", help="for the detector and the model, as cuda")
parser.add_argument("--model", default="imagebind_tiny", help="a model's name, or a path to weights")
parser.add_argument("--output", default="detectron2_script.png", help="path of the picture with boxes")
options = parser.parse_args()
# ---- the script as it was, with the detector's own classes; --config does what Detic's demo does -----------------
if options.config:
    from centernet.config import add_centernet_config
    from detectron2.config import get_cfg
    from detectron2.engine import DefaultPredictor
    from detic.config import add_detic_config
    from detic.modeling.utils import reset_cls_test

    cfg = get_cfg()
    add_centernet_config(cfg)
    add_detic_config(cfg)
    cfg.merge_from_file(options.config)
    cfg.MODEL.WEIGHTS, cfg.MODEL.DEVICE = options.weights, options.device
    cfg.MODEL.ROI_BOX_HEAD.ZEROSHOT_WEIGHT_PATH = "rand"  # replaced by reset_cls_test
    predictor = DefaultPredictor(cfg)
    count = len(predictor.metadata.thing_classes)
    reset_cls_test(predictor.model, "datasets/metadata/lvis_v1_clip_a+cname.npy", count)
else:
    from standins.detectron2_predictor import DefaultPredictor

    predictor = DefaultPredictor()
toys = Scene(7, "eval", labels=("dog", "bell", "train", "frog"), canvas=(256, 256)).image
picture = Image.open(options.picture).convert("RGB") if options.picture else toys
street = np.asarray(picture)[:, :, ::-1]  # BGR, as detectron2 takes it
names = [predictor.metadata.thing_classes[k] for k in predictor(street)["instances"].pred_classes.tolist()]
print("its own classes:", ", ".join(names))
# ---- one more line; the space of published Detics need not be named -----------------------------------------------
model = bindplug.load(options.model, device=options.device)
predictor = bindplug.upgrade(predictor, model, space=getattr(predictor, "space", None), bridge=options.bridge)
bark = bindplug.audio(Scene(100, "eval", labels=["dog"]).audio, sample_rate=16000)
detections = predictor(street, [bindplug.audio(options.audio) if options.audio else bark], threshold=0.3)
detections.labels = ["the sound"] * len(detections)
for box, score in zip(detections.boxes.tolist(), detections.scores.tolist(), strict=True):
    print(f"the sound: {score:.2f} at {', '.join(f'{edge:.0f}' for edge in box)}")
detections.draw(options.output, scale=1 if options.picture else 2)
print(f"as before: {len(predictor(street)['instances'])} things; the picture: {options.output}")
