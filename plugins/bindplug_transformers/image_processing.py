"""Images to ``pixel_values``."""

from __future__ import annotations

from typing import Any

from transformers import BatchFeature
from transformers.image_processing_utils import BaseImageProcessor

from bindplug.errors import InputError
from bindplug.inputs import IMAGE_SIZE, MEAN, STD, ImagePreprocess
from bindplug_transformers.batches import as_list, each_option, features, plain_image
from bindplug_transformers.saved_directory import SavedSettings

ITEM_AXES = 3
BICUBIC = 3
"""``PIL.Image.Resampling.BICUBIC``, as CLIP's configs write it."""


class ImageBindImageProcessor(SavedSettings, BaseImageProcessor):
    """Images to (B, 3, 224, 224) float32, as :class:`bindplug.inputs.image.ImagePreprocess` makes them.

    Takes one image or several: PIL images, paths, bytes, arrays and tensors of 8-bit integers or floats from 0
    to 1. The steps are CLIP's and fixed: RGB, short side to 224 bicubic, center crop, /255, CLIP's mean and
    deviation; attributes describe them under CLIPImageProcessor's names.

    Args:
        image_size: side of the output in pixels.
        exif, alpha: as in :class:`bindplug.inputs.image.ImagePreprocess`.
        kwargs: descriptions of the steps, as saved files hold them; not read.
    """

    model_input_names = ["pixel_values"]  # noqa: RUF012 - as its base declares it

    def __init__(
        self, image_size: int = IMAGE_SIZE, exif: bool = True, alpha: str = "white", **kwargs: Any
    ) -> None:
        super().__init__()
        ImagePreprocess(image_size=image_size, exif=exif, alpha=alpha)
        self.image_size, self.exif, self.alpha = image_size, exif, alpha
        self.do_convert_rgb = self.do_resize = self.do_center_crop = True
        self.do_rescale = self.do_normalize = True
        self.resample, self.rescale_factor = BICUBIC, 1 / 255
        self.size = {"shortest_edge": image_size}
        self.crop_size = {"height": image_size, "width": image_size}
        self.image_mean, self.image_std = list(MEAN), list(STD)

    def __call__(self, images: Any, *args: Any, **kwargs: Any) -> Any:
        """See :meth:`preprocess`."""
        return self.preprocess(images, *args, **kwargs)

    def preprocess(
        self,
        images: Any,
        return_tensors: Any = None,
        *,
        options: Any = None,
        **kwargs: Any,
    ) -> BatchFeature:
        """``pixel_values`` of one image or several.

        Args:
            images: see the class.
            return_tensors: ``"pt"``, ``"np"``, or None for a list of arrays.
            options: of bindplug's reader, a mapping or one an image.
            kwargs: CLIPImageProcessor's, accepted where they ask for what is done anyway.

        Raises:
            InputError: an image cannot be read, or an argument asks for another processing.
        """
        for name, value in kwargs.items():
            own = getattr(self, name, None)
            if (
                name in ("padding", "input_data_format", "data_format", "device")
                or value is None
                or value == own
            ):
                continue
            remedy = "ImageBind was trained with these steps; use CLIPImageProcessor for others."
            expected = f"{name}={own!r}" if own is not None else "no such argument"
            raise InputError(
                "ImageBindImageProcessor", found=f"{name}={value!r}", expected=expected, remedy=remedy
            )
        sources = [plain_image(image) for image in as_list(images, ITEM_AXES)]
        preprocess = ImagePreprocess(image_size=self.image_size, exif=self.exif, alpha=self.alpha)
        return features(
            "pixel_values", preprocess, sources, each_option(options, len(sources)), return_tensors
        )
