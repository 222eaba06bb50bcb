"""An adopted file as an index: searched exactly, in pieces, where it lies."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from bindplug.errors import InputError
from bindplug.indexes import Condition, IndexInfo, IndexMatch, IndexRow
from bindplug.modality import Modality
from bindplug.space import EmbeddingSpace
from bindplug_search.adopt.recognition import record_place
from bindplug_search.adopt.record import MANIFEST, Record, is_unchanged, read_record
from bindplug_search.adopt.row_file import RowFile, name_at
from bindplug_search.adopt.row_files import open_rows
from bindplug_search.adopt.samples import PathRoot, kind_at, span_at
from bindplug_search.adopt.survey import unit_rows

STORE = "adopted"


class AdoptedIndex:
    """A file of another tool's rows, which no method changes (a :class:`bindplug.indexes.VectorIndex`).

    Args:
        file: of rows.
        record: what is known of it.
        place: of the record.
    """

    def __init__(self, file: RowFile, record: Record, place: Path) -> None:
        self.file, self.record, self.place = file, record, place
        root = record.source.root
        self._root = PathRoot(None if root is None else Path(root))

    @property
    def model(self) -> str:
        """The encoder that made the rows."""
        return self.record.encoder

    @property
    def space(self) -> EmbeddingSpace:
        """Where the encoder's rows live; queries are vectors of this space, whatever was done to the rows since."""
        return self.record.space

    @property
    def query_model(self) -> str:
        """Name or path of the model that queries are made with, unless another one is named."""
        return self.record.query_model or self.record.encoder

    @property
    def bridge(self) -> str | None:
        """Name or directory of the bridge that queries of another model take; None if none was chosen."""
        if not self.record.bridge:
            return None
        inside = self.place / self.record.bridge
        return str(inside) if inside.is_dir() else self.record.bridge

    def add(self, vectors: np.ndarray, rows: Sequence[IndexRow]) -> None:
        """Refused: adopted files are left as they are.

        Raises:
            InputError: always.
        """
        raise self._read_only("adding rows")

    def delete(self, paths: Iterable[str]) -> int:
        """Refused: adopted files are left as they are.

        Raises:
            InputError: always.
        """
        raise self._read_only("deleting rows")

    def search(
        self,
        vector: np.ndarray,
        k: int,
        *,
        kinds: Sequence[str] = (),
        where: Sequence[Condition] = (),
        exact: bool = False,
    ) -> list[IndexMatch]:
        """The ``k`` rows of greatest cosine; see :meth:`bindplug.indexes.VectorIndex.search`. Always exact.

        Of quantized or truncated rows, the cosine is that with what was stored.

        Raises:
            InputError: the vector has another width, or the file has changed or cannot be read any more.
        """
        vector = np.asarray(vector, dtype=np.float32)
        if vector.shape != (self.space.width,):
            raise InputError(
                "search()", found=f"a vector of shape {vector.shape}", expected=f"({self.space.width},)"
            )
        if k < 1:
            raise InputError("search()", found=f"k={k}", expected="at least 1")
        query = self.record.transform.query(unit_rows(vector[None])[0])
        allowed = self._allowed(kinds, where)
        positions, scores = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)
        for start, rows in self.unit_chunks():
            cosines = rows @ query  # (c, K) @ (K,) -> (c,)
            inside = np.flatnonzero(allowed[start : start + len(rows)])
            positions = np.concatenate([positions, inside + start])
            scores = np.concatenate([scores, cosines[inside]])
            best = np.argsort(-scores, kind="stable")[:k]
            positions, scores = positions[best], scores[best].clip(-1.0, 1.0)
        pairs = zip(positions, scores, strict=True)
        return [IndexMatch(self.row_at(int(position)), float(score)) for position, score in pairs]

    def mean(self, kinds: Sequence[str] = ()) -> np.ndarray:
        """The mean (D,) of the rows of these kinds in the encoder's space; of truncated rows, that of the sample."""
        names = [Modality.parse(kind).value for kind in kinds] or list(self.record.kinds)
        present = [name for name in names if self.record.kinds.get(name) and name in self.record.means]
        if not present:
            return np.zeros(self.space.width, dtype=np.float32)
        weights = [self.record.kinds[name] for name in present]
        mean: np.ndarray = np.average([self.record.means[name] for name in present], axis=0, weights=weights)
        return mean.astype(np.float32)

    def info(self) -> IndexInfo:
        """What the file holds and what is known of it."""
        record = self.record
        details = {
            "format_version": MANIFEST.version,
            "stored_as": str(record.number_format),
            "transform": record.transform.kind,
            "paths": str(self.file.paths_file or self.file.path_column),
            "left_out": len(record.unusable),
            **record.figures,
        }
        if self.query_model != record.encoder:
            details["query_model"] = self.query_model
        if self.bridge:
            details["bridge"] = self.bridge
        return IndexInfo(
            path=str(self.file.path),
            store=STORE,
            model=record.encoder,
            space=record.space,
            rows=self.file.count - len(record.unusable),
            kinds=dict(record.kinds),
            details=details,
        )

    def unit_chunks(self) -> Iterator[tuple[int, np.ndarray]]:
        """Positions and unit rows (n, K) as queries are compared with them, in pieces."""
        for chunk in self.file.chunks():
            decoded = self.record.number_format.decode(chunk.rows)
            yield chunk.start, unit_rows(self.record.transform.of_rows(decoded))

    def row_at(self, position: int) -> IndexRow:
        """What a row stands for; the path is one that can be opened, where the file is on this machine."""
        kind = kind_at(self.file, position, self.record.source.modality)
        path = name_at(self.file.paths, position)
        if path is None:
            path = f"row {position} of {self.file.path.name}"
        elif kind != Modality.TEXT.value:
            path = str(self._root.resolve(path) or path)
        values = {name: self._metadata(name)[position] for name in self.file.metadata_columns}
        metadata = {name: _plain(value) for name, value in values.items() if value is not None}
        return IndexRow(path, kind, span_at(self.file, position), metadata)

    def _allowed(self, kinds: Sequence[str], where: Sequence[Condition]) -> np.ndarray:
        """(N,) bool: rows that can be searched and meet the conditions."""
        allowed = np.ones(self.file.count, dtype=bool)
        allowed[self.record.unusable] = False
        if kinds:
            allowed &= kinds_mask(self.file, self.record.source.modality, kinds)
        for condition in where:
            if condition.key not in self.file.metadata_columns:
                names = ", ".join(self.file.metadata_columns) or "none"
                raise InputError(
                    str(self.file.path), found=f"no column {condition.key!r}", expected=f"one of {names}"
                )
            allowed &= np.array([_meets(value, condition) for value in self._metadata(condition.key)])
        return allowed

    def _metadata(self, name: str) -> Sequence[object]:
        cache = self.__dict__.setdefault("_metadata_cache", {})
        if name not in cache:
            cache[name] = self.file.metadata(name)
        values: Sequence[object] = cache[name]
        return values

    def _read_only(self, doing: str) -> InputError:
        return InputError(
            f"{doing} in {self.file.path}", found="a file of another tool, adopted as it is",
            expected="an index of bindplug", remedy="Change it with the tool that made it, and adopt it again; or make "
            "an index of your own: bindplug index add",
        )  # fmt: skip


def open_adopted(path: str | Path) -> AdoptedIndex:
    """The index of an adopted file.

    Args:
        path: of the file, or of its record.

    Raises:
        WeightsNotFound: the file was not adopted.
        CheckpointError: the record is damaged.
        InputError: the file is gone, or has changed since it was adopted.
    """
    place = record_place(path)
    record = read_record(place)
    source = record.source
    rows_path = _absolute(place, source.path)
    _ensure_unchanged(rows_path, source.fingerprint)
    paths = source.paths
    if paths is not None and source.paths_fingerprint is not None:
        paths = str(_absolute(place, paths))
        _ensure_unchanged(Path(paths), source.paths_fingerprint)
    file = open_rows(rows_path, rows=source.rows, paths=paths, kinds=source.kinds, table=source.table)
    return AdoptedIndex(file, record, place)


def kinds_mask(file: RowFile, modality: str, kinds: Sequence[str]) -> np.ndarray:
    """(N,) bool: rows of these kinds."""
    kind_values = {Modality.parse(kind).value for kind in kinds}
    if file.kinds is None:
        return np.full(file.count, Modality.parse(modality).value in kind_values)
    values = np.array(kind_names(file, modality))
    names = np.unique(values)
    return np.isin(values, [name for name in names if Modality.parse(str(name)).value in kind_values])


def kind_names(file: RowFile, modality: str) -> list[str]:
    """For each row the name of its kind, as the file spells it."""
    if file.kinds is None:
        return [modality] * file.count
    kinds = file.kinds.to_pylist() if hasattr(file.kinds, "to_pylist") else list(file.kinds)
    return [str(kind) if kind else modality for kind in kinds]


def _absolute(place: Path, path: str) -> Path:
    return Path(path) if Path(path).is_absolute() else Path(os.path.normpath(place / path))


def _ensure_unchanged(path: Path, fingerprint: object) -> None:
    if not path.exists():
        raise InputError(str(path), found="no such file any more", expected="the file that was adopted")
    if not isinstance(fingerprint, dict) or not is_unchanged(path, fingerprint):
        raise InputError(
            str(path), found="changes since it was adopted", expected="the file as it was",
            remedy="Adopt it again: bindplug index adopt --overwrite",
        )  # fmt: skip


def _plain(value: object) -> str | float | bool:
    return (
        value
        if isinstance(value, (str, bool))
        else float(value)
        if isinstance(value, (int, float))
        else str(value)
    )


def _meets(value: object, condition: Condition) -> bool:
    """Whether a value meets a condition: text compares with text, numbers with numbers."""
    if value is None or isinstance(value, str) != isinstance(condition.value, str):
        return False
    ours, theirs = (_plain(v) if not isinstance(v, bool) else float(v) for v in (value, condition.value))
    results = {
        "=": ours == theirs,
        "!=": ours != theirs,
        "<": ours < theirs,  # type: ignore[operator]
        "<=": ours <= theirs,  # type: ignore[operator]
        ">": ours > theirs,  # type: ignore[operator]
        ">=": ours >= theirs,  # type: ignore[operator]
    }
    return bool(results[condition.operator])
