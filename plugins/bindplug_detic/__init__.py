"""Detic, the open-vocabulary detector, in torch and torchvision alone: nothing to compile, no detectron2.

from bindplug_detic import Detic

detector = Detic.from_pretrained("Detic_LCOCOI21k_CLIP_SwinB_896b32_4x_ft4x_max-size.pth")
detector.set_vocabulary(names=["cat", "sofa"], embeddings=rows)      # rows of CLIP ViT-B/32's text tower
found = detector("room.jpg", threshold=0.4)
found.boxes, found.labels, found.scores, found.masks
found.draw("room-found.png")

``bindplug.upgrade(detector, model)`` also looks for sounds, depth maps, heat and whatever else the model embeds.
Importing this package imports neither torch nor torchvision.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from bindplug.errors import MissingDependency

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

_HOMES = {
    "Detections": "results",
    "Detic": "detector",
    "DeticConfig": "config",
    "DeticNetwork": "network",
    "DeticWithQueries": "adapter",
    "RawDetections": "postprocess",
    "Vocabulary": "vocabulary",
}

_WITHOUT_TORCHVISION = ("config", "results", "vocabulary")


def _require_torchvision() -> None:
    try:
        import_module("torchvision")
    except ImportError as error:
        absent = isinstance(error, ModuleNotFoundError) and error.name == "torchvision"
        reason = "absent" if absent else str(error)
        raise MissingDependency("bindplug_detic", "torchvision", "detic", reason) from error


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if _HOMES[name] not in _WITHOUT_TORCHVISION:
        _require_torchvision()
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
