"""Scenes of the toy world, rendered once into a directory and mapped from there: what experiments train on.

from bindplug_lab.world import WorldSpec, open_world
world = open_world(WorldSpec(count=2000, sensors=("image", "depth")), cache="worlds/")
world.images[:8], world.depth[:8], world.labels[:8], world.captions(0)
"""

from bindplug_lab.world.crops import crop, random_boxes
from bindplug_lab.world.equalization import equalize
from bindplug_lab.world.rendering import open_world, render_world
from bindplug_lab.world.spec import SENSORS, WorldSpec
from bindplug_lab.world.world import World

__all__ = ["SENSORS", "World", "WorldSpec", "crop", "equalize", "open_world", "random_boxes", "render_world"]
