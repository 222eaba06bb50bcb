"""Units of acceleration, rate of turn and time, as loggers spell them in column names.

A spelling is a product of unit words with exponents: ``m/s^2``, ``m s⁻²``, ``degrees per second``, ``milli-g``,
``100us``. A spelling that is not understood is ``None``, never a default.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

STANDARD_GRAVITY = 9.80665
"""m/s^2. Source: the SI brochure's conventional value."""
ACCELERATION, TURN_RATE, TIME = "acceleration", "turn rate", "time"

Dimensions = tuple[int, int, int]
"""Exponents of length, time and angle."""
_NONE: Dimensions = (0, 0, 0)
_KINDS: dict[Dimensions, str] = {(1, -2, 0): ACCELERATION, (0, -1, 1): TURN_RATE, (0, 1, 0): TIME}
_DEGREE = math.pi / 180


@dataclass(frozen=True)
class Unit:
    """A unit that was understood.

    Attributes:
        kind: ``"acceleration"``, ``"turn rate"`` or ``"time"``.
        scale: what one of it is in m/s^2, rad/s or s.
        text: how it was spelled.
    """

    kind: str
    scale: float
    text: str


def _words() -> dict[str, tuple[float, Dimensions]]:
    """Every unit word with its scale and dimensions."""
    length, time, angle, gravity = (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, -2, 0)
    small = {"m": 1e-3, "μ": 1e-6, "u": 1e-6, "n": 1e-9}
    long = {"milli": 1e-3, "micro": 1e-6, "nano": 1e-9}
    words: dict[str, tuple[float, Dimensions]] = {}

    def add(spellings: str, scale: float, dimensions: Dimensions) -> None:
        words.update(dict.fromkeys(spellings.split(), (scale, dimensions)))

    add("m meter meters metre metres", 1, length)
    add("mm millimeter millimeters millimetre millimetres", 1e-3, length)
    add("cm centimeter centimeters centimetre centimetres", 1e-2, length)
    add("ft foot feet", 0.3048, length)
    add("g gs g's gee gees gforce gravity gravities", STANDARD_GRAVITY, gravity)
    add("gal gals galileo", 1e-2, gravity)
    add("mgal mgals", 1e-5, gravity)
    add("rad radian radians", 1, angle)
    add("deg degs degree degrees °", _DEGREE, angle)
    add("rev revs revolution revolutions", math.tau, angle)
    add("dps", _DEGREE, (0, -1, 1))
    add("rpm", math.tau / 60, (0, -1, 1))
    add("s sec secs second seconds", 1, time)
    add("min mins minute minutes", 60, time)
    add("h hr hrs hour hours", 3600, time)
    add("d day days", 86400, time)
    for prefix, factor in small.items():
        add(f"{prefix}s {prefix}sec {prefix}secs", factor, time)
        add(f"{prefix}g {prefix}gs {prefix}gee", factor * STANDARD_GRAVITY, gravity)
        add(f"{prefix}rad", factor, angle)
        add(f"{prefix}deg {prefix}°", factor * _DEGREE, angle)
        add(f"{prefix}dps", factor * _DEGREE, (0, -1, 1))
    add("kdps", 1e3 * _DEGREE, (0, -1, 1))
    for prefix, factor in long.items():
        add(f"{prefix}s {prefix}sec {prefix}secs {prefix}second {prefix}seconds", factor, time)
        add(f"{prefix}g {prefix}gs {prefix}gee {prefix}gees", factor * STANDARD_GRAVITY, gravity)
        add(f"{prefix}rad {prefix}radian {prefix}radians", factor, angle)
        add(f"{prefix}deg {prefix}degree {prefix}degrees", factor * _DEGREE, angle)
    return words


_WORDS = _words()
_WHOLE = {
    "mps2": "m/s^2", "mpss": "m/s^2", "mps^2": "m/s^2", "ms2": "m/s^2", "ms^2": "m/s^2", "ms-2": "m/s^2",
    "ms^-2": "m/s^2", "mss": "m/s^2", "rads": "rad/s", "rads-1": "rad/s", "rads^-1": "rad/s",
    "rad s": "rad/s", "degs": "deg/s", "degs-1": "deg/s", "degs^-1": "deg/s", "deg s": "deg/s",
    "m s2": "m/s^2", "m s 2": "m/s^2", "g0": "g", "gn": "g", "g-force": "g", "standard gravity": "g", "g force": "g",
    "°s-1": "deg/s", "°s^-1": "deg/s", "radps": "rad/s", "radpers": "rad/s", "radpersec": "rad/s", "radsec": "rad/s",
    "degps": "deg/s", "degpers": "deg/s", "degpersec": "deg/s", "degsec": "deg/s", "mradps": "mrad/s",
    "mdegps": "mdeg/s", "cmps2": "cm/s^2", "mmps2": "mm/s^2", "mpers2": "m/s^2", "mpersec2": "m/s^2", "msec2": "m/s^2",
    "ftps2": "ft/s^2", "d/s": "deg/s",
}  # fmt: skip
"""Spellings run together, or without the stroke because a column name can't hold it."""
_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d+)?(?:e[+-]?\d+)?)|(?P<word>[a-zμ°']+)|(?P<mark>\*\*|[-+/*·.^()]))"
)
_LONG_PREFIX = re.compile(r"\b(milli|micro|nano|centi)[-\s]+(?=[a-z])")


def parse_unit(text: str) -> Unit | None:
    """The unit that ``text`` spells; ``None`` if it spells none of acceleration, rate of turn or time."""
    return _parse(text)


@lru_cache(maxsize=1024)
def _parse(text: str) -> Unit | None:
    plain = (
        text.replace("º", "°").replace("˚", "°").replace("’", "'").replace("Â", "")
    )  # UTF-8 read as cp1252
    plain = unicodedata.normalize("NFKC", plain).strip().lower()
    plain = plain.translate({0x2212: "-", 0x2215: "/", 0x2044: "/", 0x22C5: "·", 0x2219: "·", 0xD7: "*"})
    plain = _LONG_PREFIX.sub(r"\1", " ".join(plain.split()))
    plain = _WHOLE.get(plain, plain)
    try:
        tokens = list(_tokens(plain))
        scale, dimensions, end = _product(tokens, 0)
    except (KeyError, ValueError, IndexError, OverflowError, ZeroDivisionError):
        return None
    kind = _KINDS.get(dimensions)
    if end != len(tokens) or kind is None or not (math.isfinite(scale) and scale > 0):
        return None
    return Unit(kind, scale, text.strip())


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise ValueError(text)
        assert match.lastgroup is not None
        yield match.lastgroup, match.group(match.lastgroup)
        position = match.end()


def _product(tokens: list[tuple[str, str]], start: int) -> tuple[float, Dimensions, int]:
    """Factors up to the end or a closing bracket: scale, dimensions and where it ends."""
    scale, dimensions, index = 1.0, _NONE, start
    divide, power, factors = False, 1, 0
    while index < len(tokens) and tokens[index] != ("mark", ")"):
        kind, token = tokens[index]
        if token == "/" or token == "per":
            if divide or (factors == 0 and token == "per"):
                raise ValueError("two strokes")
            divide = True
        elif token in ("*", "·", ".", "-"):
            if not factors or divide:
                raise ValueError("an operator without a factor")
        elif token == "square":
            power = 2
        else:
            if kind == "number" and any(kind == "word" for kind, _ in tokens[:index]):
                raise ValueError("a number after a unit")  # m/s^2 * 100: of one or of a hundred?
            factor, base, index = _factor(tokens, index)
            exponent, index = _exponent(tokens, index + 1)
            sign = -exponent * power if divide else exponent * power
            scale *= factor**sign
            dimensions = (
                dimensions[0] + base[0] * sign,
                dimensions[1] + base[1] * sign,
                dimensions[2] + base[2] * sign,
            )
            divide, power, factors = False, 1, factors + 1
            continue
        index += 1
    if divide or not factors:
        raise ValueError("a stroke without a factor")
    return scale, dimensions, index


def _factor(tokens: list[tuple[str, str]], index: int) -> tuple[float, Dimensions, int]:
    """One number, word or bracket: scale, dimensions and the index of its last token."""
    kind, token = tokens[index]
    if kind == "number":
        return float(token), _NONE, index
    if kind == "word":
        scale, dimensions = _WORDS[token]
        return scale, dimensions, index
    if token != "(":
        raise ValueError(token)
    scale, dimensions, end = _product(tokens, index + 1)
    if tokens[end] != ("mark", ")"):
        raise ValueError("an open bracket")
    return scale, dimensions, end


def _exponent(tokens: list[tuple[str, str]], index: int) -> tuple[int, int]:
    """The exponent that follows a factor, 1 if none does, and the index after it."""
    start, sign = index, 1
    if index < len(tokens) and tokens[index] == ("word", "squared"):
        return 2, index + 1
    marked = index < len(tokens) and tokens[index][1] in ("^", "**")
    index += marked
    bracket = marked and index < len(tokens) and tokens[index] == ("mark", "(")
    index += bracket
    if index < len(tokens) and tokens[index][1] in ("-", "+"):
        sign = -1 if tokens[index][1] == "-" else 1
        index += 1
    if index < len(tokens) and tokens[index][0] == "number" and tokens[start - 1][0] != "number":
        exponent = sign * int(tokens[index][1])
        if abs(exponent) > 4:
            raise ValueError("an exponent beyond any unit")
        index += 1
        if bracket:
            if tokens[index] != ("mark", ")"):
                raise ValueError("an open bracket")
            index += 1
        return exponent, index
    if marked:
        raise ValueError("no exponent")
    return 1, start
