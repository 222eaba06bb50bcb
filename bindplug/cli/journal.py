"""Finished parts of a long job on disk, so that a killed one goes on where it stopped.

Beside the output ``OUT`` stands the directory ``OUT.partial``: ``job.json`` says which job it is, and every
``000000000.npz`` holds the finished rows of a run of items. A part appears whole or not at all.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from bindplug.cli.sources import Source
from bindplug.errors import InputError
from bindplug.files import lock_file

if TYPE_CHECKING:
    from bindplug.sums import Embedded

FORMAT = 3
"""Version of the directory's layout; another one is never resumed."""

OWN_FILES = re.compile(r"lock|job\.(json|tmp)|\d{9}\.(npz|tmp)")
"""Names in a directory of finished parts."""

TYPED: Mapping[str, str] = {
    "model": "--model",
    "dtype": "--dtype",
    "reader_options": "-O",
    "windows": "--windows or --hop",
    "space": "the model's space",
    "fingerprint": "the model's weights",
    "count": "the files",
    "items_sha256": "the files",
    "format": "the version of bindplug",
}
"""Keys of a job -> what a person typed to set them."""


@dataclass
class Part:
    """Rows of a run of items.

    Attributes:
        rows: (len(kept), D) float32 of unit length.
        kept: indices of the items that the rows stand for, among all items of the job.
        skipped: the items left out: ``{"index", "modality", "source", "reason"}``.
        state: size and time of change of each item's file when it was read, to notice changes.
        notes: what readers remarked on items: ``{"index", "modality", "source", "note"}``.
    """

    rows: np.ndarray
    kept: list[int]
    skipped: list[dict[str, Any]] = field(default_factory=list)
    state: list[list[int]] = field(default_factory=list)
    notes: list[dict[str, Any]] = field(default_factory=list)


def part_of(
    result: Embedded, items: Sequence[Source], start: int = 0, state: list[list[int]] | None = None
) -> Part:
    """What was embedded of a run of items, with the items by name.

    Args:
        result: of embedding the queries of ``items``.
        items: the sources, in order.
        start: index of the first one among all items of the job.
        state: as in :class:`Part`.
    """

    def describe(index: int, key: str, text: str) -> dict[str, Any]:
        item = items[index]
        return {"index": start + index, "modality": item.modality, "source": item.value, key: text}

    skipped = [describe(query.index, "reason", query.reason) for query in result.skipped]
    notes = [describe(note.index, "note", note.text) for note in result.notes]
    rows = result.rows.cpu().numpy().astype(np.float32)
    return Part(rows, [start + i for i in result.kept], skipped, state or [], notes)


class Journal:
    """The parts of one job.

    Args:
        output: the file the job will make.
        job: what the result depends on, besides the items: model, space, reader options ...
        items: all sources, in order.
        step: items in a part. A job that goes on keeps the step it began with.
        restart: drop the parts of an earlier job instead of refusing to mix with them.
        keep_skipped: whether a finished part with skipped items stays finished, or is read again.

    Raises:
        InputError: the directory holds parts of another job, or is not a journal's, is in use by another process,
            or cannot be made.
    """

    def __init__(
        self,
        output: Path,
        job: dict[str, Any],
        items: Sequence[Source],
        *,
        step: int,
        restart: bool = False,
        keep_skipped: bool = True,
    ) -> None:
        self.directory = output.with_name(f"{output.name}.partial")
        self.items, self.step, self.keep_skipped = items, step, keep_skipped
        self.identity = {**job, "format": FORMAT, "count": len(items), "items_sha256": digest_of(items)}
        self._lock: IO[bytes] | None = None
        self._open(restart)

    @property
    def starts(self) -> range:
        """Index of the first item of each part."""
        return range(0, len(self.items), self.step)

    def part_items(self, start: int) -> Sequence[Source]:
        """The items of the part that starts at this index."""
        return self.items[start : start + self.step]

    def read(self, start: int) -> Part | None:
        """The finished part that starts at this item; None if it has to be made.

        Warns:
            UserWarning: the part is damaged.
        """
        path = self._path(start)
        if not path.exists():
            return None
        try:
            part = _read_part(path)
        except Exception:  # whatever a damaged file makes numpy or json raise
            warnings.warn(f"{path} is damaged and is made again", stacklevel=2)
            return None
        is_changed = part.state != self.state(start)
        return None if is_changed or (part.skipped and not self.keep_skipped) else part

    def write(self, start: int, part: Part) -> None:
        """Keep a finished part; it is on disk, whole, when this returns.

        Raises:
            InputError: it cannot be written.
        """
        about = {key: value for key, value in asdict(part).items() if key != "rows"}
        path = self._path(start)
        try:
            with path.with_suffix(".tmp").open("wb") as file:
                np.savez(file, rows=part.rows.astype(np.float32), about=np.array(json.dumps(about)))
                file.flush()
                os.fsync(file.fileno())
            path.with_suffix(".tmp").replace(path)
        except OSError as error:
            path.with_suffix(".tmp").unlink(missing_ok=True)
            raise not_writable(path, error) from None

    def state(self, start: int) -> list[list[int]]:
        """Size and time of change of each file of a part now; empty for sentences and absent files."""
        return [file_state(source) for source in self.part_items(start)]

    def close(self, *, finished: bool) -> None:
        """Let go of the directory; remove it once the job is ``finished``, or if it holds no part."""
        if finished or not any(self.directory.glob("*.npz")):
            shutil.rmtree(self.directory, ignore_errors=True)
        self._release()

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _path(self, start: int) -> Path:
        return self.directory / f"{start:09d}.npz"

    def _open(self, restart: bool) -> None:
        self._ensure_own()
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            self._lock = (self.directory / "lock").open("ab")
        except OSError as error:
            raise not_writable(self.directory, error) from None
        if not lock_file(self._lock):
            self._release()
            raise InputError(
                str(self.directory),
                found="another process writing there",
                expected="one process for an output",
            )
        try:
            self._resume(restart)
        except InputError:
            self._release()
            raise

    def _ensure_own(self) -> None:
        """Refuse a directory that is not a journal's, and leave it untouched."""
        if not os.path.lexists(self.directory):
            return
        names = sorted(path.name for path in self.directory.iterdir()) if self.directory.is_dir() else []
        foreign = [name for name in names if not OWN_FILES.fullmatch(name)]
        if foreign or not self.directory.is_dir():
            detail = f"{foreign[0]!r} in it" if foreign else "a file"
            raise InputError(
                str(self.directory),
                found=detail,
                expected="no such place, or a directory of finished parts",
                remedy="Move it away, or choose another --output",
            )

    def _resume(self, restart: bool) -> None:
        path = self.directory / "job.json"
        parts = list(self.directory.glob("*.npz"))
        earlier = _read_job(path) if parts and not restart else None
        if parts and not restart:
            difference = job_difference(earlier, self.identity)
            if difference:
                raise InputError(
                    str(self.directory),
                    found=f"an unfinished job {difference}",
                    expected="the same job, to go on with it",
                    remedy="Finish that one, or drop it with --restart",
                )
            self.step = int(earlier["step"])  # type: ignore[index]
        else:
            for part in parts:
                part.unlink()
        try:
            temporary = path.with_suffix(".tmp")
            temporary.write_text(json.dumps({**self.identity, "step": self.step}), encoding="utf-8")
            temporary.replace(path)
        except OSError as error:
            raise not_writable(path, error) from None


def digest_of(items: Iterable[Source]) -> str:
    """SHA-256 of modalities and values, as of a JSON list; made item by item, since the list may be large."""
    digest = hashlib.sha256(b"[")
    for index, source in enumerate(items):
        digest.update((", " if index else "").encode())
        span = [] if source.span is None else list(source.span)
        digest.update(json.dumps([source.modality, source.value, *span]).encode())
    digest.update(b"]")
    return digest.hexdigest()


def file_state(source: Source) -> list[int]:
    """Size in bytes and time of change in nanoseconds of each file of a source; none for sentences and absent files."""
    state: list[int] = []
    for path in () if source.is_text else source.files.values() or (source.value,):
        try:
            status = Path(path).stat()
        except (OSError, ValueError):
            continue
        state += [status.st_size, status.st_mtime_ns]
    return state


def not_writable(path: Path, error: OSError) -> InputError:
    """The error for a file or directory that the system does not let be written."""
    detail = error.strerror or str(error)
    return InputError(str(path), found=detail, expected="a place that can be written, with space left")


def _read_part(path: Path) -> Part:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
        rows, about = stored["rows"], json.loads(str(stored["about"]))
    part = Part(rows, about["kept"], about["skipped"], about["state"], about["notes"])
    if rows.ndim != 2 or len(rows) != len(part.kept):
        raise ValueError(f"rows of shape {rows.shape} for {len(part.kept)} items")
    return part


def _read_job(path: Path) -> dict[str, Any] | None:
    """What ``job.json`` holds; None if it is damaged."""
    try:
        job = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return job if isinstance(job, dict) and isinstance(job.get("step"), int) and job["step"] > 0 else None


def job_difference(
    earlier: Mapping[str, Any] | None, identity: Mapping[str, Any], typed: Mapping[str, str] = TYPED
) -> str:
    """How an earlier job differs, in a person's words; empty for the same job.

    Args:
        earlier: what was noted of it; None if that is damaged.
        identity: the same of the present one.
        typed: for each key that is compared, what a person typed to set it.
    """
    if earlier is None:
        return "whose job.json is damaged"
    keys = [key for key in typed if earlier.get(key) != identity.get(key)]
    if "format" in keys:
        return "of another version of bindplug"
    if "model" in keys:  # these follow from it
        keys = [key for key in keys if key not in ("space", "fingerprint")]
    words = []
    for key in keys:
        plain = typed[key].startswith("-") and key != "reader_options"
        words.append(f"{typed[key]} {earlier.get(key)}" if plain else typed[key])
    return f"that differs in {', '.join(dict.fromkeys(words))}" if words else ""
