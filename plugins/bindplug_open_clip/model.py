"""open_clip's CLIP classes with ImageBind's sensor towers. Every other name is ``open_clip.model``'s own."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from bindplug.space import EmbeddingSpace
from bindplug_open_clip.passthrough import upstream, upstream_attribute
from bindplug_open_clip.sensor_mixin import CACHES, SensorMixin, check_image, check_text, forward_with_sensors
from bindplug_open_clip.sensors import Sensors

_upstream = upstream("model")
_ClipBase: Any = object  # for type checkers: the next class in the method resolution order is open_clip's


class _ClipMethods(_ClipBase):
    """Methods that override open_clip's in both classes below; :class:`SensorMixin` comes after open_clip's class."""

    def _attach(self, sensors: Sensors, space: EmbeddingSpace) -> None:
        self.sensors = sensors
        self.embedding_space = space
        self.modalities = ("image", "video", "text", *sensors.modalities)

    def encode_image(self, image: Tensor, normalize: bool = False) -> Tensor:
        """Embed pictures. image: (B, 3, H, W) -> (B, D), unit rows if ``normalize``."""
        check_image(image, self.visual)
        return super().encode_image(image, normalize=normalize)

    def encode_text(self, text: Tensor, normalize: bool = False) -> Tensor:
        """Embed token ids. text: (B, context_length) -> (B, D), unit rows if ``normalize``."""
        holder: Any = getattr(self, "text", self)
        check_text(text, holder.token_embedding.weight, self.context_length)
        return super().encode_text(text, normalize=normalize)

    def forward(
        self,
        image: Tensor | None = None,
        text: Tensor | None = None,
        *,
        video: Tensor | None = None,
        audio: Tensor | None = None,
        depth: Tensor | None = None,
        thermal: Tensor | None = None,
        imu: Tensor | None = None,
    ) -> Any:
        """open_clip's forward; with sensors see :func:`bindplug_open_clip.sensor_mixin.forward_with_sensors`."""
        sensors = {"video": video, "audio": audio, "depth": depth, "thermal": thermal, "imu": imu}
        return forward_with_sensors(self, super().forward, image, text, sensors)

    def __getstate__(self) -> dict[str, Any]:
        """Preprocessors and tokenizer are left out and made again on first use."""
        return {name: value for name, value in self.__dict__.items() if name not in CACHES}


class ClipImageBind(_ClipMethods, _upstream.CLIP, SensorMixin):  # type: ignore[name-defined]
    """An ``open_clip.CLIP`` that holds ImageBind's image and text towers, with its sensor towers beside them.

    Created by ``create_model``. Its ``state_dict`` is open_clip's, with the sensors' tensors under ``sensors.``.

    Args:
        sensors: the sensor towers.
        space: the space of the embeddings.
        clip: arguments of ``open_clip.CLIP``.
    """

    def __init__(self, *, sensors: Sensors, space: EmbeddingSpace, **clip: Any) -> None:
        super().__init__(**clip)
        self._attach(sensors, space)


class CustomTextClipImageBind(_ClipMethods, _upstream.CustomTextCLIP, SensorMixin):  # type: ignore[name-defined]
    """:class:`ClipImageBind` for ``open_clip.CustomTextCLIP``, whose text tower is one module ``text``."""

    def __init__(self, *, sensors: Sensors, space: EmbeddingSpace, **clip: Any) -> None:
        super().__init__(**clip)
        self._attach(sensors, space)


def convert_weights_to_lp(model: nn.Module, dtype: torch.dtype = torch.float16) -> None:
    """open_clip's conversion to half precision, in place. Sensor towers are cast whole, except their scales.

    Args:
        model: any open_clip model.
        dtype: ``torch.float16`` or ``torch.bfloat16``.
    """
    sensors = getattr(model, "sensors", None)
    if not isinstance(sensors, Sensors):
        _upstream.convert_weights_to_lp(model, dtype)
        return
    for name, child in model.named_children():
        if name != "sensors":
            _upstream.convert_weights_to_lp(child, dtype)
    projection = getattr(model, "text_projection", None)
    if projection is not None:
        projection.data = projection.data.to(dtype)
    sensors.cast(dtype)


convert_weights_to_fp16 = convert_weights_to_lp


def __getattr__(name: str) -> Any:
    return upstream_attribute("model", name)


def __dir__() -> list[str]:
    return sorted({*globals(), *dir(_upstream)})
