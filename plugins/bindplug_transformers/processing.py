"""All seven modalities to model input, in one call."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from transformers import BatchFeature, ProcessorMixin
from typing_extensions import Self

import bindplug
from bindplug.errors import InputError
from bindplug.inputs import IMAGE_SIZE, DepthPreprocess, ImuPreprocess, ThermalPreprocess, VideoPreprocess
from bindplug_transformers.batches import each_option, features
from bindplug_transformers.feature_extraction import ImageBindFeatureExtractor
from bindplug_transformers.image_processing import ImageBindImageProcessor
from bindplug_transformers.outputs import TRANSFORMERS_4
from bindplug_transformers.registered_names import is_bindplug_source
from bindplug_transformers.saved_directory import PROCESSOR_FILE, SavedSettings
from bindplug_transformers.tokenization import ImageBindTokenizer

PREPROCESSOR_FILE = "preprocessor_config.json"
TEXT_ARGUMENTS = frozenset(
    (
        "add_special_tokens",
        "max_length",
        "pad_to_multiple_of",
        "padding",
        "padding_side",
        "return_attention_mask",
        "return_special_tokens_mask",
        "truncation",
    )
)


class ImageBindProcessor(SavedSettings, ProcessorMixin):
    """Tokenizer, image processor and audio feature extractor in one, and depth, thermal, motion and video.

    Depth, thermal and motion sources are whatever bindplug's readers take: paths, bytes, arrays, tensors.

    Args:
        image_processor, feature_extractor, tokenizer: the parts; the defaults for None.
        image_size: side of video crops, depth and thermal maps in pixels.
        depth_preset: as in :class:`bindplug.inputs.depth.DepthPreprocess`.
        imu_preset, imu_normalize: as in :class:`bindplug.inputs.imu.ImuPreprocess`.
        kwargs: what every transformers processor takes.
    """

    _needed_file = PROCESSOR_FILE
    if TRANSFORMERS_4:  # transformers 5 reads the constructor instead, and warns about these
        attributes: ClassVar[list[str]] = ["image_processor", "feature_extractor", "tokenizer"]
        image_processor_class = "AutoImageProcessor"
        feature_extractor_class = "AutoFeatureExtractor"
        tokenizer_class = "AutoTokenizer"
        valid_kwargs: ClassVar[list[str]] = ["image_size", "depth_preset", "imu_preset", "imu_normalize"]

    def __init__(
        self,
        image_processor: Any = None,
        feature_extractor: Any = None,
        tokenizer: Any = None,
        image_size: int | None = None,
        depth_preset: str = "metric",
        imu_preset: str = "ego4d_5s_400hz",
        imu_normalize: str = "none",
        **kwargs: Any,
    ) -> None:
        if image_processor is None:
            image_processor = ImageBindImageProcessor(image_size=image_size or IMAGE_SIZE)
        super().__init__(
            image_processor,
            feature_extractor or ImageBindFeatureExtractor(),
            tokenizer or ImageBindTokenizer(),
            **kwargs,
        )
        self.image_size: int = image_size or image_processor.image_size
        self.depth_preset, self.imu_preset, self.imu_normalize = depth_preset, imu_preset, imu_normalize
        self._sensors()

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *args: Any, **kwargs: Any) -> Self:
        """As transformers' own; also takes the name or path of a model that bindplug loads."""
        if is_bindplug_source(pretrained_model_name_or_path):
            return cls.from_bindplug(pretrained_model_name_or_path)
        return super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs)

    @classmethod
    def from_bindplug(cls, model: Any) -> Self:
        """The processor for a model: ours, bindplug's, or the name of one :func:`bindplug.load` knows."""
        if isinstance(model, (str, Path)):
            model = bindplug.load(model, modalities={"text"})
        config = getattr(model, "network", model).config
        return cls(image_size=config.image_size)

    def __call__(
        self,
        images: Any = None,
        text: Any = None,
        videos: Any = None,
        audio: Any = None,
        *,
        depth: Any = None,
        thermal: Any = None,
        imu: Any = None,
        return_tensors: Any = None,
        sampling_rate: int | None = None,
        text_kwargs: Mapping[str, Any] | None = None,
        images_kwargs: Any = None,
        videos_kwargs: Any = None,
        audio_kwargs: Any = None,
        depth_kwargs: Any = None,
        thermal_kwargs: Any = None,
        imu_kwargs: Any = None,
        **kwargs: Any,
    ) -> BatchFeature:
        """Model input of everything given; pass it on as ``model(**inputs)``.

        Args:
            images: see :class:`ImageBindImageProcessor`; gives ``pixel_values``.
            text: a text or a list; gives ``input_ids`` and ``attention_mask``.
            videos: one or a list of paths, bytes, arrays or tensors; gives ``pixel_values_videos``.
            audio: see :class:`ImageBindFeatureExtractor`; gives ``input_features``.
            depth, thermal, imu: one or a list of sources; give ``depth_values``, ``thermal_values``, ``imu_values``.
            return_tensors: ``"pt"``, ``"np"``, or None for lists.
            sampling_rate: of sound samples, in Hz.
            text_kwargs: arguments of the tokenizer.
            images_kwargs, videos_kwargs, audio_kwargs, depth_kwargs, thermal_kwargs, imu_kwargs: options of
                bindplug's readers, such as ``depth_kwargs={"unit": "mm"}``; a mapping, or one a source.
            kwargs: arguments of the tokenizer, such as ``padding`` (on by default if tensors are returned).

        Raises:
            InputError: nothing is given, a source cannot be read, or an argument is unknown.
        """
        unknown = sorted(set(kwargs) - TEXT_ARGUMENTS)
        if unknown:
            remedy = "Reader options go into depth_kwargs={...}, audio_kwargs={...} and so on."
            expected = f"some of {sorted(TEXT_ARGUMENTS)}"
            raise InputError(
                "ImageBindProcessor", found=f"arguments {unknown}", expected=expected, remedy=remedy
            )
        data: dict[str, Any] = {}
        if text is not None:
            data.update(self._text(text, return_tensors, {**kwargs, **(text_kwargs or {})}))
        if images is not None:
            data.update(self.image_processor(images, return_tensors=return_tensors, options=images_kwargs))
        if audio is not None:
            sounds = {
                "sampling_rate": sampling_rate,
                "return_tensors": return_tensors,
                "options": audio_kwargs,
            }
            data.update(self.feature_extractor(audio, **sounds))
        sensors = {
            "video": ("pixel_values_videos", videos, videos_kwargs),
            "depth": ("depth_values", depth, depth_kwargs),
            "thermal": ("thermal_values", thermal, thermal_kwargs),
            "imu": ("imu_values", imu, imu_kwargs),
        }
        for modality, (name, sources, options) in sensors.items():
            if sources is not None:
                items = list(sources) if isinstance(sources, (list, tuple)) else [sources]
                reader_options = each_option(options, len(items))
                data.update(features(name, self._sensors()[modality], items, reader_options, return_tensors))
        if not data:
            expected = "text=, images=, videos=, audio=, depth=, thermal= or imu="
            raise InputError("ImageBindProcessor", found="no input", expected=expected)
        return BatchFeature(data)

    @property
    def model_input_names(self) -> list[str]:
        """Names of everything the model takes."""
        names = ["input_ids", "attention_mask", "pixel_values", "input_features", "pixel_values_videos"]
        return [*names, "depth_values", "thermal_values", "imu_values"]

    def save_pretrained(self, save_directory: Any, push_to_hub: bool = False, **kwargs: Any) -> Any:
        """Write the settings of all parts; see ``ProcessorMixin.save_pretrained``."""
        saved = super().save_pretrained(save_directory, push_to_hub=push_to_hub, **kwargs)
        # Image processor and feature extractor share this file's name; the later would replace the earlier.
        parts = (self.feature_extractor, self.image_processor)
        merged = {key: value for part in parts for key, value in json.loads(part.to_json_string()).items()}
        merged["processor_class"] = type(self).__name__
        file = Path(save_directory) / PREPROCESSOR_FILE
        file.write_text(json.dumps(merged, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        return saved

    def _sensors(self) -> dict[str, Any]:
        return {
            "video": VideoPreprocess(image_size=self.image_size),
            "depth": DepthPreprocess(preset=self.depth_preset, image_size=self.image_size),
            "thermal": ThermalPreprocess(image_size=self.image_size),
            "imu": ImuPreprocess(preset=self.imu_preset, normalize=self.imu_normalize),
        }

    def _text(self, text: Any, return_tensors: Any, arguments: dict[str, Any]) -> Any:
        if return_tensors is not None:
            arguments.setdefault("padding", True)
        return self.tokenizer(text, return_tensors=return_tensors, **arguments)
