"""The tasks that come with bindplug, and tasks by name, group or path."""

from __future__ import annotations

import os
from collections.abc import Iterable
from difflib import get_close_matches
from functools import cache
from pathlib import Path

from bindplug.errors import InputError
from bindplug_lab.tasks.task import Task
from bindplug_lab.tasks.toml_files import read_task

__all__ = ["list_tasks", "load_task", "load_tasks"]

DATA = Path(__file__).parent / "data"


@cache
def _bundled() -> dict[str, Path]:
    return {path.stem: path for path in sorted(DATA.glob("*.toml"))}


def list_tasks() -> tuple[Task, ...]:
    """The tasks that come with bindplug, by name."""
    return tuple(_load_bundled(name) for name in _bundled())


@cache
def _load_bundled(name: str) -> Task:
    return read_task(_bundled()[name])


def load_task(name: str | os.PathLike[str] | Task) -> Task:
    """A task by name, or from a TOML file of one's own.

    Args:
        name: one of :func:`list_tasks`, or a path that ends in ``.toml``; a task is returned as it is.

    Raises:
        InputError: there is no such task or file, or the file is wrong; says which key and what is allowed.
    """
    if isinstance(name, Task):
        return name
    if str(name).casefold().endswith(".toml"):
        return read_task(Path(name))
    if str(name) not in _bundled():
        close = get_close_matches(str(name), _bundled(), 1, 0.5)
        raise InputError(
            f"task {str(name)!r}",
            found="no task of this name",
            expected=f"one of {', '.join(_bundled())}, or a path to a .toml file",
            remedy=f"Did you mean {close[0]!r}?" if close else "",
        )
    return _load_bundled(str(name))


def load_tasks(names: str | Iterable[str | os.PathLike[str] | Task]) -> tuple[Task, ...]:
    """Tasks by names, paths and groups: ``"esc50,audiocaps"``, ``"senses-v1"``, ``["own.toml"]``; each once.

    Raises:
        InputError: see :func:`load_task`; or none is named.
    """
    parts = [part.strip() for part in names.split(",")] if isinstance(names, str) else list(names)
    tasks: dict[str, Task] = {}
    for part in parts:
        if part == "":
            continue
        group = [task for task in list_tasks() if part in task.groups]
        for task in group or [load_task(part)]:
            other = tasks.setdefault(task.name, task)
            if other is not task and other.source != task.source:
                found = f"{task.name!r} in {other.source} and {task.source}"
                raise InputError("tasks", found=found, expected="a name of its own for each task")
    if not tasks:
        raise InputError(
            "tasks", found="none", expected="at least one name", remedy="As --tasks esc50,audiocaps."
        )
    return tuple(tasks.values())
