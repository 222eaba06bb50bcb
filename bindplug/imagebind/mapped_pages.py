"""Let go of memory that only mirrors a file.

A tensor mapped from a file comes into memory as it is read. Where its numbers have been converted or summed, its
pages are of no more use, but they would count as this process's memory until the whole file is unmapped: loading
a float16 file as float32 would peak at half more than the model's size.
"""

from __future__ import annotations

import ctypes
import mmap
from pathlib import Path

import torch
from torch import Tensor, nn

MAPS = Path("/proc/self/maps")


class MappedPages:
    """The files that are mapped into this process now, for :meth:`release`."""

    def __init__(self) -> None:
        self._ranges = _file_mappings()

    def release(self, tensor: Tensor) -> bool:
        """Give back the whole pages under a tensor that is mapped privately from a file and was never written to.

        Its numbers stay what they are: they are read from the file again if anybody asks.

        Returns:
            Whether there was something to give back; False for other tensors and on systems other than Linux.
        """
        if tensor.device.type != "cpu" or not tensor.is_contiguous():
            return False
        # Whole pages only: tensors beside this one share its first and its last page.
        first, size = tensor.data_ptr(), tensor.numel() * tensor.element_size()
        start = -(-first // mmap.PAGESIZE) * mmap.PAGESIZE
        end = (first + size) // mmap.PAGESIZE * mmap.PAGESIZE
        if start >= end or not any(low <= start and end <= high for low, high in self._ranges):
            return False
        advise = ctypes.CDLL(None).madvise
        return advise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), mmap.MADV_DONTNEED) == 0


def convert(model: nn.Module, dtype: torch.dtype) -> None:
    """Give a model's floating-point numbers another dtype, one by one, and let go of what they came from."""
    pages = MappedPages()
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.is_floating_point() and tensor.dtype != dtype:
            before = tensor.data
            tensor.data = before.to(dtype)
            pages.release(before)


def _file_mappings() -> list[tuple[int, int]]:
    """Where files are mapped privately, as (first address, address after the last)."""
    try:
        lines = MAPS.read_text().splitlines()
    except OSError:
        return []
    ranges = []
    for line in lines:
        # address range, permissions, offset, device, inode, path
        addresses, permissions, _, _, inode = line.split(maxsplit=5)[:5]
        if inode != "0" and permissions.endswith("p"):
            low, _, high = addresses.partition("-")
            ranges.append((int(low, 16), int(high, 16)))
    return ranges
