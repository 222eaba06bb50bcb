"""Checkpoints of a run: directories of JSON and safetensors, written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from bindplug.directories import Manifest, damage_named, staged, verified, write_tensors
from bindplug.errors import CheckpointError, CheckpointNote, InputError, WeightsNotFound
from bindplug.files import lock_file
from bindplug.training.options import Checkpoints

MANIFEST = Manifest(
    "bindplug-training-checkpoint",
    version=1,
    holds="checkpoint of a training run",
    fields={"identity": dict, "progress": dict, "random": list, "files": dict, "sha256": str},
    file="checkpoint.json",
)
NAME = re.compile(r"step-(\d{8,})")
LOCK = ".lock"


@dataclass(frozen=True)
class Snapshot:
    """What a checkpoint holds.

    Attributes:
        progress: numbers and lists, ready for JSON.
        random: the random states of each process, ready for JSON.
        tensors: for each file's stem, tensors on the CPU by name.
    """

    progress: dict[str, Any]
    random: list[dict[str, Any]]
    tensors: dict[str, dict[str, Tensor]]


class CheckpointStore:
    """The checkpoints of one run in a directory, which is locked for this process until :meth:`close`.

    Args:
        options: directory, how many to keep, whether to resume.
        identity: what makes the run this one, ready for JSON; a checkpoint of another identity is refused.

    Attributes:
        last: the newest checkpoint that this run has written or read; None before.

    Raises:
        CheckpointError: the directory holds checkpoints and ``options.resume`` is False, or another run writes to it.
        InputError: the directory cannot be written to.
    """

    def __init__(self, options: Checkpoints, identity: Mapping[str, Any]) -> None:
        self.directory = Path(options.directory)
        self.options = options
        self.identity: dict[str, Any] = json.loads(json.dumps(identity))  # tuples become lists, as in files
        self.last: Path | None = None
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.directory):  # the lock may be there from better days
                pass
            self._lock: IO[bytes] = (self.directory / LOCK).open("ab")
        except OSError as error:
            raise InputError(
                str(self.directory),
                found=f"checkpoints cannot be written there ({error.strerror or error})",
                expected="a directory on a disk that can be written to",
            ) from error
        try:
            if not lock_file(self._lock):
                raise CheckpointError(
                    f"another run writes its checkpoints to {self.directory}: wait for it, or give another directory"
                )
            if not options.resume and self.paths():
                raise CheckpointError(
                    f"{self.directory} holds checkpoints of an earlier run, up to step {max(self.paths())}: resume "
                    f"from them with resume=True (--resume), or give another directory"
                )
        except CheckpointError:
            self.close()
            raise
        for leftover in self.directory.glob(".step-*"):  # of a run that was killed while it wrote
            shutil.rmtree(leftover, ignore_errors=True)

    def paths(self) -> dict[int, Path]:
        """The checkpoints by step, ascending."""
        matches = {path: NAME.fullmatch(path.name) for path in self.directory.iterdir()}
        steps = {int(match[1]): path for path, match in matches.items() if match and path.is_dir()}
        return dict(sorted(steps.items()))

    def write(self, snapshot: Snapshot, step: int) -> Path | None:
        """Write the checkpoint of a step, then remove those beyond ``keep``.

        Returns:
            Its directory; None where it could not be written, for instance because the disk is full. A warning says
            so, and the earlier ones are as they were.
        """
        path = self.directory / f"step-{step:08d}"
        if path == self.last:
            return path
        try:
            with staged(path, overwrite=True) as partial:
                files = {
                    stem: write_tensors(tensors, partial / f"{stem}.safetensors")
                    for stem, tensors in snapshot.tensors.items()
                }
                content = {
                    "identity": self.identity,
                    "progress": snapshot.progress,
                    "random": snapshot.random,
                }
                content["files"] = files
                MANIFEST.write(partial, content | {"sha256": _checksum(content)})
                for file in partial.iterdir():
                    _sync(file)
            _sync(self.directory)
        except (OSError, SafetensorError) as error:
            reason = getattr(error, "strerror", None) or error
            state = f"the last one is {self.last}" if self.last else "there is none yet"
            warnings.warn(
                f"the checkpoint of step {step} could not be written to {self.directory} ({reason}); {state}. Training "
                f"goes on: free some space, or keep fewer checkpoints",
                CheckpointNote,
                stacklevel=2,
            )
            return None
        self.last = path
        self._prune()
        return path

    def read(self) -> Snapshot | None:
        """The newest checkpoint that is whole; None where there is none at all.

        A damaged one is put aside under another name, with a warning, and the one before is read.

        Raises:
            CheckpointError: the checkpoint is of another run, or all are damaged.
        """
        paths = list(self.paths().values())
        for path in reversed(paths):
            try:
                snapshot = self._read(path)
            except (CheckpointError, WeightsNotFound) as error:
                if isinstance(error, _OtherRunError):
                    raise
                aside = _free_name(path.with_name(f"{path.name}.damaged"))
                path.rename(aside)
                warnings.warn(
                    f"{error}; it is now {aside.name}, and the checkpoint before is tried",
                    CheckpointNote,
                    stacklevel=2,
                )
            else:
                self.last = path
                return snapshot
        if paths:
            raise CheckpointError(
                f"no checkpoint in {self.directory} is whole; give another directory to begin again"
            )
        return None

    def close(self) -> None:
        """Let other runs write to the directory."""
        self._lock.close()

    def _read(self, path: Path) -> Snapshot:
        content = MANIFEST.read(path)
        fields = {name: content[name] for name in ("identity", "progress", "random", "files")}
        if _checksum(fields) != content["sha256"]:
            raise CheckpointError(f"{path / MANIFEST.file} is damaged: it does not match its checksum")
        differences = list(differing(content["identity"], self.identity))
        if differences:
            raise _OtherRunError(
                f"{path} is a checkpoint of another run: {'; '.join(differences)}. Give what that run was given, or "
                f"begin anew in another directory (`bindplug bind`: --overwrite)"
            )
        tensors: dict[str, dict[str, Tensor]] = {}
        with damage_named(path):
            for stem, entry in content["files"].items():
                file = verified(path / f"{stem}.safetensors", entry)
                try:
                    tensors[stem] = load_file(file)
                except (SafetensorError, OSError) as error:
                    raise CheckpointError(f"{file} is damaged: {error}") from error
        return Snapshot(content["progress"], content["random"], tensors)

    def _prune(self) -> None:
        for path in list(self.paths().values())[: -self.options.keep]:
            doomed = path.with_name(f".{path.name}.old")
            try:  # renamed first: what is half removed must not look like a damaged checkpoint
                path.rename(doomed)
            except OSError:
                continue
            shutil.rmtree(doomed, ignore_errors=True)


class _OtherRunError(CheckpointError):
    """A checkpoint is whole but of another run."""


def differing(there: Any, here: Any, name: str = "") -> list[str]:
    """What differs between two identities, as "recipe.seed is 0 there and 1 here"; figures within 0.1 % are equal."""
    if isinstance(there, dict) and isinstance(here, dict):
        lines: list[str] = []
        for key in sorted(there.keys() | here.keys()):
            lines += differing(there.get(key), here.get(key), f"{name}.{key}" if name else key)
        return lines
    if isinstance(there, list) and isinstance(here, list) and len(there) == len(here):
        lines = [
            line
            for i, pair in enumerate(zip(there, here, strict=True))
            for line in differing(*pair, f"{name}[{i}]")
        ]
        return lines[:3]
    if isinstance(there, float) and isinstance(here, float) and name.startswith("pairs."):
        return (
            [] if abs(there - here) <= 1e-3 * max(abs(there), abs(here), 1e-3) else [_line(name, there, here)]
        )
    return [] if there == here else [_line(name, there, here)]


def _line(name: str, there: Any, here: Any) -> str:
    if name.startswith("code.") and there is not None and here is not None:
        file = name.removeprefix("code.")
        return f"{file} has changed since (its SHA-256 was {there[:12]}... and is {here[:12]}...); restore it to go on"
    if name == "pairs.files":
        return "the files of the pairs, or their order, have changed since"
    if name == "pairs.part":
        return "which of the pairs are held out has changed since"
    values = ["missing" if value is None else str(value)[:80] for value in (there, here)]
    return f"{name} is {values[0]} there and {values[1]} here"


def _checksum(fields: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def _free_name(path: Path) -> Path:
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_name(f"{path.name}-{number}")
    return free


def _sync(path: Path) -> None:
    """Have the system write a file or directory to the disk before what follows."""
    if path.is_dir() and os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
