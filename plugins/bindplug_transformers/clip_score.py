"""ImageBind as the model of torchmetrics' ``CLIPScore``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from bindplug_transformers.modeling import ImageBindModel
from bindplug_transformers.processing import ImageBindProcessor


class TensorFeatures(nn.Module):
    """A model whose ``get_..._features`` return tensors under every release of transformers.

    torchmetrics 1.9 divides what they return by its norm, which the outputs of transformers 5 do not allow.

    Args:
        model: an :class:`ImageBindModel`, or any model with CLIP's two methods.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model: Any = model

    @property
    def config(self) -> Any:
        """The model's config."""
        return self.model.config

    def get_image_features(self, *args: Any, **kwargs: Any) -> Tensor:
        """The model's image embeddings, (B, D)."""
        return _tensor(self.model.get_image_features(*args, **kwargs))

    def get_text_features(self, *args: Any, **kwargs: Any) -> Tensor:
        """The model's text embeddings, (B, D)."""
        return _tensor(self.model.get_text_features(*args, **kwargs))


def clip_score_pair(
    model: str | Path | nn.Module, processor: Any = None
) -> Callable[[], tuple[TensorFeatures, Any]]:
    """What ``torchmetrics.multimodal.CLIPScore(model_name_or_path=...)`` takes in place of a name.

    Args:
        model: an :class:`ImageBindModel`, or what :meth:`ImageBindModel.from_bindplug` takes.
        processor: its processor; the model's own for None.
    """

    def pair() -> tuple[TensorFeatures, Any]:
        loaded = ImageBindModel.from_bindplug(model) if isinstance(model, (str, Path)) else model
        clip = loaded if hasattr(loaded, "get_image_features") else ImageBindModel.from_bindplug(loaded)  # type: ignore[arg-type]
        return TensorFeatures(clip), processor or ImageBindProcessor.from_bindplug(clip)

    return pair


def _tensor(features: Any) -> Tensor:
    return features if isinstance(features, Tensor) else features.pooler_output
