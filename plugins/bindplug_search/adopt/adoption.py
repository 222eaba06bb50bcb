"""Adopting a file: find out what its rows are, and write that down beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bindplug.errors import CheckpointError, InputError
from bindplug.modality import Modality
from bindplug.plugins import registry
from bindplug_search.adopt.adopted_index import STORE, kind_names, kinds_mask
from bindplug_search.adopt.identification import ITEMS, Candidate, Identification, identify
from bindplug_search.adopt.recognition import record_place
from bindplug_search.adopt.record import (
    MANIFEST,
    Record,
    RowsSource,
    fingerprint_of,
    is_unchanged,
    stored_path,
    write_record,
)
from bindplug_search.adopt.row_file import RowFile
from bindplug_search.adopt.row_files import open_rows
from bindplug_search.adopt.samples import choose_root
from bindplug_search.adopt.survey import unit_rows
from bindplug_search.adopt.trials import Trial


@dataclass(frozen=True)
class Adoption:
    """What came of adopting a file.

    Attributes:
        identification: of its rows.
        place: the record that was written; None where nothing was.
        record: its content.
    """

    identification: Identification
    place: Path | None
    record: Record | None


def adopt(
    path: str | Path,
    candidates: Sequence[Candidate],
    *,
    rows: str | None = None,
    paths: str | None = None,
    kinds: str | None = None,
    table: str | None = None,
    root: str | Path | None = None,
    modality: str = "image",
    items: int = ITEMS,
    accept_near: bool = False,
    query_model: str = "",
    output: str | Path | None = None,
    overwrite: bool = False,
    write: bool = True,
    batch_size: int = 32,
    progress: bool | None = None,
) -> Adoption:
    """Identify the encoder behind a file of embeddings and write a record beside it; the file itself is only read.

    Args:
        path: the file: Parquet, Lance, ``.npy``, ``.npz`` or FAISS.
        candidates: encoders to try; :func:`bindplug_search.adopt.encoders_at_hand` gives those of this machine.
        rows, paths, kinds, table: as in :func:`bindplug_search.adopt.open_rows`.
        root: directory that relative paths begin at; None for the working directory, or that of the file if more of
            its files are found there.
        modality: of rows for which the file names none.
        items: most files to embed again.
        accept_near: also adopt rows that are near an encoder's and not its own.
        query_model: name or path of the model that will make queries; the encoder itself by default.
        output: where the record goes; beside the file, with ``.bindplug`` appended, for None.
        overwrite: replace a record that is there.
        write: whether to write a record at all.
        batch_size, progress: as in :meth:`bindplug.Encoder.embed`.

    Returns:
        The identification, and the record unless the rows were not identified.

    Raises:
        InputError: the file cannot be read, none of its files is here, or it changed meanwhile.
        CheckpointError: there is a record already.
    """
    path = Path(path).expanduser()
    modality = Modality.parse(modality).value
    place = place_of(path, output, overwrite=overwrite or not write)
    file = open_rows(path, rows=rows, paths=paths, kinds=kinds, table=table)
    fingerprint = fingerprint_of(file.path)
    begin = choose_root(file, root)
    identification = identify(
        file, candidates, begin, modality=modality, items=items, batch_size=batch_size, progress=progress
    )
    accepted = identification.verdict == "identified" or (accept_near and identification.verdict == "near")
    if not accepted or identification.trial is None:
        return Adoption(identification, None, None)
    source = RowsSource(
        path=stored_path(file.path, place),
        fingerprint=fingerprint,
        rows=file.column or None,
        paths=file.path_column if file.paths_file is None else stored_path(file.paths_file, place),
        kinds=kinds,
        table=None,
        paths_fingerprint=None if file.paths_file is None else fingerprint_of(file.paths_file),
        root=None if begin.directory is None else str(begin.directory.absolute()),
        modality=modality,
    )
    record = _record(file, source, identification, identification.trial, query_model)
    if not is_unchanged(file.path, fingerprint):
        raise InputError(str(path), found="changes while it was read", expected="a file that stays as it is")
    if write:
        write_record(record, place, overwrite=overwrite)
    return Adoption(identification, place if write else None, record)


def place_of(path: str | Path, output: str | Path | None, *, overwrite: bool) -> Path:
    """Where the record of a file goes.

    Raises:
        InputError: the file is an index of bindplug.
        CheckpointError: there is a record already, and ``overwrite`` is False.
    """
    path = Path(path).expanduser()
    stores = [entry.card for entry in registry().indexes.values() if entry.card.recognises(path)]
    if any(card.name != STORE for card in stores):
        raise InputError(
            str(path), found="an index of bindplug", expected="embeddings that another tool wrote",
            remedy=f"Search it as it is: bindplug search {path}",
        )  # fmt: skip
    place = Path(output).expanduser() if output is not None else record_place(path)
    if not overwrite and (place / MANIFEST.file).exists():
        raise CheckpointError(f"{path} is adopted already, see {place}; replace the record with --overwrite")
    return place


def _record(
    file: RowFile, source: RowsSource, identification: Identification, trial: Trial, query_model: str
) -> Record:
    usable = identification.survey.usable
    names = [Modality.parse(name).value for name in kind_names(file, source.modality)]
    kinds = Counter(name for name, is_usable in zip(names, usable, strict=True) if is_usable)
    return Record(
        source=source,
        encoder=trial.encoder,
        space=trial.space,
        number_format=trial.number_format,
        transform=trial.transform,
        kinds=dict(kinds),
        figures=figures_of(identification, trial),
        means=_means(file, source.modality, identification, trial, list(kinds)),
        unusable=np.flatnonzero(~usable),
        query_model=query_model,
    )


def figures_of(identification: Identification, trial: Trial) -> dict[str, Any]:
    """The figures of a trial for JSON, rounded."""
    figures = trial.agreement
    return {
        "verdict": identification.verdict,
        "items": figures.items,
        "agreeing": figures.count,
        "nearest": figures.nearest,
        "median_cosine": round(figures.median, 6),
        "accepted_from": round(figures.accepted, 6),
        "other_items_reach": round(figures.chance, 6),
        "chance": float(f"{figures.probability:.3g}"),
        "lengths": identification.survey.lengths,
        "squashed": trial.squashed,
    }


def _means(
    file: RowFile, modality: str, identification: Identification, trial: Trial, kinds: Sequence[str]
) -> dict[str, np.ndarray]:
    """For each kind the mean (D,) of its rows in the encoder's space; of the sample where dimensions are lost."""
    sample = identification.sample_rows
    masks = {kind: kinds_mask(file, modality, [kind]) & identification.survey.usable for kind in kinds}
    sums: dict[str, np.ndarray] = {}
    for chunk in file.chunks():
        rows = unit_rows(trial.transform.of_rows(trial.number_format.decode(chunk.rows)))
        for kind, mask in masks.items():
            inside = mask[chunk.start : chunk.start + len(rows)]
            sums[kind] = sums.get(kind, 0.0) + rows[inside].sum(axis=0, dtype=np.float64)
    means: dict[str, np.ndarray] = {}
    for kind, mask in masks.items():
        mean = trial.transform.to_encoder((sums[kind] / mask.sum()).astype(np.float32))
        if mean is None and sample is not None:
            mean = sample.mean(axis=0)
        if mean is not None:
            means[kind] = mean
    return means
