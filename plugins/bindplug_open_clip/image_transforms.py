"""open_clip's image transforms, which also read paths, bytes and arrays as bindplug does."""

from __future__ import annotations

from typing import Any

from torchvision.transforms import Compose

from bindplug.inputs import ImagePreprocess
from bindplug_open_clip.passthrough import upstream


class ReadingCompose(Compose):
    """The steps of an open_clip transform, applied to any image source.

    The source is a PIL image, path, bytes, file object, array or tensor (see :class:`bindplug.inputs.ImagePreprocess`).
    Before the first step it is made an upright RGB image: EXIF orientation is applied and transparent pixels are put
    on white. ``transforms`` holds the steps of open_clip's own transform, index for index.
    """

    def __call__(self, img: object) -> Any:
        """The transformed image, (3, H, W) float32 with open_clip's own steps.

        Raises:
            InputError: the source cannot be read as an image.
        """
        return super().__call__(ImagePreprocess().read(img))


def image_transform(preprocess_cfg: dict[str, Any], *, is_train: bool, aug_cfg: Any = None) -> ReadingCompose:
    """The transform that open_clip makes for a preprocessing configuration.

    With the default configuration and ``is_train=False`` the result equals ``model.preprocess["image"]``.

    Args:
        preprocess_cfg: ``model.visual.preprocess_cfg``.
        is_train: whether to augment, as open_clip does.
        aug_cfg: open_clip's ``AugmentationCfg``, or a dict of its fields.
    """
    transform = upstream("transform")
    augmentation = {} if aug_cfg is None else {"aug_cfg": aug_cfg}
    cfg = transform.PreprocessCfg(**preprocess_cfg)
    steps = transform.image_transform_v2(cfg, is_train=is_train, **augmentation)
    return ReadingCompose(steps.transforms)
