"""Fetching large files over HTTP: resumed where it broke off, checked before it gets its final name."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any, BinaryIO
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from bindplug.errors import BindplugError, CheckpointError
from bindplug.progress import iterate_with_progress

MIB = 1 << 20
TIMEOUT_S = 30.0
ATTEMPTS = 5
"""Connections made for one file before giving up; only a connection that broke off is made again."""


class DownloadError(BindplugError, OSError):
    """A file could not be fetched; what arrived is kept, and the next attempt resumes there."""


def download(
    url: str,
    destination: Path,
    *,
    sha256: str | None = None,
    quiet: bool | None = None,
    pause_s: float = 1.0,
) -> Path:
    """Fetch ``url`` to ``destination``.

    Data goes to ``<destination>.part`` first. A break resumes with an HTTP range request, in this call or a
    later one, provided that the server still has the same file. Beside the finished file lies
    ``<destination>.json`` with its size and SHA-256, which :func:`check_record` compares later.

    Args:
        url: http or https.
        destination: the final name; its directory is made.
        sha256: expected hex digest, where the publisher states one.
        quiet: as in :func:`bindplug.progress.iterate_with_progress`.
        pause_s: wait before the second connection, doubled for each further one.

    Raises:
        DownloadError: no connection, an HTTP error, a full disk, or too many breaks.
        CheckpointError: what arrived is not the file: its size or digest differs. It is deleted.
    """
    destination.parent.mkdir(parents=True, exist_ok=True)
    part = destination.with_name(destination.name + ".part")
    with part.open("ab") as file, _exclusive(file, destination):
        total = _fetch_all(url, file, _Note(part, url), quiet, pause_s)
        file.flush()
        os.fsync(file.fileno())
        size = file.tell()
        if total is not None and size != total:
            part.unlink()
            raise CheckpointError(
                f"{url}: {size} bytes arrived, the server announced {total}; fetch it again"
            )
        digest = digest_of(part, quiet=quiet)
        if sha256 and digest != sha256.lower():
            part.unlink()
            raise CheckpointError(f"{url}: SHA-256 is {digest}, expected {sha256}; what arrived was deleted")
        part.replace(destination)
    _Note(part, url).path.unlink(missing_ok=True)
    record = {"url": url, "size_bytes": size, "sha256": digest, "sha256_stated_by_publisher": bool(sha256)}
    _record_path(destination).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return destination


def check_record(path: Path, *, full: bool = False) -> bool:
    """Compare a file with the record made when it was fetched.

    Args:
        path: the file.
        full: compare the digest too, which reads the whole file; else only its size.

    Returns:
        Whether there is a record to compare with.

    Raises:
        CheckpointError: the file differs from its record.
    """
    if not _record_path(path).is_file():
        return False
    try:
        record = json.loads(_record_path(path).read_text(encoding="utf-8"))
        expected = int(record["size_bytes"]), str(record["sha256"])
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{_record_path(path)} is damaged ({error}); delete it") from error
    found = path.stat().st_size, digest_of(path) if full else expected[1]
    if found != expected:
        what = "bytes" if found[0] != expected[0] else "SHA-256"
        pair = (found[0], expected[0]) if what == "bytes" else (found[1], expected[1])
        raise CheckpointError(
            f"{path} has changed since it was fetched: {what} {pair[0]}, recorded {pair[1]}; "
            f"delete it and load again"
        )
    return True


def digest_of(path: Path, *, quiet: bool | None = None) -> str:
    """SHA-256 of a file, as hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        blocks = iter(lambda: file.read(MIB), b"")
        total = -(-path.stat().st_size // MIB)
        for block in iterate_with_progress(
            blocks, label=f"checking {path.name}, MiB", total=total, quiet=quiet
        ):
            digest.update(block)
    return digest.hexdigest()


class _Note:
    """What is known of the file that a ``.part`` belongs to, so that two versions are never spliced."""

    def __init__(self, part: Path, url: str) -> None:
        self.path, self.url = part.with_name(part.name + ".json"), url
        try:
            known = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            known = {}
        known = known if isinstance(known, dict) and known.get("url") == url else {}
        self.total: int | None = known.get("total")
        self.validator: str = known.get("validator", "")

    def keep(self, total: int | None, validator: str) -> None:
        self.total, self.validator = total, validator
        content = {"url": self.url, "total": total, "validator": validator}
        self.path.write_text(json.dumps(content), encoding="utf-8")


def _fetch_all(url: str, file: BinaryIO, note: _Note, quiet: bool | None, pause_s: float) -> int | None:
    """Append to ``file`` until it is whole; the size the server announced, if it did."""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(pause_s * 2 ** (attempt - 1))
        if note.validator == "" and file.tell():
            file.truncate(0)  # nothing proves that the server still has the same file
            file.seek(0)
        try:
            if _fetch_rest(url, file, note, quiet):
                return note.total
        except HTTPError as error:
            if error.code == 416:  # what is here reaches past the server's file, so it is of another version
                note.keep(None, "")
                continue
            raise DownloadError(f"{url}: HTTP {error.code} {error.reason}") from error
        except URLError as error:
            if attempt == 0 or attempt == ATTEMPTS - 1:
                raise DownloadError(f"{url}: {error.reason}") from error
        except (HTTPException, TimeoutError, ConnectionError):
            file.flush()
    arrived = f"{file.tell()} of {note.total} bytes" if note.total else f"{file.tell()} bytes"
    raise DownloadError(
        f"{url}: broke off {ATTEMPTS} times; {arrived} are kept, and loading again resumes there"
    )


def _fetch_rest(url: str, file: BinaryIO, note: _Note, quiet: bool | None) -> bool:
    """One connection's worth; whether the file is whole now."""
    have = file.seek(0, os.SEEK_END)
    if have and have == note.total:
        return True
    headers = {"User-Agent": "bindplug", "Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": note.validator}
    with urlopen(Request(url, headers=headers), timeout=TIMEOUT_S) as response:
        rest = response.headers.get("Content-Length")
        if response.status != 206:
            file.truncate(0)
            file.seek(0)
            note.keep(int(rest) if rest else None, _validator(response))
        elif not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            raise DownloadError(
                f"{url}: the server sent {response.headers.get('Content-Range')}, not from {have}"
            )
        _ensure_room(file, int(rest) if rest else 0, url)
        name = url.rsplit("/", 1)[-1]
        count = -(-int(rest) // MIB) if rest else None
        blocks = _blocks(response)
        for block in iterate_with_progress(blocks, label=f"fetching {name}, MiB", total=count, quiet=quiet):
            file.write(block)
    return note.total is None or file.tell() >= note.total


def _blocks(response: HTTPResponse) -> Iterator[bytes]:
    while block := response.read(MIB):
        yield block


def _validator(response: HTTPResponse) -> str:
    """What a range request must quote; a weak entity tag does not promise equal bytes."""
    tag = response.headers.get("ETag") or ""
    return (tag if not tag.startswith("W/") else "") or response.headers.get("Last-Modified") or ""


def _ensure_room(file: BinaryIO, needed: int, url: str) -> None:
    directory = Path(file.name).parent
    free = shutil.disk_usage(directory).free
    if needed > free:
        raise DownloadError(
            f"{url}: {needed / 1e9:.1f} GB more are needed, {free / 1e9:.1f} GB are free in {directory}; "
            f"make room, or set BINDPLUG_HOME to a directory with room"
        )


@contextmanager
def _exclusive(file: BinaryIO, destination: Path) -> Iterator[None]:
    """Only one process at a time writes a ``.part``."""
    fcntl: Any
    try:
        import fcntl
    except ImportError:  # Windows refuses a second writer's rename by itself
        yield
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise DownloadError(f"another process is fetching {destination}; wait until it is done") from error
    yield


def _record_path(path: Path) -> Path:
    return path.with_name(path.name + ".json")
