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
from typing import TYPE_CHECKING

from bindplug.lazy import lazy_names, require

if TYPE_CHECKING:
    from bindplug_transformers.clip_score import clip_score_pair
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
    from bindplug_transformers.sentence_module import ImageBindModule
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

_MODULES = {
    "ImageBindConfig": "configuration",
    "ImageBindFeatureExtractor": "feature_extraction",
    "ImageBindImageProcessor": "image_processing",
    "ImageBindModel": "modeling",
    "ImageBindModule": "sentence_module",
    "ImageBindOutput": "outputs",
    "ImageBindPreTrainedModel": "modeling",
    "ImageBindProcessor": "processing",
    "ImageBindTextModelWithProjection": "projections",
    "ImageBindTokenizer": "tokenization",
    "ImageBindVisionModelWithProjection": "projections",
    "clip_score_pair": "clip_score",
}


def register() -> None:
    """Make ImageBind known to ``AutoModel``, ``AutoConfig``, ``AutoProcessor`` and their siblings.

    Doing it again changes nothing.

    Raises:
        MissingDependency: transformers is absent, too old, or does not import.
    """
    require("transformers", owner=__name__, extra="transformers", oldest=OLDEST)
    import_module("bindplug_transformers.auto").register()


__getattr__, __dir__ = lazy_names(__name__, _MODULES, __all__, before=lambda module: register())
