"""Small pairs of pictures and sounds, in each of the forms that they are read from."""

from __future__ import annotations

import csv
import io
import json
import tarfile
import wave
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

NAMES = ("bell", "crow", "drum", "frog")
RATE_HZ = 16000


def picture(seed: int) -> Image.Image:
    """A picture of a color of its own, with a stripe."""
    pixels = np.full((48, 64, 3), np.random.default_rng(seed).integers(0, 255, 3), dtype=np.uint8)
    pixels[:, 4 * seed : 4 * seed + 8] = 255
    return Image.fromarray(pixels)


def sound(seed: int, seconds: float = 2.5) -> np.ndarray:
    """A tone of its own, int16."""
    t = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    return np.int16(9000 * np.sin(2 * np.pi * 200 * (seed + 1) * t))


def write_sound(file: Path | io.BytesIO, samples: np.ndarray) -> None:
    """As a WAV file."""
    with wave.open(str(file) if isinstance(file, Path) else file, "wb") as stream:
        stream.setnchannels(1)
        stream.setsampwidth(2)
        stream.setframerate(RATE_HZ)
        stream.writeframes(samples.tobytes())


def picture_bytes(seed: int) -> bytes:
    """As a PNG file."""
    stream = io.BytesIO()
    picture(seed).save(stream, "PNG")
    return stream.getvalue()


def sound_bytes(seed: int) -> bytes:
    """As a WAV file."""
    stream = io.BytesIO()
    write_sound(stream, sound(seed))
    return stream.getvalue()


def write_folder(folder: Path, names: tuple[str, ...] = NAMES) -> Path:
    """``bell.png`` beside ``bell.wav``, ..."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate(names):
        (folder / f"{name}.png").write_bytes(picture_bytes(seed))
        (folder / f"{name}.wav").write_bytes(sound_bytes(seed))
    return folder


def write_table(folder: Path, suffix: str) -> Path:
    """A table of the paths of a folder that :func:`write_folder` wrote."""
    rows = [
        {"image": f"{name}.png", "audio": f"{name}.wav", "label": name, "caption": f"a {name}"}
        for name in NAMES
    ]
    file = folder / f"pairs{suffix}"
    if suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as parquet

        parquet.write_table(pa.Table.from_pylist(rows), file)
    elif suffix == ".jsonl":
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    else:
        with file.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]), delimiter="\t" if suffix == ".tsv" else ",")
            writer.writeheader()
            writer.writerows(rows)
    return file


def add_member(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    """One file of a tar."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    archive.addfile(info, io.BytesIO(content))


def write_shards(folder: Path) -> Path:
    """Two tars of two samples each, written as webdataset's ShardWriter does."""
    folder.mkdir(parents=True, exist_ok=True)
    for shard in range(2):
        with tarfile.open(folder / f"shard-{shard:03d}.tar", "w") as archive:
            for seed in (2 * shard, 2 * shard + 1):
                add_member(archive, f"{NAMES[seed]}.png", picture_bytes(seed))
                add_member(archive, f"{NAMES[seed]}.wav", sound_bytes(seed))
                add_member(archive, f"{NAMES[seed]}.cls", NAMES[seed].encode())
    return folder


def data_set(images: list[dict[str, object]], sounds: list[dict[str, object]]) -> Any:
    """A Hugging Face data set with an image, an audio and a class column, none of which is decoded or encoded."""
    import datasets
    import pyarrow as pa

    media = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table(
        {
            "image": pa.array(images, media),
            "audio": pa.array(sounds, media),
            "label": pa.array(range(len(images)), pa.int64()),
        }
    )
    names = list(NAMES[: len(images)])
    features = datasets.Features(
        image=datasets.Image(), audio=datasets.Audio(), label=datasets.ClassLabel(names=names)
    )
    return datasets.Dataset(table, info=datasets.DatasetInfo(features=features))


def write_dataset(folder: Path) -> Path:
    """What ``save_to_disk`` writes, with media as bytes."""
    images = [{"bytes": picture_bytes(seed), "path": None} for seed in range(len(NAMES))]
    sounds = [{"bytes": sound_bytes(seed), "path": f"{name}.wav"} for seed, name in enumerate(NAMES)]
    data_set(images, sounds).save_to_disk(str(folder))
    return folder


def write_video(
    file: Path, *, seconds: float = 6, sound_s: float | None = None, sound_at_s: float = 0.0, fps: int = 10
) -> Path:
    """A video that is red, then green, then blue, a third each, with a tone.

    Args:
        file: whose ending names the container.
        seconds: of pictures.
        sound_s: length of the tone; that of the pictures for None, no track for 0.
        sound_at_s: when the sound track starts.
        fps: pictures a second; 0 for a rate that varies.
    """
    import av

    count = int(seconds * (fps or 25))
    if fps:
        times = [number / fps for number in range(count)]
    else:  # 25 a second at first, then two
        times = [number / 25 for number in range(count // 3)] + list(np.arange(seconds / 3, seconds, 0.5))
    with av.open(str(file), "w") as container:
        video = container.add_stream("mpeg4", rate=fps or 25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        video.codec_context.time_base = Fraction(1, 1000)
        has_sound = sound_s is None or sound_s > 0
        track = container.add_stream("aac", rate=RATE_HZ, layout="mono") if has_sound else None
        for time in times:
            pixels = np.zeros((48, 64, 3), np.uint8)
            pixels[..., int(3 * time / seconds + 1e-6)] = 250
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = round(1000 * time), Fraction(1, 1000)
            container.mux(video.encode(frame))
        container.mux(video.encode())
        if track is not None:
            samples = (sound(1, seconds if sound_s is None else sound_s) / 32768).astype(np.float32)[None]
            chunk = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
            chunk.sample_rate, chunk.pts = RATE_HZ, int(sound_at_s * RATE_HZ)
            container.mux(track.encode(chunk))
            container.mux(track.encode())
    return file
