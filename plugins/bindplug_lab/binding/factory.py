"""A tower of the user's own code: a function of a Python file, which is run."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

from torch import nn

from bindplug.errors import InputError


def digest_of(place: str) -> dict[str, str]:
    """The SHA-256 of the file in ``FILE.py:function`` by its name, in hex."""
    file = Path(place.rpartition(":")[0])
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest()}


def load_factory(place: str, sense: str, shape: tuple[int, ...], width: int) -> nn.Module:
    """The network that a function of a Python file makes; the file is the user's own code, and is run.

    Args:
        place: ``FILE.py:function``. The function is called with ``shape=`` of one sample and ``embed_dim=`` of a row.
        sense: for messages.
        shape: of one sample.
        width: of a row.

    Raises:
        InputError: there is no such file or function, or what it returns is no network.
    """
    file, colon, name = place.rpartition(":")
    expected = f"small, base, or FILE.py:function, whose function(shape=, embed_dim=) makes the {sense} tower"
    if not colon or not file.endswith(".py") or not name.isidentifier():
        raise InputError("--tower", found=repr(place), expected=expected)
    if not Path(file).is_file():
        raise InputError("--tower", found=f"no file {file!r} (from {str(Path.cwd())!r})", expected=expected)
    specification = importlib.util.spec_from_file_location(f"bindplug_tower_{Path(file).stem}", file)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module
    try:
        specification.loader.exec_module(module)
    except Exception as error:
        raise InputError(
            file, found=f"code that fails ({type(error).__name__}: {error})", expected=expected
        ) from error
    factory: Any = getattr(module, name, None)
    if not callable(factory):
        raise InputError(file, found=f"no function {name}", expected=expected)
    try:
        tower = factory(shape=shape, embed_dim=width)
    except Exception as error:
        problem = f"{name}(shape={shape}, embed_dim={width}) fails ({type(error).__name__}: {error})"
        raise InputError(file, found=problem, expected=expected) from error
    if not isinstance(tower, nn.Module):
        raise InputError(file, found=f"a {type(tower).__name__} from {name}", expected="a torch.nn.Module")
    return tower
