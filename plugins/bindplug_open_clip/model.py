"""open_clip's CLIP classes with ImageBind's sensor towers. Every other name is ``open_clip.model``'s own."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from bindplug.space import EmbeddingSpace
from bindplug_open_clip.options import warn_about_script
from bindplug_open_clip.passthrough import upstream, upstream_attribute
from bindplug_open_clip.sensor_mixin import CACHES, SensorMixin, check_image, check_text, forward_with_sensors
from bindplug_open_clip.sensors import Sensors

_upstream = upstream("model")
OWN_ATTRIBUTES = ("embedding_space", "modalities", *CACHES)
"""Attributes of the classes below that open_clip's lack, the sensors aside."""

_ClipBase: Any = object  # for type checkers: the next class in the method resolution order is open_clip's


class _ClipMethods(_ClipBase):
    """Methods that override open_clip's in both classes below; :class:`SensorMixin` comes after open_clip's class."""

    _plain: ClassVar[type[nn.Module]]
    """open_clip's own class."""

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

    def __prepare_scriptable__(self) -> Any:
        """What ``torch.jit.script`` compiles: open_clip's own class around the same two towers."""
        warn_about_script(type(self).__name__)
        return without_sensors(self, self._plain)

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

    _plain = _upstream.CLIP

    def __init__(self, *, sensors: Sensors, space: EmbeddingSpace, **clip: Any) -> None:
        super().__init__(**clip)
        self._attach(sensors, space)


class CustomTextClipImageBind(_ClipMethods, _upstream.CustomTextCLIP, SensorMixin):  # type: ignore[name-defined]
    """:class:`ClipImageBind` for ``open_clip.CustomTextCLIP``, whose text tower is one module ``text``."""

    _plain = _upstream.CustomTextCLIP

    def __init__(self, *, sensors: Sensors, space: EmbeddingSpace, **clip: Any) -> None:
        super().__init__(**clip)
        self._attach(sensors, space)


def without_sensors(model: Any, kind: type[nn.Module]) -> Any:
    """A model of open_clip's own class around the same towers, whose parameters are shared.

    Args:
        model: a CLIP with sensors.
        kind: the class, or a subclass.
    """
    plain = kind.__new__(kind)
    plain.__dict__.update(
        {name: value for name, value in model.__dict__.items() if name not in OWN_ATTRIBUTES}
    )
    plain._modules = {name: module for name, module in model._modules.items() if name != "sensors"}
    return plain


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
