"""How recordings that mteb has no modality for travel through its data sets.

mteb knows text, image, audio and video. Depth and heat travel as images of mode RGB, because mteb converts every image
to it: red holds the high byte and green the low byte of a 16-bit number, blue a preview. Motion travels as audio of six
channels at 200 Hz, one after the other. Nothing but bindplug's models understands either; the name of the task tells
them what they are given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import bindplug
from bindplug import Query
from bindplug.errors import InputError

CARRIERS = {"image": "image", "audio": "audio", "depth": "image", "thermal": "image", "imu": "audio"}
"""mteb's modality that carries each sensor."""

_STEP_M = 0.001
_STEP_C = 0.02
_LOWEST_C = -273.15
_MOST = 65535
_IMU_CHANNELS = 6


def pack(sensor: str, values: NDArray[Any]) -> Any:
    """A recording as mteb's data sets hold it.

    Args:
        sensor: ``"image"``, ``"audio"``, ``"depth"``, ``"thermal"`` or ``"imu"``.
        values: (H, W, 3) uint8; (N,) at 16 kHz; (H, W) in meters, up to 65.535; (H, W) in degrees Celsius, from -273.15
            to 1037; (6, T) at 200 Hz.

    Returns:
        A picture, or a dictionary with ``array`` and ``sampling_rate``.

    Raises:
        InputError: a distance or temperature is out of range.
    """
    if sensor == "image":
        return Image.fromarray(values)
    if sensor == "depth":
        return _picture(values / _STEP_M, "depth")
    if sensor == "thermal":
        return _picture((values - _LOWEST_C) / _STEP_C, "heat")
    rate = 200 if sensor == "imu" else 16_000
    # (6, T) -> (6 * T,): one channel after the other
    return {"array": np.asarray(values, dtype=np.float32).reshape(-1), "sampling_rate": rate}


def _picture(steps: NDArray[Any], what: str) -> Image.Image:
    if not np.isfinite(steps).all() or steps.min() < 0 or steps.max() > _MOST:
        raise InputError(
            what,
            found=f"steps from {np.nanmin(steps):.0f} to {np.nanmax(steps):.0f}",
            expected=f"finite values of 0 to {_MOST} steps",
        )
    numbers = np.round(steps).astype(np.uint16)
    low, high = int(numbers.min()), int(numbers.max())
    preview = ((numbers - low) * (255.0 / max(1, high - low))).astype(np.uint8)
    # (H, W) three times -> (H, W, 3)
    return Image.fromarray(np.stack((numbers >> 8, numbers & 255, preview), axis=-1).astype(np.uint8))


def unpack(sensor: str, item: Any) -> Query:
    """What mteb hands to a model -> a query.

    Args:
        sensor: as for :func:`pack`.
        item: a picture; a dictionary with ``array`` and ``sampling_rate``; or a decoder of torchcodec.

    Raises:
        InputError: it is something else.
    """
    return _READERS[sensor](item)


def _numbers(item: Any) -> NDArray[np.float32]:
    pixels = np.asarray(item.convert("RGB"), dtype=np.float32)
    return pixels[..., 0] * 256 + pixels[..., 1]


def _waveform(item: Any) -> tuple[NDArray[np.float32], int]:
    """Samples (N,) or (channels, N), and their rate in Hz."""
    if isinstance(item, Mapping) and "array" in item and "sampling_rate" in item:
        return np.asarray(item["array"], dtype=np.float32), int(item["sampling_rate"])
    if hasattr(item, "get_all_samples"):
        samples = item.get_all_samples()
        return np.asarray(samples.data, dtype=np.float32), int(samples.sample_rate)
    raise InputError(
        "audio of an mteb task",
        found=type(item).__name__,
        expected="a dictionary with array and sampling_rate, or a decoder of torchcodec",
    )


def _audio(item: Any) -> Query:
    samples, rate = _waveform(item)
    mono = samples.mean(0) if samples.ndim == 2 else samples
    return bindplug.audio(mono, sample_rate=rate)


def _imu(item: Any) -> Query:
    samples, rate = _waveform(item)
    return bindplug.imu(samples.reshape(_IMU_CHANNELS, -1), sample_rate=float(rate))


_READERS: dict[str, Callable[[Any], Query]] = {
    "image": lambda item: bindplug.image(item),
    "audio": _audio,
    "depth": lambda item: bindplug.depth(_numbers(item) * np.float32(_STEP_M), unit="m"),
    "thermal": lambda item: bindplug.thermal(
        (_numbers(item).astype(np.float64) * _STEP_C + _LOWEST_C).astype(np.float32), unit="celsius"
    ),
    "imu": _imu,
}
