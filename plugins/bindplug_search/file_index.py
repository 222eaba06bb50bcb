"""An index of files, searched by whole queries: :class:`Index`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bindplug.bridges import AnyBridge, as_bridge, map_queries
from bindplug.encoder import Encoder
from bindplug.errors import InputError, OptionError
from bindplug.indexes import (
    Condition,
    IndexInfo,
    IndexMatch,
    IndexRow,
    MetadataValue,
    VectorIndex,
)
from bindplug.modality import Modality
from bindplug.models import load
from bindplug.query import Leaf, Query
from bindplug.thresholds import Cutoffs, as_cutoffs
from bindplug_search.adding import Work, items_of, put_files
from bindplug_search.arguments import Kinds, Where, conditions_of, item_of, kinds_of, recipe_of
from bindplug_search.export import export_rows
from bindplug_search.folders import remembering
from bindplug_search.listing import list_folder
from bindplug_search.manifest import Approximation, Folder
from bindplug_search.metadata import Changes, MetadataFile
from bindplug_search.recall import refresh_approximation
from bindplug_search.recipe import Recipe
from bindplug_search.report import SAVE_EVERY, AddReport, absolute
from bindplug_search.store import LanceIndex
from bindplug_search.table import file_digest
from bindplug_search.updating import update

OVERFETCH = 4
"""Rows that a search asks of the store for each file, where windows of one file count once."""

Load = Callable[[Iterable[str]], Encoder]


class Index:
    """Files of every kind, searched by queries of every kind.

    ``index = bindplug_search.open_index("library.lance")`` opens one.

    Args:
        store: where the rows are.
        load: gives a model with the towers of some modalities; the index's own model by default.
        bridge: from that model's space to the rows', where these differ; a registered one by default.

    Attributes:
        store: where the rows are.
    """

    def __init__(
        self,
        store: VectorIndex,
        *,
        load: Load | None = None,
        bridge: AnyBridge | str | Path | None = None,
    ) -> None:
        self.store = store
        self._load = load or self._own_model
        self._bridge: Any = bridge if bridge is not None else getattr(store, "bridge", None)
        self._model: Encoder | None = None

    def info(self) -> IndexInfo:
        """What the index holds."""
        return self.store.info()

    def __len__(self) -> int:
        return self.info().rows

    def model_for(self, modalities: Iterable[str]) -> Encoder:
        """The model with the towers of these modalities, and of those it was loaded with before."""
        names = set(modalities)
        if self._model is None or not names <= set(self._model.modalities):
            self._model = self._load(names | set(self._model.modalities if self._model else ()))
        return self._model

    def keep_model(self, model: Encoder) -> None:
        """Use a loaded model for the modalities that it was loaded with."""
        self._model = model

    def _own_model(self, modalities: Iterable[str]) -> Encoder:
        name = query_model(self.store)
        if not name:
            raise InputError(
                self.info().path,
                found="rows of a model that is not known",
                expected="a model",
                remedy="Say which embeds the query: open_index(path, model=...)",
            )
        return load(name, modalities=set(modalities))

    def search(
        self,
        query: Query,
        k: int = 10,
        *,
        kind: Kinds = None,
        where: Where = None,
        all_windows: bool = False,
        recenter: bool | None = None,
        min_score: float | None = None,
        cutoffs: Cutoffs | str | Path | None = None,
        exact: bool = False,
    ) -> list[IndexMatch]:
        """The rows nearest to a query, best first.

        Args:
            query: what to find, of any modalities; a sum or difference is one query.
            k: most matches to give.
            kind: a kind, or several, to look among; all by default.
            where: conditions on metadata that must all be met: a mapping for equal values, or a sequence of
                :class:`~bindplug.indexes.Condition` or texts such as ``"year>=2020"``.
            all_windows: give every window of a recording, where else its best one stands for it.
            recenter: move the sources of a query to where the rows that are searched lie on average, which makes sums
                better. By default for sums, if the model knows where rows of their modalities lie.
            min_score: leave out matches of a lower cosine.
            cutoffs: leave out matches whose cosine is not above the threshold of their kind: what
                :func:`bindplug.cutoffs` made, or its file. For a query of one source and no other space.
            exact: compare with every row, where a large index would search approximately.

        Returns:
            At most ``k`` matches; ``score`` is the cosine.

        Raises:
            InputError: no row has the metadata of a condition, or a source cannot be read.
            NoDirection: the terms of the query cancel.
            SpaceMismatch: the model lives in another space than the index, and no bridge is registered.
        """
        if k < 1:
            raise InputError("search", found=f"k={k}", expected="at least 1")
        kinds = kinds_of(kind)
        conditions = conditions_of(where)
        limits = None if cutoffs is None else self._limits(as_cutoffs(cutoffs), query, recenter)
        vector = self.vector_of(query, kinds=kinds, recenter=recenter)
        matches = self._nearest(vector, k, kinds, conditions, exact, all_windows)
        if limits is not None:
            modality = query.terms[0][1].modality or ""
            matches = [match for match in matches if match.score > limits.threshold(modality, match.kind)]
        return [match for match in matches if min_score is None or match.score >= min_score]

    def _limits(self, limits: Cutoffs, query: Query, recenter: bool | None) -> Cutoffs:
        """The cut-offs, if their promise holds for a query.

        Raises:
            SpaceMismatch: they are of another space than the index.
            InputError: they are of another score, or for a query of one source as it is.
        """
        limits.ensure(self.store.space)
        if len(query.terms) != 1 or query.terms[0][0] < 0 or query.modality is None or recenter:
            raise InputError(
                "cut-offs",
                found=f"the query {query!r}{', recentered' if recenter else ''}",
                expected="one source as it is, for which cut-offs are measured",
                remedy="For sums use min_score",
            )
        model = self.model_for({query.modality.value})
        limits.ensure(model.embedding_space)
        return limits

    def _nearest(
        self,
        vector: np.ndarray,
        k: int,
        kinds: Sequence[str],
        conditions: Sequence[Condition],
        exact: bool,
        all_windows: bool,
    ) -> list[IndexMatch]:
        limit = k if all_windows else k * OVERFETCH
        while True:
            matches = self.store.search(vector, limit, kinds=kinds, where=conditions, exact=exact)
            if all_windows:
                return matches
            best: dict[tuple[str, str], IndexMatch] = {}
            for match in matches:
                best.setdefault((match.row.path, match.row.kind), match)
            if len(best) >= k or len(matches) < limit:
                return list(best.values())[:k]
            limit *= OVERFETCH

    def vector_of(
        self, query: Query, *, kinds: Sequence[str] = (), recenter: bool | None = None
    ) -> np.ndarray:
        """The row (D,) of a query in the index's space, of unit length.

        Args:
            query: of any modalities.
            kinds: that are to be searched, for ``recenter``.
            recenter: as in :meth:`search`.
        """
        if not isinstance(query, Query):
            remedy = f"Say what it is: text({query!r})" if isinstance(query, str) else ""
            raise InputError("search", found=f"a {type(query).__name__}", expected="a query", remedy=remedy)
        leaves = [leaf for _, leaf in query.terms]
        model = self.model_for({leaf.modality.value for leaf in leaves if isinstance(leaf, Leaf)})
        of_store = self._bridge is not None and self._bridge == getattr(self.store, "bridge", None)
        needless = of_store and self.store.space.matches(model.embedding_space)
        bridge = as_bridge(
            None if needless else self._bridge,
            source=model.embedding_space,
            target=self.store.space,
            doing=f"searching {self.store.model or 'an index'}",
        )
        if recenter is None:
            centered = {"image", *model.centers} if "image" in model.centers else set(model.centers)
            names = {leaf.modality.value for leaf in leaves if leaf.modality is not None}
            all_have_kinds = all(leaf.modality is not None for leaf in leaves)
            recenter = (
                bridge is None and len(leaves) > 1 and all_have_kinds and names <= (centered | {"video"})
            )
        if recenter and bridge is not None:
            raise OptionError("recenter needs a model of the index's own space; this one takes a bridge")
        mean = torch.from_numpy(self.store.mean(kinds)) if recenter else None
        rows = map_queries(model, bridge, [query], recenter=mean, progress=False)
        vector: np.ndarray = rows[0].detach().cpu().float().numpy()
        return vector

    def add(
        self,
        queries: Query | Sequence[Query],
        *,
        metadata: Sequence[Mapping[str, MetadataValue | None]]
        | Mapping[str, MetadataValue | None]
        | None = None,
        windows: float | None = None,
        hop: float | None = None,
        on_error: str = "raise",
        save_every: int = SAVE_EVERY,
        batch_size: int = 32,
        workers: int | None = None,
        progress: bool | None = None,
    ) -> AddReport:
        """Add files, or sentences; files that are there already, as they are now, are left alone.

        Args:
            queries: one source each: ``[image("crane.jpg"), audio("bark.wav"), text("a dog")]``.
            metadata: to keep beside them, None for a value to drop: one mapping for each query, or one for all.
            windows: length in seconds of the windows that recordings are cut into; one row a file by default.
            hop: from the start of one window to that of the next; ``windows`` by default.
            on_error: ``"raise"``, or ``"skip"`` to leave out files that cannot be read; the report names them.
            save_every: rows between two commits; an interrupted run loses at most the work on these.
            batch_size: items in one pass through a tower.
            workers: threads that read files, as in :meth:`bindplug.Encoder.embed`.
            progress: True or False to force or forbid the bar.

        Raises:
            InputError: a query is no single file, a file cannot be read, or the index cannot be written.
            SpaceMismatch: the model lives in another space than the index.
        """
        several = [queries] if isinstance(queries, Query) else list(queries)
        if metadata is None or isinstance(metadata, Mapping):
            metadata = [metadata or {}] * len(several)
        if len(metadata) != len(several):
            raise InputError(
                "add()",
                found=f"metadata for {len(metadata)} of {len(several)} queries",
                expected="one for each",
            )
        items = [
            item_of(query, dict(values), windows, hop)
            for query, values in zip(several, metadata, strict=True)
        ]
        with self._adding() as store:
            report = put_files(store, items, self._work(on_error, save_every, batch_size, workers, progress))
            refresh_approximation(store)
        return report

    def add_folder(
        self,
        folder: str | Path,
        patterns: Mapping[str, str | Sequence[str]],
        *,
        recursive: bool = True,
        options: Mapping[str, Mapping[str, Any]] | None = None,
        metadata: Mapping[str, MetadataValue] | None = None,
        metadata_file: str | Path | None = None,
        windows: float | None = None,
        hop: float | None = None,
        on_error: str = "raise",
        save_every: int = SAVE_EVERY,
        batch_size: int = 32,
        workers: int | None = None,
        progress: bool | None = None,
    ) -> AddReport:
        """Add the files of a folder, and remember it: :meth:`update` then finds its new files.

        Args:
            folder: to look in.
            patterns: for kinds, patterns of the names of their files: ``{"audio": "*.wav", "image": "*.jpg"}``.
            recursive: look into subdirectories too.
            options: for kinds, options of their readers.
            metadata: to keep beside all of them.
            metadata_file: a CSV, JSON Lines or Parquet file with a row a file, joined by its column ``path``.
            windows, hop, on_error, save_every, batch_size, workers, progress: as in :meth:`add`.

        Raises:
            InputError: as :meth:`add`; the folder cannot be listed, no file matches, or the metadata cannot be read.
        """
        pairs = [
            (Modality.parse(kind).value, pattern)
            for kind, several in patterns.items()
            for pattern in ([several] if isinstance(several, str) else several)
        ]
        listing = list_folder(str(folder), pairs, recursive=recursive)
        if not listing.files:
            described = ", ".join(pattern for _, pattern in pairs) or "no pattern"
            raise InputError(str(folder), found=f"no file that matches {described}", expected="at least one")
        reader_options = options or {}
        recipes = {kind: recipe_of(kind, reader_options.get(kind, {}), windows, hop) for kind, _ in pairs}
        joined: dict[str, Changes] = {}
        unjoined: list[str] = []
        if metadata_file is not None:
            joined, unjoined = MetadataFile(metadata_file).join(
                [path for _, path in listing.files], [str(folder)]
            )
        items = list(items_of(listing.files, recipes, joined, dict(metadata or {})))
        folder_record = Folder(
            path=absolute(folder),
            patterns=tuple(pairs),
            recursive=recursive,
            recipes={kind: recipe.text for kind, recipe in recipes.items()},
            metadata_file="" if metadata_file is None else absolute(metadata_file),
            values=dict(metadata or {}),
        )
        with self._adding() as store, remembering(store, folder_record):
            report = put_files(store, items, self._work(on_error, save_every, batch_size, workers, progress))
            refresh_approximation(store)
        report.unmatched, report.unjoined = listing.unmatched, unjoined
        if on_error == "raise" and listing.unreadable:
            place, reason = listing.unreadable[0]
            raise InputError(place, found=reason, expected="a directory that can be listed")
        report.skipped += [
            {"source": place, "modality": "", "reason": reason} for place, reason in listing.unreadable
        ]
        return report

    def update(
        self,
        *,
        prune: bool = False,
        on_error: str = "skip",
        save_every: int = SAVE_EVERY,
        batch_size: int = 32,
        workers: int | None = None,
        progress: bool | None = None,
    ) -> AddReport:
        """Bring the index up to date: changed files, new files of folders that were added, removed files.

        Args:
            prune: also drop the rows of files whose whole folder is missing or empty, as of a disk that is not
                mounted; by default they stay and the report names them.
            on_error, save_every, batch_size, workers, progress: as in :meth:`add`.

        Raises:
            InputError, SpaceMismatch: as :meth:`add`.
        """
        with self._adding() as store:
            report = update(
                store, self._work(on_error, save_every, batch_size, workers, progress), prune=prune
            )
            refresh_approximation(store)
        return report

    def reader_options(self, rows: Sequence[IndexRow]) -> list[dict[str, Any]]:
        """The options that the files of rows were read with, in their order; none where that is not known."""
        if not rows or not isinstance(self.store, LanceIndex):
            return [{} for _ in rows]
        digests = [file_digest(row.path, row.kind) for row in rows]
        recipes = self.store.recipes(list(dict.fromkeys(digests)))
        return [
            dict(Recipe.parse(recipes[digest]).options) if digest in recipes else {} for digest in digests
        ]

    def optimize(self) -> Approximation | None:
        """Build the approximate search anew, and measure it; None where the index is small and every search exact."""
        with self._adding() as store:
            store.optimize()
            return refresh_approximation(store, force=True)

    def export(self, path: str | Path) -> int:
        """Write all rows to ``FILE.parquet``, ``FILE.npz`` or ``FILE.faiss``, and return how many there are.

        A FAISS file has the vectors alone; ``FILE.faiss.jsonl`` beside it says what each stands for.

        Raises:
            InputError: another suffix, or the file cannot be written.
            MissingDependency: FAISS is absent.
        """
        return export_rows(self._lance("exporting"), Path(path))

    def _work(
        self, on_error: str, save_every: int, batch_size: int, workers: int | None, progress: bool | None
    ) -> Work:
        return Work(self.model_for, on_error, batch_size, workers, save_every, progress)

    def _lance(self, doing: str) -> LanceIndex:
        if not isinstance(self.store, LanceIndex):
            raise InputError(
                self.info().path,
                found=f"an index of the store {self.info().store!r}",
                expected=f"one that `bindplug index add` made, for {doing}",
            )
        return self.store

    @contextmanager
    def _adding(self) -> Iterator[LanceIndex]:
        store = self._lance("adding files")
        with store.writing():
            yield store


def query_model(store: VectorIndex) -> str:
    """Name or path of the model that queries of an index are made with: its own, unless the store names another."""
    return getattr(store, "query_model", "") or store.model
