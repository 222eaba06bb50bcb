"""The senses benchmark: what a model knows by depth, heat, motion and sound, measured on scenes of the toy world.

bindplug eval imagebind_tiny --tasks senses-v1

recordings("depth")[0].values()          # (224, 224) float32 meters
bindplug.load("senses:small")            # a reference model to compare with
"""

from __future__ import annotations

from bindplug_lab.senses.reader import class_names_of, read_senses, recordings, things_of
from bindplug_lab.senses.recordings import SENSORS, Recording, query_of
from bindplug_lab.senses.reference import random_model, reference_figures, small_model, train_small

__all__ = [
    "SENSORS",
    "Recording",
    "class_names_of",
    "query_of",
    "random_model",
    "read_senses",
    "recordings",
    "reference_figures",
    "small_model",
    "things_of",
    "train_small",
]
