"""What ``bindplug.upgrade`` returns for a CLIP: the model itself, wrapped, with sensor encoders and queries."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from bindplug.adapters import Upgraded
from bindplug.bridges import AnyBridge, compose, distinct_leaves, embed_leaves, map_leaves
from bindplug.cards import is_instance_by_name
from bindplug.encoder import Embedded, Encoder, warn_unknown_words
from bindplug.errors import InputError
from bindplug.imagebind import average_raw, unit
from bindplug.inputs import MEAN, STD, ImagePreprocess, Preprocess, TextPreprocess, VideoPreprocess
from bindplug.modality import Modality
from bindplug.query import AnyLeaf, Query, VectorLeaf
from bindplug.space import EmbeddingSpace
from bindplug_open_clip.image_transforms import image_transform
from bindplug_open_clip.options import warn_about_script
from bindplug_open_clip.passthrough import upstream
from bindplug_open_clip.sensor_mixin import CACHES, SensorMixin, forward_with_sensors, logits
from bindplug_open_clip.sensors import SENSORS, Sensors


class UpgradedClip(Upgraded, SensorMixin, nn.Module):
    """A CLIP in ImageBind's space, with ImageBind's sensor towers beside it.

    The model's towers are shared and run by the model's own code, so ``.to`` and training act on the original too. All
    attributes of the original are available. ``state_dict`` has the model's own names, and the sensors' under
    ``sensors.``.

    Args:
        original: the CLIP.
        sensors: the towers to add.
        space: the space of the embeddings.
        wrapper: the parallel or compiled module around ``original``, if there is one. ``forward`` runs it.
    """

    ADDED: ClassVar[tuple[str, ...]] = ("sensors",)
    """Submodules besides the original."""

    def __init__(
        self,
        original: nn.Module,
        sensors: Sensors,
        space: EmbeddingSpace,
        *,
        wrapper: nn.Module | None = None,
    ) -> None:
        nn.Module.__init__(self)
        self.original = original
        self.sensors = sensors
        self.embedding_space = space
        self.modalities = ("image", "video", "text", *sensors.modalities)
        self._wrap(wrapper)

    @property
    def model(self) -> Encoder:
        """The encoder of queries: this object."""
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
        """The original's; with sensors see :func:`bindplug_open_clip.sensor_mixin.forward_with_sensors`."""
        sensors = {"video": video, "audio": audio, "depth": depth, "thermal": thermal, "imu": imu}
        return forward_with_sensors(self, self._forward_module, image, text, sensors)

    def state_dict(
        self, *args: Any, destination: Any = None, prefix: str = "", keep_vars: bool = False
    ) -> Any:
        """The original's tensors under its own names, and those of the added towers."""
        state = self.original.state_dict(*args, destination=destination, prefix=prefix, keep_vars=keep_vars)
        for name in self.ADDED:
            child = getattr(self, name)
            if isinstance(child, nn.Module):
                child.state_dict(destination=state, prefix=f"{prefix}{name}.", keep_vars=keep_vars)
        return state

    @property
    def _forward_module(self) -> nn.Module:
        return self.original if self.wrapper is None else self.wrapper

    def _wrap(self, wrapper: nn.Module | None) -> None:
        # not as a submodule: its parameters are the original's
        self.__dict__["wrapper"] = wrapper
        self.training = self.original.training

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *args: Any) -> None:
        own = tuple(f"{prefix}{name}." for name in ("original", *self.ADDED))
        for name in [name for name in state_dict if name.startswith(prefix) and not name.startswith(own)]:
            state_dict[f"{prefix}original.{name.removeprefix(prefix)}"] = state_dict.pop(name)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def __getattr__(self, name: str) -> Any:
        try:
            return nn.Module.__getattr__(self, name)
        except AttributeError:
            if name == "original" or (name.startswith("__") and name.endswith("__")):
                raise
        wrapper = self.__dict__.get("wrapper")
        return getattr(self.original if wrapper is None or hasattr(self.original, name) else wrapper, name)

    def __prepare_scriptable__(self) -> nn.Module:
        """What ``torch.jit.script`` compiles: the original."""
        warn_about_script(type(self).__name__)
        return self.original

    def __getstate__(self) -> dict[str, Any]:
        """Preprocessors and tokenizer are left out and made again on first use."""
        return {name: value for name, value in self.__dict__.items() if name not in CACHES}


class BridgedClip(UpgradedClip):
    """A CLIP of another space than ImageBind's, with sensors that a bridge maps into its space.

    Images and texts pass through the model's own towers, videos frame by frame. A sensor's embedding is ImageBind's,
    mapped by the bridge. Its rows have unit length with and without ``normalize``.

    Args:
        original: the CLIP of open_clip or OpenAI. With OpenAI's, ``forward`` returns logits.
        source: the encoder of sensors, an ImageBind.
        bridge: maps unit rows from the source's space to the original's.
        tokenizer: texts to the original's token ids.
        wrapper: as in :class:`UpgradedClip`.
    """

    ADDED: ClassVar[tuple[str, ...]] = ("source",)

    def __init__(
        self,
        original: nn.Module,
        source: Encoder,
        bridge: AnyBridge,
        tokenizer: Callable[..., Tensor],
        *,
        wrapper: nn.Module | None = None,
    ) -> None:
        nn.Module.__init__(self)
        self.original = original
        self.source = source
        self.bridge = bridge
        self.embedding_space = bridge.target
        sensors = tuple(name for name in source.modalities if name in SENSORS)
        self.modalities = ("image", *(["video"] if self._standard_colors() else []), "text", *sensors)
        self.__dict__["_tokenizer"] = tokenizer
        self._wrap(wrapper)

    def encode_image(self, image: Tensor, normalize: bool = False) -> Tensor:
        """The original's."""
        if not is_openai_clip(self.original):
            return super().encode_image(image, normalize)
        rows = self.original.encode_image(image)
        return unit(rows) if normalize else rows

    def encode_text(self, text: Tensor, normalize: bool = False) -> Tensor:
        """The original's."""
        if not is_openai_clip(self.original):
            return super().encode_text(text, normalize)
        rows = self.original.encode_text(text)
        return unit(rows) if normalize else rows

    def encode(self, modality: str, x: Tensor, normalize: bool = False) -> Tensor:
        """As :meth:`bindplug.Encoder.encode`; sensors through the bridge, in float32 unit rows."""
        name = "image" if modality == "vision" else Modality.parse(modality).value
        if name not in SENSORS or name not in self.modalities:
            return super().encode(modality, x, normalize)
        return self.bridge(self.source.encode(name, x, normalize=True), modality=name)

    def embed_with_report(self, queries: Query | Sequence[Query], **options: Any) -> Embedded:
        """As :meth:`bindplug.Encoder.embed_with_report`. Sensors cross the bridge as in ``map_queries``.

        Raises:
            InputError: ``recenter`` is given, and a query has an image, a video or a text.
        """
        several = [queries] if isinstance(queries, Query) else list(queries)
        recenter = options.pop("recenter", None)
        options.setdefault("on_error", "skip")
        report = Embedded(torch.empty(0), list(range(len(several))), [])
        if options["on_error"] == "skip" or not several:
            report = super().embed_with_report(several, **options)  # tells which queries can be read
        if not report.kept:
            return report
        readable = [several[index] for index in report.kept]
        rows = self._leaf_rows(readable, recenter, options | {"on_error": "raise"})
        composed = torch.stack([compose(query, rows, self.bridge.target_mean) for query in readable])
        return replace(report, rows=composed)

    def _leaf_rows(
        self, queries: Sequence[Query], recenter: Any, options: Mapping[str, Any]
    ) -> dict[AnyLeaf, Tensor]:
        """For each leaf its unit row (D,) in the original's space, on the original's device."""
        leaves = distinct_leaves(queries)
        own = [leaf for leaf in leaves if self._is_own(leaf)]
        if own and recenter is not None:
            expected = "sensors only, as the centers of the original's images and texts are not known"
            raise InputError("recenter", found=repr(own[0]), expected=expected)
        mapped = [leaf for leaf in leaves if not self._is_own(leaf)]
        loading = {name: options[name] for name in ("batch_size", "progress", "workers") if name in options}
        source_rows, modalities = embed_leaves(self.source, self.bridge, mapped, recenter=recenter, **loading)
        rows = map_leaves(self.bridge, mapped, source_rows, modalities)
        if own:
            single = [Query([(1.0, leaf)]) for leaf in own]
            report = super().embed_with_report(single, **options)
            warn_unknown_words(report.unknown_words)
            rows |= dict(zip(own, report.rows, strict=True))
        return {leaf: row.to(self.device) for leaf, row in rows.items()}

    def _is_own(self, leaf: AnyLeaf) -> bool:
        """Whether the original's towers embed a leaf, or its vector is of the original's space."""
        if isinstance(leaf, VectorLeaf):
            return not leaf.space.matches(self.source.embedding_space)
        return leaf.modality.value not in SENSORS

    def forward(self, image: Tensor | None = None, text: Tensor | None = None, **sensors: Any) -> Any:
        """The original's; sensors as in :class:`UpgradedClip`, or as logits for OpenAI's CLIP."""
        present = {name: x for name, x in sensors.items() if x is not None}
        if present and is_openai_clip(self.original):
            return logits(self, text, {"image": image, **present})
        return super().forward(image, text, **sensors)

    def scale_of(self, modality: str) -> float:
        """The factor on cosines: ImageBind's for sensors, else the original's."""
        return self.source.scale_of(modality) if str(modality) in SENSORS else super().scale_of(modality)

    def _encode_video(self, x: Tensor) -> Tensor:
        # (B, S, 3, T, H, W) -> (B, S, T, 3, H, W) -> (B, S * T, 3, H, W)
        frames = x.movedim(3, 2).flatten(1, 2) if x.ndim == 6 else x
        rows = self.encode_image(frames.flatten(0, 1))  # (B * S * T, D)
        return average_raw(rows.unflatten(0, frames.shape[:2]))

    def _standard_colors(self) -> bool:
        cfg = self._preprocess_cfg()
        same = all(tuple(cfg.get(key, usual)) == usual for key, usual in (("mean", MEAN), ("std", STD)))
        return same and isinstance(self._side(), int)

    def _side(self) -> int | None:
        size = self._preprocess_cfg().get("size")
        sides = {size} if isinstance(size, int) else set(size or ())
        return sides.pop() if len(sides) == 1 else None

    def _preprocess_cfg(self) -> dict[str, Any]:
        if is_openai_clip(self.original):
            return {"size": self.original.visual.input_resolution}
        cfg: dict[str, Any] = upstream("model").get_model_preprocess_cfg(self.original)
        return cfg

    def _make_preprocess(self) -> Mapping[str, Preprocess]:
        preprocess: dict[str, Preprocess] = {
            "image": TransformPreprocess(self._preprocess_cfg()),
            "text": TokenizerPreprocess(self.tokenizer),
        }
        if "video" in self.modalities:
            preprocess["video"] = VideoPreprocess(image_size=self._side() or 0)
        return preprocess | {
            name: self.source.preprocess[name] for name in self.modalities if name in SENSORS
        }

    def __getstate__(self) -> dict[str, Any]:
        """Preprocessors are left out and made again on first use."""
        return {name: value for name, value in self.__dict__.items() if name != "_preprocess"}


class TransformPreprocess(ImagePreprocess):
    """Images read as bindplug reads them, then transformed as an open_clip model needs them.

    Args:
        preprocess_cfg: the model's ``visual.preprocess_cfg``.
    """

    def __init__(self, preprocess_cfg: dict[str, Any]) -> None:
        super().__init__()
        self.transform = image_transform(preprocess_cfg, is_train=False)

    def finish(self, readings: Sequence[Any], device: torch.device | str | None = None) -> list[Tensor]:
        """(3, H, W) float32 for each image."""
        return [self.transform(picture).to(device or "cpu") for picture in readings]


class TokenizerPreprocess(TextPreprocess):
    """Texts through a tokenizer that may be another than CLIP's."""

    def __init__(self, tokenizer: Callable[..., Tensor]) -> None:
        super().__init__()
        self.encode_texts = tokenizer

    def read(self, source: object, **options: Any) -> Tensor:
        """Token ids of one text, (context_length,)."""
        super().read(source, truncate=True)
        return self.encode_texts([source])[0]


def is_openai_clip(model: object) -> bool:
    """Whether a model is OpenAI's CLIP, whose encoders have no ``normalize``."""
    return is_instance_by_name(model, "clip.model.CLIP")
