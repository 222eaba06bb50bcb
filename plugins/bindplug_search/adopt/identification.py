"""Which encoder made the rows of a file: the whole investigation, and its verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from bindplug.errors import BindplugError
from bindplug.space import EmbeddingSpace
from bindplug_search.adopt.remarks import remarks_on
from bindplug_search.adopt.row_file import RowFile
from bindplug_search.adopt.samples import Item, PathRoot, choose_items, embed_items, squashed
from bindplug_search.adopt.scan import RowsElsewhere, find_elsewhere
from bindplug_search.adopt.statistics import ALPHA
from bindplug_search.adopt.survey import Survey, survey_rows
from bindplug_search.adopt.trials import (
    COMPARISONS_PER_ENCODER,
    ROTATION_GATE,
    Sample,
    Trial,
    try_encoder,
    try_rotation,
)

if TYPE_CHECKING:
    from bindplug.encoder import Encoder

ITEMS = 50
"""Items that encoders are tried on."""

ITEMS_PER_DIMENSION = 4
MOST_ROTATION_ITEMS = 4096
"""Items that a rotation is fitted and judged on: so many for each dimension, but no more than these."""

FEWEST_DISTINCT = 6
"""Fewer items that differ cannot reach the error probability: n items have n (n - 1) mismatched pairs."""

VERDICTS = (
    "identified", "near", "mixed", "out of step", "partly", "rotation undetermined", "too alike", "not identified",
)  # fmt: skip


@dataclass(frozen=True)
class Candidate:
    """An encoder that may have made the rows.

    Args:
        name: that :func:`bindplug.load` takes.
        load: ``load(modalities)`` gives the encoder; it is called when the encoder's turn comes.
        space: where its rows live, if that is known before.
    """

    name: str
    load: Callable[[set[str]], Encoder]
    space: EmbeddingSpace | None = None


@dataclass(frozen=True)
class Identification:
    """What was found out.

    Attributes:
        verdict: one of :data:`VERDICTS`; rows can be searched if it is ``"identified"``, and if it is ``"near"`` by
            whoever accepts that.
        trial: of the encoder that the verdict is on; None for ``"not identified"`` without any figures.
        trials: the best figures of every encoder, the best first.
        survey: of all rows.
        items: how many files were read.
        reason: the verdict in a sentence or two.
        remarks: what else a person should know.
        passed_over: encoders that were not tried, and why.
        sample_rows: (n, D) what the encoder made of the items; None without ``trial``.
    """

    verdict: str
    trial: Trial | None
    trials: Sequence[Trial]
    survey: Survey
    items: int
    reason: str
    remarks: Sequence[str] = ()
    passed_over: Sequence[str] = ()
    sample_rows: np.ndarray | None = field(default=None, repr=False)


def identify(
    file: RowFile,
    candidates: Sequence[Candidate],
    root: PathRoot,
    *,
    modality: str = "image",
    items: int = ITEMS,
    seed: int = 0,
    batch_size: int = 32,
    progress: bool | None = None,
) -> Identification:
    """Find out which encoder made the rows of a file, and what was done to them since.

    Args:
        file: of rows.
        candidates: encoders to try.
        root: where relative paths begin.
        modality: of rows for which the file names none.
        items: most files to embed again; a rotation takes more.
        seed: of the choice of files.
        batch_size, progress: as in :meth:`bindplug.Encoder.embed`.

    Raises:
        InputError: the file is damaged, none of its files is here, or none of them can be read.
    """
    survey = survey_rows(file)
    sample_items = choose_items(file, survey.usable, root, items, modality=modality, seed=seed)
    sample = Sample.of(file, survey, np.array([item.position for item in sample_items]))
    investigation = _Investigation(
        file, survey, sample, sample_items, root, modality, seed, batch_size, progress
    )
    investigation.comparisons = COMPARISONS_PER_ENCODER * max(1, len(candidates))
    investigation.try_all(candidates)
    return investigation.conclude()


@dataclass
class _Investigation:
    file: RowFile
    survey: Survey
    sample: Sample
    items: list[Item]
    root: PathRoot
    modality: str
    seed: int
    batch_size: int
    progress: bool | None
    comparisons: int = 1
    trials: list[Trial] = field(default_factory=list)
    passed_over: list[str] = field(default_factory=list)
    rows_of: dict[str, np.ndarray] = field(default_factory=dict)
    items_of: dict[str, np.ndarray] = field(default_factory=dict)
    rotations: dict[str, Trial] = field(default_factory=dict)

    def try_all(self, candidates: Iterable[Candidate]) -> None:
        """Try every candidate, one in memory at a time."""
        modalities = {item.modality for item in self.items}
        for candidate in candidates:
            if candidate.space is not None and not self._may_fit(candidate.space.width):
                width = candidate.space.width
                self.passed_over.append(
                    f"{candidate.name}: its rows have {width} dimensions, the file's {self.file.width}"
                )
                continue
            try:
                encoder = candidate.load(modalities)
                if not set(encoder.modalities) & modalities:
                    self.passed_over.append(
                        f"{candidate.name}: it does not embed {' or '.join(sorted(modalities))}"
                    )
                    continue
                self._try(candidate.name, encoder)
            except BindplugError as error:
                self.passed_over.append(f"{candidate.name}: {error}")

    def _may_fit(self, width: int) -> bool:
        """Whether rows of an encoder of that width can have become rows of this file."""
        for number_format in self.sample.formats:
            stored = number_format.width_of(self.file.width)
            if stored <= width or self.sample.constant(number_format)[width:].all():
                return True
        return False

    def _try(self, name: str, encoder: Encoder) -> None:
        space = encoder.embedding_space
        embedded = embed_items(encoder, self.items, batch_size=self.batch_size, progress=self.progress)
        if not len(embedded.items):
            self.passed_over.append(f"{name}: it can read none of the {len(self.items)} files")
            return
        self.rows_of[name], self.items_of[name] = embedded.rows, embedded.items
        trial = try_encoder(self.sample, name, space, embedded, self.comparisons)
        if trial is None:
            self.passed_over.append(
                f"{name}: its rows have {space.width} dimensions, the file's {self.file.width}"
            )
            return
        if not trial.identified(self.comparisons):
            trial = self._squashed(name, encoder, trial) or trial
        self.trials.append(trial)
        enough = trial.agreement.items >= FEWEST_DISTINCT
        if (
            enough
            and trial.pair_correlation >= ROTATION_GATE
            and not trial.agreement.nearest_significant(self.comparisons)
        ):
            self.rotations[name] = self._rotated(encoder, trial)

    def _squashed(self, name: str, encoder: Encoder, trial: Trial) -> Trial | None:
        """A trial with pictures read whole, where rows are near the encoder's and yet not its own."""
        if not trial.agreement.nearest_significant(self.comparisons):
            return None
        items = squashed(self.items)
        if not items:
            return None
        embedded = embed_items(encoder, items, batch_size=self.batch_size, progress=self.progress)
        sample = Sample.of(self.file, self.survey, np.array([item.position for item in items]))
        whole = try_encoder(sample, name, encoder.embedding_space, embedded, self.comparisons, squashed=True)
        return whole if whole is not None and whole.identified(self.comparisons) else None

    def _rotated(self, encoder: Encoder, trial: Trial) -> Trial:
        count = min(MOST_ROTATION_ITEMS, ITEMS_PER_DIMENSION * trial.space.width)
        items = choose_items(
            self.file, self.survey.usable, self.root, count, modality=self.modality, seed=self.seed
        )
        embedded = embed_items(encoder, items, batch_size=self.batch_size, progress=self.progress)
        sample = Sample.of(self.file, self.survey, np.array([item.position for item in items]))
        return try_rotation(sample, trial, embedded)

    def conclude(self) -> Identification:
        """The verdict."""
        self.trials.sort(key=lambda trial: trial.rank, reverse=True)
        identified = [trial for trial in self.trials if trial.identified(self.comparisons)]
        if identified:
            return self._identified(identified[0], [trial.encoder for trial in identified[1:]])
        agreeing = [trial for trial in self.trials if trial.agreement.significant(self.comparisons)]
        if agreeing:
            return self._partly(agreeing)
        rotated = [trial for trial in self.rotations.values() if trial.identified(self.comparisons)]
        if rotated:
            return self._identified(max(rotated, key=lambda trial: trial.rank), [])
        near = [t for t in self.trials if t.agreement.nearest_significant(self.comparisons)]
        if near:
            best = max(
                near,
                key=lambda trial: (trial.agreement.nearest / trial.agreement.items, trial.agreement.median),
            )
            return self._near(best)
        elsewhere = self._elsewhere(self.trials)
        if elsewhere is not None:
            return self._out_of_step(*elsewhere)
        if self.rotations:
            return self._undetermined(max(self.rotations.values(), key=lambda trial: trial.agreement.median))
        return self._not_identified()

    def _identified(self, trial: Trial, others: Sequence[str]) -> Identification:
        figures = trial.agreement
        reason = (
            f"the rows are {trial.encoder}'s: {figures.count} of {figures.items} items agree, at a median cosine of "
            f"{figures.median:.4f} (accepted from {figures.accepted:.4f}; other items reach {figures.chance:.2f})"
        )
        remarks = self._remarks(trial)
        strange = [
            self.items[int(item)].path for item in trial.items[figures.strange] if item < len(self.items)
        ]
        if strange:
            names = ", ".join(strange[:3])
            remarks.append(
                f"{len(strange)} of the items do not agree at all ({names}): those files may have changed since, or "
                f"another model made their rows"
            )
        if others:
            remarks.append(f"they are also those of {', '.join(others)}")
        return self._result("identified", trial, reason, remarks)

    def _near(self, trial: Trial) -> Identification:
        figures = trial.agreement
        reason = (
            f"the rows are near {trial.encoder}'s and not its own: {figures.nearest} of {figures.items} items are "
            f"nearest to their own, but the median cosine of {figures.median:.4f} is below the {figures.accepted:.4f} "
            f"that its own rows keep. It may be a fine-tuned copy, or files were read or changed in another way"
        )
        return self._result("near", trial, reason, self._remarks(trial))

    def _partly(self, agreeing: Sequence[Trial]) -> Identification:
        """Rows of several encoders, or some that agree with none."""
        best = agreeing[0]
        left = {int(item) for item in best.items[~best.agreement.agreeing]}
        parts = [(best.encoder, best.agreement.count)]
        for trial in agreeing[1:]:
            explained = left & {int(item) for item in trial.items[trial.agreement.agreeing]}
            if len(explained) >= 2:
                parts.append((trial.encoder, len(explained)))
                left -= explained
        if len(parts) > 1:
            origins = ", ".join(f"{count} from {name}" for name, count in parts)
            items = best.agreement.items
            reason = (
                f"the rows are of several models: of {items} items {origins}, {len(left)} from none of them"
            )
            return self._result("mixed", best, reason, self._remarks(best))
        elsewhere = self._elsewhere([best], only=left)
        if elsewhere is not None:
            return self._out_of_step(*elsewhere, agreeing=best.agreement.count)
        examples = ", ".join(self.items[item].path for item in sorted(left)[:3])
        reason = (
            f"{best.agreement.count} of {best.agreement.items} items agree with {best.encoder}, {len(left)} do not "
            f"({examples}): those files may have changed since, or another model made their rows"
        )
        return self._result("partly", best, reason, self._remarks(best))

    def _elsewhere(
        self, trials: Sequence[Trial], only: set[int] | None = None
    ) -> tuple[Trial, RowsElsewhere] | None:
        """The encoder whose rows of the items are in the file, though at other positions."""
        results = []
        for trial in trials:
            places = {int(item): place for place, item in enumerate(self.items_of[trial.encoder])}
            sample_items = [int(item) for item in trial.items if only is None or int(item) in only]
            if trial.squashed or not sample_items:
                continue
            own = self.rows_of[trial.encoder][[places[item] for item in sample_items]]
            positions = np.array([self.items[item].position for item in sample_items])
            result = find_elsewhere(self.file, self.survey, trial, own, positions, seed=self.seed)
            if result.probability * self.comparisons <= ALPHA or (
                only and result.count >= max(2, len(sample_items) // 2)
            ):
                results.append((trial, result))
        return max(results, key=lambda pair: pair[1].count, default=None)

    def _out_of_step(self, trial: Trial, elsewhere: RowsElsewhere, agreeing: int = 0) -> Identification:
        distance = abs(elsewhere.shift)
        rows = f"{distance} row{'s' if distance > 1 else ''} {'later' if elsewhere.shift > 0 else 'earlier'}"
        step = f"most of them {rows}" if distance else "at no fixed distance"
        name = trial.encoder
        first = f"{agreeing} items agree with {name}. Of the others, " if agreeing else ""
        reason = (
            f"rows and paths are out of step: {first}{name}'s rows of {elsewhere.count} of {elsewhere.items} items are "
            f"in the file, but at rows of other paths, {step}"
        )
        return self._result("out of step", trial, reason, self._remarks(trial))

    def _undetermined(self, trial: Trial) -> Identification:
        figures = trial.agreement
        reason = (
            f"the rows look like {trial.encoder}'s after a rotation (cosines between pairs of rows correlate by "
            f"{trial.pair_correlation:.4f}), but {trial.fitted_items} files do not determine it: fitted on half of "
            f"them, the others reach a median cosine of {figures.median:.4f}, below {figures.accepted:.4f}. Some "
            f"{ITEMS_PER_DIMENSION * trial.space.width} files would be needed"
        )
        return self._result("rotation undetermined", trial, reason, self._remarks(trial))

    def _not_identified(self) -> Identification:
        alike = [
            t for t in self.trials if t.agreement.items < FEWEST_DISTINCT <= len(self.items_of[t.encoder])
        ]
        if alike and len(alike) == len(self.trials):
            count = alike[0].agreement.items
            reason = (
                f"the {len(self.items)} items look alike: only {count} differ, too few to tell encoders apart"
            )
            return self._result("too alike", alike[0], reason, self._remarks(alike[0]))
        if not self.trials:
            reason = "no encoder at hand can have made rows like these"
            return self._result("not identified", None, reason, [])
        few = (
            ""
            if len(self.items) >= 12
            else f"; only {len(self.items)} files could be read, which proves little"
        )
        best = max(self.trials, key=lambda trial: trial.agreement.median)
        figures = best.agreement
        reason = (
            f"no encoder at hand made the rows. The nearest is {best.encoder}: {figures.count} of {figures.items} "
            f"items agree, {figures.nearest} are nearest to their own, median cosine {figures.median:.3f} "
            f"(accepted from {figures.accepted:.3f}){few}"
        )
        return self._result("not identified", best, reason, self._remarks(best))

    def _remarks(self, trial: Trial) -> list[str]:
        return remarks_on(trial, self.survey, len(self.items_of.get(trial.encoder, ())), self.file.codec)

    def _result(
        self, verdict: str, trial: Trial | None, reason: str, remarks: Sequence[str]
    ) -> Identification:
        return Identification(
            verdict,
            trial,
            self.trials,
            self.survey,
            len(self.items),
            reason,
            tuple(remarks),
            tuple(self.passed_over),
            None if trial is None else self.rows_of[trial.encoder],
        )
