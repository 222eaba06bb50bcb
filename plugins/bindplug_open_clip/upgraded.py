"""What ``bindplug.upgrade`` returns for an open_clip model: the model itself, wrapped, with further senses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from bindplug.adapters import Upgraded
from bindplug.encoder import Encoder
from bindplug.imagebind.tower_inputs import average_raw
from bindplug.inputs import ImagePreprocess, Preprocess, TextPreprocess, VideoPreprocess
from bindplug.inputs.image import MEAN, STD
from bindplug.modality import Modality
from bindplug.space import EmbeddingSpace
from bindplug_open_clip.delegate import upstream
from bindplug_open_clip.face import LENT, SensorFace, forward_with_sensors
from bindplug_open_clip.sensors import SENSORS, Sensors
from bindplug_open_clip.transforms import image_transform


class UpgradedClip(Upgraded, SensorFace, nn.Module):
    """An open_clip model in ImageBind's space, with ImageBind's sensor towers beside it.

    The model's towers are shared and computed by the model's own code. Every attribute it has is there; moving the
    wrapper with ``.to`` or training it moves and trains the shared towers, for they are the same.
    ``state_dict`` has the model's own names, and the sensors' under ``sensors.``.

    Args:
        original: the open_clip model.
        sensors: the towers to add.
        space: where the embeddings live.
    """

    FURTHER: ClassVar[tuple[str, ...]] = ("sensors",)
    """Submodules besides the original."""

    def __init__(self, original: nn.Module, sensors: Sensors, space: EmbeddingSpace) -> None:
        nn.Module.__init__(self)
        self.original = original
        self.sensors = sensors
        self.embedding_space = space
        self.modalities = ("image", "video", "text", *sensors.modalities)
        self.training = original.training

    @property
    def model(self) -> Encoder:
        """The encoder of queries: the wrapper itself."""
        return self

    def encode_image(self, image: Tensor, normalize: bool = False) -> Tensor:
        """The original's."""
        return self.original.encode_image(image, normalize=normalize)

    def encode_text(self, text: Tensor, normalize: bool = False) -> Tensor:
        """The original's."""
        return self.original.encode_text(text, normalize=normalize)

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
        """The original's; with sensors see :func:`bindplug_open_clip.face.forward_with_sensors`."""
        sensors = {"video": video, "audio": audio, "depth": depth, "thermal": thermal, "imu": imu}
        return forward_with_sensors(self, self.original, image, text, sensors)

    def state_dict(
        self, *args: Any, destination: Any = None, prefix: str = "", keep_vars: bool = False
    ) -> Any:
        """The original's tensors under its own names, and the further towers'."""
        made = self.original.state_dict(*args, destination=destination, prefix=prefix, keep_vars=keep_vars)
        for name in self.FURTHER:
            child = getattr(self, name)
            if isinstance(child, nn.Module):
                child.state_dict(destination=made, prefix=f"{prefix}{name}.", keep_vars=keep_vars)
        return made

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *args: Any) -> None:
        own = tuple(f"{prefix}{name}." for name in ("original", *self.FURTHER))
        for name in [name for name in state_dict if name.startswith(prefix) and not name.startswith(own)]:
            state_dict[f"{prefix}original.{name.removeprefix(prefix)}"] = state_dict.pop(name)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def __getattr__(self, name: str) -> Any:
        try:
            return nn.Module.__getattr__(self, name)
        except AttributeError:
            if name == "original" or (name.startswith("__") and name.endswith("__")):
                raise
        return getattr(self.original, name)

    def __getstate__(self) -> dict[str, Any]:
        """Readers and tokenizer are made anew where the model is unpickled."""
        return {name: value for name, value in self.__dict__.items() if name not in LENT}


class BridgedClip(UpgradedClip):
    """An open_clip model of another space than ImageBind's, with sensors that a bridge maps into its space.

    Pictures and texts pass the model's own towers; videos too, frame by frame. A sensor's embedding is ImageBind's,
    mapped; its rows have unit length whether or not ``normalize`` is asked for.

    Args:
        original: the open_clip model.
        source: the encoder of sensors, an ImageBind.
        bridge: has ``source`` and ``target`` spaces, and maps unit rows when called with ``modality=``.
        tokenizer: texts to the original's token ids.
    """

    FURTHER: ClassVar[tuple[str, ...]] = ("source",)

    def __init__(
        self, original: nn.Module, source: Encoder, bridge: Any, tokenizer: Callable[..., Tensor]
    ) -> None:
        nn.Module.__init__(self)
        self.original = original
        self.source = source
        self.bridge = bridge
        self.embedding_space = bridge.target
        sensors = tuple(name for name in source.modalities if name in SENSORS)
        self.modalities = ("image", *(["video"] if self._standard_colors() else []), "text", *sensors)
        self.training = original.training
        self.__dict__["_tokenizer"] = tokenizer

    def encode(self, modality: str, x: Tensor, normalize: bool = False) -> Tensor:
        """As :meth:`bindplug.Encoder.encode`; sensors through the bridge, in float32 unit rows."""
        name = "image" if modality == "vision" else Modality.parse(modality).value
        if name not in SENSORS or name not in self.modalities:
            return super().encode(modality, x, normalize)
        return self.bridge(self.source.encode(name, x, normalize=True), modality=name)

    def scale_of(self, modality: str) -> float:
        """The factor on cosines: a sensor's is ImageBind's, the others the original's."""
        return self.source.scale_of(modality) if str(modality) in SENSORS else super().scale_of(modality)

    def _encode_video(self, x: Tensor) -> Tensor:
        frames = x.movedim(3, 2).flatten(1, 2) if x.ndim == 6 else x
        flat = self.original.encode_image(frames.flatten(0, 1))
        return average_raw(flat.unflatten(0, frames.shape[:2]))

    def _standard_colors(self) -> bool:
        cfg = upstream("model").get_model_preprocess_cfg(self.original)
        same = all(tuple(cfg.get(key, known)) == known for key, known in (("mean", MEAN), ("std", STD)))
        return same and isinstance(self._side(), int)

    def _side(self) -> int | None:
        size = getattr(self.original.visual, "image_size", None)
        sides = {size} if isinstance(size, int) else set(size or ())
        return sides.pop() if len(sides) == 1 else None

    def _make_preprocess(self) -> Mapping[str, Preprocess]:
        cfg = upstream("model").get_model_preprocess_cfg(self.original)
        made: dict[str, Preprocess] = {
            "image": TransformPreprocess(cfg),
            "text": _AnyTokenizer(self.tokenizer),
        }
        if "video" in self.modalities:
            made["video"] = VideoPreprocess(image_size=self._side() or 0)
        return made | {name: self.source.preprocess[name] for name in self.modalities if name in SENSORS}

    def __getstate__(self) -> dict[str, Any]:
        """Readers are made anew where the model is unpickled."""
        return {name: value for name, value in self.__dict__.items() if name != "_preprocess"}


class TransformPreprocess(ImagePreprocess):
    """Pictures read as bindplug reads them, then through the transform of an open_clip model.

    Args:
        preprocess_cfg: the model's ``visual.preprocess_cfg``.
    """

    def __init__(self, preprocess_cfg: dict[str, Any]) -> None:
        super().__init__()
        self.transform = image_transform(preprocess_cfg, is_train=False)

    def finish(self, readings: Sequence[Any], device: torch.device | str | None = None) -> list[Tensor]:
        """(3, H, W) float32 for each picture."""
        return [self.transform(picture).to(device or "cpu") for picture in readings]


class _AnyTokenizer(TextPreprocess):
    """Texts through a tokenizer that is not CLIP's own."""

    def __init__(self, tokenizer: Callable[..., Tensor]) -> None:
        super().__init__()
        self.given = tokenizer

    def read(self, source: object, **options: Any) -> Tensor:
        """Token ids of one text."""
        super().read(source, truncate=True)
        return self.given([source])[0]
