"""Decoding sound: libsndfile for sound files, PyAV for the sound tracks of videos."""

from __future__ import annotations

from typing import Any

import numpy as np

from bindplug.errors import InputError
from bindplug.inputs.optional import import_optional
from bindplug.inputs.source import describe_source, open_source

EXPECTED = "a sound file (wav, flac, ogg, mp3, ...) or a video with a sound track"
BLOCK_SAMPLES = 1 << 20


def read_sound(source: object) -> tuple[np.ndarray, int]:
    """All samples of a sound, (channels, samples) float32 with full scale 1, and the rate in Hz.

    Args:
        source: a path, bytes or file object.

    Raises:
        InputError: it is missing, empty, no sound, damaged, or a video without a sound track.
        MissingDependency: the package that reads this format is absent.
    """
    name = describe_source(source)
    with open_source(source, EXPECTED) as file:
        start = file.tell()
        soundfile = import_optional("soundfile", "bindplug.inputs.audio", "audio")
        try:
            with soundfile.SoundFile(file) as sound:
                return _read_blocks(sound), int(sound.samplerate)
        except soundfile.LibsndfileError as error:
            reason = str(error).rsplit(": ", 1)[-1]
        file.seek(start)
        if not _is_container(file.read(64)):
            raise InputError(name, found=f"data that is not sound ({reason})", expected=EXPECTED)
        file.seek(start)
        return _read_track(file, name)


def _read_blocks(sound: Any) -> np.ndarray:
    """All samples, (channels, samples) float32, by blocks: a damaged header may claim any length."""
    blocks = [np.zeros((0, sound.channels), np.float32)]
    while len(block := sound.read(BLOCK_SAMPLES, dtype="float32", always_2d=True)):
        blocks.append(block)
    return np.concatenate(blocks).T


def _is_container(head: bytes) -> bool:
    """Whether ``head`` opens a multimedia container: MP4/MOV, Matroska, AVI, ASF, FLV, MPEG or AAC."""
    magics = (
        b"\x1aE\xdf\xa3",
        b"0&\xb2u",
        b"FLV",
        b"\x00\x00\x01\xba",
        b"G",
        b"\xff\xf1",
        b"\xff\xf9",
        b"OggS",
    )
    return head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip") or (
        head[:4] == b"RIFF" and head[8:12] == b"AVI "
    ) or head.startswith(magics)  # fmt: skip


def _read_track(file: object, name: str) -> tuple[np.ndarray, int]:
    av = import_optional("av", "bindplug.inputs.audio", "video")
    try:
        with av.open(file, mode="r", metadata_errors="replace") as container:
            if not container.streams.audio:
                raise InputError(name, found="a video without a sound track", expected=EXPECTED)
            track = container.streams.audio[0]
            to_float = av.AudioResampler(format="fltp")
            frames = [
                out.to_ndarray() for frame in container.decode(track) for out in to_float.resample(frame)
            ]
            frames += [out.to_ndarray() for out in to_float.resample(None)]
            rate_hz = int(track.codec_context.sample_rate)
    except (av.error.FFmpegError, UnicodeDecodeError) as error:
        raise InputError(name, found=f"damaged data ({error})", expected=EXPECTED) from None
    if not frames or not rate_hz:
        raise InputError(name, found="a sound track of zero samples", expected="at least one sample")
    return np.concatenate(frames, axis=1), rate_hz
