"""ImageBind as classes of the transformers library.

from bindplug_transformers import ImageBindModel, ImageBindProcessor

model = ImageBindModel.from_bindplug("imagebind_tiny")
processor = ImageBindProcessor.from_bindplug(model)
outputs = model(**processor(text=["a dog", "rain"], audio="rain.wav", return_tensors="pt"))
outputs.logits_per_audio.softmax(-1)

Importing this package imports neither torch nor transformers. The first class taken from it, or
:func:`register`, makes ImageBind known to transformers' Auto classes.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from bindplug.errors import MissingDependency

if TYPE_CHECKING:
    from bindplug_transformers.configuration import ImageBindConfig
    from bindplug_transformers.feature_extraction import ImageBindFeatureExtractor
    from bindplug_transformers.image_processing import ImageBindImageProcessor
    from bindplug_transformers.modeling import ImageBindModel, ImageBindPreTrainedModel
    from bindplug_transformers.outputs import ImageBindOutput
    from bindplug_transformers.processing import ImageBindProcessor
    from bindplug_transformers.projections import (
        ImageBindTextModelWithProjection,
        ImageBindVisionModelWithProjection,
    )
    from bindplug_transformers.scores import clip_score_pair
    from bindplug_transformers.sentence import ImageBindModule
    from bindplug_transformers.tokenization import ImageBindTokenizer

__all__ = [
    "ImageBindConfig",
    "ImageBindFeatureExtractor",
    "ImageBindImageProcessor",
    "ImageBindModel",
    "ImageBindModule",
    "ImageBindOutput",
    "ImageBindPreTrainedModel",
    "ImageBindProcessor",
    "ImageBindTextModelWithProjection",
    "ImageBindTokenizer",
    "ImageBindVisionModelWithProjection",
    "clip_score_pair",
    "register",
]

OLDEST = (4, 50)
"""The oldest transformers release that the tests run with."""

_HOMES = {
    "ImageBindConfig": "configuration",
    "ImageBindFeatureExtractor": "feature_extraction",
    "ImageBindImageProcessor": "image_processing",
    "ImageBindModel": "modeling",
    "ImageBindModule": "sentence",
    "ImageBindOutput": "outputs",
    "ImageBindPreTrainedModel": "modeling",
    "ImageBindProcessor": "processing",
    "ImageBindTextModelWithProjection": "projections",
    "ImageBindTokenizer": "tokenization",
    "ImageBindVisionModelWithProjection": "projections",
    "clip_score_pair": "scores",
}


def register() -> None:
    """Make ImageBind known to ``AutoModel``, ``AutoConfig``, ``AutoProcessor`` and their siblings.

    Doing it again changes nothing.

    Raises:
        MissingDependency: transformers is absent, too old, or does not import.
    """
    _require_transformers()
    import_module("bindplug_transformers.auto").register()


def _require_transformers() -> None:
    try:
        version = import_module("transformers").__version__
    except ImportError as error:
        absent = isinstance(error, ModuleNotFoundError) and error.name == "transformers"
        reason = "absent" if absent else str(error)
        raise MissingDependency("bindplug_transformers", "transformers", "transformers", reason) from error
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
        raise MissingDependency("bindplug_transformers", "transformers", "transformers", "too old")


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    register()
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
