"""What ``bindplug.upgrade`` returns for a CLIP: the model itself, wrapped, with sensor encoders and queries."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import Self

from bindplug.adapters import UpgradedModule
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


class UpgradedClip(UpgradedModule, SensorMixin):
    """A CLIP in ImageBind's space, with ImageBind's sensor towers beside it.

    It is an instance of the CLIP's class too. The CLIP's towers are shared and run by the CLIP's own code, so ``.to``
    and training act on both. Parameters, submodules and ``state_dict`` have the CLIP's names, and the sensors' are
    under ``sensors.``. Made by :meth:`of`.

    Attributes:
        original: the CLIP.
        sensors: the towers that were added.
        embedding_space: the space of the embeddings.
        modalities: names of what can be embedded.
        wrapper: the parallel or compiled module around ``original``, if there is one. ``forward`` runs it.
    """

    ADDED = ("sensors",)
    TRANSIENT: ClassVar[tuple[str, ...]] = CACHES

    @classmethod
    def of(
        cls,
        original: nn.Module,
        sensors: Sensors,
        space: EmbeddingSpace,
        *,
        encoder: Encoder | None = None,
        wrapper: nn.Module | None = None,
    ) -> Self:
        """A CLIP with towers beside it.

        Args:
            original: the CLIP.
            sensors: the towers to add.
            space: the space of the embeddings.
            encoder: what the sensors are from, whose centers and fitted scales hold for the CLIP too.
            wrapper: the parallel or compiled module around ``original``, if there is one.
        """
        upgraded = cls.around(original, wrapper=wrapper, sensors=sensors, embedding_space=space)
        upgraded.modalities = ("image", "video", "text", *sensors.modalities)
        if encoder is not None:
            upgraded.measured_by(encoder)
        return upgraded

    @property
    def model(self) -> Encoder:
        """The encoder of queries: this object."""
        return self

    def encode_image(self, image: Tensor, normalize: bool = False) -> Tensor:
        """The original's."""
        rows: Tensor = self.original_class.encode_image(self, image, normalize=normalize)
        return rows

    def encode_text(self, text: Tensor, normalize: bool = False) -> Tensor:
        """The original's."""
        rows: Tensor = self.original_class.encode_text(self, text, normalize=normalize)
        return rows

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
        return forward_with_sensors(self, self.forward_original, image, text, sensors)

    def __prepare_scriptable__(self) -> nn.Module:
        """What ``torch.jit.script`` compiles: the original."""
        warn_about_script(type(self).__name__)
        original: nn.Module = self.original
        return original


class BridgedClip(UpgradedClip):
    """A CLIP of another space than ImageBind's, with sensors that a bridge maps into its space.

    Images and texts pass through the model's own towers, videos frame by frame. A sensor's embedding is ImageBind's,
    mapped by the bridge. Its rows have unit length with and without ``normalize``. Made by :meth:`over`.

    Attributes:
        original: the CLIP of open_clip or OpenAI. With OpenAI's, ``forward`` returns logits.
        source: the encoder of sensors, an ImageBind.
        bridge: maps unit rows from the source's space to the original's.
        tokenizer: texts to the original's token ids.
        wrapper: as in :class:`UpgradedClip`.
    """

    ADDED = ("source",)
    TRANSIENT: ClassVar[tuple[str, ...]] = ("_preprocess",)

    source: Encoder
    bridge: AnyBridge
    fingerprint = None

    @classmethod
    def over(
        cls,
        original: nn.Module,
        source: Encoder,
        bridge: AnyBridge,
        tokenizer: Callable[..., Tensor],
        *,
        wrapper: nn.Module | None = None,
    ) -> Self:
        """A CLIP with sensors that a bridge maps into its space; the arguments are the class's attributes."""
        upgraded = cls.around(
            original,
            wrapper=wrapper,
            source=source,
            bridge=bridge,
            embedding_space=bridge.target,
            _tokenizer=tokenizer,
        )
        sensors = [name for name in source.modalities if name in SENSORS]
        video = ["video"] if upgraded._standard_colors() else []
        upgraded.modalities = ("image", *video, "text", *sensors)
        return upgraded

    def encode_image(self, image: Tensor, normalize: bool = False) -> Tensor:
        """The original's."""
        if not is_openai_clip(self.original):
            return super().encode_image(image, normalize)
        rows: Tensor = self.original_class.encode_image(self, image)
        return unit(rows) if normalize else rows

    def encode_text(self, text: Tensor, normalize: bool = False) -> Tensor:
        """The original's."""
        if not is_openai_clip(self.original):
            return super().encode_text(text, normalize)
        rows: Tensor = self.original_class.encode_text(self, text)
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
