"""ImageBind's network, and reading and writing its weights."""

from __future__ import annotations

from bindplug.imagebind.checkpoint_files import open_official, open_safetensors, shorten
from bindplug.imagebind.config import ImageBindConfig, TowerConfig, default_space
from bindplug.imagebind.config_inference import infer_config
from bindplug.imagebind.directory import load_directory, read_fingerprint, read_manifest, save_directory
from bindplug.imagebind.initialization import TEXT_LOG_SCALE, initialize_tower
from bindplug.imagebind.layers import BLOCK_EPS, MLP_RATIO, is_tracing
from bindplug.imagebind.model import MAX_SCALE, ImageBind
from bindplug.imagebind.official_names import causal_mask
from bindplug.imagebind.official_weights import read_official
from bindplug.imagebind.open_clip_layout import from_open_clip, to_open_clip
from bindplug.imagebind.same_weights import Difference, difference, fingerprint_of
from bindplug.imagebind.tower_inputs import average_raw, check_input, clip_axis, embed_clips, unit
from bindplug.imagebind.towers import PatchTower, TextTower, Tower, WindowStem

__all__ = [
    "BLOCK_EPS",
    "MAX_SCALE",
    "MLP_RATIO",
    "TEXT_LOG_SCALE",
    "Difference",
    "ImageBind",
    "ImageBindConfig",
    "PatchTower",
    "TextTower",
    "Tower",
    "TowerConfig",
    "WindowStem",
    "average_raw",
    "causal_mask",
    "check_input",
    "clip_axis",
    "default_space",
    "difference",
    "embed_clips",
    "fingerprint_of",
    "from_open_clip",
    "infer_config",
    "initialize_tower",
    "is_tracing",
    "load_directory",
    "open_official",
    "open_safetensors",
    "read_fingerprint",
    "read_manifest",
    "read_official",
    "save_directory",
    "shorten",
    "to_open_clip",
    "unit",
]
