"""The shape of an ImageBind network, as data."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from bindplug.modality import TOWERS, towers_of
from bindplug.space import IMAGEBIND_SPACE, EmbeddingSpace

IMU_CHANNELS = 6
"""Accelerometer x, y, z, then gyroscope x, y, z. Source: arXiv 2305.05665, appendix B."""

MOST_BLOCKS, MOST_SIZE = 1000, 1 << 20
"""Largest sizes that a stored description may have; the published network has 32 blocks and 49408 tokens."""

HEADS = ("linear", "mlp")


@dataclass(frozen=True)
class TowerConfig:
    """The shape of one tower.

    Args:
        width: channels of a token.
        blocks: number of transformer blocks.
        heads: attention heads; divides ``width``.
        kernel: extent of the patch that becomes a token: (frames, height, width) for vision, (height, width)
            for audio, depth and thermal, (steps,) for IMU, empty for text.
        stride: distance between patches; ``kernel`` where not given.
        drop_path: rate at which the last block's branches are dropped in training; earlier blocks' rates
            rise to it linearly from 0.
        head: ``"linear"``, or ``"mlp"`` for two layers with a GELU between.
    """

    width: int
    blocks: int
    heads: int
    kernel: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()
    drop_path: float = 0.0
    head: str = "linear"

    def __post_init__(self) -> None:
        object.__setattr__(self, "kernel", tuple(int(extent) for extent in self.kernel))
        object.__setattr__(self, "stride", tuple(int(step) for step in self.stride) or self.kernel)
        if min(self.width, self.blocks, self.heads) < 1:
            raise ValueError(f"width, blocks and heads must be positive, found {self}")
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not divisible by {self.heads} heads")
        if any(extent < 1 for extent in self.kernel + self.stride) or len(self.kernel) != len(self.stride):
            raise ValueError(
                f"kernel {self.kernel} and stride {self.stride} must be positive and equally long"
            )
        if not 0.0 <= self.drop_path < 1.0:
            raise ValueError(f"drop_path must lie in [0, 1), found {self.drop_path}")
        if self.head not in HEADS:
            raise ValueError(f"head must be one of {', '.join(HEADS)}, found {self.head!r}")


_KERNEL_AXES = {"vision": 3, "text": 0, "audio": 2, "depth": 2, "thermal": 2, "imu": 1}


@dataclass(frozen=True)
class ImageBindConfig:
    """The shape of a whole network: six towers, the width they meet in, and the sizes of their inputs.

    Args:
        vision, text, audio, depth, thermal, imu: the towers.
        embed_dim: length of an embedding.
        image_size: height and width, in pixels, of image, video, depth and thermal inputs.
        mel_bins: mel bands of an audio clip.
        audio_frames: filter-bank frames of an audio clip.
        imu_steps: samples of an IMU clip.
        vocab_size: number of text tokens.
        context_length: positions of a tokenized text.
    """

    vision: TowerConfig
    text: TowerConfig
    audio: TowerConfig
    depth: TowerConfig
    thermal: TowerConfig
    imu: TowerConfig
    embed_dim: int = 1024
    image_size: int = 224
    mel_bins: int = 128
    audio_frames: int = 204
    imu_steps: int = 2000
    vocab_size: int = 49408
    context_length: int = 77

    def __post_init__(self) -> None:
        for tower, axes in _KERNEL_AXES.items():
            shape = self.tower(tower)
            if len(shape.kernel) != axes:
                raise ValueError(f"{tower} needs a kernel of {axes} extents, found {shape.kernel}")
            if tower != "audio" and shape.stride != shape.kernel:
                raise ValueError(
                    f"{tower} patches do not overlap: stride {shape.stride} must be {shape.kernel}"
                )
            if axes and any(size < k for size, k in zip(self.input_size(tower), shape.kernel, strict=True)):
                raise ValueError(f"{tower} kernel {shape.kernel} exceeds its input {self.input_size(tower)}")

    def tower(self, name: str) -> TowerConfig:
        """The config of the tower of that name.

        Raises:
            ValueError: there is no such tower.
        """
        if name not in TOWERS:
            raise ValueError(f"unknown tower {name!r}; towers: {', '.join(TOWERS)}")
        shape: TowerConfig = getattr(self, name)
        return shape

    @property
    def video_frames(self) -> int:
        """Frames of a video clip; a still image counts as that many equal frames."""
        return self.vision.kernel[0]

    def input_size(self, tower: str) -> tuple[int, ...]:
        """Extents that the tower's kernel slides over, without batch and channels."""
        square = (self.image_size, self.image_size)
        return {
            "vision": (self.video_frames, *square),
            "text": (),
            "audio": (self.mel_bins, self.audio_frames),
            "depth": square,
            "thermal": square,
            "imu": (self.imu_steps,),
        }[tower]

    def grid(self, tower: str) -> tuple[int, ...]:
        """Number of patches along each axis, e.g. ``(1, 16, 16)`` for huge vision."""
        shape = self.tower(tower)
        axes = zip(self.input_size(tower), shape.kernel, shape.stride, strict=True)
        return tuple((size - kernel) // stride + 1 for size, kernel, stride in axes)

    def positions(self, tower: str) -> int:
        """Number of learned positions, the class token's included."""
        if tower == "text":
            return self.context_length
        patches = 1
        for extent in self.grid(tower):
            patches *= extent
        return patches + 1

    @classmethod
    def huge(cls) -> ImageBindConfig:
        """The published network, 1,200.8 M parameters. Source: arXiv 2305.05665, 4 and appendix B."""
        return cls(
            vision=TowerConfig(1280, 32, 16, kernel=(2, 14, 14)),
            text=TowerConfig(1024, 24, 16),
            audio=TowerConfig(768, 12, 12, kernel=(16, 16), stride=(10, 10), drop_path=0.1),
            depth=TowerConfig(384, 12, 8, kernel=(16, 16)),
            thermal=TowerConfig(768, 12, 12, kernel=(16, 16)),
            imu=TowerConfig(512, 6, 8, kernel=(8,), drop_path=0.7),
            embed_dim=1024,
        )

    @classmethod
    def from_official(cls, kwargs: Mapping[str, Any]) -> ImageBindConfig:
        """The config that the original constructor's keywords describe.

        Args:
            kwargs: ``out_embed_dim``, ``vision_embed_dim``, ``vision_num_blocks``, ``vision_num_heads``,
                likewise for ``text`` (these are required); ``audio``, ``depth``, ``thermal`` and ``imu`` default to
                the published network's; ``video_frames``, ``kernel_size``, ``audio_kernel_size``,
                ``audio_stride``, ``audio_num_mel_bins``, ``audio_target_len``, ``depth_kernel_size``,
                ``thermal_kernel_size``, ``imu_kernel_size``, ``…_drop_path``.

        Raises:
            ValueError: a keyword is unknown, missing, or describes an impossible network.
        """
        return _from_official(dict(kwargs))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON-ready numbers, lists and strings."""
        plain = asdict(self)
        for tower in TOWERS:
            plain[tower] = {k: list(v) if isinstance(v, tuple) else v for k, v in plain[tower].items()}
        return plain

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> ImageBindConfig:
        """The inverse of :meth:`to_dict`.

        Raises:
            ValueError: a field is unknown, missing or of the wrong kind.
        """
        values = dict(plain)
        try:
            for tower in TOWERS:
                _check_sizes(tower, values[tower])
                values[tower] = TowerConfig(**values[tower])
            _check_sizes("the network", values)
            return cls(**values)
        except (TypeError, KeyError, OverflowError) as error:
            names = ", ".join(field.name for field in fields(cls))
            raise ValueError(f"not a network's description ({error}); fields: {names}") from error


def _check_sizes(owner: str, values: Mapping[str, Any]) -> None:
    """Raise a ValueError for a size that no network has; a damaged description must not fill the memory."""
    for name, value in values.items():
        if isinstance(value, TowerConfig) or name in TOWERS or name in ("head", "drop_path"):
            continue
        most = MOST_BLOCKS if name == "blocks" else MOST_SIZE
        for size in value if name in ("kernel", "stride") else (value,):
            if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= most:
                raise ValueError(f"{owner}: {name} cannot be {str(value)[:40]}")


def resolve_towers(modalities: Collection[str] | None) -> tuple[str, ...]:
    """The towers that ``modalities`` need, one name or several; all six for None.

    Raises:
        UnknownModality: a name is none of the modalities.
        ValueError: no modality is named.
    """
    names = {modalities} if isinstance(modalities, str) else modalities
    towers = towers_of(None if names is None else set(names))
    if not towers:
        raise ValueError("no modalities were given; name some, or pass None for all")
    return towers


def default_space(config: ImageBindConfig) -> EmbeddingSpace:
    """ImageBind's space where image and text towers have the published shape, else a nameless one."""
    huge = ImageBindConfig.huge()
    if (config.vision, config.text, config.embed_dim) == (huge.vision, huge.text, huge.embed_dim):
        return IMAGEBIND_SPACE
    return EmbeddingSpace("imagebind:unnamed", config.embed_dim)


def _square(extent: Any) -> tuple[int, ...]:
    return (int(extent), int(extent)) if isinstance(extent, int) else tuple(extent)


def _from_official(kwargs: dict[str, Any]) -> ImageBindConfig:
    huge = ImageBindConfig.huge()
    missing = [
        f"{tower}_{field}"
        for tower in ("vision", "text")
        for field in ("embed_dim", "num_blocks", "num_heads")
        if f"{tower}_{field}" not in kwargs
    ]
    missing += [] if "out_embed_dim" in kwargs else ["out_embed_dim"]
    if missing:
        raise ValueError(f"the network's description lacks {', '.join(missing)}")
    kernels = {
        "vision": tuple(kwargs.pop("kernel_size", huge.vision.kernel)),
        "text": (),
        "audio": _square(kwargs.pop("audio_kernel_size", huge.audio.kernel)),
        "depth": _square(kwargs.pop("depth_kernel_size", huge.depth.kernel)),
        "thermal": _square(kwargs.pop("thermal_kernel_size", huge.thermal.kernel)),
        "imu": (int(kwargs.pop("imu_kernel_size", huge.imu.kernel[0])),),
    }
    strides = {"audio": _square(kwargs.pop("audio_stride", huge.audio.stride))}
    frames = kwargs.pop("video_frames", kernels["vision"][0])
    if frames != kernels["vision"][0]:
        raise ValueError(
            f"video_frames {frames} must equal the kernel's frames, found kernel {kernels['vision']}"
        )
    towers = {}
    for tower in TOWERS:
        base = huge.tower(tower)
        towers[tower] = TowerConfig(
            width=kwargs.pop(f"{tower}_embed_dim", base.width),
            blocks=kwargs.pop(f"{tower}_num_blocks", base.blocks),
            heads=kwargs.pop(f"{tower}_num_heads", base.heads),
            kernel=kernels[tower],
            stride=strides.get(tower, ()),
            drop_path=kwargs.pop(f"{tower}_drop_path", base.drop_path),
        )
    config = ImageBindConfig(
        vision=towers["vision"],
        text=towers["text"],
        audio=towers["audio"],
        depth=towers["depth"],
        thermal=towers["thermal"],
        imu=towers["imu"],
        embed_dim=kwargs.pop("out_embed_dim"),
        mel_bins=kwargs.pop("audio_num_mel_bins", huge.mel_bins),
        audio_frames=kwargs.pop("audio_target_len", huge.audio_frames),
    )
    if kwargs:
        raise ValueError(f"unknown keywords in the network's description: {', '.join(sorted(kwargs))}")
    return config
