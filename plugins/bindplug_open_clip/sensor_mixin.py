"""Methods that this package's CLIP classes share: sensor encoders, queries, ``forward``, and input checks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from bindplug.encoder import Encoder
from bindplug.errors import InputError, ModalityNotLoaded
from bindplug.fingerprint import Fingerprint
from bindplug.imagebind import unit
from bindplug.inputs import (
    ImagePreprocess,
    Preprocess,
    TextPreprocess,
    Tokenizer,
    VideoPreprocess,
    make_preprocess,
)
from bindplug.modality import Modality
from bindplug_open_clip.same_weights import clip_fingerprint
from bindplug_open_clip.sensors import Sensors, encode_video

MAX_SCALE = 100.0
"""Where text's learned factor is clipped. Source: ImageBind's published network."""

CACHES = ("_preprocess", "_tokenizer")
"""Attributes that are left out of pickles and made again on first use."""


class SensorMixin(Encoder):
    """Adds encoders for the other modalities, and queries, to an open_clip CLIP with :class:`Sensors`.

    A subclass has open_clip's ``encode_image``, ``encode_text``, ``visual``, ``logit_scale``, ``output_dict`` and
    ``context_length``, and sets ``sensors``, ``embedding_space`` and ``modalities``.

    Attributes:
        sensors: the sensor towers.
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
        """The dtype of image input: that of the patch projection's weights."""
        return image_dtype(self.visual)

    @property
    def preprocess(self) -> Mapping[str, Preprocess]:  # type: ignore[override]
        """For each modality name, what turns a source into model input."""
        if self.__dict__.get("_preprocess") is None:
            self.__dict__["_preprocess"] = self._make_preprocess()
        preprocess: Mapping[str, Preprocess] = self.__dict__["_preprocess"]
        return preprocess

    @property
    def tokenizer(self) -> Callable[..., Tensor]:  # type: ignore[override]
        """Texts to token ids, ``tokenizer(["a dog"]) -> (1, context_length)``."""
        if self.__dict__.get("_tokenizer") is None:
            self.__dict__["_tokenizer"] = Tokenizer(self.context_length)
        tokenizer: Callable[..., Tensor] = self.__dict__["_tokenizer"]
        return tokenizer

    @property
    def fingerprint(self) -> Fingerprint | None:  # type: ignore[override]
        """Of the image and text towers, which define the space; None where they are no ViT and transformer."""
        return clip_fingerprint(self)

    def unknown_tokens(self, ids: Tensor) -> frozenset[int]:
        """Those of the token ids whose embeddings are zero, as of words that training never met."""
        holder: Any = getattr(self, "text", self)
        used = ids.unique()
        return frozenset(used[~holder.token_embedding.weight[used].any(dim=1)].tolist())

    def measured_by(self, encoder: Encoder) -> None:
        """Take over what was measured of an encoder with the same weights: centers and fitted scales."""
        self.centers, self.similarity_scales = encoder.centers, encoder.similarity_scales

    def encode(self, modality: str, x: Tensor, normalize: bool = False) -> Tensor:
        """Embed a batch of preprocessed input of any modality, as :meth:`bindplug.Encoder.encode`.

        Raises:
            InputError: ``x`` has another shape or dtype.
            ModalityNotLoaded: the tower was not loaded.
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
        preprocess: dict[str, Preprocess] = {
            "image": ImagePreprocess(image_size=side),
            "text": text,
            **sensors,
        }
        if "video" in self.modalities:
            preprocess["video"] = VideoPreprocess(image_size=side)
        return preprocess


def image_dtype(visual: nn.Module) -> torch.dtype:
    """The dtype of an image tower's input: that of its patch projection, else of its first matrix."""
    projection = getattr(getattr(visual, "conv1", None), "weight", None)
    if projection is None:
        projection = next(parameter for parameter in visual.parameters() if parameter.ndim > 1)
    dtype: torch.dtype = projection.dtype
    return dtype


def forward_with_sensors(
    model: Any,
    clip_forward: Callable[..., Any],
    image: Tensor | None,
    text: Tensor | None,
    sensors: Mapping[str, Tensor | None],
) -> Any:
    """``forward`` of a CLIP that also takes sensors, in open_clip's form and in its CLAP's.

    Args:
        model: has ``encode`` and ``logit_scale``, perhaps ``logit_bias`` and ``output_dict``.
        clip_forward: open_clip's own ``forward(image, text)``.
        image, text: as open_clip takes them.
        sensors: inputs by modality name; None for absent ones.

    Returns:
        Without sensors, exactly what ``clip_forward`` returns. With them unit rows: if ``output_dict``, open_clip's
        dict with an ``audio_features`` (and so on) for each; else a tuple of the first input beside text, text or None,
        the further inputs, the factor on cosines (not its logarithm), and the bias if the model has one.

    Raises:
        InputError: a sensor's input is no tensor, or one of another shape or dtype.
    """
    present = {name: x for name, x in sensors.items() if x is not None}
    if not present:
        return clip_forward(image, text)
    for name, x in present.items():
        if not isinstance(x, Tensor):
            raise InputError(
                f"{name} input", found=f"a {type(x).__name__}", expected=f"model.preprocess[{name!r}]'s"
            )
    rows = {"image": None if image is None else model.encode("image", image, normalize=True)}
    rows["text"] = None if text is None else model.encode("text", text, normalize=True)
    rows |= {name: model.encode(name, x, normalize=True) for name, x in present.items()}
    scales = {"logit_scale": model.logit_scale.exp()}
    if getattr(model, "logit_bias", None) is not None:
        scales["logit_bias"] = model.logit_bias
    if getattr(model, "output_dict", False):
        return {f"{name}_features": features for name, features in rows.items()} | scales
    first, *further = [features for name, features in rows.items() if name != "text" and features is not None]
    return (first, rows["text"], *further, *scales.values())


def logits(model: Any, text: Tensor | None, inputs: Mapping[str, Tensor | None]) -> tuple[Tensor, Tensor]:
    """``forward`` in the form of OpenAI's CLIP: logits of every input against every text.

    Args:
        model: has ``encode`` and ``logit_scale``.
        text: (N, 77) token ids.
        inputs: one batch of B items, by its modality's name; None for absent ones.

    Returns:
        (B, N) and (N, B).

    Raises:
        InputError: not exactly one input beside text.
    """
    present = {name: x for name, x in inputs.items() if x is not None}
    if len(present) != 1 or text is None:
        raise InputError(
            "forward",
            found=", ".join([*present, *([] if text is None else ["text"])]) or "nothing",
            expected="text and one input beside it",
            remedy="encode_* take each alone",
        )
    ((name, x),) = present.items()
    rows, texts = model.encode(name, x, normalize=True), model.encode("text", text, normalize=True)
    per_input = model.logit_scale.exp() * rows @ texts.t().to(rows.dtype)  # (B, D) @ (D, N) -> (B, N)
    return per_input, per_input.t()


def check_image(x: Any, visual: Any) -> None:
    """Return if ``x`` is a batch that open_clip's image tower takes.

    Raises:
        InputError: it is no tensor, or of another shape, dtype or device.
    """
    if torch.jit.is_tracing():
        return
    height, width = _pair(visual.image_size)
    expected = f"preprocessed pictures (B, 3, {height}, {width})"
    if not isinstance(x, Tensor):
        _refuse("image", f"a {type(x).__name__}", expected)
    if tuple(x.shape[1:]) != (3, height, width):
        sides = ", or create the model with force_image_size=" if x.ndim == 4 and x.shape[1] == 3 else ""
        remedy = "Add the batch axis: x.unsqueeze(0)" if x.ndim == 3 else f"Use preprocess{sides}"
        _refuse("image", f"a tensor of shape {tuple(x.shape)}", expected, remedy)
    weight = visual.conv1.weight
    if not x.is_floating_point():
        _refuse("image", f"{x.dtype}", expected, "The model takes no pixels of 0 to 255; use preprocess")
    if x.dtype != weight.dtype and not torch.is_autocast_enabled(x.device.type):
        _refuse(
            "image",
            f"{x.dtype}",
            f"{weight.dtype} as the weights",
            f"Use x.to({weight.dtype}) or torch.autocast",
        )
    _same_device("image", x, weight)


def check_text(ids: Any, weight: Tensor, context_length: int) -> None:
    """Return if ``ids`` is a batch of token ids that open_clip's text tower takes.

    Args:
        ids: the input.
        weight: (vocabulary, D), the token embedding.
        context_length: ids in a row.

    Raises:
        InputError: it is no tensor, or of another shape, dtype or device.
    """
    if torch.jit.is_tracing():
        return
    expected = f"token ids (B, {context_length}), int64 or int32"
    remedy = 'Tokenize texts first: tokenizer(["a dog"])'
    if not isinstance(ids, Tensor):
        _refuse("text", f"a {type(ids).__name__}", expected, remedy)
    if ids.dtype not in (torch.int64, torch.int32):
        _refuse("text", f"{ids.dtype}", expected, remedy)
    if ids.ndim != 2 or ids.shape[1] != context_length:
        _refuse("text", f"a tensor of shape {tuple(ids.shape)}", expected, remedy)
    _same_device("text", ids, weight)


def _same_device(modality: str, x: Tensor, weight: Tensor) -> None:
    if x.device != weight.device:
        _refuse(
            modality,
            f"a tensor on {x.device}",
            f"one on the model's {weight.device}",
            "Move it with .to(...)",
        )


def _pair(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def _refuse(modality: str, found: str, expected: str, remedy: str = "") -> None:
    raise InputError(f"{modality} input", found=found, expected=expected, remedy=remedy)
