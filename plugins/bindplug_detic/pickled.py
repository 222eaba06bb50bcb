"""Read the pickled numpy arrays of a detectron2 checkpoint, and nothing else that a pickle can hold.

Python's unpickler calls whatever a file names, and even numpy's own constructors can be called with arguments that read
or write foreign memory. Here the file's instructions are interpreted without it: a name is an inert token, arrays and
scalars are built by our own code from checked types, shapes and bytes, and everything else is refused.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from bindplug.errors import CheckpointError
from bindplug_detic.pickled_values import (
    EXPECTED,
    NDARRAY,
    Array,
    Dtype,
    Name,
    build_array,
    checked_key,
    parse_integer,
    parse_quoted,
    parse_raw_unicode,
    plain,
    shortened,
)

LEGACY_TORCH = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"
"""First bytes of PyTorch's format before 1.6: a pickled magic number, 0x1950A86A20F9469CFC6C."""
MOST_INSTRUCTIONS = 500_000
"""An array takes about thirty, so this is many times the largest detector; interpreting them takes seconds."""
LARGEST_STACK = 1 << 17
"""Values waiting to be put into a container; picklers write at most 1000 entries at a time."""
LONGEST_NAME = 1000
"""Characters of a module or of a name in it."""
LONGEST_NUMBER = 32
"""Characters or bytes of a number."""

_MARK = object()


def read_pickle(path: Path) -> object:
    """The content of a pickle of numpy arrays and plain containers.

    Args:
        path: of the file. Strings of Python 2 are read as Latin-1, as its arrays' bytes require.

    Returns:
        Dictionaries with text as keys, lists, tuples, text, bytes, numbers, None, and arrays of integers, floats and
        booleans; a numpy scalar is an array without dimensions.

    Raises:
        CheckpointError: the file is empty or damaged, or holds anything else; what it names is in the message and is
            not called.
    """
    with path.open("rb") as file:
        start = file.read(len(LEGACY_TORCH))
        if not start:
            raise CheckpointError(f"{path} is empty; download it again")
        if start == LEGACY_TORCH:
            raise CheckpointError(
                f"{path} is in PyTorch's format from before 1.6; save it again with "
                f"torch.save(torch.load({path.name!r}, weights_only=True), ...) of a newer PyTorch"
            )
        size = file.seek(0, 2)
        file.seek(0)
        try:
            return plain(_Interpreter(file, size).run())
        except CheckpointError as error:
            raise CheckpointError(f"{path} {error}") from None
        # arbitrary bytes can raise almost anything: an empty stack, numbers out of range, text that is none
        except Exception as error:
            reason = shortened((str(error) or type(error).__name__).splitlines()[0])
            raise CheckpointError(
                f"{path} is damaged, truncated or no checkpoint ({reason}); download it again"
            ) from error


class _Interpreter:
    """Executes the instructions of one pickle on a stack of plain values and tokens.

    Args:
        file: at its start.
        size: of the file in bytes. No string in it can be longer, and what is made of its strings not much larger.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.file, self.remaining = file, size
        self.allowance = 4 * size + 4096
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        """The value that the pickle leaves."""
        for _ in range(MOST_INSTRUCTIONS):
            code = self.read(1)
            if code == b".":
                return self.pop()
            if code in _REFUSED:
                raise CheckpointError(f"{_REFUSED[code]}; refused. {EXPECTED}")
            if code not in _ACTIONS:
                raise ValueError(f"there is no instruction {code!r}")
            _ACTIONS[code](self)
            if len(self.stack) > LARGEST_STACK:
                break
        raise CheckpointError(f"nests or lists more values than any checkpoint does; refused. {EXPECTED}")

    def read(self, count: int) -> bytes:
        """The next bytes of the file; memory is taken only for what the file can hold."""
        content = self.file.read(count) if 0 <= count <= self.remaining else b""
        self.remaining -= len(content)
        if len(content) != count:
            raise ValueError("the file ends too early")
        return content

    def line(self, longest: int = -1) -> bytes:
        """The rest of a line, without its end."""
        content = self.file.readline(longest + 1 if longest >= 0 else -1)
        self.remaining -= len(content)
        if not content.endswith(b"\n"):
            raise ValueError("a line has no end")
        return content[:-1]

    def number(self, format: str) -> int:
        """A number in a ``struct`` format."""
        return int(struct.unpack(format, self.read(struct.calcsize(format)))[0])

    def sized(self, format: str, longest: int | None = None) -> bytes:
        """A string of bytes after its length, which has a ``struct`` format."""
        length = self.number(format)
        if longest is not None and length > longest:
            raise ValueError("a number is too long")
        return self.read(length)

    def charge(self, size: int) -> None:
        """Refuses files that make much memory of few bytes, by using some of them again and again."""
        self.allowance -= size
        if self.allowance < 0:
            raise CheckpointError(f"holds more content than the file is long; refused. {EXPECTED}")

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        value = self.stack.pop()
        if value is _MARK:
            raise ValueError("a value is missing")
        return value

    def pop_to_mark(self) -> list[Any]:
        """The values above the last mark, which is removed too."""
        for start in range(len(self.stack) - 1, -1, -1):
            if self.stack[start] is _MARK:
                values = self.stack[start + 1 :]
                del self.stack[start:]
                return values
        raise ValueError("a mark is missing")

    def push_tuple(self, count: int) -> None:
        values = [self.pop() for _ in range(count)]
        self.push(tuple(reversed(values)))

    def push_dict(self) -> None:
        values = self.pop_to_mark()
        self.push({})
        self.set_items(values)

    def memoize(self, index: int) -> None:
        if self.stack[-1] is _MARK or index < 0:
            raise ValueError("a value is missing")
        self.memo[index] = self.stack[-1]

    def extend(self, values: list[Any]) -> None:
        if type(self.stack[-1]) is not list:
            raise ValueError("a list is missing")
        self.stack[-1].extend(values)

    def set_items(self, values: list[Any]) -> None:
        if type(self.stack[-1]) is not dict or len(values) % 2:
            raise ValueError("a dictionary or a value is missing")
        for key, value in zip(values[::2], values[1::2], strict=True):
            self.stack[-1][checked_key(key)] = value

    def set_item(self) -> None:
        value, key = self.pop(), self.pop()
        self.set_items([key, value])

    def name(self, module: Any, name: Any) -> None:
        """A token for an allowed name."""
        if not (isinstance(module, str) and isinstance(name, str)):
            raise CheckpointError(f"asks for a name that is not text; refused. {EXPECTED}")
        token = Name(module.replace("numpy._core", "numpy.core"), name)  # numpy 2 moved it
        if token not in _CALLS and token != NDARRAY:
            raise CheckpointError(
                f"asks for {shortened(module)}.{shortened(name)}, which a pickle could run when read; refused. "
                f"{EXPECTED}"
            )
        self.push(token)

    def name_from_stack(self) -> None:
        name, module = self.pop(), self.pop()
        self.name(module, name)

    def call(self) -> None:
        """Our own code for an allowed name."""
        arguments, token = self.pop(), self.pop()
        if not isinstance(token, Name) or token not in _CALLS or type(arguments) is not tuple:
            what = f"{token.module}.{token.name}" if isinstance(token, Name) else "what is no function"
            raise CheckpointError(f"calls {what}; refused. {EXPECTED}")
        self.push(_CALLS[token](self, *arguments))

    def set_state(self) -> None:
        """The state of a type or of an array; nothing else has one."""
        state, target = self.pop(), self.stack[-1]
        if isinstance(target, Dtype):
            target.set_state(state)
        elif isinstance(target, Array):
            is_plain = type(state) is tuple and (len(state) == 4 or (len(state) == 5 and state[0] in (0, 1)))
            if target.value is not None or not is_plain:
                raise CheckpointError(
                    f"sets an array's content twice or in another form; refused. {EXPECTED}"
                )
            shape, dtype, is_fortran, content = state[-4:]
            target.value = self.array(content, dtype, shape, "F" if is_fortran else "C")
        else:
            raise CheckpointError(f"sets the state of what has none; refused. {EXPECTED}")

    def array(self, content: Any, dtype: Any, shape: Any, order: str) -> Any:
        """See :func:`build_array`."""
        self.charge(len(content) if isinstance(content, (str, bytes, bytearray)) else 0)
        return build_array(content, dtype, shape, order)


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """How protocol 2 carries bytes."""
    if encoding not in ("latin1", "latin-1"):
        raise CheckpointError(f"carries bytes as {shortened(encoding)}; expected Latin-1")
    return text.encode("latin1")


def _call_encode(interpreter: _Interpreter, text: Any, encoding: Any = "latin1") -> bytes:
    if type(text) is not str or type(encoding) is not str:
        raise ValueError("bytes that are not text")
    interpreter.charge(len(text))
    return _encode(text, encoding)


def _call_bytes(interpreter: _Interpreter) -> bytes:
    """How protocol 2 carries an empty array's bytes."""
    return b""


def _call_ordered_dict(interpreter: _Interpreter, pairs: Any = ()) -> dict[str, Any]:
    if type(pairs) not in (tuple, list):
        raise ValueError("an ordered dictionary of something else than pairs")
    interpreter.charge(len(pairs))
    if not all(type(pair) in (tuple, list) and len(pair) == 2 for pair in pairs):
        raise ValueError("an ordered dictionary of something else than pairs")
    return {checked_key(key): value for key, value in pairs}


def _call_dtype(interpreter: _Interpreter, description: Any, *flags: Any) -> Dtype:
    return Dtype.parse(description, *flags)


def _call_reconstruct(interpreter: _Interpreter, kind: Any, shape: Any, code: Any) -> Array:
    """An array whose content follows as its state."""
    if kind != NDARRAY or shape != (0,) or code not in (b"b", "b"):
        raise CheckpointError(f"holds an array of another form; refused. {EXPECTED}")
    return Array()


def _call_scalar(interpreter: _Interpreter, dtype: Any, content: Any = None) -> Array:
    return Array(interpreter.array(content, dtype, (), "C"))


def _call_from_buffer(
    interpreter: _Interpreter, content: Any, dtype: Any, shape: Any, order: Any, axes: Any = None
) -> Array:
    """How protocol 5 carries arrays; the axes of the content may be permuted."""
    array = interpreter.array(content, dtype, shape, "F" if order == "F" else "C")
    if axes is not None:
        if type(axes) is not tuple or not all(type(axis) is int for axis in axes):
            raise ValueError("axes that are not numbers")
        array = array.transpose(axes)
    return Array(array)


_CALLS: dict[Name, Callable[..., Any]] = {
    Name("collections", "OrderedDict"): _call_ordered_dict,
    Name("numpy", "dtype"): _call_dtype,
    Name("numpy.core.multiarray", "_reconstruct"): _call_reconstruct,
    Name("numpy.core.multiarray", "scalar"): _call_scalar,
    Name("numpy.core.numeric", "_frombuffer"): _call_from_buffer,
    Name("_codecs", "encode"): _call_encode,
    Name("__builtin__", "bytes"): _call_bytes,
    Name("builtins", "bytes"): _call_bytes,
}
"""Everything that a file may call, beside the class of arrays, which it may only name."""

_ACTIONS: dict[bytes, Callable[[_Interpreter], Any]] = {
    # protocol and frames, which only group instructions
    b"\x80": lambda s: s.read(1),
    b"\x95": lambda s: s.read(8),
    # the stack and the memo
    b"(": lambda s: s.push(_MARK),
    b"0": lambda s: s.stack.pop(),
    b"1": lambda s: s.pop_to_mark(),
    b"2": lambda s: s.push(s.stack[-1]),
    b"p": lambda s: s.memoize(int(s.line(LONGEST_NUMBER))),
    b"q": lambda s: s.memoize(s.number("<B")),
    b"r": lambda s: s.memoize(s.number("<I")),
    b"\x94": lambda s: s.memoize(len(s.memo)),
    b"g": lambda s: s.push(s.memo[int(s.line(LONGEST_NUMBER))]),
    b"h": lambda s: s.push(s.memo[s.number("<B")]),
    b"j": lambda s: s.push(s.memo[s.number("<I")]),
    # constants and numbers
    b"N": lambda s: s.push(None),
    b"\x88": lambda s: s.push(True),
    b"\x89": lambda s: s.push(False),
    b"I": lambda s: s.push(parse_integer(s.line(LONGEST_NUMBER))),
    b"L": lambda s: s.push(parse_integer(s.line(LONGEST_NUMBER))),
    b"J": lambda s: s.push(s.number("<i")),
    b"K": lambda s: s.push(s.number("<B")),
    b"M": lambda s: s.push(s.number("<H")),
    b"\x8a": lambda s: s.push(int.from_bytes(s.sized("<B", LONGEST_NUMBER), "little", signed=True)),
    b"F": lambda s: s.push(float(s.line(LONGEST_NUMBER))),
    b"G": lambda s: s.push(struct.unpack(">d", s.read(8))[0]),
    # text and bytes; Python 2's strings may be either
    b"S": lambda s: s.push(parse_quoted(s.line())),
    b"T": lambda s: s.push(s.sized("<i").decode("latin1")),
    b"U": lambda s: s.push(s.sized("<B").decode("latin1")),
    b"V": lambda s: s.push(parse_raw_unicode(s.line())),
    b"X": lambda s: s.push(s.sized("<I").decode("utf-8")),
    b"\x8c": lambda s: s.push(s.sized("<B").decode("utf-8")),
    b"\x8d": lambda s: s.push(s.sized("<Q").decode("utf-8")),
    b"B": lambda s: s.push(s.sized("<I")),
    b"C": lambda s: s.push(s.sized("<B")),
    b"\x8e": lambda s: s.push(s.sized("<Q")),
    b"\x96": lambda s: s.push(bytearray(s.sized("<Q"))),
    # containers
    b")": lambda s: s.push(()),
    b"]": lambda s: s.push([]),
    b"}": lambda s: s.push({}),
    b"t": lambda s: s.push(tuple(s.pop_to_mark())),
    b"l": lambda s: s.push(s.pop_to_mark()),
    b"d": lambda s: s.push_dict(),
    b"\x85": lambda s: s.push_tuple(1),
    b"\x86": lambda s: s.push_tuple(2),
    b"\x87": lambda s: s.push_tuple(3),
    b"a": lambda s: s.extend([s.pop()]),
    b"e": lambda s: s.extend(s.pop_to_mark()),
    b"s": lambda s: s.set_item(),
    b"u": lambda s: s.set_items(s.pop_to_mark()),
    # names, calls and states
    b"c": lambda s: s.name(s.line(LONGEST_NAME).decode("utf-8"), s.line(LONGEST_NAME).decode("utf-8")),
    b"\x93": lambda s: s.name_from_stack(),
    b"R": lambda s: s.call(),
    b"b": lambda s: s.set_state(),
}
"""The instructions. Source: the documentation of Python's pickletools."""

_OUTSIDE = "refers to objects outside the file"
_INSTANCE = "constructs an instance of a class"
_REFUSED = {
    **dict.fromkeys((b"P", b"Q", b"\x97", b"\x98"), _OUTSIDE),
    **dict.fromkeys((b"i", b"o", b"\x81", b"\x92", b"\x82", b"\x83", b"\x84"), _INSTANCE),
    **dict.fromkeys((b"\x8f", b"\x90", b"\x91"), "holds a set"),
    b"\x8b": "holds a huge number",
}
"""Instructions that no state dict needs, and what they do."""
