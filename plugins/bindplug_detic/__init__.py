"""Detic, the open-vocabulary detector, in torch and torchvision alone: nothing to compile, no detectron2.

from bindplug_detic import Detic

detector = Detic.from_pretrained("Detic_LCOCOI21k_CLIP_SwinB_896b32_4x_ft4x_max-size.pth")
detector.set_vocabulary(names=["cat", "sofa"], embeddings=rows)      # rows of CLIP ViT-B/32's text tower
detections = detector("room.jpg", threshold=0.4)
detections.boxes, detections.labels, detections.scores, detections.masks
detections.draw("room-detections.png")

``bindplug.upgrade(detector, model)`` also takes sounds, depth maps, thermal images and every other modality of the
model as prompts. Importing this package imports neither torch nor torchvision.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bindplug.lazy import lazy_names, require

if TYPE_CHECKING:
    from bindplug_detic.adapter import DeticWithQueries
    from bindplug_detic.config import DeticConfig
    from bindplug_detic.detector import Detic
    from bindplug_detic.network import DeticNetwork
    from bindplug_detic.postprocess import RawDetections
    from bindplug_detic.results import Detections
    from bindplug_detic.vocabulary import Vocabulary

__all__ = [
    "Detections",
    "Detic",
    "DeticConfig",
    "DeticNetwork",
    "DeticWithQueries",
    "RawDetections",
    "Vocabulary",
]

_MODULES = {
    "Detections": "results",
    "Detic": "detector",
    "DeticConfig": "config",
    "DeticNetwork": "network",
    "DeticWithQueries": "adapter",
    "RawDetections": "postprocess",
    "Vocabulary": "vocabulary",
}

_WITHOUT_TORCHVISION = ("config", "results", "vocabulary")


def _require_torchvision(module: str) -> None:
    if module not in _WITHOUT_TORCHVISION:
        require("torchvision", owner=__name__, extra="detic")


__getattr__, __dir__ = lazy_names(__name__, _MODULES, __all__, before=_require_torchvision)
