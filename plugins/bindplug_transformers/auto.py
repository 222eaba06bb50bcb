"""Registration with transformers' Auto classes, through their public ``register``."""

from __future__ import annotations

from functools import cache

from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoImageProcessor,
    AutoModel,
    AutoModelForZeroShotImageClassification,
    AutoProcessor,
    AutoTokenizer,
)

from bindplug_transformers.configuration import ImageBindConfig
from bindplug_transformers.feature_extraction import ImageBindFeatureExtractor
from bindplug_transformers.image_processing import ImageBindImageProcessor
from bindplug_transformers.modeling import ImageBindModel
from bindplug_transformers.outputs import TRANSFORMERS_4
from bindplug_transformers.processing import ImageBindProcessor
from bindplug_transformers.tokenization import ImageBindTokenizer


@cache
def register() -> None:
    """Register every class, once."""
    AutoConfig.register(ImageBindConfig.model_type, ImageBindConfig)
    AutoModel.register(ImageBindConfig, ImageBindModel)
    AutoModelForZeroShotImageClassification.register(ImageBindConfig, ImageBindModel)
    AutoTokenizer.register(ImageBindConfig, slow_tokenizer_class=ImageBindTokenizer)
    if TRANSFORMERS_4:
        AutoImageProcessor.register(ImageBindConfig, slow_image_processor_class=ImageBindImageProcessor)
    else:
        backends: dict[str, type] = {"pil": ImageBindImageProcessor, "torchvision": ImageBindImageProcessor}
        AutoImageProcessor.register(ImageBindConfig, image_processor_classes=backends)
    AutoFeatureExtractor.register(ImageBindConfig, ImageBindFeatureExtractor)
    AutoProcessor.register(ImageBindConfig, ImageBindProcessor)
