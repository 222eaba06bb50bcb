"""Sentences about scenes, and the prompt forms around them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bindplug_toyworld.things import Thing

PROMPTS = (
    "a photo of {}.", "a photo of {}", "a drawing of {}.", "a drawing of {}", "there is {}", "there is {} here.",
    "a picture of {}.", "an image of {}.", "a blurry photo of {}.", "a bad photo of {}.", "a good photo of {}.",
    "a bright photo of {}.", "a dark photo of {}.", "a cropped photo of {}.", "a close-up photo of {}.",
    "a low resolution photo of {}.", "a black and white photo of {}.", "a pixelated photo of {}.",
    "a photo of one {bare}.", "a photo of the {bare}.", "a photo of my {bare}.", "a photo of a nice {bare}.",
    "a photo of a weird {bare}.", "a photo of a small {bare}.", "a photo of a large {bare}.",
    "a photo of a clean {bare}.", "a photo of a dirty {bare}.", "a photo of a cool {bare}.",
    "a bad photo of the {bare}.", "a bright photo of the {bare}.", "a rendering of {}.", "a rendition of {}.",
    "a painting of {}.", "a sketch of {}.", "a doodle of {}.", "a sculpture of {}.", "art of {}.", "graffiti of {}.",
    "a tattoo of {}.", "a jpeg corrupted photo of {}.", "a cartoon {bare}.", "a toy {bare}.", "a plastic {bare}.",
    "an origami {bare}.", "a plushie {bare}.", "an embroidered {bare}.", "the {bare} in a video game.",
    "{} in a video game.", "itap of {}.", "itap of my {bare}.", "i can see {}", "look, {}!", "this is {}.",
)  # fmt: skip
"""Prompt forms; ``{}`` takes a phrase with its article, ``{bare}`` one without."""

_SIZES = {"small": ("small", "little", "tiny"), "large": ("large", "big", "huge")}
_PLACES = {
    "left": ("on the left", "on the left side", "at the left"),
    "right": ("on the right", "on the right side", "at the right"),
    "top": ("at the top", "up high"),
    "bottom": ("at the bottom", "low down"),
    "center": ("in the centre", "in the middle", "in the center"),
}
_LINKS = ("{} and {}", "{} and {}", "{} next to {}", "{} beside {}", "{} with {}", "{} together with {}")


@dataclass(frozen=True)
class Mention:
    """What a caption may say of one thing.

    Args:
        thing: which.
        color: the name of its body color.
        place: ``"left" "right" "top" "bottom" "center"`` or ``""``.
        size: ``"small" "large"`` or ``""``.
        x: where its middle is across the picture, 0 to 1.
    """

    thing: Thing
    color: str
    place: str
    size: str
    x: float


def _pick(rng: np.random.Generator, options: Sequence[str]) -> str:
    return options[int(rng.integers(len(options)))]


def _article(phrase: str) -> str:
    return "an" if phrase[0] in "aeiou" else "a"


def _bare_phrase(mention: Mention, rng: np.random.Generator, plain: bool) -> str:
    """A noun phrase without article: size, color, noun, shirt."""
    thing = mention.thing
    noun = _pick(rng, thing.synonyms)
    if plain:
        return thing.noun if rng.random() < 0.7 else noun
    color = "gray" if mention.color == "grey" and rng.random() < 0.3 else mention.color
    has_color = bool(thing.color_form) and rng.random() < 0.55
    words = noun
    if has_color and thing.color_form == "before":
        words = f"{color} {noun}"
    elif has_color:
        words = f"{noun} in {_article(color)} {color} {_pick(rng, ('shirt', 'top', 'jacket'))}"
    if mention.size and thing.countable and rng.random() < 0.4:
        words = f"{_pick(rng, _SIZES[mention.size])} {words}"
    return words


def _with_article(bare: str, thing: Thing, rng: np.random.Generator) -> str:
    head = bare.split(" ")[-1]
    if not thing.countable and head == "rain":
        # class-name prompts put an article before every noun, so captions do now and then
        return f"a {bare}" if rng.random() < 0.2 and bare == "rain" else bare
    return f"{_article(bare)} {bare}"


def single_caption(mention: Mention, phrases: Sequence[str], rng: np.random.Generator) -> str:
    """One sentence about a scene of one thing.

    Args:
        mention: the thing.
        phrases: ways to name the setting; may be empty.
        rng: picks the words.
    """
    plain = rng.random() < 0.35
    bare = _bare_phrase(mention, rng, plain)
    tail = ""
    if not plain:
        if mention.place and rng.random() < 0.4:
            tail += f" {_pick(rng, _PLACES[mention.place])}"
        if phrases and rng.random() < 0.3:
            tail += f" {_pick(rng, phrases)}"
    full = _with_article(bare, mention.thing, rng)
    if rng.random() < (0.8 if plain else 0.4):
        untrue = [f" {word} {{bare}}" for word in _SIZES if word != mention.size]
        form = _pick(rng, [form for form in PROMPTS if not any(size in form for size in untrue)])
        if "{bare}" in form:
            return form.replace("{bare}", bare if mention.size == "" or plain else mention.thing.noun)
        return form.replace("{}", full + tail)
    return full + tail


def group_caption(mentions: Sequence[Mention], phrases: Sequence[str], rng: np.random.Generator) -> str:
    """One sentence about a scene of several things; naming all of them."""
    shuffled_mentions = [mentions[i] for i in rng.permutation(len(mentions))]
    names = [_with_article(_bare_phrase(m, rng, rng.random() < 0.4), m.thing, rng) for m in shuffled_mentions]
    if len(names) == 2:
        first, second = shuffled_mentions
        if abs(first.x - second.x) > 0.2 and rng.random() < 0.4:
            sides = ("left", "right") if first.x < second.x else ("right", "left")
            sentence = f"{names[0]} on the {sides[0]} and {names[1]} on the {sides[1]}"
        else:
            sentence = _pick(rng, _LINKS).format(*names)
    else:
        sentence = f"{', '.join(names[:-1])} and {names[-1]}"
    if phrases and rng.random() < 0.2:
        sentence += f" {_pick(rng, phrases)}"
    if rng.random() < 0.45:
        forms = [form for form in PROMPTS if "{bare}" not in form]
        return _pick(rng, forms).replace("{}", sentence)
    return sentence
