"""The built-in corpus: word lists of ours, and a small grammar that makes several thousand phrases of them.

Everything is deterministic: choices walk the lists in strides, none is random.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from importlib.resources import files

from bindplug.corpus.texts import Corpus
from bindplug.errors import InputError

COLOURS = (
    "red",
    "blue",
    "green",
    "yellow",
    "black",
    "white",
    "brown",
    "orange",
    "pink",
    "purple",
    "grey",
    "golden",
)

ADJECTIVES: dict[str, tuple[str, ...]] = {
    "animals": (
        *("small", "large", "young", "old", "sleeping", "wild", "hungry", "running", "wet", "spotted"),
        *("striped", "white", "black", "brown", "lonely"),
    ),
    "vehicles": (
        *COLOURS,
        "old",
        "new",
        "rusty",
        "broken-down",
        "fast",
        "parked",
        "toy",
        "abandoned",
        "shiny",
    ),
    "food": (
        "fresh",
        "delicious",
        "homemade",
        "cold",
        "hot",
        "tasty",
        "rotten",
        "frozen",
        "organic",
        "sweet",
    ),
    "furniture": (*COLOURS, "wooden", "old", "modern", "antique", "broken", "comfortable", "dusty", "plain"),
    "kitchen": (
        "clean",
        "dirty",
        "metal",
        "plastic",
        "wooden",
        "glass",
        "blue",
        "red",
        "white",
        "empty",
        "broken",
    ),
    "tools": ("rusty", "new", "heavy", "old", "metal", "small", "large", "broken", "cheap", "handy", "red"),
    "electronics": (
        "old",
        "modern",
        "broken",
        "black",
        "white",
        "silver",
        "cheap",
        "small",
        "large",
        "portable",
    ),
    "clothing": (
        *COLOURS,
        "striped",
        "checked",
        "woollen",
        "leather",
        "old-fashioned",
        "elegant",
        "torn",
        "wet",
    ),
    "people": (
        "smiling",
        "tired",
        "tall",
        "young",
        "angry",
        "happy",
        "busy",
        "famous",
        "laughing",
        "waiting",
    ),
    "toys_and_sport": (*COLOURS, "old", "new", "broken", "plastic", "wooden", "colourful", "muddy", "lost"),
    "instruments": (
        "old",
        "polished",
        "expensive",
        "wooden",
        "loud",
        "out-of-tune",
        "broken",
        "small",
        "antique",
    ),
    "plants_and_nature": (
        "beautiful",
        "small",
        "huge",
        "bright",
        "dry",
        "wet",
        "frozen",
        "strange",
        "distant",
    ),
    "buildings_and_street": (
        "old",
        "tall",
        "small",
        "ruined",
        "modern",
        "stone",
        "colourful",
        "abandoned",
        "new",
    ),
    "office_and_school": (
        "old",
        "new",
        "red",
        "blue",
        "yellow",
        "torn",
        "empty",
        "lost",
        "thick",
        "crumpled",
    ),
    "scenes": (
        "quiet",
        "crowded",
        "sunny",
        "foggy",
        "empty",
        "beautiful",
        "dark",
        "snowy",
        "busy",
        "deserted",
    ),
}
"""Each list of nouns, and adjectives that fit most of them."""

PLACES: dict[str, tuple[str, ...]] = {
    "animals": (
        *(
            "in a field",
            "in the grass",
            "in a forest",
            "in a zoo",
            "behind a fence",
            "on a rock",
            "in the snow",
        ),
        *("near a river", "on a farm", "at night"),
    ),
    "vehicles": (
        "in the rain",
        "at night",
        "in front of a house",
        "in a museum",
        "by the sea",
        "in the snow",
    ),
    "food": (
        "on a plate",
        "on a table",
        "in a bowl",
        "on a market stall",
        "in a basket",
        "on a chopping board",
    ),
    "furniture": (
        "in a living room",
        "in a bedroom",
        "in a shop",
        "in an empty room",
        "in a corner",
        "in a hotel",
    ),
    "kitchen": ("on a table", "in a kitchen", "on a shelf", "in a sink", "in a cupboard", "on a stove"),
    "tools": (
        "on a workbench",
        "in a toolbox",
        "on the floor",
        "in a garden shed",
        "on a wall",
        "in a drawer",
    ),
    "electronics": (
        "on a desk",
        "in an office",
        "on the floor",
        "in a shop window",
        "on a shelf",
        "in a box",
    ),
    "clothing": ("on a hanger", "in a wardrobe", "on a bed", "in a shop", "on a mannequin", "in a suitcase"),
    "people": ("in a park", "on a street", "in an office", "on a stage", "at a market", "in front of a wall"),
    "toys_and_sport": (
        "on the grass",
        "in a playground",
        "on a beach",
        "in a gym",
        "on the floor",
        "in a garden",
    ),
    "instruments": (
        "on a stage",
        "in a case",
        "in a music shop",
        "on a chair",
        "in a concert hall",
        "in the street",
    ),
    "plants_and_nature": ("in spring", "in winter", "at sunrise", "at night", "seen from above", "up close"),
    "buildings_and_street": (
        "in the fog",
        "at dusk",
        "in a small town",
        "in the countryside",
        "in the snow",
        "by a road",
    ),
    "office_and_school": (
        "on a desk",
        "in a drawer",
        "on a shelf",
        "in a bag",
        "on the floor",
        "in a classroom",
    ),
    "scenes": (
        "at night",
        "at sunrise",
        "in the rain",
        "in summer",
        "in winter",
        "seen from above",
        "in the evening",
    ),
}
"""Where, or when, they are found."""

LEADS = (
    "a photo of {}",
    "a picture of {}",
    "a close-up of {}",
    "a blurry photo of {}",
    "a drawing of {}",
    "there is {} here",
    "{} and a person",
    "a cropped image of {}",
    "a toy version of {}",
)
"""Ways in which captions and prompts lead up to a thing."""

SOUND_LEADS = ("a recording of {}", "one can hear {}", "a short clip of {}")

AN_BEFORE = ("hour", "honest", "heir", "x-ray")
A_BEFORE = ("uni", "use", "one", "eu", "uku")
"""Where a vowel's spelling and its sound differ."""


@cache
def builtin_corpus() -> Corpus:
    """Several thousand English phrases for everyday things, animals, food, people, sounds and scenes.

    Variants of a noun form one group. The word lists and the grammar were written for bindplug.
    """
    group_of: dict[str, str] = {}
    for category in ADJECTIVES:
        for index, noun in enumerate(_words(category)):
            group = noun.rstrip("*")
            for phrase in _thing(category, noun, index):
                group_of.setdefault(phrase, group)
    for index, (subject, doing) in enumerate(_clauses("sounds")):
        for phrase in _sound(subject, doing, index):
            group_of.setdefault(phrase, _bare(subject))
    for subject, doing in _clauses("activities"):
        group_of.setdefault(f"{with_article(subject)} {doing}", subject)
    return Corpus("bindplug English phrases, version 1", tuple(group_of), tuple(group_of.values()))


def with_article(phrase: str) -> str:
    """The phrase with "a" or "an"; bare where a final ``*`` marks it as uncountable or plural.

    >>> with_article("apple"), with_article("rice*"), with_article("unicycle")
    ('an apple', 'rice', 'a unicycle')
    """
    if phrase.endswith("*"):
        return phrase[:-1]
    spoken = phrase.lower()
    vowel = spoken[0] in "aeiou" and not spoken.startswith(A_BEFORE)
    return f"{'an' if vowel or spoken.startswith(AN_BEFORE) else 'a'} {phrase}"


def _thing(category: str, noun: str, index: int) -> Iterator[str]:
    adjectives, places = ADJECTIVES[category], PLACES[category]
    plain = with_article(noun)
    yield plain
    first = index % len(adjectives)
    second = (first + 1 + index // len(adjectives) % (len(adjectives) - 1)) % len(adjectives)
    for place in (first, second):
        if adjectives[place] not in noun.split():
            yield with_article(f"{adjectives[place]} {noun}")
    yield f"{plain} {places[index % len(places)]}"
    yield LEADS[index % len(LEADS)].format(plain)


def _sound(subject: str, doing: str, index: int) -> Iterator[str]:
    clause = f"{subject} {doing}"
    yield clause
    yield f"the sound of {clause}"
    yield SOUND_LEADS[index % len(SOUND_LEADS)].format(clause)


def _words(name: str) -> list[str]:
    """The words of a list, in its order, each once."""
    words = [word.strip() for line in _lines(name) for word in line.split(",")]
    return list(dict.fromkeys(word for word in words if word))


def _clauses(name: str) -> Iterator[tuple[str, str]]:
    """Pairs of subject and what it does."""
    for line in _lines(name):
        subject, _, deeds = line.partition("|")
        for deed in deeds.split(","):
            yield subject.strip(), deed.strip()


def _lines(name: str) -> Sequence[str]:
    file = files("bindplug.corpus") / "words" / f"{name}.txt"
    try:
        return [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except FileNotFoundError:
        raise InputError(
            str(file), found="the word list is missing", expected="a whole installation of bindplug"
        ) from None


def _bare(subject: str) -> str:
    return subject.removeprefix("an ").removeprefix("a ")
