"""The directory beside an adopted file: what its rows are, and by which content it is recognized.

``photos.parquet.bindplug/`` holds ``adopted.json`` (``format`` ``bindplug-adopted``, ``format_version`` 1) and
``adopted.safetensors`` with the tensors of the transform (``transform.*``), the mean row of each kind in the encoder's
space (``mean.*``) and the positions of rows that cannot be searched (``unusable``). The adopted file is never written.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bindplug.directories import Manifest, damage_named, sha256_of, staged, verified, write_tensors
from bindplug.errors import CheckpointError, InputError
from bindplug.imagebind import open_safetensors
from bindplug.space import EmbeddingSpace
from bindplug_search.adopt.number_formats import NumberFormat
from bindplug_search.adopt.recognition import MANIFEST_FILE
from bindplug_search.adopt.transforms import KINDS, Transform

MANIFEST = Manifest(
    "bindplug-adopted",
    version=1,
    holds="record of an adopted file of embeddings",
    fields={
        "rows": dict,
        "encoder": str,
        "space": dict,
        "number_format": dict,
        "transform": dict,
        "kinds": dict,
        "figures": dict,
        "file": dict,
    },
    file=MANIFEST_FILE,
    remedy="`bindplug index adopt` makes one",
)
TENSORS = "adopted.safetensors"


@dataclass(frozen=True)
class RowsSource:
    """Which rows were adopted, and how they were opened.

    Args:
        path: of the file, relative to the record if it lies beside it, else absolute.
        fingerprint: of the content.
        rows, paths, kinds, table: as in :func:`bindplug_search.adopt.open_rows`.
        paths_fingerprint: of a file of paths; None where a column holds them.
        root: directory that relative paths are joined to; None where they are taken as they are.
        modality: of rows for which the file names none.
    """

    path: str
    fingerprint: Mapping[str, Any]
    rows: str | None
    paths: str | None
    kinds: str | None
    table: str | None
    paths_fingerprint: Mapping[str, Any] | None
    root: str | None
    modality: str


@dataclass(frozen=True)
class Record:
    """What is known of an adopted file.

    Attributes:
        source: the rows.
        encoder: name of the encoder that made them.
        space: where the encoder's rows live.
        number_format: how they are stored.
        transform: what was done to them.
        kinds: for each kind, how many rows can be searched.
        figures: of the identification, for people.
        means: for each kind the mean (D,) of its rows in the encoder's space.
        unusable: positions of rows without a direction.
        query_model: name or path of the model that queries are made with; empty for the encoder.
        bridge: name or directory of the bridge that queries of another model take; empty for none.
    """

    source: RowsSource
    encoder: str
    space: EmbeddingSpace
    number_format: NumberFormat
    transform: Transform
    kinds: Mapping[str, int]
    figures: Mapping[str, Any]
    means: Mapping[str, np.ndarray]
    unusable: np.ndarray
    query_model: str = ""
    bridge: str = ""


def write_record(record: Record, place: Path, *, overwrite: bool = False) -> Path:
    """Write a record; all of it or nothing.

    Raises:
        CheckpointError: the place is occupied by something else, or ``overwrite`` is False.
        InputError: it cannot be written there.
    """
    if place.exists() and not (place / MANIFEST.file).is_file():
        raise CheckpointError(
            f"{place} exists and is no record of an adopted file; give another place: --output DIR"
        )
    tensors = {
        f"transform.{name}": torch.from_numpy(np.ascontiguousarray(value))
        for name, value in record.transform.tensors.items()
    }
    tensors |= {
        f"mean.{kind}": torch.from_numpy(mean.astype(np.float32)) for kind, mean in record.means.items()
    }
    tensors["unusable"] = torch.from_numpy(record.unusable.astype(np.int64))
    try:
        with staged(place, overwrite=overwrite) as directory:
            entry = write_tensors(tensors, directory / TENSORS)
            MANIFEST.write(
                directory,
                {
                    "rows": asdict(record.source),
                    "encoder": record.encoder,
                    "space": asdict(record.space),
                    "number_format": record.number_format.to_dict(),
                    "transform": record.transform.to_dict(),
                    "kinds": dict(record.kinds),
                    "figures": dict(record.figures),
                    "query_model": record.query_model,
                    "bridge": record.bridge,
                    "file": entry,
                },
            )
    except OSError as error:
        raise InputError(
            str(place), found=f"no permission or space to write ({error.strerror})", expected="a writable place",
            remedy="Give another one: --output DIR",
        ) from None  # fmt: skip
    return place


def read_record(place: str | Path) -> Record:
    """The record of a directory.

    Raises:
        WeightsNotFound: there is none.
        CheckpointError: it is damaged.
    """
    place = Path(place)
    content = MANIFEST.read(place)
    file = verified(place / TENSORS, content["file"], remedy="adopt the file again")
    with damage_named(place / MANIFEST.file):
        tensors = {name: tensor.numpy() for name, tensor in open_safetensors(file).items()}
        kind, width = content["transform"]["kind"], int(content["transform"]["width"])
        if kind not in KINDS:
            raise CheckpointError(f"{place / MANIFEST.file} has the unknown transform {kind!r}")
        prefixed = {
            prefix: {n.removeprefix(prefix): value for n, value in tensors.items() if n.startswith(prefix)}
            for prefix in ("transform.", "mean.")
        }
        return Record(
            source=RowsSource(**content["rows"]),
            encoder=content["encoder"],
            space=EmbeddingSpace.from_dict(content["space"]),
            number_format=NumberFormat.from_dict(content["number_format"]),
            transform=Transform(kind, width, prefixed["transform."]),
            kinds={str(name): int(count) for name, count in content["kinds"].items()},
            figures=content["figures"],
            means=prefixed["mean."],
            unusable=tensors["unusable"],
            query_model=str(content.get("query_model") or ""),
            bridge=str(content.get("bridge") or ""),
        )


def fingerprint_of(path: Path) -> dict[str, Any]:
    """By what a file or a directory is recognized.

    Files are digested whole. Lance never changes a data file, so that for a table names and sizes do.
    """
    if path.is_dir():
        files = sorted(child for child in path.rglob("*") if child.is_file())
        names = [child.relative_to(path).as_posix() for child in files]
        if (path / "_versions").is_dir():
            sizes = [child.stat().st_size for child in files]
            return {"files": len(files), "sha256": _digest(zip(names, sizes, strict=True))}
        digests = [sha256_of(child) for child in files]
        return {
            "files": len(files),
            "state": _state_of(path),
            "sha256": _digest(zip(names, digests, strict=True)),
        }
    state = path.stat()
    return {"size_bytes": state.st_size, "mtime_ns": state.st_mtime_ns, "sha256": sha256_of(path)}


def _state_of(directory: Path) -> str:
    """Digest of the names, sizes and times of change of all files of a directory."""
    files = sorted(child for child in directory.rglob("*") if child.is_file())
    states = [(child, child.stat()) for child in files]
    return _digest(
        (child.relative_to(directory).as_posix(), f"{state.st_size} {state.st_mtime_ns}")
        for child, state in states
    )


def _digest(pairs: Iterable[tuple[str, object]]) -> str:
    listing = "\n".join(f"{name} {value}" for name, value in pairs)
    return hashlib.sha256(listing.encode("utf-8", "surrogateescape")).hexdigest()


def is_unchanged(path: Path, fingerprint: Mapping[str, Any]) -> bool:
    """Whether a file still has its fingerprint; one of the same size and time of change counts as unchanged."""
    if not path.exists():
        return False
    if path.is_file() and "mtime_ns" in fingerprint:
        state = path.stat()
        if state.st_size != fingerprint.get("size_bytes"):
            return False
        if state.st_mtime_ns == fingerprint["mtime_ns"]:
            return True
    if path.is_dir() and "state" in fingerprint and _state_of(path) == fingerprint["state"]:
        return True
    return bool(fingerprint_of(path)["sha256"] == fingerprint.get("sha256"))


def stored_path(path: Path, place: Path) -> str:
    """A path as a record keeps it: relative if it lies beside the record, so that both can move together."""
    path, place = path.absolute(), place.absolute()
    return os.path.relpath(path, place) if path.is_relative_to(place.parent) else str(path)
