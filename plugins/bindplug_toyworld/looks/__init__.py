"""How each thing looks to a color, a depth and a thermal camera: data for the renderer."""

from __future__ import annotations

from collections.abc import Callable

from bindplug_toyworld.looks import mammals, objects, people, vehicles, wildlife
from bindplug_toyworld.looks.part import PALETTE, Color, Part, Style

__all__ = ["LOOKS", "PALETTE", "Color", "Part", "Style"]

LOOKS: dict[str, Callable[[Style], list[Part]]] = {
    "dog": mammals.dog,
    "cat": mammals.cat,
    "bird": wildlife.bird,
    "cow": mammals.cow,
    "frog": wildlife.frog,
    "bee": wildlife.bee,
    "horse": mammals.horse,
    "car": vehicles.car,
    "train": vehicles.train,
    "ambulance": vehicles.ambulance,
    "helicopter": vehicles.helicopter,
    "boat": vehicles.boat,
    "bicycle": vehicles.bicycle,
    "walking": people.walking,
    "running": people.running,
    "bell": objects.bell,
    "drum": objects.drum,
    "clock": objects.clock,
    "rain": objects.rain,
    "fire": objects.fire,
}
"""For each thing, a function from a style to its parts, painted in that order."""
