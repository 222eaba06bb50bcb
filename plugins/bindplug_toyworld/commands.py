"""Running the commands that other plugins registered, as a user would type them.

They are looked up by name, so nothing here knows whose they are.
"""

from __future__ import annotations

import contextlib
import io
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bindplug.errors import PluginError
from bindplug.plugins import registry

Prompt = tuple[str, str]
"""A thing and a modality."""


def find_command(name: str) -> Any:
    """A command that a plugin registered.

    Raises:
        PluginError: no plugin in use brings it.
        MissingDependency: a package that it needs is absent.
    """
    entry = registry().commands.get(name)
    if entry is None:
        raise PluginError(
            f"no plugin in use brings the command `bindplug {name}`; `bindplug plugins` shows why"
        )
    return entry.load(entry.card.target)


def run_command(name: str, arguments: Sequence[str]) -> None:
    """Run a command that a plugin registered; what it prints is dropped.

    Raises:
        BindplugError: as :func:`find_command`, and whatever the command raises.
    """
    command = find_command(name)
    with contextlib.redirect_stdout(io.StringIO()):
        command.main(list(arguments), prog_name=f"bindplug {name}", standalone_mode=False)


def arguments_for(files: Mapping[str, Mapping[str, Path]], thing: str, modality: str) -> list[str]:
    """What names a thing's file of one modality on a command line; a caption by its words."""
    path = files[thing][modality]
    argument = path.read_text(encoding="utf-8").strip() if modality == "text" else str(path)
    return [f"--{modality}", argument]


def shell_line(name: str, arguments: Sequence[str], directory: Path) -> str:
    """The command as a person would type it in ``directory``."""
    inside = f"{directory}/"
    return shlex.join(["bindplug", name, *(argument.removeprefix(inside) for argument in arguments)])
