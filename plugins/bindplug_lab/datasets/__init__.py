"""Readers of data sets as they are distributed. Each gives labeled or paired items; see :mod:`bindplug_lab.tasks`."""

from bindplug_lab.datasets.folder import DataFolder, MissingData
from bindplug_lab.datasets.registry import READERS, Reader

__all__ = ["READERS", "DataFolder", "MissingData", "Reader"]
