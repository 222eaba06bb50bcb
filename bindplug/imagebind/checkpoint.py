"""Reading and writing weights: official checkpoints, model directories, open_clip's layout."""

from __future__ import annotations

from bindplug.imagebind.directory import load_directory, read_manifest, save_directory
from bindplug.imagebind.infer import infer_config
from bindplug.imagebind.official import load_official, read_official
from bindplug.imagebind.open_clip_layout import from_open_clip, to_open_clip

__all__ = [
    "from_open_clip",
    "infer_config",
    "load_directory",
    "load_official",
    "read_manifest",
    "read_official",
    "save_directory",
    "to_open_clip",
]
