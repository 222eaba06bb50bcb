"""Small whole files of many formats for each reader."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import warnings
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

RNG = np.random.default_rng(3)
RGB = RNG.integers(0, 256, (40, 50, 3), dtype=np.uint8)
DEEP = RNG.integers(500, 5000, (40, 50), dtype=np.uint16)
SOUND = (0.1 * RNG.standard_normal(8_000)).astype(np.float32)
MOTION = np.concatenate([np.arange(300)[:, None] / 100, RNG.random((300, 6)) + 3], 1)


def seeds(reader: str) -> dict[str, bytes]:
    """File name -> content, of formats that the installed packages can write."""
    return SEEDS[reader]()


def _picture(array: np.ndarray, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, form, **options)
    return buffer.getvalue()


def _image() -> dict[str, bytes]:
    grey = RGB[..., 0]
    files = {
        "a.png": _picture(RGB, "PNG"), "b.jpg": _picture(RGB, "JPEG"), "c.tif": _picture(RGB, "TIFF"),
        "d.tif": _picture(RGB, "TIFF", compression="tiff_lzw"), "e.webp": _picture(RGB, "WEBP"),
        "f.gif": _picture(RGB, "GIF"), "g.bmp": _picture(RGB, "BMP"), "h.tga": _picture(RGB, "TGA"),
        "i.ppm": _picture(RGB, "PPM"), "j.ico": _picture(RGB, "ICO"), "k.pcx": _picture(grey, "PCX"),
        "l.sgi": _picture(RGB, "SGI"), "m.dds": _picture(RGB, "DDS"), "n.png": _picture(DEEP, "PNG"),
        "o.jp2": _picture(RGB, "JPEG2000"), "p.icns": _picture(RGB, "ICNS"),
        "q.eps": _picture(RGB, "EPS"), "r.tif": _picture(RGB, "TIFF", compression="jpeg"),
    }  # fmt: skip
    with contextlib.suppress(KeyError, OSError):  # a Pillow without AVIF
        files["s.avif"] = _picture(RGB, "AVIF")
    with contextlib.suppress(ImportError):
        import pillow_heif

        buffer = io.BytesIO()
        pillow_heif.from_pillow(Image.fromarray(RGB)).save(buffer)
        files["t.heic"] = buffer.getvalue()
    return files


def _numpy(array: np.ndarray, write: Callable[..., None] = np.save) -> bytes:
    buffer = io.BytesIO()
    write(buffer, array)
    return buffer.getvalue()


def _depth() -> dict[str, bytes]:
    metres = DEEP / np.float32(1000)
    files = {
        "a.png": _picture(DEEP, "PNG"), "b.tif": _picture(metres, "TIFF"), "c.tif": _picture(DEEP, "TIFF"),
        "d.npy": _numpy(metres), "e.npz": _numpy(metres, np.savez_compressed),
        "f.pfm": b"Pf\n50 40\n-1.0\n" + metres[::-1].astype("<f4").tobytes(),
        "g.csv": "\n".join(",".join(f"{value:.3f}" for value in row) for row in metres).encode(),
        "h.tif": _picture(metres, "TIFF", compression="tiff_deflate"),
    }  # fmt: skip
    files["k.csv.gz"] = gzip.compress(files["g.csv"])
    try:
        import tempfile
        from pathlib import Path

        import OpenEXR

        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "a.exr")
            OpenEXR.File(
                {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}, {"Z": metres}
            ).write(path)
            files["i.exr"] = Path(path).read_bytes()
    except ImportError:
        pass
    try:
        from scipy.io import savemat

        buffer = io.BytesIO()
        savemat(buffer, {"depth": metres})
        files["j.mat"] = buffer.getvalue()
    except ImportError:
        pass
    return files


def _thermal() -> dict[str, bytes]:
    celsius = DEEP / np.float32(100)
    return {
        "a.png": _picture(DEEP, "PNG"), "b.tif": _picture(DEEP, "TIFF"), "c.tif": _picture(celsius, "TIFF"),
        "d.npy": _numpy(celsius), "e.jpg": _picture(RGB[..., 0], "JPEG"), "f.npz": _numpy(celsius, np.savez),
    }  # fmt: skip


def _sound(form: str, **options: Any) -> bytes:
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, SOUND, 16_000, format=form, **options)
    return buffer.getvalue()


def _media(form: str, video: str = "", audio: str = "") -> bytes:
    import av

    buffer = io.BytesIO()
    with av.open(buffer, "w", format=form) as container:
        stream = track = None
        if video:
            stream = container.add_stream(video, rate=10)
            stream.height, stream.width, stream.pix_fmt, stream.gop_size = 48, 64, "yuv420p", 5
        if audio:
            track = container.add_stream(audio, rate=16_000, layout="mono")
        for level in range(20) if stream else ():
            pixels = np.full((48, 64, 3), 10 * level, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        if stream:
            container.mux(stream.encode())
        if track:
            size = track.codec_context.frame_size or 1024
            convert = av.AudioResampler(format=track.codec_context.format, layout="mono", rate=16_000)
            for start in range(0, len(SOUND) - size, size):
                block = av.AudioFrame.from_ndarray(
                    SOUND[None, start : start + size], format="fltp", layout="mono"
                )
                block.sample_rate, block.pts = 16_000, start
                for frame in convert.resample(block):
                    container.mux(track.encode(frame))
            container.mux(track.encode())
    return buffer.getvalue()


def _audio() -> dict[str, bytes]:
    files = {
        "a.wav": _sound("WAV"), "b.flac": _sound("FLAC"), "c.ogg": _sound("OGG"), "d.mp3": _sound("MP3"),
        "e.wav": _sound("WAV", subtype="FLOAT"), "f.aiff": _sound("AIFF"), "g.au": _sound("AU"),
        "h.caf": _sound("CAF"), "i.w64": _sound("W64"), "j.wav": _sound("WAV", subtype="IMA_ADPCM"),
        "k.opus": _sound("OGG", subtype="OPUS"),
    }  # fmt: skip
    files["l.mp3"] = files["d.mp3"] * 2
    files["s.flac"] = files["b.flac"] * 2
    files["t.wav"] = _sound("WAV", subtype="GSM610")
    with contextlib.suppress(ImportError):
        files |= {
            "m.m4a": _media("ipod", audio="aac"), "n.aac": _media("adts", audio="aac"),
            "o.wv": _media("wv", audio="wavpack"), "p.mka": _media("matroska", audio="flac"),
            "q.tta": _media("tta", audio="tta"), "r.mp4": _media("mp4", "mpeg4", "aac"),
        }  # fmt: skip
    return files


def _animation(form: str) -> bytes:
    frames = [Image.fromarray(np.roll(RGB, shift, 0)) for shift in range(6)]
    buffer = io.BytesIO()
    frames[0].save(buffer, form, save_all=True, append_images=frames[1:], duration=100)
    return buffer.getvalue()


def _video() -> dict[str, bytes]:
    return {
        "a.mp4": _media("mp4", "mpeg4", "aac"), "b.mkv": _media("matroska", "mpeg4"), "c.avi": _media("avi", "mpeg4"),
        "d.ts": _media("mpegts", "mpeg2video"), "e.webm": _media("webm", "libvpx"), "f.h264": _media("h264", "libx264"),
        "g.gif": _animation("GIF"), "h.png": _animation("PNG"), "i.webp": _animation("WEBP"),
        "j.mp4": _media("mp4", "libx264"), "k.flv": _media("flv", "flv"), "l.jpg": _picture(RGB, "JPEG"),
    }  # fmt: skip


HEADER = (
    "time_s",
    "acc_x (m/s^2)",
    "acc_y (m/s^2)",
    "acc_z (m/s^2)",
    "gyro_x (rad/s)",
    "gyro_y (rad/s)",
    "gyro_z (rad/s)",
)


EDGE_IMPULSE = [
    *((f"acc{axis}", "m/s2") for axis in "XYZ"),
    *((f"gyr{axis}", "rad/s") for axis in "XYZ"),
]


def _imu() -> dict[str, bytes]:
    rows = [[f"{value:.4f}" for value in row] for row in MOTION]

    def table(separator: str = ",", comment: str = "") -> bytes:
        return (comment + "\n".join(separator.join(row) for row in [HEADER, *rows])).encode()

    files = {
        "a.csv": table(), "b.csv": table(";"), "c.txt": table("\t"), "d.csv": table(comment="# a log\n"),
        "e.npy": _numpy(MOTION[:, 1:]), "g.csv": table().decode().encode("utf-16"),
        "h.json": json.dumps([dict(zip(HEADER, row.tolist(), strict=True)) for row in MOTION]).encode(),
    }  # fmt: skip
    buffer = io.BytesIO()
    np.savez(buffer, time=MOTION[:, 0], acc=MOTION[:, 1:4], gyro=MOTION[:, 4:])
    files["f.npz"] = buffer.getvalue()
    files["k.csv.gz"] = gzip.compress(table())
    files["l.json"] = json.dumps(
        {"rows": [{"time_s": row[0], "acc": row[1:4], "gyro (rad/s)": row[4:]} for row in MOTION.tolist()]}
    ).encode()
    titles = [f'{{"name": "{name}", "units": "{unit}"}}' for name, unit in EDGE_IMPULSE]
    values = json.dumps(MOTION[:, 1:].tolist())
    files["m.json"] = (
        f'{{"payload": {{"interval_ms": 10, "sensors": [{",".join(titles)}], "values": {values}}}}}'.encode()
    )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("log.csv", table())
    files["i.zip"] = buffer.getvalue()
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq

        buffer = io.BytesIO()
        pq.write_table(pa.table({name: MOTION[:, i] for i, name in enumerate(HEADER)}), buffer)
        files["j.parquet"] = buffer.getvalue()
    except ImportError:
        pass
    return files


def _quietly(make: Callable[[], dict[str, bytes]]) -> Callable[[], dict[str, bytes]]:
    def made() -> dict[str, bytes]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return make()

    return made


SEEDS = {
    "image": _quietly(_image), "depth": _quietly(_depth), "thermal": _quietly(_thermal),
    "audio": _quietly(_audio), "video": _quietly(_video), "imu": _quietly(_imu),
}  # fmt: skip
OPTIONS: dict[str, dict[str, Any]] = {"imu": {"sample_rate": 100}, "video": {}, "audio": {}}
