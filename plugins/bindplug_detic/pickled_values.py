"""Values that a pickle of numpy arrays may hold: inert names, checked types, arrays in memory of their own."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from bindplug.errors import CheckpointError

DEEPEST = 32
"""Containers within containers; a state dict has two or three."""
LONGEST_KEY = 1000
"""Characters."""
LARGEST_DIMENSION = 1 << 40
MOST_DIMENSIONS = 32
EXPECTED = "Expected numpy arrays of numbers in plain containers"

_ESCAPE = re.compile(rb"\\(x[0-9a-fA-F]{2}|[0-7]{1,3}|.)", re.DOTALL)
_ESCAPED = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"a": b"\a", b"b": b"\b", b"f": b"\f", b"v": b"\v"}
_NUMBERS = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248])")


@dataclass(frozen=True)
class Name:
    """A token for a function or class that a file names; never the function or class itself."""

    module: str
    name: str


NDARRAY = Name("numpy", "ndarray")


@dataclass(eq=False)
class Dtype:
    """A numeric type. Its byte order is set once, by the state that follows it.

    Args:
        kind: kind and size in bytes, as ``"f4"``.
        order: ``"<"``, ``">"`` or ``"="``; None until it is set.
    """

    kind: str
    order: str | None = None

    @classmethod
    def parse(cls, description: Any, *flags: Any) -> Dtype:
        """The type of numpy's description; ``flags`` say that it is a copy and are ignored.

        Raises:
            CheckpointError: it is no integer, float or boolean.
        """
        match = _NUMBERS.fullmatch(description) if type(description) is str else None
        if match is None or len(flags) > 2:
            raise CheckpointError(f"holds an array of {_type_name(description)}. {EXPECTED}")
        return cls(match[1], description[0] if description[0] in "<>=" else None)

    def set_state(self, state: Any) -> None:
        """Numpy's state: version, byte order, and six fields that have fixed values for numbers.

        Raises:
            CheckpointError: another state, or a second one.
        """
        is_plain = (
            type(state) is tuple
            and len(state) == 8
            and state[0] == 3
            and type(state[1]) is str
            and state[1] in ("<", ">", "|", "=")
            and state[2:5] == (None, None, None)
            and state[5:] == (-1, -1, 0)
        )
        if not is_plain or self.order is not None:
            raise CheckpointError(f"holds an array of a structured or altered type; refused. {EXPECTED}")
        self.order = state[1] if state[1] != "|" else "="

    @property
    def numpy(self) -> np.dtype:
        """The type for numpy."""
        return np.dtype(f"{self.order or '='}{self.kind}")


@dataclass(eq=False)
class Array:
    """An array, whose content may still follow."""

    value: np.ndarray | None = None


def _type_name(description: Any) -> str:
    is_simple = type(description) is str and re.fullmatch(r"[OSU]\d{1,4}", description)
    return str(np.dtype(description)) if is_simple else shortened(description)


def build_array(content: Any, dtype: Any, shape: Any, order: str) -> np.ndarray:
    """An array with a copy of ``content``, if type, shape and bytes belong together.

    Args:
        content: bytes, or the text of Python 2's strings.
        dtype: a :class:`Dtype`.
        shape: a tuple of numbers.
        order: ``"C"`` or ``"F"``.

    Raises:
        CheckpointError: an array of anything but numbers.
        ValueError: a shape that does not fit the bytes.
    """
    if isinstance(content, str):
        content = content.encode("latin1")
    if not isinstance(dtype, Dtype) or type(content) not in (bytes, bytearray):
        raise CheckpointError(f"holds an array of objects; refused. {EXPECTED}")
    if type(shape) is not tuple or len(shape) > MOST_DIMENSIONS:
        raise ValueError("an array without a shape, or of too many dimensions")
    if not all(type(edge) is int and 0 <= edge <= LARGEST_DIMENSION for edge in shape):
        raise ValueError("an array of an impossible shape")
    if math.prod(shape) * dtype.numpy.itemsize != len(content):
        raise ValueError(f"{len(content)} bytes for an array of another size")
    if dtype.kind == "b1":
        flat = np.frombuffer(content, dtype=np.uint8) != 0  # other bytes than 0 and 1 are no booleans
    else:
        flat = np.frombuffer(bytearray(content), dtype=dtype.numpy)
    return flat.reshape(shape, order="F" if order == "F" else "C")


def checked_key(key: Any) -> str:
    """A key of a dictionary.

    Raises:
        CheckpointError: it is not printable text, or too long.
    """
    if type(key) is not str:
        is_short = isinstance(key, (int, float, bytes, type(None)))
        raise CheckpointError(
            f"names a tensor {shortened(key) if is_short else f'a {type(key).__name__}'}; expected text"
        )
    if len(key) > LONGEST_KEY or not key.isprintable():
        raise CheckpointError(
            f"names a tensor {shortened(key)}; expected printable text of at most {LONGEST_KEY} characters"
        )
    return key


def shortened(value: Any) -> str:
    """Text, bytes or a number for a message: one line of at most 80 plain characters."""
    if isinstance(value, int) and abs(value) >= 10**30:
        return "a huge number"
    if not isinstance(value, (str, bytes, int, float, type(None))):
        return f"a {type(value).__name__}"
    text = value[:80] if isinstance(value, str) else repr(value[:80] if isinstance(value, bytes) else value)
    return ascii(text)[1:-1][:80]


def plain(value: Any, depth: int = 0, done: dict[int, tuple[Any, Any]] | None = None) -> Any:
    """A value with its arrays in place of :class:`Array`; shared containers and arrays stay shared.

    Args:
        value: from the stack of a pickle.
        depth: containers around it.
        done: for each container, by its identity: itself, which keeps the identity its own, and its plain form.

    Raises:
        CheckpointError: a token that is no value, an array without content, or containers nested too deep or in
            themselves.
    """
    done = {} if done is None else done
    if isinstance(value, Array):
        if value.value is None:
            raise CheckpointError(f"holds an array without content. {EXPECTED}")
        return value.value
    if isinstance(value, (dict, list, tuple)):
        if depth >= DEEPEST:
            raise CheckpointError(f"nests containers more than {DEEPEST} deep, or in themselves; refused")
        if id(value) not in done:
            if isinstance(value, dict):
                copy: Any = {key: plain(entry, depth + 1, done) for key, entry in value.items()}
            else:
                copy = type(value)(plain(entry, depth + 1, done) for entry in value)
            done[id(value)] = (value, copy)
        return done[id(value)][1]
    if value is None or isinstance(value, (bool, int, float, str, bytes, bytearray)):
        return value
    raise CheckpointError(f"holds a function, class or type; refused. {EXPECTED}")


def parse_integer(line: bytes) -> int | bool:
    """A number in decimal digits; 00 and 01 are booleans."""
    return line == b"01" if line in (b"00", b"01") else int(line.rstrip(b"L"))


def parse_quoted(line: bytes) -> str:
    """A string as Python 2 writes it, in quotes and with escapes."""
    line = line.strip()
    if len(line) < 2 or line[:1] not in (b"'", b'"') or line[-1:] != line[:1]:
        raise ValueError("a string without quotes")

    def unescaped(match: re.Match[bytes]) -> bytes:
        code = match[1]
        if code[:1] == b"x" and len(code) == 3:
            return bytes([int(code[1:], 16)])
        if code[:1] in b"01234567":
            return bytes([int(code, 8) & 0xFF])
        return _ESCAPED.get(code, code)

    return _ESCAPE.sub(unescaped, line[1:-1]).decode("latin1")


def parse_raw_unicode(line: bytes) -> str:
    """Text in Latin-1 with escapes.

    Raises:
        UnicodeError: lone surrogates, which are no text.
    """
    text = line.decode("raw-unicode-escape")
    text.encode("utf-8")
    return text
