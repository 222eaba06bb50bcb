"""What a person gave, as sources of a query."""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bindplug.errors import InputError
from bindplug.query import Leaf
from bindplug_app.finder import Term
from bindplug_app.previews import KINDS
from bindplug_serve import leaf_of

LONGEST_TEXT = 20_000
SEEDS = 2**32


def kind_of(label: str) -> str:
    """The name of the modality with a label of :data:`~bindplug_app.previews.KINDS`.

    Raises:
        InputError: there is none.
    """
    for kind, name in KINDS.items():
        if name == label:
            return kind
    raise InputError("the kind", found=repr(label), expected=f"one of {', '.join(KINDS.values())}")


def term_of(
    kind: str, words: str | None, file: str | None, options: str = "", weight: float = 1.0, *, place: str = ""
) -> Term | None:
    """A source and its weight; None where nothing was given.

    Args:
        kind: name of the modality.
        words: what was typed, for ``"text"``.
        file: path of the upload, for all others.
        options: of the reader, as ``unit=mm channel=Z``.
        weight: 0 leaves the source out.
        place: what the words are called in errors.

    Raises:
        InputError: the text is too long, the upload is gone, or an option is none of the reader.
    """
    settings = reader_options(options)
    if kind == "text":
        sentence = (words or "").strip()
        if len(sentence) > LONGEST_TEXT:
            raise InputError(place, found=f"{len(sentence)} characters", expected=f"at most {LONGEST_TEXT}")
        return Term(leaf_of("text", sentence), weight) if sentence and weight else None
    return Term(file_leaf(kind, file, settings), weight) if file and weight else None


def terms_of(values: Sequence[Any]) -> tuple[list[Term], list[str]]:
    """The sources of a query, and what there is to say about them.

    Args:
        values: of the fields: kind as people call it, words, sound, file and options of the first source; whether
            there is a second; the same five of the second; its weight.

    Raises:
        InputError: as :func:`term_of`, or a kind is none.
    """
    first, has_second, second, weight = values[:5], values[5], values[6:11], float(values[11] or 0)
    terms = [_term(first, 1.0, "the first words")]
    if has_second and weight:
        terms.append(_term(second, weight, "the second words"))
    sources = [term for term in terms if term is not None]
    is_alone = len(sources) == 1 and len(terms) == 2
    return sources, ["One of the two is empty; the other counts alone."] if is_alone else []


def _term(values: Sequence[Any], weight: float, place: str) -> Term | None:
    label, words, sound, file, options = values
    kind = kind_of(label)
    return term_of(kind, words, sound if kind == "audio" else file, options or "", weight, place=place)


def file_leaf(kind: str, file: str, options: Mapping[str, Any] | None = None) -> Leaf:
    """An upload as a source: its bytes, so that no reader looks for anything beside it.

    Raises:
        InputError: it is gone, or an option is none of the reader.
    """
    name = os.path.basename(file)  # noqa: PTH119 (a name may be no UTF-8)
    try:
        data = Path(file).read_bytes()
    except OSError:
        raise InputError(
            name, found="a file that is no longer here", expected="one that was sent within the hour",
            remedy="Send it again.",
        ) from None  # fmt: skip
    if not data:
        raise InputError(name, found="an empty file", expected="a file with something in it")
    return leaf_of(kind, data, name=name, options=dict(options or {}))


def reader_options(text: str) -> dict[str, Any]:
    """``unit=mm channel=Z`` as options of a reader; values that are JSON are taken as such.

    Raises:
        InputError: a part has another form, or an option stands there twice.
    """
    options: dict[str, Any] = {}
    for part in re.split(r"[\s,;]+(?=\w+=)", text.strip()) if text.strip() else []:
        name, equals, value = part.partition("=")
        if not equals or not name.isidentifier() or not value:
            raise InputError("reader options", found=repr(part), expected="NAME=VALUE, as unit=mm")
        if name in options:
            raise InputError("reader options", found=f"{name}= twice", expected="each option once")
        try:
            options[name] = json.loads(value)
        except (ValueError, RecursionError):
            options[name] = value
    return options


def seed_of(text: str | None) -> int:
    """The number that was typed, or a random one.

    Raises:
        InputError: it is none from 0 to 2**32 - 1.
    """
    digits = (text or "").strip()
    if not digits:
        return secrets.randbelow(SEEDS)
    if not digits.isdecimal() or len(digits) > 10 or int(digits) >= SEEDS:
        raise InputError("seed", found=repr(digits[:40]), expected=f"a whole number from 0 to {SEEDS - 1}")
    return int(digits)
