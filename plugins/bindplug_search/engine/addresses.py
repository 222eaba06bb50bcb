"""Files at paths and at addresses such as ``s3://bucket/key``, through Arrow's filesystems."""

from __future__ import annotations

import glob
import os
import posixpath
import re
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import lru_cache
from pathlib import Path
from typing import IO

from pyarrow import fs

from bindplug.cli.building import expand
from bindplug.errors import InputError

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_BUCKETS = ("s3", "gs", "gcs", "abfs", "abfss")
"""Schemes whose paths begin with the name of the bucket."""

TRIES = 3
"""Attempts at reading a file that a store fails to give."""


@dataclass(frozen=True)
class FileEntry:
    """A file, and what tells whether it has changed.

    Attributes:
        name: its path or address.
        state: size in bytes and time of change in nanoseconds; empty where they are not known.
    """

    name: str
    state: tuple[int, ...] = ()


def is_address(value: str) -> bool:
    """Whether a value is an address with a scheme, and no path."""
    return bool(_ADDRESS.match(value))


def open_place(value: str) -> tuple[fs.FileSystem, str]:
    """The filesystem of a path or address, and the path in it.

    Raises:
        InputError: Arrow knows no such scheme, or the store does not answer.
    """
    if not is_address(value):
        return fs.LocalFileSystem(), str(Path(value).absolute())
    scheme, place, path, query = _split(value)
    filesystem = _filesystem(scheme, place, query)
    if scheme == "file":
        return filesystem, f"/{path}"
    return filesystem, f"{place.rpartition('@')[2]}/{path}" if scheme in _BUCKETS else f"/{path}"


def local_path(value: str) -> str | None:
    """The path on this machine that a path or a ``file://`` address means; None for other addresses."""
    if not is_address(value):
        return value
    scheme, _, path, _ = _split(value)
    return f"/{path}" if scheme == "file" else None


def lance_uri(value: str) -> str:
    """How Lance names the place: a path, or an address without Arrow's query (Lance reads the environment)."""
    path = local_path(value)
    return value.partition("?")[0] if path is None else path


def list_files(value: str, *, recursive: bool = False, include: Sequence[str] = ()) -> list[FileEntry]:
    """The files that a path, a directory, a pattern or an address with a prefix stands for, sorted by name.

    Args:
        value: as for ``bindplug embed``; of an address, the last part may be a pattern.
        recursive: directories stand for the files below their subdirectories too.
        include: patterns for names of a directory's files; None takes all that do not start with a dot.

    Raises:
        InputError: it stands for no file, or the store does not answer.
    """
    if not is_address(value):
        return [FileEntry(path) for path in expand(value, recursive=recursive, include=include)]
    filesystem, path = open_place(value)
    directory, name = posixpath.split(path)
    if glob.has_magic(path):
        if glob.has_magic(directory):
            raise InputError(
                value,
                found="a pattern of directories",
                expected="a pattern in the last part of an address",
                remedy="Give the prefix with --recursive and --include",
            )
        include, path = [name], directory
    try:
        info = filesystem.get_file_info(path)
        if info.is_file:
            return [FileEntry(value, _state_of(info))]
        selector = fs.FileSelector(path, recursive=recursive, allow_not_found=True)
        infos = [item for item in filesystem.get_file_info(selector) if item.is_file]
    except OSError as error:
        raise _not_answered(value, error) from None
    patterns = list(include)
    names = [
        (_renamed(value, item.path), item)
        for item in infos
        if (
            any(fnmatch(item.base_name, pattern) for pattern in patterns)
            if patterns
            else not any(part.startswith(".") for part in item.path[len(path) :].split("/"))
        )
    ]
    if not names:
        remedy = "" if recursive else "Say --recursive to look below the prefix"
        raise InputError(value, found="no files there", expected="at least one", remedy=remedy)
    return sorted((FileEntry(name, _state_of(item)) for name, item in names), key=lambda entry: entry.name)


def copy_file(value: str, directory: str, number: int) -> str:
    """Copy the file at an address into a directory, under a name with the same suffixes; its path there.

    Raises:
        InputError: it is not there, or the store does not give it.
    """
    filesystem, path = open_place(value)
    copy = str(Path(directory) / f"{number:06d}-{posixpath.basename(path)[-100:]}")
    for attempt in range(1, TRIES + 1):
        try:
            with filesystem.open_input_stream(path) as source, Path(copy).open("wb") as file:
                while block := source.read(1 << 20):
                    file.write(block)
            return copy
        except FileNotFoundError:
            raise InputError(value, found="no such file", expected="a file that exists") from None
        except OSError as error:
            if attempt == TRIES:
                raise _not_answered(value, error) from None
    raise AssertionError("unreachable")


@contextmanager
def whole_file(filesystem: fs.FileSystem, path: str, scratch: str) -> Iterator[IO[bytes]]:
    """A file to write that appears at ``path`` whole when the block succeeds, and else not at all.

    Args:
        filesystem: of both.
        path: the file.
        scratch: a directory of the same store where it is until then.
    """
    temporary = f"{scratch}/{posixpath.basename(path)}.{uuid.uuid4().hex}"
    filesystem.create_dir(scratch, recursive=True)
    local = isinstance(filesystem, fs.LocalFileSystem)
    try:
        with Path(temporary).open("wb") if local else filesystem.open_output_stream(temporary) as opened:
            yield opened
            if local:
                opened.flush()
                os.fsync(opened.fileno())
        if local:
            Path(temporary).replace(path)
        else:
            filesystem.move(temporary, path)
    except BaseException:
        if filesystem.get_file_info(temporary).is_file:
            filesystem.delete_file(temporary)
        raise


def _split(value: str) -> tuple[str, str, str, str]:
    """Scheme, place, path and query of an address; nothing is decoded."""
    scheme, _, rest = value.partition("://")
    rest, _, query = rest.partition("?")
    place, _, path = rest.partition("/")
    return scheme.lower(), place, path.rstrip("/"), query


@lru_cache(maxsize=64)
def _filesystem(scheme: str, place: str, query: str) -> fs.FileSystem:
    root = f"{scheme}://{place}/" + (f"?{query}" if query else "")
    try:
        return fs.FileSystem.from_uri(root)[0]
    except (OSError, ValueError, NotImplementedError) as error:  # ArrowInvalid is a ValueError
        raise InputError(
            f"{scheme}://{place.rpartition('@')[2]}",  # without a key that may stand before the @
            found=str(error).splitlines()[0].split(" in S3 URI")[0],
            expected="a store that Arrow reads: file://, s3://, gs://, abfs://, hdfs://",
        ) from None


def _renamed(value: str, path: str) -> str:
    """The address of a path in the same store."""
    scheme, place, _, query = _split(value)
    user, at, _ = place.rpartition("@")
    base = f"{scheme}://{user}{at}{path}" if scheme in _BUCKETS else f"{scheme}://{place}{path}"
    return f"{base}?{query}" if query else base


def _state_of(info: fs.FileInfo) -> tuple[int, ...]:
    return (info.size, info.mtime_ns or 0)


def _not_answered(value: str, error: OSError) -> InputError:
    detail = (error.strerror or str(error)).splitlines()[0]
    return InputError(value, found=detail, expected="a store that answers and lets it be read")
