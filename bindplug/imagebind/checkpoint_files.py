"""Open checkpoint files: safely, mapped and not read, and refuse damaged ones."""

from __future__ import annotations

import pickle
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from bindplug.directories import damage_named, first_line
from bindplug.errors import CheckpointError, WeightsNotFound
from bindplug.imagebind.mapped_pages import MappedPages

LEGACY_PICKLE = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"
"""First bytes of PyTorch's format before 1.6: a pickled magic number, 0x1950A86A20F9469CFC6C."""

MOST_INDEX_BYTES = 64 << 20
"""More than any state dict's index of names and shapes has; a bomb would unpack to more."""

MAX_NAMES = 20
"""Most names of one kind that an error lists."""


def open_official(path: str | Path) -> dict[str, Tensor]:
    """Every tensor of a checkpoint file by name, mapped, not read.

    Raises:
        CheckpointError: it is empty, damaged, unsafe to read, or no state dict.
        WeightsNotFound: there is no such file.
    """
    path = Path(path)
    if path.is_dir():
        raise CheckpointError(f"{path} is a directory; expected a checkpoint file such as imagebind_huge.pth")
    if not path.is_file():
        raise WeightsNotFound(f"there is no checkpoint at {path}")
    state = open_safetensors(path) if path.suffix == ".safetensors" else _open_pth(path)
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise CheckpointError(
                f"{path} is not a flat state dict: {name!r} holds a {type(value).__name__}, expected a tensor"
            )
    return state


def open_safetensors(path: str | Path) -> dict[str, Tensor]:
    """Every tensor of a safetensors file by name, on the CPU, mapped where the platform can.

    Raises:
        CheckpointError: the file is empty, truncated, contradicts itself or is no safetensors file.
    """
    try:
        with safe_open(str(path), framework="pt", device="cpu") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path} is not a whole safetensors file ({error})") from error


def verify_checksums(path: str | Path, tensors: Mapping[str, Tensor]) -> None:
    """Compare tensors with the checksums that a ``.pth`` archive keeps of its records.

    Raises:
        CheckpointError: tensors were damaged after the file was written; they are listed.
    """
    if not zipfile.is_zipfile(path):
        return
    with damage_named(path), zipfile.ZipFile(path) as archive:
        checksums = {(record.CRC, record.file_size) for record in archive.infolist()}
    damaged_names, pages = [], MappedPages()
    for name, tensor in tensors.items():
        if _checksum(tensor) not in checksums:
            damaged_names.append(name)
        pages.release(tensor)
    # An archive written without checksums matches nowhere, and says nothing about damage.
    if damaged_names and len(damaged_names) < len(tensors):
        raise CheckpointError(
            f"{path} is damaged; {shorten('not as written', damaged_names)}. Download it again"
        )


def shorten(kind: str, names: list[str]) -> str:
    """``"3 missing: a, b, c"``, shortened where there are many; empty for none."""
    if not names:
        return ""
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return f"{len(names)} {kind}: {', '.join(names[:MAX_NAMES])}{more}"


def _open_pth(path: Path) -> dict[str, Tensor]:
    size = path.stat().st_size
    if size == 0:
        raise CheckpointError(f"{path} is empty; download it again")
    if not zipfile.is_zipfile(path):
        with path.open("rb") as file:
            start = file.read(64)
        if start.startswith(LEGACY_PICKLE):
            raise CheckpointError(
                f"{path} is in PyTorch's format from before 1.6, which cannot be mapped; save it again with "
                f"torch.save(torch.load({path.name!r}, weights_only=True), ...) of a newer PyTorch"
            )
        if start.startswith(b"PK"):
            raise CheckpointError(
                f"{path} is truncated: its {size} bytes lack the archive's end; download it again"
            )
        raise CheckpointError(f"{path} is not a PyTorch checkpoint (it starts with {start[:8]!r})")
    _check_index(path)
    try:
        state = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} holds pickled code or objects besides tensors, which could run when read; refused. "
            f"Expected a plain state dict ({first_line(error)})"
        ) from error
    except Exception as error:
        raise CheckpointError(f"{path} cannot be read: {first_line(error)}; download it again") from error
    if not isinstance(state, dict):
        raise CheckpointError(f"{path} holds a {type(state).__name__}; expected a state dict")
    return state


def _check_index(path: Path) -> None:
    """The archive's own index of tensors must be whole before anything is unpickled from it."""
    try:
        with zipfile.ZipFile(path) as archive:
            records = archive.infolist()
            index = [record for record in records if record.filename.endswith("/data.pkl")]
            if not index:
                raise CheckpointError(
                    f"{path} is an archive, but not a PyTorch checkpoint: it has no data.pkl"
                )
            if index[0].file_size > MOST_INDEX_BYTES:
                raise CheckpointError(
                    f"{path} is damaged: its index of tensors has {index[0].file_size} bytes unpacked"
                )
            # torch writes records as they are, so that they can be mapped; others would be read as they stand.
            packed = [record.filename for record in records if record.compress_type != zipfile.ZIP_STORED]
            if packed:
                raise CheckpointError(f"{path} is no archive that PyTorch wrote: {packed[0]} is compressed")
            archive.read(index[0])
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        OSError,
        RuntimeError,
        NotImplementedError,
        ValueError,
    ) as error:
        raise CheckpointError(f"{path} is damaged ({error}); download it again") from error


def _checksum(tensor: Tensor) -> tuple[int, int]:
    storage = tensor.untyped_storage()
    content = torch.empty(0, dtype=torch.uint8).set_(storage)
    return zlib.crc32(content.numpy().data), storage.nbytes()
