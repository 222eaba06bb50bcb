"""open_clip's image transforms for our models: the same steps, after reading the picture as bindplug reads it."""

from __future__ import annotations

from typing import Any

from PIL import Image

from bindplug.inputs import ImagePreprocess
from bindplug_open_clip.delegate import upstream


class ReadPicture:
    """The first step of a transform: any source of a picture to an upright RGB image.

    A PIL image, path, bytes, file object, array or tensor; turned by its EXIF orientation, transparent pixels on
    white. See :class:`bindplug.inputs.ImagePreprocess`.
    """

    def __call__(self, source: object) -> Image.Image:
        """The picture.

        Raises:
            InputError: the source cannot be read as a picture.
        """
        return ImagePreprocess().read(source)

    def __repr__(self) -> str:
        return "ReadPicture()"


def image_transform(preprocess_cfg: dict[str, Any], *, is_train: bool, aug_cfg: Any = None) -> Any:
    """A ``torchvision.transforms.Compose``: :class:`ReadPicture`, then open_clip's own steps.

    With the default configuration and ``is_train=False`` it gives exactly what ``model.preprocess["image"]`` gives.

    Args:
        preprocess_cfg: ``model.visual.preprocess_cfg``.
        is_train: whether to augment, as open_clip does.
        aug_cfg: open_clip's ``AugmentationCfg`` or a dict of its fields.
    """
    transform = upstream("transform")
    given = {} if aug_cfg is None else {"aug_cfg": aug_cfg}
    made = transform.image_transform_v2(transform.PreprocessCfg(**preprocess_cfg), is_train=is_train, **given)
    return type(made)([ReadPicture(), *made.transforms])
