"""TOML files that a person wrote: small, and damaged ones say so."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from bindplug.errors import InputError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["read_toml"]

LONGEST_FILE = 1 << 20
"""Bytes; a file written by hand has a few thousand."""


def read_toml(path: Path, expected: str) -> dict[str, Any]:
    """The content of a TOML file.

    Args:
        path: where it is.
        expected: what it should hold, for errors: ``"a TOML file of a task"``.

    Raises:
        InputError: it is missing, a folder, unreadable, longer than 1 MiB, or no TOML.
    """
    try:
        if path.is_dir():
            raise InputError(str(path), found="a folder", expected=expected)
        with path.open("rb") as file:
            data = file.read(LONGEST_FILE + 1)
    except FileNotFoundError:
        raise InputError(str(path), found="no such file", expected=expected) from None
    except OSError as error:
        raise InputError(
            str(path), found=f"an unreadable file ({error.strerror})", expected=expected
        ) from None
    if len(data) > LONGEST_FILE:
        raise InputError(str(path), found="more than 1 MiB", expected=expected)
    try:
        return tomllib.loads(data.decode("utf-8-sig").replace("\r\n", "\n"))
    except (ValueError, RecursionError) as error:
        raise InputError(str(path), found=f"damaged TOML ({error})", expected=expected) from None
