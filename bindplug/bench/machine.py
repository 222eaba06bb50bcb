"""What measurements run on: its names, its load, and how much memory this process has held."""

from __future__ import annotations

import os
import platform
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

STATUS = "/proc/self/status"
CLEAR_REFS = Path("/proc/self/clear_refs")
RESET_PEAK = "5"
"""What makes Linux forget the peak of a process's resident memory. Source: proc_pid_clear_refs(5)."""


def describe(device: str | torch.device = "cpu") -> dict[str, Any]:
    """Names and versions, threads, and the load that other work put on the machine; JSON-ready."""
    import torch

    resolved = torch.device(device)
    return {
        "device": torch.cuda.get_device_name(resolved) if resolved.type == "cuda" else processor(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load_1_min": os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0,
        "available_memory_gb": available_bytes() / 1e9,
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "at": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
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
    return _field(STATUS, "VmHWM", largest * (1 if sys.platform == "darwin" else 1024))


class PeakMemory:
    """The peak of memory since it was made: the GPU's on CUDA, elsewhere this process's resident memory.

    Args:
        device: where the work runs.
    """

    def __init__(self, device: str | torch.device) -> None:
        import torch

        self.device = torch.device(device)
        self.known = True
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        else:
            self.known = _forget_peak()

    def bytes(self) -> int | None:
        """The peak; None where the system cannot be made to forget an earlier one."""
        import torch

        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        return int(peak_bytes()) if self.known else None


def synchronise(device: str | torch.device) -> None:
    """Wait until the device has done what it was given."""
    import torch

    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


def processor() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    model_names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return model_names[0] if model_names else platform.machine()


def _forget_peak() -> bool:
    try:
        CLEAR_REFS.write_text(RESET_PEAK)
    except OSError:
        return False
    return True


def _field(path: str, name: str, otherwise: float) -> float:
    """A field in kB of a file under ``/proc``, in bytes."""
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return otherwise
    matches = [line.split()[1] for line in lines if line.startswith(f"{name}:")]
    return float(matches[0]) * 1024 if matches else otherwise
