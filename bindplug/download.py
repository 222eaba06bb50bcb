"""Fetching large files over HTTP: resumed where it broke off, checked before it gets its final name."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import BinaryIO
from urllib.error import HTTPError, URLError
from urllib.request import Request

from bindplug.download_checks import (
    DownloadError,
    check_reply,
    check_url,
    checked_opener,
    content_length,
    is_changed,
    is_web_page,
    resumed_total,
    retry_after_s,
    server_text,
    validator_of,
)
from bindplug.errors import CheckpointError
from bindplug.files import lock_file
from bindplug.progress import iterate_with_progress

MIB = 1 << 20
TIMEOUT_S = 30.0
ATTEMPTS = 5
"""Connections made for one file before giving up, after ones that broke off or met a busy server."""
TRANSIENT_STATUS = frozenset((408, 425, 429, 500, 502, 503, 504))
"""Answers after which the same request may succeed later."""
SIZE_FACTOR = 2
"""A file may have half to twice the size that is known of it, which is said to one digit or two."""


def download(
    url: str,
    destination: Path,
    *,
    sha256: str | None = None,
    about_bytes: int | None = None,
    quiet: bool | None = None,
    pause_s: float = 1.0,
) -> Path:
    """Fetch ``url`` to ``destination``.

    Data goes to ``<destination>.part`` first. A break resumes with an HTTP range request, in this call or a
    later one, provided that the server still has the same file; a busy server (HTTP 429 and 5xx) is asked again
    after a wait. Beside the finished file lies
    ``<destination>.json`` with its size and SHA-256, which :func:`check_record` compares later.

    Args:
        url: https; http only for this machine itself (``localhost``). Redirects are held to the same.
        destination: the final name; its directory is made.
        sha256: expected hex digest, where the publisher states one.
        about_bytes: about how large the file is, where it is known; half as much or twice is refused.
        quiet: as in :func:`bindplug.progress.iterate_with_progress`.
        pause_s: wait before the second connection, doubled for each further one.

    Raises:
        DownloadError: an address that is not allowed, no connection, an HTTP error, a reply that is no file (a web
            page, an empty or encoded one), a full disk, or too many breaks.
        CheckpointError: what arrived is not the file: its size or digest differs. It is deleted.
    """
    check_url(url)
    destination.parent.mkdir(parents=True, exist_ok=True)
    part = destination.with_name(destination.name + ".part")
    with part.open("ab") as file, _exclusive(file, destination):
        most = int(about_bytes * SIZE_FACTOR) if about_bytes else None
        total = _fetch_all(url, file, _Note(part, url), quiet, pause_s, most)
        file.flush()
        os.fsync(file.fileno())
        size = file.tell()
        if total is not None and size != total:
            _discard(part, url)
            raise CheckpointError(
                f"{url}: {size} bytes arrived, the server announced {total}; fetch it again"
            )
        if about_bytes and not about_bytes / SIZE_FACTOR <= size <= about_bytes * SIZE_FACTOR:
            _discard(part, url)
            raise CheckpointError(
                f"{url}: {size} bytes arrived, the file has about {about_bytes}; what arrived was deleted"
            )
        digest = digest_of(part, quiet=quiet)
        if sha256 and digest != sha256.lower():
            _discard(part, url)
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
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise CheckpointError(f"{_record_path(path)} is damaged ({error}); delete it") from error
    actual = path.stat().st_size, digest_of(path) if full else expected[1]
    if actual != expected:
        what = "bytes" if actual[0] != expected[0] else "SHA-256"
        pair = (actual[0], expected[0]) if what == "bytes" else (actual[1], expected[1])
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


def _discard(part: Path, url: str) -> None:
    part.unlink()
    _Note(part, url).path.unlink(missing_ok=True)


class _Note:
    """What is known of the file that a ``.part`` belongs to, so that two versions are never spliced."""

    def __init__(self, part: Path, url: str) -> None:
        self.path, self.url = part.with_name(part.name + ".json"), url
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            content = {}
        content = content if isinstance(content, dict) and content.get("url") == url else {}
        total, validator = content.get("total"), content.get("validator")
        self.total: int | None = total if isinstance(total, int) else None
        self.validator: str = validator if isinstance(validator, str) else ""

    def keep(self, total: int | None, validator: str) -> None:
        self.total, self.validator = total, validator
        content = {"url": self.url, "total": total, "validator": validator}
        self.path.write_text(json.dumps(content), encoding="utf-8")


def _fetch_all(
    url: str, file: BinaryIO, note: _Note, quiet: bool | None, pause_s: float, most: int | None
) -> int | None:
    """Append to ``file`` until it is whole, or longer than ``most`` bytes; the size the server announced, if it did."""
    reason, wait_s = "", 0.0
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(max(pause_s * 2 ** (attempt - 1), wait_s if pause_s else 0.0))
        reason, wait_s = "broke off", 0.0
        if note.validator == "" and file.tell():
            _restart(file, note)  # nothing proves that the server still has the same file
        try:
            if _fetch_rest(url, file, note, quiet, most):
                return note.total
        except HTTPError as error:
            error.close()
            # What is here reaches past the server's file, so it is of another version.
            if error.code == 416 and file.tell():
                _restart(file, note)
                continue
            if error.code not in TRANSIENT_STATUS:
                raise DownloadError(f"{url}: HTTP {error.code} {server_text(error.reason)}") from error
            reason = f"answered HTTP {error.code} {server_text(error.reason)}"
            wait_s = retry_after_s(error)
        except URLError as error:
            if attempt == 0 or attempt == ATTEMPTS - 1:
                raise DownloadError(f"{url}: {error.reason}") from error
        except (HTTPException, TimeoutError, ConnectionError, ssl.SSLError):
            file.flush()
        except DownloadError:
            raise
        except ValueError as error:  # of an address that urllib cannot take apart
            raise DownloadError(
                f"{url}: the server's reply makes no sense ({server_text(error)}); expected the file"
            ) from error
        except OSError as error:
            raise DownloadError(f"{url}: cannot write {file.name}: {error.strerror or error}") from error
    amount = f"{file.tell()} of {note.total} bytes" if note.total else f"{file.tell()} bytes"
    raise DownloadError(
        f"{url}: {reason} {ATTEMPTS} times; {amount} are kept, and loading again resumes there"
    )


def _fetch_rest(url: str, file: BinaryIO, note: _Note, quiet: bool | None, most: int | None) -> bool:
    """One connection's worth, or until there are more than ``most`` bytes; whether nothing more is to be fetched."""
    have = file.seek(0, os.SEEK_END)
    if have and have == note.total:
        return True
    headers = {"User-Agent": "bindplug", "Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": note.validator}
    with checked_opener().open(Request(url, headers=headers), timeout=TIMEOUT_S) as response:
        check_reply(url, response, resumed=bool(have))
        length = content_length(url, response)
        if response.status == 206:
            total = resumed_total(response, have)
            if total is None or is_changed(response, note.validator) or total != (note.total or total):
                _restart(file, note)  # another version, or another part, than was asked for
                return False
        else:
            _restart(file, note)
            note.keep(length, validator_of(response))
        _ensure_room(file, length or 0, url)
        name = url.rsplit("/", 1)[-1]
        count = None if length is None else -(-length // MIB)
        blocks = _blocks(response)
        for block in iterate_with_progress(blocks, label=f"fetching {name}, MiB", total=count, quiet=quiet):
            if not file.tell() and is_web_page(block):
                raise DownloadError(f"{url}: the server sent a web page instead of the file")
            file.write(block)
            if most is not None and file.tell() > most:  # a server may send without end
                note.keep(None, note.validator)
                return True
    if not file.tell():
        raise DownloadError(f"{url}: the server sent an empty file")
    return note.total is None or file.tell() >= note.total


def _restart(file: BinaryIO, note: _Note) -> None:
    file.truncate(0)
    file.seek(0)
    note.keep(None, "")


def _blocks(response: HTTPResponse) -> Iterator[bytes]:
    while block := response.read(MIB):
        yield block


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
    if not lock_file(file):
        raise DownloadError(f"another process is fetching {destination}; wait until it is done")
    yield


def _record_path(path: Path) -> Path:
    return path.with_name(path.name + ".json")
