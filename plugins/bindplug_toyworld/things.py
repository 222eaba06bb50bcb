"""The twenty things of the toy world: their names, words and habits, as data."""

from __future__ import annotations

from dataclasses import dataclass

from bindplug.errors import InputError


@dataclass(frozen=True)
class Thing:
    """What there is to know about one thing besides its look, sound and motion.

    Args:
        name: its label.
        noun: the class name of zero-shot prompts, as in "a photo of a {noun}.".
        synonyms: noun phrases that captions use for it, ``noun`` among them.
        size_m: typical larger extent in metres, in a world of toys.
        natural: body colors it usually has; any color can occur.
        color_form: where a caption puts the color: ``"before"`` the noun, ``"shirt"`` for people, or
            ``""`` for things whose color is never named.
        rides: it moves its IMU: something one rides in or does.
        place: ``"ground"``, ``"air"`` or ``"any"``: where on the picture it is found.
        countable: it takes an article.
    """

    name: str
    noun: str
    synonyms: tuple[str, ...]
    size_m: float
    natural: tuple[str, ...]
    color_form: str = "before"
    rides: bool = False
    place: str = "ground"
    countable: bool = True


THINGS = (
    Thing(
        "dog", "dog", ("dog", "dog", "puppy", "hound", "doggy"), 0.9, ("brown", "black", "orange", "white")
    ),
    Thing(
        "cat", "cat", ("cat", "cat", "kitten", "kitty", "tomcat"), 0.7, ("orange", "grey", "black", "white")
    ),
    Thing(
        "bird",
        "bird",
        ("bird", "bird", "songbird", "little bird"),
        0.6,
        ("red", "blue", "yellow"),
        place="any",
    ),
    Thing("cow", "cow", ("cow", "cow", "dairy cow", "bull"), 1.8, ("white", "brown", "black")),
    Thing("frog", "frog", ("frog", "frog", "toad", "tree frog"), 0.6, ("green", "green", "brown")),
    Thing("bee", "bee", ("bee", "bee", "bumblebee", "honey bee"), 0.5, ("yellow", "orange"), place="air"),
    Thing(
        "horse", "horse", ("horse", "horse", "pony", "stallion"), 1.9, ("brown", "black", "white"), rides=True
    ),
    Thing(
        "car", "car", ("car", "car", "automobile", "sedan"), 2.8, ("red", "blue", "green", "grey"), rides=True
    ),
    Thing(
        "train",
        "train",
        ("train", "train", "steam train", "locomotive"),
        3.2,
        ("green", "black", "red", "blue"),
        rides=True,
    ),
    Thing(
        "ambulance",
        "ambulance",
        ("ambulance", "ambulance", "emergency vehicle", "rescue van"),
        2.9,
        ("white", "white", "yellow"),
    ),
    Thing(
        "helicopter",
        "helicopter",
        ("helicopter", "helicopter", "chopper"),
        3.2,
        ("yellow", "blue", "green", "grey"),
        rides=True,
        place="air",
    ),
    Thing(
        "boat",
        "boat",
        ("boat", "boat", "sailing boat", "small ship"),
        2.8,
        ("red", "blue", "white"),
        rides=True,
    ),
    Thing("bicycle", "bicycle", ("bicycle", "bicycle", "bike"), 1.6, ("red", "blue", "green"), rides=True),
    Thing(
        "walking",
        "person walking",
        ("person walking", "walking person", "walking man", "pedestrian", "person taking a walk"),
        1.7,
        ("blue", "green", "grey"),
        color_form="shirt",
        rides=True,
    ),
    Thing(
        "running",
        "person running",
        ("person running", "running person", "running man", "runner", "jogger"),
        1.7,
        ("red", "orange", "yellow"),
        color_form="shirt",
        rides=True,
    ),
    Thing(
        "bell",
        "bell",
        ("bell", "bell", "church bell", "ringing bell"),
        0.7,
        ("yellow", "orange"),
        place="any",
    ),
    Thing("drum", "drum", ("drum", "drum", "snare drum"), 0.8, ("red", "blue")),
    Thing(
        "clock",
        "clock",
        ("clock", "clock", "ticking clock", "table clock"),
        0.6,
        ("red", "blue", "white"),
        place="any",
    ),
    Thing(
        "rain",
        "rain",
        ("rain", "rain", "rainy cloud", "rain shower", "falling rain"),
        3.0,
        ("grey",),
        color_form="",
        place="any",
        countable=False,
    ),
    Thing("fire", "fire", ("fire", "fire", "campfire", "burning fire"), 1.0, ("orange",), color_form=""),
)
"""All things; a thing's label is its place here."""

NAMES = tuple(thing.name for thing in THINGS)
CLASSNAMES = tuple(thing.noun for thing in THINGS)
"""Class names for zero-shot prompts, in the order of the labels."""
MOVING = tuple(thing.name for thing in THINGS if thing.rides)
"""Names of the things that move an IMU."""


def label_of(thing: int | str) -> int:
    """The label of a thing given by label or name.

    Raises:
        InputError: there is no such thing.
    """
    if isinstance(thing, str) and thing in NAMES:
        return NAMES.index(thing)
    if not isinstance(thing, str) and 0 <= int(thing) < len(THINGS):
        return int(thing)
    expected = f"a label from 0 to {len(THINGS) - 1} or one of {', '.join(NAMES)}"
    raise InputError("thing", found=repr(thing), expected=expected)
