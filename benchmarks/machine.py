"""What the measurements ran on, and what of a file the page cache holds."""

from __future__ import annotations

import ctypes
import ctypes.util
import mmap
import os
import sys
from pathlib import Path

from bindplug.bench.machine import available_bytes, describe, peak_bytes

__all__ = ["GB", "available_bytes", "cached_share", "describe", "drop_cache", "peak_bytes", "warm_cache"]

GB = 1e9
CHUNK_BYTES = 16 << 20


def warm_cache(path: Path) -> None:
    """Read a file through, so that the page cache holds what it has room for."""
    with path.open("rb", buffering=0) as file:
        while file.read(CHUNK_BYTES):
            pass


def drop_cache(path: Path) -> None:
    """Ask the system to forget a file's pages; a no-op where it cannot be asked."""
    if hasattr(os, "posix_fadvise"):
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def cached_share(path: Path) -> float | None:
    """Which share of a file's pages the page cache holds, 0 to 1; None where the system does not say."""
    if not sys.platform.startswith("linux"):
        return None
    import numpy as np

    libc = ctypes.CDLL(ctypes.util.find_library("c"), use_errno=True)
    size = path.stat().st_size
    with path.open("rb") as file, mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) as mapped:
        pages = np.zeros(-(-size // mmap.PAGESIZE), dtype=np.uint8)
        view = np.frombuffer(mapped, dtype=np.uint8)
        found = libc.mincore(
            ctypes.c_void_p(view.ctypes.data), ctypes.c_size_t(size), ctypes.c_void_p(pages.ctypes.data)
        )
        del view
    return float((pages & 1).mean()) if found == 0 else None
