"""Weights as directories: a JSON manifest beside safetensors files, written whole or not at all, read with checks.

MANIFEST = Manifest("acme-depth", version=1, holds="depth estimator", fields={"network": dict})

with staged("weights/depth", overwrite=True) as directory:
    entry = write_tensors(network.state_dict(), directory / "network.safetensors")
    MANIFEST.write(directory, {"network": entry})

entry = MANIFEST.read("weights/depth")["network"]
file = verified(Path("weights/depth/network.safetensors"), entry)
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from bindplug.errors import BindplugError, CheckpointError, WeightsNotFound, printable

__all__ = [
    "DTYPES",
    "Manifest",
    "check_dtype",
    "damage_named",
    "first_line",
    "is_finite",
    "is_occupied",
    "read_json",
    "sha256_of",
    "staged",
    "verified",
    "write_tensors",
]

DAMAGE = (
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    RecursionError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What reading content of the wrong type, shape or size raises."""

MOST_JSON_BYTES = 64 << 20
"""Larger than any manifest, whose longest part are a bridge's words."""

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
"""What weights may be written in."""


@dataclass(frozen=True)
class Manifest:
    """The file by which one kind of directory is recognized.

    Args:
        format: what its ``"format"`` says, for instance ``"bindplug-imagebind"``.
        version: the ``"format_version"`` that is written, and the only one that is read.
        holds: what such a directory holds, for messages: "bridge".
        fields: what it must say besides, with the type of each.
        file: its name.
        remedy: how to get such a directory, for the message that there is none.
    """

    format: str
    version: int
    holds: str
    fields: Mapping[str, type] = field(default_factory=dict)
    file: str = "config.json"
    remedy: str = ""

    def read(self, directory: str | Path) -> dict[str, Any]:
        """All that the manifest of a directory says.

        Raises:
            CheckpointError: it is damaged, lacks a field or describes something else.
            WeightsNotFound: there is no such directory, or it has no manifest.
        """
        file = Path(directory) / self.file
        if not file.is_file():
            remedy = f". {self.remedy}" if self.remedy else ""
            raise WeightsNotFound(f"there is no {self.holds} at {directory}: it has no {self.file}{remedy}")
        content = read_json(file)
        if not isinstance(content, dict) or content.get("format") != self.format:
            raise CheckpointError(f"{file} does not describe a {self.holds} (no format {self.format!r})")
        version = content.get("format_version")
        if version != self.version:
            raise CheckpointError(
                f"{file} has format version {version!r}; this bindplug reads version {self.version}"
            )
        missing = [name for name, kind in self.fields.items() if not isinstance(content.get(name), kind)]
        if missing:
            raise CheckpointError(f"{file} is damaged: it lacks {', '.join(missing)}")
        return content

    def write(self, directory: Path, fields: Mapping[str, Any]) -> None:
        """Write the manifest of a directory: format and version, then further ``fields``, ready for JSON."""
        content = {"format": self.format, "format_version": self.version, **fields}
        text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        (directory / self.file).write_text(text, encoding="utf-8")


def read_json(file: Path) -> Any:
    """The content of a JSON file that nobody vouches for.

    Raises:
        CheckpointError: it is no JSON, too large for a manifest, or nested too deeply.
    """
    try:
        size = file.stat().st_size
        if size > MOST_JSON_BYTES:
            raise CheckpointError(f"{file} is damaged: {size} bytes are more than a manifest has")
        return json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise CheckpointError(f"{file} is damaged: {error}") from error
    except RecursionError:
        raise CheckpointError(f"{file} is damaged: it is nested too deeply") from None


@contextmanager
def damage_named(file: str | Path) -> Iterator[None]:
    """Turn what damaged content raises inside the block into a :class:`CheckpointError` that names the file.

    Errors of bindplug pass as they are.
    """
    try:
        yield
    except BindplugError:
        raise
    except DAMAGE as error:
        raise CheckpointError(f"{file} is damaged: {type(error).__name__}: {first_line(error)}") from error


TORCH_REASON = re.compile(
    r"(?:GLOBAL |[Uu]nsupported global: )(?:GLOBAL )?([\w.]+)|([Uu]nsupported operand \d+)"
)
TORCH_ADVICE = re.compile(
    r"(?:\. )?(?:In PyTorch 2\.6, we changed|This file can still be loaded).*", re.DOTALL
)
"""Parts of the message of ``torch.load(weights_only=True)``."""


def first_line(error: BaseException) -> str:
    """The first line of an error's text, shortened and printable; its class where it has no text.

    Of PyTorch's refusal to unpickle it is what the file holds, without the advice to read it unsafely.
    """
    text = str(error)
    if TORCH_ADVICE.search(text):
        reason = TORCH_REASON.search(text)
        explanation = f"it names {reason[1]}" if reason and reason[1] else ""
        text = explanation or (reason[2] if reason else TORCH_ADVICE.sub("", text))
    line = (text.splitlines() or [""])[0][:300] or type(error).__name__
    return printable(line)


@contextmanager
def staged(path: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """A new directory to fill, which stands at ``path`` after the block, or not at all if the block raises.

    Args:
        path: where it goes; its parents are made. It may exist if it is empty.
        overwrite: whether to replace what stands there.

    Raises:
        CheckpointError: ``path`` is occupied.
    """
    path = Path(path)
    if not overwrite and is_occupied(path):
        raise CheckpointError(f"{path} exists; give another path, or overwrite=True to replace it")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield partial
        partial.chmod(0o755)  # a temporary directory is its owner's alone
        replace_directory(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def is_occupied(path: Path) -> bool:
    """Whether there is anything at ``path`` but an empty directory."""
    return path.exists() and (not path.is_dir() or any(path.iterdir()))


def check_dtype(dtype: torch.dtype) -> None:
    """Raise :class:`CheckpointError` for a dtype that weights are not written in (:data:`DTYPES`)."""
    if dtype not in DTYPES.values():
        raise CheckpointError(f"cannot write weights as {dtype}; expected one of {', '.join(DTYPES)}")


def is_finite(tensor: Tensor) -> bool:
    """Whether a real tensor holds neither NaN nor infinity; nothing of its size is allocated. True on ``meta``."""
    if tensor.is_meta or not tensor.numel() or not tensor.is_floating_point():
        return True
    if tensor.element_size() == 1:  # float8 has no minimum
        tensor = tensor.to(torch.float32)
    least, most = tensor.detach().aminmax()  # NaN is both
    return bool(least.isfinite() & most.isfinite())


def write_tensors(
    tensors: Mapping[str, Tensor], file: Path, metadata: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Write tensors, contiguous and on the CPU, as a safetensors file that everyone may read.

    Args:
        tensors: by name.
        file: to write.
        metadata: for the file's header, beside ``format``.

    Returns:
        The file's entry for the manifest: ``file``, its name; ``size_bytes``; ``sha256``, in hex.
    """
    save_file(dict(tensors), file, metadata={"format": "pt", **(metadata or {})})
    file.chmod(0o644)  # safetensors writes for the owner alone; what is installed for all must be read by all
    return {"file": file.name, "size_bytes": file.stat().st_size, "sha256": sha256_of(file)}


def verified(file: Path, entry: Any, *, what: str = "", remedy: str = "write the directory again") -> Path:
    """``file``, after checking that it is the one that a manifest describes.

    Args:
        file: to check.
        entry: what the manifest says of it, as :func:`write_tensors` returned it.
        what: the file holds, for messages: "the audio tower"; the file's name if empty.
        remedy: what to do about a file that is missing or damaged.

    Raises:
        CheckpointError: the file is missing, of another size or content, or ``entry`` does not describe one.
    """
    what = what or f"the file {file.name}"
    if not isinstance(entry, dict) or not {"size_bytes", "sha256"} <= entry.keys():
        raise CheckpointError(f"{file.parent} is damaged: its manifest gives no checksum of {what}")
    if not file.is_file():
        raise CheckpointError(f"{what} is missing: there is no {file}; {remedy}")
    size = file.stat().st_size
    if size != entry["size_bytes"]:
        raise CheckpointError(
            f"{what} is damaged: {file} has {size} bytes, expected {entry['size_bytes']}; {remedy}"
        )
    if sha256_of(file) != entry["sha256"]:
        raise CheckpointError(f"{what} is damaged: {file} does not match its checksum; {remedy}")
    return file


def sha256_of(file: Path) -> str:
    """Hex digest of a file's content, read in pieces."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while piece := stream.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def replace_directory(partial: Path, path: Path) -> None:
    """Put ``partial`` where ``path`` is or will be; what stood there comes back if that fails."""
    if not path.exists():
        partial.replace(path)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{path.name}.old.", dir=path.parent))
    path.replace(aside / path.name)
    try:
        partial.replace(path)
    except OSError:
        (aside / path.name).replace(path)
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
