"""Depth maps: files and their units, holes, presets of normalization."""

from bindplug.inputs.depth.reader import DepthMap, DepthPreprocess
from bindplug.inputs.depth.units import CONVENTIONS, Convention, DepthUnit

__all__ = ["CONVENTIONS", "Convention", "DepthMap", "DepthPreprocess", "DepthUnit"]
