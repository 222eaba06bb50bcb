"""Finished parts of a long job on disk, so that a killed one goes on where it stopped.

Beside the output ``OUT`` stands the directory ``OUT.partial``: ``job.json`` says which job it is, and every
``000000.npz`` holds the finished rows of a run of items. A part appears whole or not at all.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from bindplug.cli.sources import Source
from bindplug.errors import InputError

FORMAT = 1
"""Version of the directory's layout; another one is never resumed."""


@dataclass
class Part:
    """Rows of a run of items.

    Attributes:
        rows: (len(kept), D) float32 of unit length.
        kept: indices of the items that the rows stand for, among all items of the job.
        skipped: the items left out: ``{"index", "modality", "source", "reason"}``.
        state: size and time of change of each item's file when it was read, to notice changes.
    """

    rows: np.ndarray
    kept: list[int]
    skipped: list[dict[str, Any]] = field(default_factory=list)
    state: list[list[int]] = field(default_factory=list)


class Journal:
    """The parts of one job.

    Args:
        output: the file the job will make.
        job: what the result depends on, besides the items: model, space, reader options ...
        items: all sources, in order.
        step: items in a part.
        restart: forget parts of an earlier, other job instead of refusing to mix with them.

    Raises:
        InputError: the directory holds parts of another job, is in use by another process, or cannot be made.
    """

    def __init__(
        self, output: Path, job: dict[str, Any], items: Sequence[Source], *, step: int, restart: bool = False
    ) -> None:
        self.directory = output.with_name(f"{output.name}.partial")
        self.items, self.step = items, step
        self._lock: int | None = None
        self._open(self._described(job), restart)

    @property
    def starts(self) -> range:
        """Index of the first item of each part."""
        return range(0, len(self.items), self.step)

    def part_items(self, start: int) -> Sequence[Source]:
        """The items of the part that starts at this index."""
        return self.items[start : start + self.step]

    def read(self, start: int) -> Part | None:
        """The finished part that starts at this item; None if there is none, or a file has changed since."""
        try:
            with self._path(start).open("rb") as file, np.load(file, allow_pickle=False) as stored:
                about = json.loads(str(stored["about"]))
                part = Part(stored["rows"], about["kept"], about["skipped"], about["state"])
        except (OSError, ValueError, KeyError, BadZipFile):
            return None
        return part if part.state == self.state(start) else None

    def write(self, start: int, part: Part) -> None:
        """Keep a finished part; it is on disk, whole, when this returns."""
        about = {key: value for key, value in asdict(part).items() if key != "rows"}
        path = self._path(start)
        with path.with_suffix(".tmp").open("wb") as file:
            np.savez(file, rows=part.rows.astype(np.float32), about=np.array(json.dumps(about)))
            file.flush()
            os.fsync(file.fileno())
        path.with_suffix(".tmp").replace(path)

    def state(self, start: int) -> list[list[int]]:
        """Size and time of change of each file of a part now; empty for sentences and absent files."""
        return [_file_state(source) for source in self.part_items(start)]

    def close(self, *, finished: bool) -> None:
        """Let go of the directory; once the job is ``finished``, remove it."""
        if finished:
            shutil.rmtree(self.directory, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _described(self, job: dict[str, Any]) -> dict[str, Any]:
        digest = hashlib.sha256(b"[")  # of a JSON list, made item by item: as a whole it would be large
        for index, source in enumerate(self.items):
            digest.update((", " if index else "").encode())
            digest.update(json.dumps([source.modality, source.value]).encode())
        digest.update(b"]")
        listed = digest.hexdigest()
        return {**job, "format": FORMAT, "count": len(self.items), "items_sha256": listed, "step": self.step}

    def _path(self, start: int) -> Path:
        return self.directory / f"{start:09d}.npz"

    def _open(self, job: dict[str, Any], restart: bool) -> None:
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            self._lock = _locked(self.directory / "lock")
        except BlockingIOError:
            raise InputError(
                str(self.directory),
                found="another process writing there",
                expected="one process for an output",
            ) from None
        except OSError as error:
            found = error.strerror or str(error)
            raise InputError(
                str(self.directory), found=found, expected="a place to keep finished parts"
            ) from None
        described = self.directory / "job.json"
        earlier = _read_json(described)
        if earlier is not None and earlier != job and not restart:
            self.close(finished=False)
            changed = sorted(k for k in {*earlier, *job} if earlier.get(k) != job.get(k))
            raise InputError(
                str(self.directory),
                found=f"an unfinished job that differs in {', '.join(changed)}",
                expected="the same job, to go on with it",
                remedy="Finish that one, or drop it with --restart",
            )
        if restart or earlier is None:
            for part in self.directory.glob("*.npz"):
                part.unlink()
        temporary = described.with_suffix(".tmp")
        temporary.write_text(json.dumps(job), encoding="utf-8")
        temporary.replace(described)


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _file_state(source: Source) -> list[int]:
    if source.is_text:
        return []
    try:
        found = Path(source.value).stat()
    except (OSError, ValueError):
        return []
    return [found.st_size, found.st_mtime_ns]


def _locked(path: Path) -> int | None:
    """A lock that ends with this process however it ends; None where the system has none of that kind."""
    try:
        import fcntl
    except ImportError:
        return None
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise
    return handle
