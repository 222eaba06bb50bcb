"""Files that appear whole or not at all.

write_whole(Path("report.json"), b"{}")

with staged_file(Path("rows.npy")) as temporary, temporary.open("wb") as file:
    np.save(file, rows)
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["staged_file", "write_whole"]


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
    """Write a file that appears whole or not at all; its parents are made.

    Raises:
        OSError: it cannot be written.
    """
    with staged_file(path) as temporary:
        temporary.write_bytes(content)
