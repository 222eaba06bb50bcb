"""Binding a new modality to a frozen CLIP: the published recipe as small, separate pieces."""

from bindplug.training.adapted_models import anchor_of, base_of
from bindplug.training.adapter_directory import load_adapters, save_adapters
from bindplug.training.adapters import (
    add_adapters,
    has_adapters,
    merge_adapters,
    recipe_of,
    remove_adapters,
    tower_of,
)
from bindplug.training.augment import frequency_mask, random_erase
from bindplug.training.batches import Augmentation
from bindplug.training.binding import BindingResult, bind, bind_tower
from bindplug.training.data import PairDataset, TensorPairs
from bindplug.training.initial import load_initial_weights
from bindplug.training.lora_recipe import LoraRecipe
from bindplug.training.loss import symmetric_info_nce
from bindplug.training.memory import StepMemory, estimate_memory, step_memory
from bindplug.training.options import Checkpoints, RunOptions
from bindplug.training.pair_anchors import RowCache, default_row_cache, embed_anchors, ensure_sees
from bindplug.training.pair_dataset import FilePairs, PreparedPairs, prepare_pairs
from bindplug.training.pair_items import PairItem, PairList, PairProblem
from bindplug.training.pair_reading import is_own_sense, open_pairs
from bindplug.training.pair_sources import PairSource
from bindplug.training.pair_windows import cut_windows
from bindplug.training.processes import join_processes
from bindplug.training.recipe import PUBLISHED, BindingRecipe
from bindplug.training.scales import HeldOut, calibration_error, fit_scale
from bindplug.training.schedule import parameter_groups, warmup_cosine
from bindplug.training.validation import Validation

__all__ = [
    "PUBLISHED",
    "Augmentation",
    "BindingRecipe",
    "BindingResult",
    "Checkpoints",
    "FilePairs",
    "HeldOut",
    "LoraRecipe",
    "PairDataset",
    "PairItem",
    "PairList",
    "PairProblem",
    "PairSource",
    "PreparedPairs",
    "RowCache",
    "RunOptions",
    "StepMemory",
    "TensorPairs",
    "Validation",
    "add_adapters",
    "anchor_of",
    "base_of",
    "bind",
    "bind_tower",
    "calibration_error",
    "cut_windows",
    "default_row_cache",
    "embed_anchors",
    "ensure_sees",
    "estimate_memory",
    "fit_scale",
    "frequency_mask",
    "has_adapters",
    "is_own_sense",
    "join_processes",
    "load_adapters",
    "load_initial_weights",
    "merge_adapters",
    "open_pairs",
    "parameter_groups",
    "prepare_pairs",
    "random_erase",
    "recipe_of",
    "remove_adapters",
    "save_adapters",
    "step_memory",
    "symmetric_info_nce",
    "tower_of",
    "warmup_cosine",
]
