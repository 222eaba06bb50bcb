"""Files that appear whole or not at all, and locks on files.

write_whole(Path("report.json"), b"{}")

with staged_file(Path("rows.npy")) as temporary, temporary.open("wb") as file:
    np.save(file, rows)

with Path("rows.lock").open("ab") as file:
    if not lock_file(file):
        raise SystemExit("another process is writing")
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

__all__ = ["lock_file", "staged_file", "write_whole"]


@contextmanager
def staged_file(path: Path) -> Iterator[Path]:
    """A new file to fill, which stands at ``path`` after the block, or not at all if the block raises.

    What stood there is replaced. The file is on the disk, whole, when the block is left.

    Args:
        path: where it goes; its parents are made.

    Yields:
        The path of the file to write, beside ``path``: ``.NAME.PROCESS.tmp``. It does not exist yet.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that appears whole or not at all; what stood there is replaced.

    Args:
        path: where it goes; its parents are made.
        content: all of it.

    Raises:
        OSError: it cannot be written.
    """
    with staged_file(path) as temporary:
        temporary.write_bytes(content)


def lock_file(file: IO[bytes]) -> bool:
    """Lock an open file for this process; the lock ends when the file is closed, or with the process however it ends.

    Args:
        file: open for writing, as by ``path.open("ab")``.

    Returns:
        False if another process, or this one by another open file, has locked it. True also where the system (Windows)
        or the file system knows no such locks.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True
