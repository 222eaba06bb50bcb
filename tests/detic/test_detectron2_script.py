"""The example's ``--config`` sets Detic up as Detic's own demo does; the packages are stand-ins that note the calls."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "detectron2/__init__.py": "",
    "detectron2/config.py": """
class Node(dict):
    def __getattr__(self, name):
        return self.setdefault(name, Node())
    def __setattr__(self, name, value):
        self[name] = value
    def merge_from_file(self, path):
        assert self.steps == ["centernet", "detic"], "both are added before the file is merged"
        self.file = path
def get_cfg():
    return Node(steps=[])
""",
    "detectron2/engine.py": """
from standins.detectron2_predictor import DefaultPredictor as StandIn
class DefaultPredictor(StandIn):
    def __init__(self, cfg):
        super().__init__()
        assert cfg.file == "Detic.yaml"
        assert cfg.MODEL.WEIGHTS == "Detic.pth"
        assert cfg.MODEL.DEVICE == "cpu"
        assert cfg.MODEL.ROI_BOX_HEAD.ZEROSHOT_WEIGHT_PATH == "rand"
DefaultPredictor.__module__ = "detectron2.engine.defaults"
""",
    "centernet/__init__.py": "",
    "centernet/config.py": "def add_centernet_config(cfg):\n    cfg.steps.append('centernet')\n",
    "detic/__init__.py": "",
    "detic/config.py": "def add_detic_config(cfg):\n    cfg.steps.append('detic')\n",
    "detic/modeling/__init__.py": "",
    "detic/modeling/utils.py": """
def reset_cls_test(model, path, count):
    weight = model.roi_heads.box_predictor[0].cls_score.zs_weight
    print("reset:", path, count == weight.shape[1] - 1)
""",
}


@pytest.fixture
def checkout(tmp_path):
    for name, code in PACKAGES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(code)
    return tmp_path


def test_the_setup_of_detics_demo(checkout):
    Image.effect_noise((96, 96), 60).convert("RGB").save(checkout / "street.png")
    paths = [checkout, ROOT / "examples", *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    run = subprocess.run(
        [
            sys.executable, ROOT / "examples" / "detectron2_script.py", "--config", "Detic.yaml",
            "--weights", "Detic.pth", "--device", "cpu", "--picture", "street.png",
        ],
        cwd=checkout,
        env={**os.environ, "BINDPLUG_QUIET": "1", "PYTHONPATH": os.pathsep.join(map(str, paths))},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[0] == "reset: datasets/metadata/lvis_v1_clip_a+cname.npy True"
    with Image.open(checkout / "detectron2_script.png") as picture:
        assert picture.size == (96, 96)
