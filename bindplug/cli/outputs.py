"""Files of embeddings: Parquet and NPZ, written part by part and put in place at once."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bindplug.cli.journal import Journal, Part, not_writable
from bindplug.cli.sources import Source
from bindplug.errors import InputError, MissingDependency
from bindplug.files import staged_file
from bindplug.modality import Modality

if TYPE_CHECKING:
    import pyarrow as pa

METADATA_KEY = "bindplug"
"""Where both formats keep what is common to all rows: JSON with model, space, and the skipped inputs."""

WRITERS = (".parquet", ".npz")


def check_output(path: Path) -> None:
    """Refuse an output that cannot be written, before the work starts.

    Raises:
        InputError: another suffix, a directory, no such place, or one without permission to write.
        MissingDependency: pyarrow is absent.
    """
    expected = "a file that ends in .parquet or .npz"
    parent = _target(path).parent
    if path.suffix not in WRITERS:
        raise InputError(str(path), found=f"the suffix {path.suffix!r}", expected=expected)
    if path.is_dir() or not parent.is_dir():
        detail = "a directory" if path.is_dir() else f"no directory {str(parent)!r}"
        place = expected if path.is_dir() else "a file in a directory that exists"
        raise InputError(str(path), found=detail, expected=place)
    if not os.access(parent, os.W_OK):
        raise InputError(
            str(path), found=f"no permission to write in {str(parent)!r}", expected="a writable place"
        )
    if path.suffix == ".parquet":
        try:
            import pyarrow  # noqa: F401
        except ModuleNotFoundError:
            raise MissingDependency("bindplug embed, for Parquet output,", "pyarrow", "cli") from None


def read_metadata(path: Path) -> dict[str, Any] | None:
    """What :func:`write_output` wrote beside the rows of a file; None if the file is not one of its own."""
    try:
        if path.suffix == ".npz":
            with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                metadata = json.loads(str(stored[METADATA_KEY]))
        else:
            import pyarrow.parquet as pq

            metadata = json.loads((pq.read_schema(path).metadata or {})[METADATA_KEY.encode()])
    except Exception:  # whatever a foreign or damaged file makes the readers raise
        return None
    return metadata if isinstance(metadata, dict) else None


def _target(path: Path) -> Path:
    """Where a path leads, through symbolic links.

    Raises:
        InputError: the links lead in a circle.
    """
    try:
        target = path.resolve()
        is_circle = target.is_symlink()
    except (OSError, RuntimeError):  # Python before 3.13 raises
        is_circle = True
    if is_circle:
        raise InputError(
            str(path), found="symbolic links that lead in a circle", expected="a file, or a link to one"
        )
    return target


def write_output(path: Path, journal: Journal, width: int, metadata: dict[str, Any]) -> int:
    """Merge a journal's parts into ``path``, which appears whole or not at all.

    A path that is a symbolic link is followed. What a killed process left of an earlier attempt is removed.

    Args:
        path: ends in ``.parquet`` or ``.npz``.
        journal: with every part finished.
        width: length of a row.
        metadata: ``model`` and ``space`` among it.

    Returns:
        The number of rows written.

    Raises:
        InputError: a file changed since it was embedded, or the output cannot be written.
    """
    with _in_place(_target(path)) as temporary:
        if path.suffix == ".parquet":
            return _write_parquet(temporary, journal, width, metadata)
        return _write_npz(temporary, journal, width, metadata)


def _parts(journal: Journal) -> Iterator[Part]:
    for start in journal.starts:
        part = journal.read(start)
        if part is None:
            raise InputError(
                journal.part_items(start)[0].value,
                found="changed while other files were embedded",
                expected="files that stay as they are",
                remedy="Run the same command again: it reads the changed ones anew",
            )
        yield part


def _sources(journal: Journal) -> Iterator[list[Source]]:
    """The sources of each part's rows."""
    for part in _parts(journal):
        yield [journal.items[i] for i in part.kept]


def _write_parquet(path: Path, journal: Journal, width: int, metadata: dict[str, Any]) -> int:
    import pyarrow.parquet as pq

    windowed = any(source.span for source in journal.items)
    with_bytes = not all(is_utf8(source.value) for source in journal.items)
    schema = rows_schema(width, metadata, windowed=windowed, with_bytes=with_bytes)
    row_count = 0
    with pq.ParquetWriter(path, schema) as writer:
        for part in _parts(journal):
            table = rows_table(part.rows, [journal.items[i] for i in part.kept], schema)
            writer.write_table(table)
            row_count += len(table)
    return row_count


def rows_schema(
    width: int, metadata: Mapping[str, Any], *, windowed: bool = False, with_bytes: bool = False
) -> pa.Schema:
    """The Arrow schema of a table of rows.

    Args:
        width: length of a row.
        metadata: what is common to all rows, ``model`` and ``space`` among it; the schema carries it as JSON.
        windowed: with the columns ``start`` and ``end``, in seconds.
        with_bytes: with the column ``path_bytes``, for names of files that are not UTF-8.
    """
    import pyarrow as pa

    columns = [
        ("path", pa.string()),
        ("modality", pa.string()),
        ("embedding", pa.list_(pa.float32(), width)),
        ("model", pa.string()),
        ("space", pa.string()),
    ]
    if windowed:
        columns += [("start", pa.float64()), ("end", pa.float64())]
    # Parquet's strings are UTF-8, names of files need not be: those are escaped, and kept as bytes beside.
    if with_bytes:
        columns.append(("path_bytes", pa.binary()))
    return pa.schema(columns, metadata={METADATA_KEY: json.dumps(metadata)})


def rows_table(rows: np.ndarray, sources: Sequence[Source], schema: pa.Schema) -> pa.Table:
    """Rows as an Arrow table.

    Args:
        rows: (N, D) float32.
        sources: what each of the N rows stands for.
        schema: from :func:`rows_schema`.
    """
    import pyarrow as pa

    metadata = json.loads(schema.metadata[METADATA_KEY.encode()])
    flat = pa.array(rows.reshape(-1), pa.float32())  # (N, D) -> (N * D,)
    columns: dict[str, Any] = {
        "path": [as_utf8(s.value) for s in sources],
        "modality": [s.modality for s in sources],
        "embedding": pa.FixedSizeListArray.from_arrays(flat, schema.field("embedding").type.list_size),
        "model": [metadata["model"]] * len(sources),
        "space": [metadata["space"]] * len(sources),
        "start": [s.span[0] if s.span else None for s in sources],
        "end": [s.span[1] if s.span else None for s in sources],
        "path_bytes": [os.fsencode(s.value) for s in sources],
    }
    arrays = [
        pa.array(columns[field.name], field.type)
        if isinstance(columns[field.name], list)
        else columns[field.name]
        for field in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def is_utf8(text: str) -> bool:
    """Whether a name is UTF-8, and not bytes that Python holds as lone surrogates."""
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def as_utf8(text: str) -> str:
    """The text with bytes that are not UTF-8 as ``\\xNN``."""
    return text if is_utf8(text) else os.fsencode(text).decode("utf-8", errors="backslashreplace")


def _write_npz(path: Path, journal: Journal, width: int, metadata: dict[str, Any]) -> int:
    row_count = longest = 0
    for sources in _sources(journal):
        row_count += len(sources)
        longest = max([longest, *(len(source.value) for source in sources)])
    names = max(len(modality.value) for modality in Modality)
    with zipfile.ZipFile(path, "w") as archive:
        about = (("model", metadata["model"]), ("space", metadata["space"]))
        for name, value in (*about, (METADATA_KEY, json.dumps(metadata))):
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.array(value), allow_pickle=False)
        values = ([source.value for source in sources] for sources in _sources(journal))
        _write_column(archive, "path", f"<U{max(1, longest)}", (row_count,), values)
        modalities = ([source.modality for source in sources] for sources in _sources(journal))
        _write_column(archive, "modality", f"<U{names}", (row_count,), modalities)
        if any(source.span for source in journal.items):
            for place, name in enumerate(("start", "end")):  # in seconds; NaN for a whole source
                times = (
                    [source.span[place] if source.span else np.nan for source in sources]
                    for sources in _sources(journal)
                )
                _write_column(archive, name, "<f8", (row_count,), times)
        rows = (part.rows for part in _parts(journal))
        _write_column(archive, "embedding", "<f4", (row_count, width), rows)
    return row_count


def _write_column(
    archive: zipfile.ZipFile, name: str, dtype: str, shape: Sequence[int], pieces: Iterable[Any]
) -> None:
    """An array of the archive, written piece by piece: it may be larger than memory."""
    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
        header = {"descr": dtype, "fortran_order": False, "shape": tuple(shape)}
        np.lib.format.write_array_header_2_0(member, header)
        for piece in pieces:
            member.write(np.asarray(piece, dtype=dtype, order="C").tobytes())


@contextmanager
def _in_place(path: Path) -> Iterator[Path]:
    """A temporary file beside ``path`` that takes its place when the block succeeds, and else vanishes."""
    for leftover in path.parent.glob(f".{_literal(path.name)}.*.tmp"):  # of a process killed in the merge
        leftover.unlink(missing_ok=True)
    try:
        with staged_file(path) as temporary:
            yield temporary
    except OSError as error:
        raise not_writable(path, error) from None


def _literal(name: str) -> str:
    from glob import escape

    return escape(name)
