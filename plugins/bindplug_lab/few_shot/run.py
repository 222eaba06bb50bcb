"""Few-shot curves of a model from folders, tasks or items."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bindplug import Encoder
from bindplug.errors import InputError
from bindplug.templates import GENERIC_TEMPLATES
from bindplug_lab.evaluation.cache import RowCache
from bindplug_lab.evaluation.embedding import Embedder
from bindplug_lab.evaluation.protocols import class_rows, mean_class_rows, zero_shot_scale
from bindplug_lab.few_shot.curve import DEFAULT_REPEATS, DEFAULT_SHOTS, Curve, curve_of_rows
from bindplug_lab.few_shot.folders import read_support_and_test
from bindplug_lab.few_shot.learners import LEARNERS
from bindplug_lab.few_shot.supports import ensure_disjoint, ensure_shots
from bindplug_lab.statistics import DRAWS, LEVEL
from bindplug_lab.tasks import FewShotItems

__all__ = ["FewShot", "few_shot_curve"]


@dataclass(frozen=True)
class FewShot:
    """A few-shot curve, and what it rests on.

    Attributes:
        curve: accuracies over the number of examples.
        class_names: C names.
        support_count, test_count: files that were embedded.
        missing_count: files of an incomplete data set that are not here, of support and test.
        skipped: ``{"item", "source", "reason"}`` of files that could not be.
        notes: ``{"item", "source", "note"}`` of what readers remarked.
    """

    curve: Curve
    class_names: tuple[str, ...]
    support_count: int
    test_count: int
    missing_count: int = 0
    skipped: list[dict[str, Any]] = field(default_factory=list)
    notes: list[dict[str, Any]] = field(default_factory=list)


def few_shot_curve(
    model: Encoder,
    support: str | os.PathLike[str] | FewShotItems,
    test: str | os.PathLike[str] | None = None,
    *,
    modality: str | None = None,
    options: Mapping[str, Any] | None = None,
    shots: Sequence[int] = DEFAULT_SHOTS,
    repeats: int = DEFAULT_REPEATS,
    learners: Sequence[str] = tuple(LEARNERS),
    templates: Sequence[str] = GENERIC_TEMPLATES,
    seed: int = 0,
    draws: int = DRAWS,
    level: float = LEVEL,
    name: str = "model",
    cache: RowCache | None = None,
    batch_size: int = 32,
    workers: int | None = None,
    quiet: bool | None = None,
    strict: bool = False,
) -> FewShot:
    """How accurately a frozen encoder's rows classify after k examples a class.

    Args:
        model: the encoder.
        support: a folder with a folder of files for each class; or items of a few-shot task.
        test: a folder of the same classes, with files of their own; not with items.
        modality: of the files; the sense of a bound model by default.
        options: of the modality's reader.
        shots: examples a class.
        repeats: supports that are drawn for each number of shots.
        learners: ``"logistic"``, ``"prototypes"``, ``"cache"``.
        templates: prompts for the zero-shot line and the cache.
        seed: of what is drawn.
        draws, level: of the intervals, for which supports and test items are resampled.
        name: of the model, for the cache.
        cache: of embeddings; None keeps none.
        batch_size, workers: as in :meth:`bindplug.Encoder.embed`.
        quiet: no progress bars.
        strict: raise at the first file that cannot be embedded.

    Returns:
        The curve. Without text in the model there is no zero-shot line, and no ``"cache"``.

    Raises:
        InputError: a class has too few examples, classes differ, a file is in both folders, or nothing is readable.

    Warns:
        InputNote: test files are copies of support files.
    """
    items = support if isinstance(support, FewShotItems) else _items(model, support, test, modality, options)
    shots = tuple(sorted(set(shots)))
    where = "the support" if isinstance(support, FewShotItems) else str(support)
    ensure_shots(items.support.label_array, items.class_names, shots, where)
    embedder = Embedder(model, name, cache, batch_size=batch_size, workers=workers, quiet=quiet)
    train = embedder.embed(items.support.queries, label="support", strict=strict)
    held_out = embedder.embed(items.test.queries, label="test", strict=strict)
    ensure_disjoint(train.terms, held_out.terms, where)
    modalities = sorted({leaf.modality.value for _, leaf in items.test.queries[0].terms if leaf.modality})
    zero_shot: np.ndarray | None = None
    scale = 1.0
    if "text" in model.modalities:
        rows, groups = class_rows(items.test, templates, embedder)
        zero_shot, scale = mean_class_rows(rows, groups), zero_shot_scale(embedder, modalities)
    elif list(learners) == ["cache"]:
        raise InputError("learners", found="cache, with a model without text", expected="one of the others")
    curve = curve_of_rows(
        train.rows,
        items.support.label_array[train.kept],
        held_out.rows,
        items.test.label_array[held_out.kept],
        items.class_names,
        shots=shots,
        repeats=repeats,
        seed=seed,
        learners=learners,
        zero_shot=zero_shot,
        scale=scale,
        clusters=[items.test.clusters[place] for place in held_out.kept] if items.test.clusters else None,
        draws=draws,
        level=level,
        where=where,
    )
    skipped, notes = (
        [
            {"item": side.ids[entry["index"]], **{k: v for k, v in entry.items() if k != "index"}}
            for side, rows_of_side in ((items.support, train), (items.test, held_out))
            for entry in getattr(rows_of_side, kind)
        ]
        for kind in ("skipped", "notes")
    )
    return FewShot(
        curve,
        items.class_names,
        len(train.kept),
        len(held_out.kept),
        items.missing_count,
        skipped,
        notes,
    )


def _items(
    model: Encoder,
    support: str | os.PathLike[str],
    test: str | os.PathLike[str] | None,
    modality: str | None,
    options: Mapping[str, Any] | None,
) -> FewShotItems:
    if test is None:
        raise InputError("few_shot_curve()", found="no test folder", expected="test=, files to test on")
    sense = modality or getattr(model, "sense", None)
    if sense is None:
        raise InputError(
            "few_shot_curve()",
            found="files of unknown kind",
            expected="modality=, as 'audio': a file's kind is never guessed",
        )
    if sense not in model.modalities:
        raise InputError(
            "few_shot_curve()",
            found=f"a model without {sense}, only with {', '.join(model.modalities)}",
            expected=f"a model that has {sense}",
        )
    return read_support_and_test(support, test, sense, options)
