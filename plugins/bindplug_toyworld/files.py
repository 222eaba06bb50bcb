"""A scene as the files its sensors would write."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from bindplug.errors import InputError, MissingDependency

IMU_HEADER = "time_s,acc_x,acc_y,acc_z,gyro_x,gyro_y,gyro_z"
"""Columns of ``imu.csv``: seconds, m/s^2 with gravity, rad/s."""


class SensorData(Protocol):
    """What the sensors of a :class:`bindplug_toyworld.Scene` recorded."""

    fps: int
    sample_rate_hz: int
    imu_rate_hz: int

    @property
    def image(self) -> Image.Image:
        """(H, W) RGB."""
        ...

    @property
    def video(self) -> np.ndarray:
        """uint8 (T, H, W, 3)."""
        ...

    @property
    def audio(self) -> np.ndarray:
        """(N,) in [-1, 1]."""
        ...

    @property
    def depth(self) -> np.ndarray:
        """(H, W) meters."""
        ...

    @property
    def thermal(self) -> np.ndarray:
        """(H, W) degrees Celsius."""
        ...

    @property
    def imu(self) -> np.ndarray | None:
        """(6, T) in m/s^2 and rad/s, or None."""
        ...

    @property
    def caption(self) -> str:
        """One sentence."""
        ...

    def random(self, stream: str, index: int = 0) -> np.random.Generator:
        """The generator of one independent stream of the scene."""
        ...


def write_scene(scene: SensorData, directory: Path, *, depth_holes: float = 0.0) -> dict[str, Path]:
    """Writes every sensor of a scene.

    ``image.png`` · ``video.mp4`` with the sound as its track · ``audio.wav`` (PCM 16) · ``depth.png`` (uint16
    millimetres, 0 where nothing was measured) · ``thermal.tiff`` (uint16 hundredths of a kelvin) · ``imu.csv``
    (only for a scene that has one) · ``caption.txt``.

    Args:
        scene: what to write.
        directory: made if absent; files in it are replaced.
        depth_holes: share of depth pixels, 0 to below 1, that are lost in patches as depth cameras lose them.

    Returns:
        The path of each file by modality: ``"image" "video" "audio" "depth" "thermal" "imu" "text"``.

    Raises:
        InputError: ``depth_holes`` is out of range.
        MissingDependency: PyAV, for the video, is not installed.
    """
    if not 0 <= depth_holes < 1:
        raise InputError("depth_holes", found=str(depth_holes), expected="a share from 0 to below 1")
    directory.mkdir(parents=True, exist_ok=True)
    paths = {
        "image": directory / "image.png",
        "video": directory / "video.mp4",
        "audio": directory / "audio.wav",
        "depth": directory / "depth.png",
        "thermal": directory / "thermal.tiff",
        "text": directory / "caption.txt",
    }
    scene.image.save(paths["image"])
    write_video(paths["video"], scene.video, scene.fps, scene.audio, scene.sample_rate_hz)
    write_wav(paths["audio"], scene.audio, scene.sample_rate_hz)
    millimetres = np.round(scene.depth * 1000).clip(1, 65535)
    if depth_holes:
        millimetres[_holes(scene, depth_holes)] = 0
    Image.fromarray(millimetres.astype(np.uint16)).save(paths["depth"])
    centikelvin = np.round((scene.thermal + 273.15) * 100).clip(0, 65535)
    Image.fromarray(centikelvin.astype(np.uint16)).save(paths["thermal"])
    paths["text"].write_text(scene.caption + "\n", encoding="utf-8")
    if scene.imu is not None:
        paths["imu"] = directory / "imu.csv"
        write_imu(paths["imu"], scene.imu, scene.imu_rate_hz)
    return paths


def _holes(scene: SensorData, share: float) -> np.ndarray:
    """Patches that hold about ``share`` of the pixels."""
    height, width = scene.depth.shape
    coarse = scene.random("depth", 1).random((max(1, height // 8), max(1, width // 8)), dtype=np.float32)
    smooth = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BILINEAR))
    return smooth < np.quantile(smooth, share)


def write_wav(path: Path, samples: np.ndarray, sample_rate_hz: int) -> None:
    """Writes mono sound in [-1, 1], shape (N,), as 16-bit PCM."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate_hz)
        file.writeframes(np.round(samples.clip(-1, 1) * 32767).astype("<i2").tobytes())


def write_imu(path: Path, motion: np.ndarray, rate_hz: float) -> None:
    """Writes motion, shape (6, T), as CSV with :data:`IMU_HEADER`."""
    times = np.arange(motion.shape[1]) / rate_hz
    rows = np.column_stack([times, motion.T])
    np.savetxt(path, rows, delimiter=",", header=IMU_HEADER, comments="", fmt=["%.4f", *["%.5f"] * 6])


def write_video(
    path: Path, frames: np.ndarray, fps: int, samples: np.ndarray | None = None, sample_rate_hz: int = 16000
) -> None:
    """Writes frames, uint8 (T, H, W, 3) with even H and W, as MP4; with sound (N,) as its track where given.

    Raises:
        MissingDependency: PyAV is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise MissingDependency("bindplug_toyworld", "av", "video", reason=str(error)) from error
    height, width = frames.shape[1] // 2 * 2, frames.shape[2] // 2 * 2
    with av.open(str(path), "w") as container:
        codec = "h264" if "libx264" in av.codecs_available else "mpeg4"
        picture = container.add_stream(codec, rate=fps)
        picture.width, picture.height, picture.pix_fmt = width, height, "yuv420p"
        if codec == "mpeg4":
            picture.bit_rate = 2_000_000
        sound = (
            container.add_stream("aac", rate=sample_rate_hz, layout="mono") if samples is not None else None
        )
        for frame in frames:
            pixels = np.ascontiguousarray(frame[:height, :width])
            container.mux(picture.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(picture.encode())
        if sound is not None and samples is not None:
            chunk = av.AudioFrame.from_ndarray(samples.astype(np.float32)[None], format="fltp", layout="mono")
            chunk.sample_rate, chunk.pts = sample_rate_hz, 0
            container.mux(sound.encode(chunk))
            container.mux(sound.encode())
