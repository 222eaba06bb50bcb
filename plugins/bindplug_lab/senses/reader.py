"""The items of the senses benchmark, version 1: the same numbers of the same scenes for everyone."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from bindplug.errors import InputError
from bindplug_lab.datasets import DataFolder
from bindplug_lab.senses.recordings import SENSORS, VERSION, Recording, query_of, sum_of
from bindplug_lab.tasks.items import LabeledItems, PairedItems, Queries
from bindplug_toyworld import CLASSNAMES, MOVING, NAMES

COUNT = 500
"""Recordings of each sensor, and scenes to search in arithmetic retrieval."""
_FIRST = 7_000_000
"""Seed of the first scene."""
_FIRST_OF_TWO = 8_000_000
"""Seed of the first scene of two things."""
_A_SENSOR = 100_000
"""Seeds that each sensor has to itself: no scene is recorded by two sensors."""
SCENES_A_PAIR = 5
"""Scenes that hold each pair of things in arithmetic retrieval."""


def read_senses(
    folder: DataFolder, *, sensors: Sequence[str], candidates: str = "", count: int = COUNT
) -> LabeledItems | PairedItems:
    """Items of one task of the benchmark.

    Args:
        folder: not read; the scenes are made.
        sensors: what a query is: one sensor, or two whose recordings are of two things and are added.
        candidates: what is searched; empty for classification by the names of things.
        count: recordings a sensor, and scenes to search.

    Returns:
        One sensor without candidates: labeled items. With candidates: pairs, where everything of the same thing
        matches. Two sensors: pairs, where scenes that hold both things match.

    Raises:
        InputError: there is no such sensor, or a number is out of range.
    """
    for sensor in (*sensors, *([candidates] if candidates else [])):
        if sensor not in SENSORS:
            raise InputError("senses", found=f"sensor {sensor!r}", expected=f"one of {', '.join(SENSORS)}")
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= _A_SENSOR:
        raise InputError("senses: count", found=repr(count), expected=f"1 to {_A_SENSOR}")
    if len(sensors) == 1:
        return _pairs(sensors[0], candidates, count) if candidates else _labeled(sensors[0], count)
    if len(sensors) != 2 or not candidates or "imu" in (*sensors, candidates):
        raise InputError(
            "senses",
            found=f"sensors {list(sensors)} and candidates {candidates!r}",
            expected="one sensor, or two and candidates, none of them imu",
        )
    return _sums((sensors[0], sensors[1]), candidates, count)


def things_of(sensor: str) -> tuple[str, ...]:
    """The things that a sensor records: those that move for imu, all for the others."""
    return tuple(MOVING if sensor == "imu" else NAMES)


def class_names_of(sensor: str) -> tuple[str, ...]:
    """The class names of a sensor's things, for prompts."""
    return tuple(CLASSNAMES[NAMES.index(thing)] for thing in things_of(sensor))


def recordings(sensor: str, count: int = COUNT) -> list[Recording]:
    """The benchmark's recordings of one thing by a sensor; things take turns."""
    things, first = things_of(sensor), _FIRST + _A_SENSOR * SENSORS.index(sensor)
    return [Recording(sensor, first + index, (things[index % len(things)],)) for index in range(count)]


def _labeled(sensor: str, count: int) -> LabeledItems:
    items, things = recordings(sensor, count), things_of(sensor)
    return LabeledItems(
        ids=tuple(item.name for item in items),
        queries=Queries(items, query_of),
        labels=tuple((things.index(item.things[0]),) for item in items),
        class_names=class_names_of(sensor),
    )


def _pairs(sensor: str, candidates: str, count: int) -> PairedItems:
    common = set(things_of(sensor)) & set(things_of(candidates))
    left, right = (
        [item for item in recordings(name, count) if item.things[0] in common]
        for name in (sensor, candidates)
    )
    of_thing: dict[str, set[int]] = {}
    for place, item in enumerate(right):
        of_thing.setdefault(item.things[0], set()).add(place)
    left = [item for item in left if item.things[0] in of_thing]
    return PairedItems(
        left_ids=tuple(item.name for item in left),
        left=Queries(left, query_of),
        right_ids=tuple(item.name for item in right),
        right=Queries(right, query_of),
        matches=tuple(frozenset(of_thing[item.things[0]]) for item in left),
        left_name=sensor,
        right_name=candidates,
    )


def _sums(sensors: tuple[str, str], candidates: str, count: int) -> PairedItems:
    pairs = list(combinations(NAMES, 2))
    order = np.random.default_rng(VERSION).permutation(len(pairs))[: max(1, count // SCENES_A_PAIR)]
    things = [pairs[order[index % len(order)]] for index in range(count)]
    scenes = [Recording(candidates, _FIRST_OF_TWO + index, pair) for index, pair in enumerate(things)]
    sums = [
        # which of a pair the first sensor records takes turns
        tuple(
            Recording(sensor, _FIRST_OF_TWO + _A_SENSOR * (1 + place) + index, (pair[(index + place) % 2],))
            for place, sensor in enumerate(sensors)
        )
        for index, pair in enumerate(things)
    ]
    of_pair: dict[tuple[str, str], set[int]] = {}
    for place, pair in enumerate(things):
        of_pair.setdefault(pair, set()).add(place)
    return PairedItems(
        left_ids=tuple("+".join(item.name for item in terms) for terms in sums),
        left=Queries(sums, sum_of),
        right_ids=tuple(scene.name for scene in scenes),
        right=Queries(scenes, query_of),
        matches=tuple(frozenset(of_pair[pair]) for pair in things),
        left_name="+".join(sensors),
        right_name="scenes",
    )
