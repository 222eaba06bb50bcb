"""Where a run works until its output stands: a directory beside it, for one run at a time."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bindplug.directories import is_occupied
from bindplug.errors import InputError
from bindplug.files import lock_file
from bindplug_lab.binding.machine import Machine
from bindplug_lab.binding.settings import BindSettings

LOCK = ".lock"
"""File in a run's directory that its process holds."""


def run_directory(output: Path) -> Path:
    """Where checkpoints and caches of a run lie until it has succeeded."""
    return output.with_name(f"{output.name}.run")


@contextmanager
def reserved_places(settings: BindSettings, machine: Machine) -> Iterator[Path]:
    """The run's directory, made, and kept for this run while the block lasts; nothing else is touched.

    Raises:
        InputError: the output is taken, a run is unfinished or at work there, or the place cannot be written.
    """
    output, directory = settings.output, run_directory(settings.output)
    if output.is_symlink() or (is_occupied(output) and not machine.overwrite):
        raise InputError(
            str(output),
            found="something of an earlier run or of somebody else",
            expected="a new place",
            remedy="Say --overwrite to replace a directory, or give another --output",
        )
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):  # the lock may be there from better days
            pass
        lock = (directory / LOCK).open("ab")
    except OSError as error:
        raise InputError(
            str(directory),
            found=f"a place that cannot be written ({error.strerror or error})",
            expected="a writable one",
        ) from error
    with lock:
        if machine.is_main and not lock_file(lock):
            raise InputError(
                str(directory),
                found="a run at work there",
                expected="a new place",
                remedy="Wait for it to end",
            )
        if machine.is_main:
            _check_unfinished(directory / "checkpoints", machine)
        try:
            yield directory
        finally:
            if machine.is_main and [path.name for path in directory.glob("*")] == [LOCK]:
                shutil.rmtree(directory, ignore_errors=True)


def _check_unfinished(checkpoints: Path, machine: Machine) -> None:
    if machine.resume or not any(checkpoints.glob("step-*")):
        return
    if not machine.overwrite:
        raise InputError(
            str(checkpoints.parent),
            found="the checkpoints of an unfinished run",
            expected="a new place, or word on what to do with them",
            remedy="Say --resume to go on from them, or --overwrite to begin anew",
        )
    shutil.rmtree(checkpoints)


def clean_up(settings: BindSettings, machine: Machine) -> None:
    """Drop the run's directory after success, but for the logs of trackers."""
    directory = run_directory(settings.output)
    if machine.keep_run:
        return
    if not machine.trackers:
        shutil.rmtree(directory, ignore_errors=True)
        return
    shutil.rmtree(directory / "checkpoints", ignore_errors=True)
    for file in (*directory.glob("samples.*"), directory / LOCK):
        file.unlink(missing_ok=True)
