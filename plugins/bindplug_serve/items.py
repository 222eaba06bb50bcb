"""What a request asks to embed, and the query it becomes. Sources come as data in the request, never as addresses."""

from __future__ import annotations

import base64
import binascii
import io
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from bindplug.errors import InputError, NoDirection
from bindplug.modality import Modality
from bindplug.query import CANCELLED, AnyLeaf, Leaf, Query

SENSES = tuple(modality.value for modality in Modality)
SenseName = Literal["image", "video", "text", "audio", "depth", "thermal", "imu"]
MOST_TERMS = 32
LONGEST_TEXT = 20_000
"""Characters; CLIP's context of 77 tokens is a few hundred."""
LONGEST_FILENAME = 200
DATA_URI = re.compile(
    r"\s*data:(?P<kind>[\w.+-]+/[\w.+-]+)?(?P<options>(;[\w.+-]+=[^;,]*)*)(?P<base64>;base64)?,",
    re.IGNORECASE,
)
ADDRESS = re.compile(r"\s*[a-zA-Z][a-zA-Z0-9+.-]*://")
EXPECTED = "base64, or a data URI with base64 in it"
Scalar = bool | int | float | str
OptionValue = Scalar | list[Scalar] | dict[str, Scalar | list[Scalar]]

READER_OPTIONS: dict[str, frozenset[str]] = {
    "text": frozenset({"truncate"}),
    "image": frozenset({"exif", "alpha"}),
    "video": frozenset({"start", "end"}),
    "audio": frozenset({"channel", "full_scale", "start", "end"}),
    "depth": frozenset({"preset", "unit", "focal", "baseline", "cap", "channel", "exif"}),
    "thermal": frozenset({"preset", "unit", "range", "percentiles", "polarity", "channel", "exif"}),
    "imu": frozenset(
        {
            "sample_rate", "preset", "normalize", "acc_unit", "gyro_unit", "time_unit", "columns", "layout", "sort",
            "long_gaps", "ignore_clock", "start", "end",
        }
    ),
}  # fmt: skip
"""Options of readers that a request may set: those that open no further source and multiply no work."""
FLAGS = frozenset({"exif", "truncate", "sort", "ignore_clock"})
"""Options that are true or false: a text such as "false" would be taken for true."""
NUMBERS = frozenset({"start", "end", "full_scale", "focal", "baseline", "cap", "sample_rate"})


class Item(BaseModel):
    """One source of one sense."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    text: str | None = Field(default=None, description="A sentence.", max_length=LONGEST_TEXT)
    image: str | None = Field(default=None, description="A picture file, as a data URI or base64.")
    video: str | None = Field(default=None, description="A video file, as a data URI or base64.")
    audio: str | None = Field(default=None, description="A sound file, as a data URI or base64.")
    depth: str | None = Field(default=None, description="A depth map, as a data URI or base64.")
    thermal: str | None = Field(default=None, description="A thermal picture, as a data URI or base64.")
    imu: str | None = Field(default=None, description="A motion log, as a data URI or base64.")
    filename: str | None = Field(
        default=None,
        description="The file's name, which tells some formats and units apart. Nothing is opened by it.",
        max_length=LONGEST_FILENAME,
    )
    options: dict[str, OptionValue] | None = Field(
        default=None, description='Options of the reader, as {"unit": "mm"} for a depth map.'
    )

    @model_validator(mode="after")
    def _check_senses(self) -> Item:
        senses = [sense for sense in SENSES if getattr(self, sense) is not None]
        if len(senses) != 1:
            raise ValueError(
                f"an item holds one of {', '.join(SENSES)}; this one holds {' and '.join(senses) or 'none'}. "
                f'For a sum write {{"terms": [...]}}'
            )
        return self

    @property
    def sense(self) -> str:
        """Name of the modality."""
        return next(sense for sense in SENSES if getattr(self, sense) is not None)


class Term(Item):
    """A source and its weight in a sum."""

    weight: float = Field(default=1.0, description="Negative to lead away from the source.", ge=-1e6, le=1e6)


class Sum(BaseModel):
    """A weighted sum of sources of any senses: unit rows are added by weight, and the sum is normalized."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    terms: list[Term] = Field(min_length=1, max_length=MOST_TERMS)


TAG = "@"
"""Begins the names of forms, which pydantic puts among the names of fields in the place of an error."""


def _form_of(value: Any) -> str | None:
    if isinstance(value, str):
        return "@text"
    if isinstance(value, Sum) or (isinstance(value, dict) and "terms" in value):
        return "@sum"
    return "@item" if isinstance(value, (Item, dict)) else None


def _form_of_items(value: Any) -> str | None:
    return "@list" if isinstance(value, list) else "@one"


AnyItem = Annotated[
    Annotated[Annotated[str, Field(max_length=LONGEST_TEXT)], Tag("@text")]
    | Annotated[Item, Tag("@item")]
    | Annotated[Sum, Tag("@sum")],
    Discriminator(
        _form_of,
        custom_error_type="item_type",
        custom_error_message='expected a string, an object such as {"audio": "data:audio/wav;base64,..."}, or a sum '
        '{"terms": [...]}; tokens of OpenAI\'s tokenizers mean nothing to this model: send the text itself',
    ),
]
"""A sentence, a source or a sum."""
Items = Annotated[
    Annotated[AnyItem, Tag("@one")] | Annotated[list[AnyItem], Tag("@list")], Discriminator(_form_of_items)
]
"""One of these, or a list of them."""


class Upload(io.BytesIO):
    """Bytes of a request under the name that the sender gave them.

    Args:
        data: the bytes.
        name: a file's name without directories; readers look at it and open nothing by it.
    """

    def __init__(self, data: bytes, name: str) -> None:
        super().__init__(data)
        self.name = name


def query_of(item: str | Item | Sum) -> Query:
    """The query for an item.

    Raises:
        InputError: a source is neither base64 nor a data URI, or an option is not one that a request may set.
        NoDirection: the terms of a sum cancel.
    """
    if isinstance(item, str):
        return Query([(1.0, _leaf_of(Item(text=item)))])
    if isinstance(item, Item):
        return Query([(1.0, _leaf_of(item))])
    terms: list[tuple[float, AnyLeaf]] = [(term.weight, _leaf_of(term)) for term in item.terms]
    query = Query(terms)
    if not query.terms:
        raise NoDirection(CANCELLED)
    return query


def _leaf_of(item: Item) -> Leaf:
    sense = item.sense
    value = getattr(item, sense)
    check_options(sense, item.options or {})
    if sense == "text":
        _refuse_data(value)
        return leaf_of(sense, value, options=item.options)
    return leaf_of(sense, decode(value, sense), name=item.filename, options=item.options)


def leaf_of(
    sense: str,
    source: str | bytes,
    *,
    name: str | None = None,
    options: Mapping[str, OptionValue] | None = None,
) -> Leaf:
    """A source that somebody sent: a sentence, or the bytes of a file.

    Args:
        sense: name of the modality.
        source: the sentence, or the bytes.
        name: the file's name, which tells some formats and units apart; nothing is opened by it.
        options: of the reader.

    Raises:
        InputError: an option is not one that a request may set.
    """
    settings = options or {}
    check_options(sense, settings)
    name = name and _base_name(name)
    if isinstance(source, bytes) and name:
        return Leaf(Modality.parse(sense), Upload(source, name), settings)
    return Leaf(Modality.parse(sense), source, settings)


def check_options(sense: str, options: Mapping[str, OptionValue]) -> None:
    """Refuse options of a reader that a request may not set: those that open further sources or multiply work.

    Args:
        sense: name of the modality.
        options: by name.

    Raises:
        InputError: naming the option.
    """
    unknown = sorted(set(options) - READER_OPTIONS[sense])
    if unknown:
        expected = ", ".join(sorted(READER_OPTIONS[sense]))
        raise InputError(f"options of {sense}", found=f"{unknown[0]!r}", expected=f"one of {expected}")
    for option, setting in options.items():
        _check_option(sense, option, setting)


def _check_option(sense: str, name: str, value: OptionValue) -> None:
    if name in FLAGS and not isinstance(value, bool):
        expected = "true or false"
    elif name in NUMBERS and (isinstance(value, bool) or not isinstance(value, (int, float))):
        expected = "a number"
    else:
        return
    problem = f"{name} as a {type(value).__name__}"
    raise InputError(f"options of {sense}", found=problem, expected=expected)


def _base_name(filename: str) -> str:
    """The last part of a name, whichever system wrote it, without control characters."""
    name = re.split(r"[/\\]", filename)[-1]
    return "".join(character for character in name if character.isprintable())


def _refuse_data(text: str) -> None:
    """Data that was sent as a sentence would be embedded as its letters."""
    match = DATA_URI.match(text)
    if match and match["base64"]:
        sense = (match["kind"] or "image/").lower().split("/")[0]
        sense = sense if sense in SENSES else "image"
        raise InputError(
            "text", found="a data URI", expected="a sentence", remedy=f'Send it as {{"{sense}": "data:..."}}.'
        )


def decode(value: str, sense: str) -> bytes:
    """The bytes in a data URI or in base64.

    Args:
        value: what the request holds.
        sense: name of the modality, for the error.

    Raises:
        InputError: it is an address, a path, damaged or empty.
    """
    match = DATA_URI.match(value)
    if match and not match["base64"]:
        raise InputError(sense, found="a data URI without base64", expected=EXPECTED)
    if not match and ADDRESS.match(value):
        remedy = "Addresses are not opened; send the data itself."
        raise InputError(sense, found="an address", expected=EXPECTED, remedy=remedy)
    text = value[match.end() :] if match else value
    try:
        data = base64.b64decode(_joined(text), validate=True)
    except (binascii.Error, ValueError):
        remedy = "Files of the server are not opened; send the data itself."
        problem = f"{len(text)} characters that are not base64"
        raise InputError(sense, found=problem, expected=EXPECTED, remedy=remedy) from None
    if not data:
        raise InputError(sense, found="no data", expected=EXPECTED)
    return data


def _joined(text: str) -> str:
    """Base64 without its line ends, and with its padding, which some writers leave out."""
    if any(mark in text for mark in "\r\n "):
        text = re.sub(r"[\r\n ]+", "", text)
    return text if text.endswith("=") else text + "=" * (-len(text) % 4)
