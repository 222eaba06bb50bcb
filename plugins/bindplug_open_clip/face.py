"""The face that our open_clip models share: open_clip's calls as they were, and one method more for each sense."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from bindplug.encoder import Encoder
from bindplug.errors import InputError, ModalityNotLoaded
from bindplug.imagebind.tower_inputs import unit
from bindplug.inputs import (
    ImagePreprocess,
    Preprocess,
    TextPreprocess,
    Tokenizer,
    VideoPreprocess,
    make_preprocess,
)
from bindplug.modality import Modality
from bindplug_open_clip.sensors import Sensors, encode_video

MAX_SCALE = 100.0
"""Where text's learned factor is clipped. Source: ImageBind's published network."""

LENT = ("_preprocess", "_tokenizer")
"""Attributes made anew where a model is unpickled."""


class SensorFace(Encoder):
    """A mixin for an open_clip CLIP with :class:`Sensors`: the other modalities' methods, queries, and ``forward``.

    A subclass has open_clip's ``encode_image``, ``encode_text``, ``visual``, ``logit_scale``, ``output_dict`` and
    ``context_length``, and sets ``sensors``, ``embedding_space`` and ``modalities``.

    Attributes:
        sensors: the towers open_clip's class lacks.
    """

    sensors: Sensors
    visual: Any
    logit_scale: Tensor
    context_length: int
    output_dict: bool

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        """Where the weights are."""
        return self.logit_scale.device

    @property
    def dtype(self) -> torch.dtype:  # type: ignore[override]
        """The dtype that pictures are taken in: that of the patch projection's weights."""
        return image_dtype(self.visual)

    @property
    def preprocess(self) -> Mapping[str, Preprocess]:  # type: ignore[override]
        """For each modality name, what turns a source into model input."""
        if self.__dict__.get("_preprocess") is None:
            self.__dict__["_preprocess"] = self._make_preprocess()
        made: Mapping[str, Preprocess] = self.__dict__["_preprocess"]
        return made

    @property
    def tokenizer(self) -> Callable[..., Tensor]:  # type: ignore[override]
        """Texts to token ids, ``tokenizer(["a dog"]) -> (1, context_length)``."""
        if self.__dict__.get("_tokenizer") is None:
            self.__dict__["_tokenizer"] = Tokenizer(self.context_length)
        made: Callable[..., Tensor] = self.__dict__["_tokenizer"]
        return made

    def encode(self, modality: str, x: Tensor, normalize: bool = False) -> Tensor:
        """Embed a batch of preprocessed input of any modality, as :meth:`bindplug.Encoder.encode`.

        Raises:
            InputError: ``x`` has another shape or dtype.
            ModalityNotLoaded: the tower is not there.
        """
        name = "image" if modality == "vision" else Modality.parse(modality).value
        if name == "image":
            return self.encode_image(x, normalize=normalize)
        if name == "text":
            return self.encode_text(x, normalize=normalize)
        if name not in self.modalities:
            raise ModalityNotLoaded(name, self.modalities)
        rows = self._encode_video(x) if name == "video" else self.sensors.encode(name, x)
        return unit(rows) if normalize else rows

    def scale_of(self, modality: str) -> float:
        """The factor on cosines at which a modality was trained against images; 1 for images and videos."""
        name = "image" if modality == "vision" else Modality.parse(modality).value
        if name in ("image", "video"):
            return 1.0
        if name == "text":
            return float(self.logit_scale.detach().float().exp().clamp(max=MAX_SCALE))
        if name not in self.modalities:
            raise ModalityNotLoaded(name, self.modalities)
        return self.sensors.scale_of(name)

    def _encode_video(self, x: Tensor) -> Tensor:
        return encode_video(self.visual, x, self.sensors.video_weight, self.sensors.config)

    def _make_preprocess(self) -> Mapping[str, Preprocess]:
        size = self.visual.image_size
        side = size if isinstance(size, int) else size[0]
        text = TextPreprocess()
        text.tokenizer = Tokenizer(self.context_length)
        sensors = make_preprocess(self.sensors.modalities, image_size=self.sensors.config.image_size)
        made: dict[str, Preprocess] = {"image": ImagePreprocess(image_size=side), "text": text, **sensors}
        if "video" in self.modalities:
            made["video"] = VideoPreprocess(image_size=side)
        return made


def image_dtype(visual: nn.Module) -> torch.dtype:
    """The dtype an image tower takes pictures in: that of its patch projection, else of its first large weight."""
    projection = getattr(getattr(visual, "conv1", None), "weight", None)
    if projection is None:
        projection = next(parameter for parameter in visual.parameters() if parameter.ndim > 1)
    found: torch.dtype = projection.dtype
    return found


def forward_with_sensors(
    model: Any,
    of_clip: Callable[..., Any],
    image: Tensor | None,
    text: Tensor | None,
    sensors: Mapping[str, Tensor | None],
) -> Any:
    """``forward`` of a CLIP that also takes sensors, in open_clip's form and in its CLAP's.

    Args:
        model: has ``encode``, ``logit_scale``, ``logit_bias`` and ``output_dict``.
        of_clip: open_clip's own ``forward(image, text)``.
        image, text: as open_clip takes them.
        sensors: inputs by modality name; None for those not given.

    Returns:
        Without sensors, exactly what ``of_clip`` returns. With them unit rows: if ``output_dict``, open_clip's
        dict with an ``audio_features`` (and so on) for each; else the first thing given beside text, text or None, the
        further things, the factor on cosines (no longer a log), and the bias if the model has one.

    Raises:
        InputError: a sensor's input is no tensor, or one of another shape or dtype.
    """
    given = {name: x for name, x in sensors.items() if x is not None}
    if not given:
        return of_clip(image, text)
    for name, x in given.items():
        if not isinstance(x, Tensor):
            raise InputError(
                f"{name} input", found=f"a {type(x).__name__}", expected=f"model.preprocess[{name!r}]'s"
            )
    rows = {"image": None if image is None else model.encode("image", image, normalize=True)}
    rows["text"] = None if text is None else model.encode("text", text, normalize=True)
    rows |= {name: model.encode(name, x, normalize=True) for name, x in given.items()}
    ends = {"logit_scale": model.logit_scale.exp()}
    if getattr(model, "logit_bias", None) is not None:
        ends["logit_bias"] = model.logit_bias
    if model.output_dict:
        return {f"{name}_features": features for name, features in rows.items()} | ends
    first, *further = [features for name, features in rows.items() if name != "text" and features is not None]
    return (first, rows["text"], *further, *ends.values())
