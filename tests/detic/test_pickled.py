"""Hostile and damaged pickles: each is refused by a CheckpointError, and none is executed."""

from __future__ import annotations

import contextlib
import pickle
import random
import struct
import tracemalloc
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch

from bindplug.errors import CheckpointError
from bindplug_detic import pickled
from bindplug_detic.checkpoint import read_official
from bindplug_detic.pickled import read_pickle

PROTOCOL = b"\x80\x04"
NONE = b"N"
STOP = b"."


def name(module: str, attribute: str) -> bytes:
    return f"c{module}\n{attribute}\n".encode()


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def data(value: bytes) -> bytes:
    return b"B" + struct.pack("<I", len(value)) + value


def number(value: int) -> bytes:
    return b"I%d\n" % value


def pack(*values: bytes) -> bytes:
    return b"(" + b"".join(values) + b"t"


def call(function: bytes, *arguments: bytes) -> bytes:
    return function + pack(*arguments) + b"R"


DTYPE = name("numpy", "dtype")
NDARRAY = name("numpy", "ndarray")
RECONSTRUCT = name("numpy.core.multiarray", "_reconstruct")
SCALAR = name("numpy.core.multiarray", "scalar")
FROM_BUFFER = name("numpy.core.numeric", "_frombuffer")
ENCODE = name("_codecs", "encode")
ORDERED = name("collections", "OrderedDict")


def dtype(kind: str, state: bytes = b"") -> bytes:
    return call(DTYPE, text(kind), number(0), number(1)) + (state + b"b" if state else b"")


def state(order: str = "<", *fields: bytes, size: int = -1, flags: int = 0) -> bytes:
    fields = fields or (NONE, NONE, NONE)
    return pack(number(3), text(order), *fields, number(size), number(size), number(flags))


def array(shape: tuple[int, ...], kind: bytes, content: bytes) -> bytes:
    empty = call(RECONSTRUCT, NDARRAY, pack(number(0)), data(b"b"))
    return empty + pack(number(1), pack(*map(number, shape)), kind, b"I00\n", content) + b"b"


def named(value: bytes, key: str = "x") -> bytes:
    """A pickle of ``{"model": {key: value}}``."""
    return PROTOCOL + b"}" + text("model") + b"}" + text(key) + value + b"s" + b"s" + STOP


OBJECTS = state("|", flags=0)
FIELDS = pack(text("a"))
OUTSIDE = b"}" + text("a") + pack(dtype("f8"), number(100_000_000)) + b"s"
ATTACKS = {
    "a function": PROTOCOL + name("os", "system") + pack(text("true")) + b"R" + STOP,
    "a builtin": PROTOCOL + name("__builtin__", "eval") + pack(text("1")) + b"R" + STOP,
    "an attribute of an allowed name": PROTOCOL + text("numpy") + text("ndarray.__class__") + b"\x93" + STOP,
    "a name that is a number": PROTOCOL + number(1) + text("x") + b"\x93" + STOP,
    "an alias of an allowed module": PROTOCOL + name("numpy._core.multiarray", "fromfile") + pack(text("/")) + b"R.",
    "the extension registry": PROTOCOL + b"\x82\x01" + STOP,
    "an object outside": PROTOCOL + b"Pabc\n" + STOP,
    "a buffer outside": PROTOCOL + b"\x97" + STOP,
    "an instance": PROTOCOL + NDARRAY + pack(number(4)) + b"\x81" + STOP,
    "an old instance": PROTOCOL + b"(" + b"inumpy\nndarray\n" + STOP,
    "a scalar of objects": named(call(SCALAR, dtype("O8", OBJECTS), data(b"A" * 8))),
    "a scalar of null objects": named(call(SCALAR, dtype("O8", OBJECTS), data(b"\0" * 8))),
    "an array of objects": named(array((4,), dtype("O8", OBJECTS), data(b"A" * 32))),
    "an object as key": PROTOCOL + b"}" + call(SCALAR, dtype("O8", OBJECTS), data(b"\x10" * 8)) + number(1) + b"s.",
    "a field outside its element": named(
        call(SCALAR, dtype("V8", state("|", NONE, FIELDS, OUTSIDE, size=8)), data(b"A" * 8))
    ),
    "fields of numbers": named(array((1,), dtype("f8", state("<", NONE, FIELDS, OUTSIDE)), data(b"A" * 8))),
    "a string of another length": named(call(SCALAR, dtype("S8", state("|", size=1 << 30)), data(b"A" * 8))),
    "an element of arrays": named(
        array((2,), dtype("f4", state("<", pack(dtype("f8"), pack(number(100_000))), NONE, NONE)), data(b"A" * 8))
    ),
    "numbers that claim to be objects": named(array((4,), dtype("i8", state(flags=63)), data(b"A" * 32))),
    "numbers that claim to need init": named(array((4,), dtype("i8", state(flags=4)), data(b"A" * 32))),
    "metadata of a type": named(
        array((1,), dtype("f4", pack(number(4), text("<"), *[NONE] * 3, *[number(0)] * 3, b"}")), data(b"A" * 4))
    ),
    "an unknown byte order": named(array((2,), dtype("f4", state("Q")), data(b"A" * 8))),
    "two byte orders": named(array((2,), dtype("f4", state("<") + b"b" + state(">")), data(b"A" * 8))),
    "content that is a list": named(array((2,), dtype("i8"), b"](" + text("a") + text("b") + b"e")),
    "a negative shape": named(array((-2, -2), dtype("f4"), data(b"A" * 16))),
    "a negative shape without content": named(array((-1,), dtype("f4"), data(b""))),
    "a huge shape": named(array((1 << 31, 1 << 31, 4), dtype("f4"), data(b"A" * 16))),
    "a huge empty shape": named(array((0, 1 << 62), dtype("f4"), data(b""))),
    "too many dimensions": named(array((1,) * 64, dtype("f4"), data(b"AAAA"))),
    "memory without content": named(call(RECONSTRUCT, NDARRAY, pack(number(1000)), text("f4"))),
    "a terabyte without content": named(call(RECONSTRUCT, NDARRAY, pack(number(1 << 40)), text("f8"))),
    "an array that is never filled": named(call(RECONSTRUCT, NDARRAY, pack(number(0)), data(b"b"))),
    "an array that is filled twice": named(
        array((4,), dtype("f4"), data(b"A" * 16))
        + pack(number(1), pack(number(1000)), dtype("f4"), b"I00\n", data(b"A" * 4000))
        + b"b"
    ),
    "an array by its class": named(call(NDARRAY, pack(number(1000)), text("f4"))),
    "an offset before its buffer": named(
        call(NDARRAY, pack(number(2)), text("f4"), data(b"A" * 16), number(-100))
    ),
    "strides over its buffer": named(
        call(NDARRAY, pack(number(1000)), text("f4"), data(b"A" * 16), number(0), pack(number(0)))
    ),
    "objects in a buffer": named(
        call(FROM_BUFFER, data(b"A" * 16), dtype("O8", OBJECTS), pack(number(2)), text("C"))
    ),
    "axes that are none": named(
        call(FROM_BUFFER, data(b"A" * 16), dtype("f4"), pack(number(2), number(2)), text("K"), pack(number(9)))
    ),
    "defaults of a function": PROTOCOL + ENCODE + pack(b"}", b"}" + text("__defaults__") + pack() + b"s") + b"b" + STOP,
    "attributes of a function": PROTOCOL + ENCODE + b"}" + text("evil") + number(1) + b"s" + b"b" + STOP,
    "attributes of a dictionary": PROTOCOL + ORDERED + b")R" + b"}" + text("items") + number(1) + b"s" + b"b" + STOP,
    "another codec": PROTOCOL + ENCODE + pack(text("a" * 100), text("zlib")) + b"R" + STOP,
    "a dictionary of no pairs": PROTOCOL + ORDERED + pack(b"](" + number(1) + b"e") + b"R" + STOP,
    "a call of a result": PROTOCOL + call(SCALAR, dtype("f8"), data(b"A" * 8)) + b")R" + STOP,
    "a memo of gigabytes": PROTOCOL + NONE + b"r" + struct.pack("<I", 0x7FFFFFFF) + STOP,
    "bytes beyond the file": PROTOCOL + b"\x8e" + struct.pack("<Q", 20 << 30) + STOP,
    "bytes beyond memory": PROTOCOL + b"\x8e" + struct.pack("<Q", 1 << 60) + STOP,
    "text of a negative length": PROTOCOL + b"T" + struct.pack("<i", -5) + STOP,
    "a frame beyond the file": PROTOCOL + b"\x95" + struct.pack("<Q", 1 << 62) + STOP,
    "deep lists": PROTOCOL + b"]" * 200_000 + b"a" * 199_999 + STOP,
    "deep tuples": named(b")" + b"\x85" * 5000),
    "a deep key": PROTOCOL + b"}" + b")" + b"\x85" * 5000 + number(1) + b"s" + STOP,
    "a key of exponential size": PROTOCOL + b"}" + b")" + b"2\x86" * 60 + number(1) + b"s" + STOP,
    "a value of exponential size": named(b")" + b"2\x86" * 24),
    "a huge number": PROTOCOL + b"}" + text("x") + b"\x8b" + struct.pack("<i", 20_000) + b"\x7f" * 20_000 + b"s" + STOP,
    "a long number": PROTOCOL + b"}" + text("x") + b"\x8a\xff" + b"\x7f" * 255 + b"s" + STOP,
    "a key that is a number": PROTOCOL + b"}" + number(1) + number(1) + b"s" + STOP,
    "a key that clears the terminal": named(number(1), "\x1b[2J"),
    "a key of a megabyte": named(number(1), "x" * 1_000_000),
    "a dictionary in itself": PROTOCOL + b"}q\x00" + text("model") + b"h\x00s" + STOP,
    "a lone surrogate": named(number(1)).replace(text("x"), b"X\x03\0\0\0\xed\xa0\x80"),
    "a date": named(array((1,), dtype("M8[ns]"), data(b"A" * 8))),
    "a type of another size": named(array((1,), dtype("f16"), data(b"A" * 16))),
    "a set": PROTOCOL + b"\x8f" + STOP,
    "nothing": PROTOCOL + NONE + STOP,
    "an empty stack": STOP,
    "a mark alone": PROTOCOL + b"(" + STOP,
    "an end too early": named(array((2,), dtype("f4"), data(b"A" * 8)))[:-20],
    "a billion instructions": PROTOCOL + b"N0" * 600_000 + NONE + STOP,
}  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
def test_attacks_are_refused(tmp_path: Path, attack: str) -> None:
    path = tmp_path / "evil.pkl"
    path.write_bytes(ATTACKS[attack])
    with pytest.raises(CheckpointError) as refusal:
        read_official(path)
    assert len(str(refusal.value)) < 500 + len(str(path))
    assert str(refusal.value).isprintable()
    assert pickled._encode.__defaults__ == ("latin1",), "the file changed a function of the process"


@pytest.mark.parametrize("call_it", [b"", b")R"])
def test_no_address_becomes_an_object(tmp_path: Path, call_it: bytes) -> None:
    """With an object's address, numpy's scalar gave the object itself, and a further instruction called it."""
    calls: list[int] = []

    def target() -> None:
        calls.append(1)

    path = tmp_path / "address.pkl"
    address = data(struct.pack("<Q", id(target)))
    path.write_bytes(PROTOCOL + call(SCALAR, dtype("O8", OBJECTS), address) + call_it + STOP)
    with pytest.raises(CheckpointError, match="object"):
        read_pickle(path)
    assert not calls


@pytest.mark.parametrize("offset", [-64, -(1 << 40)])
@pytest.mark.parametrize("write", [b"", number(0) + number(66) + b"s"])
def test_no_memory_outside_a_buffer(tmp_path: Path, offset: int, write: bytes) -> None:
    path = tmp_path / "memory.pkl"
    buffer = b"\x96" + struct.pack("<Q", 64) + b"A" * 64
    view = call(NDARRAY, pack(number(8)), text("u1"), buffer, b"L%dL\n" % offset)
    path.write_bytes(b"\x80\x05" + view + write + STOP)
    with pytest.raises(CheckpointError, match=r"numpy\.ndarray"):
        read_pickle(path)


def test_small_files_take_little_memory(tmp_path: Path) -> None:
    """One string of bytes used for a hundred arrays would be a hundred times the file."""
    path = tmp_path / "bomb.pkl"
    content = data(b"A" * 400_000) + b"q\x01"
    entries = [text(str(i)) + array((100_000,), dtype("f4"), b"h\x01") for i in range(100)]
    path.write_bytes(PROTOCOL + content + b"0}(" + b"".join(entries) + b"u" + STOP)
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match="more content than the file"):
            read_pickle(path)
        assert tracemalloc.get_traced_memory()[1] < 8 * path.stat().st_size
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("protocol", range(6))
def test_what_is_shared_stays_shared(tmp_path: Path, protocol: int) -> None:
    weight = np.arange(6, dtype=np.float32).reshape(2, 3)
    path = tmp_path / "shared.pkl"
    path.write_bytes(pickle.dumps({"a": weight, "b": weight, "c": weight.T}, protocol=protocol))
    state_dict = read_official(path)
    assert state_dict["a"] is state_dict["b"]
    assert torch.equal(state_dict["c"], state_dict["a"].T)
    state_dict["a"][0, 0] = 7  # the memory is its own


@pytest.mark.parametrize("protocol", range(6))
def test_permuted_axes_and_plain_values(tmp_path: Path, protocol: int) -> None:
    permuted = np.arange(24.0).reshape(2, 3, 4).transpose(1, 0, 2)
    content = OrderedDict(
        model=OrderedDict(w=permuted, flags=np.array([True, False])),
        about={
            "text": "ünïcode\n",
            "raw": b"\x00\xff",
            "numbers": [1, -(2**40), 1.5, None, True],
            "pair": ("a", ()),
        },
    )
    path = tmp_path / "plain.pkl"
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    result = read_pickle(path)
    np.testing.assert_array_equal(result["model"]["w"], permuted)
    assert result["model"]["flags"].tolist() == [True, False]
    assert result["about"] == content["about"]
    assert torch.equal(read_official(path)["w"], torch.from_numpy(permuted.copy()))


def test_a_pickle_of_python_2(tmp_path: Path) -> None:
    """Strings of bytes with escapes, long numbers, and an ordered dictionary made of a list of pairs."""
    path = tmp_path / "old.pkl"
    raw = np.array([1.5, -2.0], "<f4").tobytes()
    quoted = b"S" + repr(raw)[1:].encode() + b"\n"
    weight = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n(L2L\nt"
        b"cnumpy\ndtype\n(S'f4'\nI0\nI1\ntR(I3\nS'<'\nNNNI-1\nI-1\nI0\ntbI00\n" + quoted + b"tb"
    )
    path.write_bytes(b"ccollections\nOrderedDict\n((l(S'w'\n" + weight + b"latR.")
    assert read_official(path)["w"].tolist() == [1.5, -2.0]


def test_booleans_are_0_or_1(tmp_path: Path) -> None:
    path = tmp_path / "flags.pkl"
    path.write_bytes(named(array((3,), dtype("b1", state("|")), data(b"\x00\x01\xff"))))
    assert read_official(path)["x"].view(torch.uint8).tolist() == [0, 1, 1]


PIECES = [b"(", b"t", b"R", b"b", b"0", b"2", b"s", b"h\x00", NDARRAY, DTYPE]


def seeds() -> list[bytes]:
    content = {
        "model": OrderedDict(a=np.arange(6.0).reshape(2, 3), b=np.float32(1), c=np.asfortranarray(np.eye(3)))
    }
    return [pickle.dumps({**content, "about": [1, "x", (b"y", None)]}, protocol=p) for p in range(6)]


@pytest.mark.parametrize("seed", range(6))
def test_mutated_pickles_raise_nothing_else(tmp_path: Path, seed: int) -> None:
    """Bytes changed, removed, doubled, and pieces of pickles and attacks joined: a result, or a CheckpointError."""
    random_ = random.Random(seed)
    whole, hostile = seeds(), [attack for attack in ATTACKS.values() if len(attack) < 2000]
    path = tmp_path / "mutated.pkl"
    loaded = 0
    for _ in range(400):
        content = bytearray(random_.choice(random_.choice([whole, whole, hostile])))
        for _ in range(random_.randint(1, 3)):
            at, length = random_.randrange(len(content)), random_.randint(1, 12)
            kind = random_.randrange(5)
            if kind == 0:
                content[at] = random_.randrange(256)
            elif kind == 1 and len(content) > 20:
                del content[at : at + length]
            elif kind == 2:
                content[at:at] = content[at : at + length]
            elif kind == 3:
                content[at:at] = random_.choice(PIECES)
            else:
                other = random_.choice([*whole, *hostile])
                start = random_.randrange(len(other))
                content[at:at] = other[start : start + 4 * length]
        path.write_bytes(content)
        with contextlib.suppress(CheckpointError):
            read_official(path)
            loaded += 1
    assert 0 < loaded < 200, "most mutations do harm, and some do none"
