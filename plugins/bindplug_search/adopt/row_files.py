"""Opening a file of rows of whichever kind."""

from __future__ import annotations

from pathlib import Path

from bindplug.errors import InputError
from bindplug_search.adopt.arrow_files import LanceRows, ParquetRows
from bindplug_search.adopt.faiss_files import open_faiss
from bindplug_search.adopt.numpy_files import open_numpy
from bindplug_search.adopt.part_files import holds_parts, open_parts
from bindplug_search.adopt.row_file import RowFile

SUFFIXES = (".parquet", ".lance", ".npy", ".npz", ".faiss", ".index")


REMEDY = "Save its vectors with numpy.save, the paths one a line, and give --paths FILE"
"""What to do about other stores."""


def open_rows(
    path: str | Path,
    *,
    rows: str | None = None,
    paths: str | None = None,
    kinds: str | None = None,
    table: str | None = None,
) -> RowFile:
    """Open a file of embeddings.

    Args:
        path: a ``.parquet``, ``.npy``, ``.npz``, ``.faiss`` file, a ``.lance`` directory, or a directory of parts: of
            Parquet files, or of ``.npy`` files as clip-retrieval writes them.
        rows: name of the column, or of the array of an ``.npz`` file, that holds the vectors; None to take the only
            one there is.
        paths: name of the column that holds the paths, or a file with one path for every row; None for the column
            of a usual name.
        kinds: name of the column that holds modalities; None for one of a usual name, if there is one.
        table: name of the table, where a Lance directory holds several.

    Raises:
        InputError: there is no such file, it is damaged, empty or of another kind, or it is not clear which column
            holds vectors or paths.
        MissingDependency: a package that reads it is absent.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise InputError(
            str(path), found="no such file", expected="a file of embeddings: " + ", ".join(SUFFIXES)
        )
    suffix = path.suffix.lower()
    if suffix in (".npy", ".npz"):
        return _checked(open_numpy(path, rows, paths, kinds))
    if path.is_dir() and holds_parts(path):
        return _checked(open_parts(path, rows, paths, kinds))
    if (path / "chroma.sqlite3").is_file():
        raise InputError(
            str(path), found="a Chroma database", expected="one of " + ", ".join(SUFFIXES), remedy=REMEDY
        )
    if path.is_dir():
        return _checked(LanceRows(path, rows, paths, kinds, table))
    if suffix == ".parquet":
        return _checked(ParquetRows(path, rows, paths, kinds))
    if suffix in (".faiss", ".index"):
        return _checked(open_faiss(path, paths))
    raise InputError(
        str(path),
        found=f"the suffix {path.suffix!r}",
        expected="one of " + ", ".join(SUFFIXES),
        remedy=REMEDY,
    )


def _checked(file: RowFile) -> RowFile:
    name = str(file.path)
    if not file.count:
        raise InputError(name, found="no rows", expected="at least a few embeddings")
    if file.width < 2:
        raise InputError(name, found=f"rows of width {file.width}", expected="embeddings")
    if len(file.paths) != file.count:
        raise InputError(
            str(file.paths_file or name),
            found=f"{len(file.paths)} paths for {file.count} rows of {file.path.name}",
            expected="one path for every row, in the order of the rows",
        )
    if file.kinds is not None and len(file.kinds) != file.count:
        raise InputError(
            name, found=f"{len(file.kinds)} kinds for {file.count} rows", expected="one for every row"
        )
    return file
