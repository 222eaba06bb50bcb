"""Endings of files by what they hold."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["AUDIO_SUFFIXES", "IMAGE_SUFFIXES", "SOUND_SUFFIXES", "SUFFIXES", "VIDEO_SUFFIXES"]

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".avif", ".jp2")
AUDIO_SUFFIXES = (
    ".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aac", ".oga", ".aif", ".aiff", ".au", ".wma", ".wv", ".ac3",
)  # fmt: skip
VIDEO_SUFFIXES = (
    ".mp4", ".mkv", ".webm", ".avi", ".mov", ".m4v", ".mpg", ".mpeg", ".ts", ".flv", ".3gp",
)  # fmt: skip

SOUND_SUFFIXES = (*AUDIO_SUFFIXES, *VIDEO_SUFFIXES)
"""Sounds, else the sound tracks of videos."""

_ARRAY_SUFFIXES = (".npy", ".npz", ".mat")

SUFFIXES: Mapping[str, tuple[str, ...]] = {
    "image": (*IMAGE_SUFFIXES, ".heic", ".heif", ".gif"),
    "video": (*VIDEO_SUFFIXES, ".gif"),
    "audio": SOUND_SUFFIXES,
    "depth": (".png", ".tif", ".tiff", ".pgm", ".pfm", ".exr", ".dpt", *_ARRAY_SUFFIXES),
    "thermal": (*IMAGE_SUFFIXES, *_ARRAY_SUFFIXES, ".csv"),
    "imu": (".csv", ".tsv", ".txt", ".parquet", ".pq", ".json", ".jsonl", ".zip", ".npy", ".npz"),
}
"""Files of each modality, the likelier ones first."""
