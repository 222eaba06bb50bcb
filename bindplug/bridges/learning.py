"""From two models, by name or loaded, to a bridge: from text alone, then refined with paired items."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bindplug.bridges.base import FEWEST_TO_RECENTER, Bridge
from bindplug.bridges.fitting import TextEmbedder, fit_bridge
from bindplug.bridges.linear import LinearBridge
from bindplug.bridges.lookup import as_bridge
from bindplug.bridges.pair_files import Pairs, columns_of, read_pairs
from bindplug.bridges.pairs import unit_rows
from bindplug.bridges.protocol import AnyBridge
from bindplug.bridges.refining import FEWEST_PAIRS, Refinement, Start, refine
from bindplug.bridges.targets import open_target
from bindplug.corpus import Corpus, builtin_corpus
from bindplug.encoder import Encoder, SkippedInputs
from bindplug.errors import BindplugError, InputError
from bindplug.models import load
from bindplug.query import Query
from bindplug.thresholds import space_of

BUILTIN = "builtin"
TEXT_ONLY = ("open_clip", "transformers")
"""Libraries whose text sides can be opened where the whole model cannot be."""

Side = Encoder | TextEmbedder | str | os.PathLike[str]


def fit(
    source: Side,
    target: Side,
    corpus: str | os.PathLike[str] | Corpus | Sequence[str] = BUILTIN,
    pairs: Pairs | Sequence[str | os.PathLike[str]] | None = None,
    *,
    bridge: AnyBridge | str | os.PathLike[str] | None = None,
    device: str = "cpu",
    batch_size: int = 256,
    progress: bool | None = None,
    seed: int = 0,
    **options: Any,
) -> Bridge:
    """A bridge from one model's space to another's.

    Without ``pairs`` it is learned from text alone. With them it is then refined, a modality at a time: the modality
    is centered on its own mean, and a ridge regression of what text leaves unexplained is added to the map. How
    strongly it is shrunk toward the text's solution, down to nothing added, is cross-validated.

    Args:
        source: an encoder, the name or id of a model as :func:`bindplug.load` takes it, or a directory.
        target: likewise, or anything with ``embed_texts`` where there are no pairs.
        corpus: texts: ``"builtin"``, the file of one a line, or a sequence.
        pairs: paired items, 50 at least, better hundreds: a CSV file whose two columns are named by modality, as
            ``audio,image`` or ``audio,text``, with a path (relative to the file) or a caption in each cell; several
            such files, one for each modality of the source; or for each pair a query of the source and one of the
            target.
        bridge: refine this one instead of fitting from text.
        device: where models given by name run.
        batch_size, progress: as of :func:`fit_bridge`.
        seed: of folds and intervals.
        options: further ones of :func:`fit_bridge`, such as ``method``.

    Returns:
        The bridge. ``bridge.report.pairs`` says what pairs added, with intervals.

    Raises:
        InputError: an argument of :func:`fit_bridge` is out of range; the pairs are too few, of other columns, of a
            modality that a side does not embed, or of one that the bridge was refined with already; or the bridge
            cannot be refined.
        SpaceMismatch: ``bridge`` leads from or to other spaces, or was fitted with other weights.
        UnknownModel, WeightsNotFound, CheckpointError, ModalityNotLoaded: as :func:`bindplug.load`.

    Warns:
        SkippedInputs: some items cannot be read; their pairs are left out.
        BridgeQuality: as :func:`fit_bridge`.
    """
    if pairs is None and bridge is not None:
        raise InputError("fit()", found="a bridge and no pairs", expected="pairs to refine it with")
    several = _several(pairs)
    for one in several:
        if isinstance(one, (str, os.PathLike)):
            columns_of(one)  # a wrong file is told before models are read
    here = open_side(source, text_only=not several, device=device)
    there = open_side(target, text_only=not several, device=device)
    if bridge is not None:
        fitted_bridge = as_bridge(bridge, source=_space(here), target=_space(there))
        if not isinstance(fitted_bridge, LinearBridge):
            kind = f"a {type(fitted_bridge).__name__}"
            raise InputError("fit()", found=kind, expected="a linear bridge: pairs refine no other")
        result: Bridge = fitted_bridge.copy()
    else:
        method = options.get("method", "procrustes")
        if several and method == "vocabulary":
            raise InputError("fit()", found="method='vocabulary' with pairs", expected="a linear method")
        result = fit_bridge(
            here, there, _corpus(corpus), batch_size=batch_size, progress=progress, seed=seed, **options
        )
    for one in several:
        assert isinstance(result, LinearBridge)
        _refine(result, here, there, one, batch_size=batch_size, progress=progress, seed=seed)
    return result


def open_side(side: Side, *, text_only: bool, device: str = "cpu") -> Encoder | TextEmbedder:
    """One side of a bridge, from whatever names it.

    Args:
        side: as of :func:`fit`.
        text_only: whether it is to embed nothing but text; otherwise only an encoder will do.
        device: where it runs.

    Raises:
        InputError, UnknownModel, WeightsNotFound, CheckpointError: as :func:`fit`.
    """
    if isinstance(side, (Encoder, TextEmbedder)):
        if not text_only and not isinstance(side, Encoder):
            problem = f"a {type(side).__name__} with pairs"
            raise InputError("fit()", found=problem, expected="an encoder, which embeds more than text")
        return side
    if not isinstance(side, (str, os.PathLike)):
        problem = f"a {type(side).__name__}"
        raise InputError("fit()", found=problem, expected="an encoder, or the name of a model")
    name: str | Path = side if isinstance(side, str) else Path(side)
    if not text_only:
        return load(name, device=device)
    try:
        return load(name, modalities={"text"}, device=device)
    except BindplugError:
        if str(side).partition(":")[0] not in TEXT_ONLY:
            raise
        return open_target(str(side), device=device)


def _refine(
    bridge: LinearBridge,
    source: Encoder | TextEmbedder,
    target: Encoder | TextEmbedder,
    pairs: Pairs,
    *,
    batch_size: int,
    progress: bool | None,
    seed: int,
) -> None:
    """Refine a bridge in place with the pairs of one modality."""
    assert isinstance(source, Encoder)
    assert isinstance(target, Encoder)
    items = read_pairs(pairs, source, target)
    if items.source_modality == "text":
        raise InputError(
            items.name, found="text as the source's column", expected="another modality; text is fitted"
        )
    if items.source_modality in {one.modality for one in bridge.report.pairs}:
        # What text alone does could no longer be told, nor what was measured on pairs that the map has seen.
        raise InputError(
            items.name,
            found=f"pairs of {items.source_modality}, with which the bridge was refined already",
            expected="all pairs of a modality at once",
            remedy="Put them into one file, and refine the bridge of text with it",
        )
    _check_count(len(items.source), items.name, [])
    x, first, skipped = _embedded(source, items.source, batch_size, progress)
    y, second, target_skipped = _embedded(target, items.target, batch_size, progress)
    common_indices = sorted(set(first) & set(second))
    skipped = [*skipped, *target_skipped]
    _check_count(len(common_indices), items.name, skipped)
    if skipped:
        lines = "".join(f"\n  {item}" for item in skipped)
        warnings.warn(
            f"{items.name}: left out {len(items.source) - len(common_indices)} of {len(items.source)} pairs:{lines}",
            SkippedInputs,
            stacklevel=4,
        )
    source_keys, target_keys = items.keys()
    refinement = refine(
        _unit(x, first, common_indices, f"{items.source_modality} rows of {items.name}"),
        _unit(y, second, common_indices, f"{items.target_modality} rows of {items.name}"),
        start_of(bridge, items.source_modality),
        source_keys=[source_keys[index] for index in common_indices],
        target_keys=[target_keys[index] for index in common_indices],
        modality=items.source_modality,
        target_modality=items.target_modality,
        skipped=skipped,
        seed=seed,
    )
    _apply(bridge, refinement, items.name)


def start_of(bridge: LinearBridge, modality: str) -> Start:
    """What a bridge does to a modality, for :func:`bindplug.bridges.refining.refine`."""
    mean, gain = bridge.center_for(modality)
    target_mean = bridge.target_mean.double()
    return Start(
        weight=bridge.weight_for(modality).double(),
        mean=mean.double(),
        gain=gain,
        text_spread=bridge.centers["text"][1],
        target_mean=target_mean,
        # The mean square of unit rows is 1: that of their mean, and that of their spread around it.
        target_spread=math.sqrt(max(1e-6, 1.0 - float(target_mean.square().sum()))),
    )


def _apply(bridge: LinearBridge, refinement: Refinement, name: str) -> None:
    report = refinement.report
    if refinement.mean is not None:
        bridge.centers[report.modality] = refinement.mean
    if refinement.adjustment is not None:
        bridge.adjustments[report.modality] = refinement.adjustment
    bridge.report = replace(bridge.report, pairs=(*bridge.report.pairs, report))
    files = [*bridge.provenance.get("pairs", []), name]
    bridge.provenance = {**bridge.provenance, "pairs": files}


def _embedded(
    model: Encoder, queries: Sequence[Query], batch_size: int, progress: bool | None
) -> tuple[Tensor, list[int], list[str]]:
    """Rows, the indices of the queries they stand for, and what was left out and why."""
    embedded = model.embed_with_report(
        list(queries), batch_size=min(batch_size, 32), on_error="skip", progress=progress
    )
    skipped = [f"pair {item.index + 1}: {item.source}: {item.reason}" for item in embedded.skipped]
    return embedded.rows.detach().cpu(), list(embedded.kept), skipped


def _unit(rows: Tensor, indices: Sequence[int], common_indices: Sequence[int], what: str) -> Tensor:
    place = {index: number for number, index in enumerate(indices)}
    common_rows = rows[torch.tensor([place[index] for index in common_indices])]
    return unit_rows(common_rows, rows.shape[1], what, dtype=torch.float64)


def _check_count(count: int, name: str, skipped: Sequence[str]) -> None:
    if count < max(FEWEST_PAIRS, FEWEST_TO_RECENTER):
        unread = f" ({len(skipped)} items cannot be read: {'; '.join(skipped[:3])})" if skipped else ""
        raise InputError(
            name,
            found=f"{count} pairs{unread}",
            expected=f"at least {FEWEST_PAIRS}, better some hundreds",
            remedy="With fewer, leave the pairs out, or use bridge.recenter() with items of the source alone",
        )


def _several(pairs: Any) -> list[Any]:
    if pairs is None:
        return []
    if isinstance(pairs, (str, os.PathLike)):
        return [pairs]
    pair_list = list(pairs)
    if pair_list and all(isinstance(one, (str, os.PathLike)) for one in pair_list):
        return pair_list
    return [pair_list]


def _space(side: Encoder | TextEmbedder) -> Any:
    return space_of(side) if isinstance(side, Encoder) else side.embedding_space


def _corpus(corpus: str | os.PathLike[str] | Corpus | Sequence[str]) -> Corpus | Sequence[str]:
    if isinstance(corpus, str) and corpus == BUILTIN:
        return builtin_corpus()
    if not isinstance(corpus, (str, os.PathLike)):
        return corpus
    file = Path(corpus).expanduser()
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        problem = getattr(error, "strerror", None) or str(error)
        raise InputError(
            str(file), found=problem, expected='"builtin", or a UTF-8 file, one text a line'
        ) from None
    return Corpus.of([line for line in lines if line], name=file.name)
