"""Motion recordings (accelerometer and gyroscope) to windows of 2000 samples.

Experimental for the official weights: rate and normalization were never published, hence the presets.
"""

from __future__ import annotations

from bindplug.inputs.imu.columns import CHANNELS
from bindplug.inputs.imu.reader import NORMALIZATIONS, PRESETS, STEPS, ImuPreprocess, ImuRecording

__all__ = [
    "CHANNELS",
    "NORMALIZATIONS",
    "PRESETS",
    "STEPS",
    "ImuPreprocess",
    "ImuRecording",
]
