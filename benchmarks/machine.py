"""What the measurements ran on: memory, load, and what of a file the page cache holds."""

from __future__ import annotations

import ctypes
import ctypes.util
import mmap
import os
import platform
import sys
from pathlib import Path
from typing import Any

GB = 1e9
CHUNK_BYTES = 16 << 20


def describe() -> dict[str, Any]:
    """Names and versions, threads, and the load that other work put on the machine."""
    import torch

    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load_1_min": os.getloadavg()[0],
        "available_memory_gb": available_bytes() / GB,
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def available_bytes() -> float:
    """Memory that a new process can have without swapping; infinite where the system does not say."""
    return _field("/proc/meminfo", "MemAvailable", float("inf"))


def peak_bytes() -> float:
    """The most memory this process has held, mapped files included.

    ``getrusage`` is the fallback only: under Linux its figure starts at the size of the process that launched
    this one.
    """
    import resource

    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return _field("/proc/self/status", "VmHWM", largest * (1 if sys.platform == "darwin" else 1024))


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


def _field(path: str, name: str, otherwise: float) -> float:
    """A field in kB of a file under ``/proc``, in bytes."""
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return otherwise
    found = [line.split()[1] for line in lines if line.startswith(f"{name}:")]
    return float(found[0]) * 1024 if found else otherwise


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    named = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.machine()
