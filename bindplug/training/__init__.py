"""Binding a new modality to a frozen CLIP: the published recipe as small, separate pieces."""

from bindplug.training.augment import frequency_mask, random_erase
from bindplug.training.binding import Augmentation, BindingResult, bind, bind_tower
from bindplug.training.data import BindingPairs, TensorPairs
from bindplug.training.loss import symmetric_info_nce
from bindplug.training.recipe import PUBLISHED, BindingRecipe
from bindplug.training.scales import HeldOut, calibration_error, fit_scale
from bindplug.training.schedule import parameter_groups, warmup_cosine

__all__ = [
    "PUBLISHED",
    "Augmentation",
    "BindingPairs",
    "BindingRecipe",
    "BindingResult",
    "HeldOut",
    "TensorPairs",
    "bind",
    "bind_tower",
    "calibration_error",
    "fit_scale",
    "frequency_mask",
    "parameter_groups",
    "random_erase",
    "symmetric_info_nce",
    "warmup_cosine",
]
