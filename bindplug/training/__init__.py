"""Binding a new modality to a frozen CLIP: the published recipe as small, separate pieces."""

from bindplug.training.augment import frequency_mask, random_erase
from bindplug.training.batches import Augmentation
from bindplug.training.binding import BindingResult, bind, bind_tower
from bindplug.training.data import PairDataset, TensorPairs
from bindplug.training.initial import load_initial_weights
from bindplug.training.loss import symmetric_info_nce
from bindplug.training.options import Checkpoints, RunOptions
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
    "HeldOut",
    "PairDataset",
    "RunOptions",
    "TensorPairs",
    "Validation",
    "bind",
    "bind_tower",
    "calibration_error",
    "fit_scale",
    "frequency_mask",
    "load_initial_weights",
    "parameter_groups",
    "random_erase",
    "symmetric_info_nce",
    "warmup_cosine",
]
