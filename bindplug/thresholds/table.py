"""The cut-offs of all pairs of modalities: looked up, applied, compared with the data to judge, saved and loaded."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from bindplug.directories import damage_named, read_json
from bindplug.errors import CheckpointError, InputError, WeightsNotFound
from bindplug.files import write_whole
from bindplug.modality import Modality
from bindplug.space import EmbeddingSpace
from bindplug.thresholds.bounds import check_promise, least_sample_size, most_above, rate_interval
from bindplug.thresholds.pair import PairCutoff
from bindplug.thresholds.shift import DifferentData, query_concern, row_concern, score_concern

FORMAT = "bindplug-cutoffs"
VERSION = 1
COSINE = "cosine"


@dataclass(frozen=True)
class Cutoffs:
    """Thresholds with a bound on their false positive rate; :func:`cutoffs` makes them.

    Attributes:
        space: that the scores belong to, with the fingerprint of its weights where that is known.
        fpr: the promise: of items that hold none of the known, at most this share scores above the threshold.
        bound: ``"conformal"``: on average over samples; ``"binomial"``: in a share ``confidence`` of samples.
        confidence: of the binomial bound.
        score: what is compared: ``"cosine"``, or the name of a tool's own score.
        pairs: a cut-off for each pair of modalities.
    """

    space: EmbeddingSpace
    fpr: float
    bound: str
    confidence: float
    pairs: tuple[PairCutoff, ...]
    score: str = COSINE

    def pair(self, query_modality: str | Modality, row_modality: str | Modality) -> PairCutoff:
        """The cut-off between queries of one modality and rows of another.

        Raises:
            InputError: there is none for this pair.
            UnknownModality: no such modality.
        """
        names = Modality.parse(query_modality).value, Modality.parse(row_modality).value
        for pair in self.pairs:
            if (pair.query_modality, pair.row_modality) == names:
                return pair
        pair_names = ", ".join(f"{pair.query_modality} -> {pair.row_modality}" for pair in self.pairs)
        raise InputError(
            "cut-offs",
            found=f"the pair {names[0]} -> {names[1]}",
            expected=f"one of {pair_names}",
            remedy=f"Make them with known queries of {names[0]} and absent items of {names[1]}",
        )

    def threshold(self, query_modality: str | Modality, row_modality: str | Modality) -> float:
        """A score above this, not one equal to it, is a match.

        Args:
            query_modality: of what is looked for.
            row_modality: of what is judged.

        Raises:
            InputError, UnknownModality: as :meth:`pair`.
        """
        return self.pair(query_modality, row_modality).threshold

    def ensure(self, space: EmbeddingSpace, *, score: str = COSINE) -> None:
        """Return if scores of this kind, of vectors in ``space``, may be compared with the thresholds.

        Raises:
            SpaceMismatch: the cut-offs are of another space, or of other weights.
            InputError: they are of another kind of score.
        """
        if score != self.score:
            raise InputError(
                "cut-offs",
                found=f"cut-offs of the score {self.score!r}",
                expected=f"some of {score!r}",
                remedy="Make them with the tool that is to use them",
            )
        self.space.ensure(space, doing="cut-offs")

    def concerns(
        self,
        query_modality: str | Modality,
        row_modality: str | Modality,
        scores: Tensor,
        *,
        rows: Tensor | None = None,
        query_rows: Tensor | None = None,
    ) -> tuple[str, ...]:
        """Where the data to judge differ visibly from the sample that a cut-off rests on.

        Items above the threshold are matches or false positives, so only those that the cut-off turns down are
        compared, from 20 on: their scores by a two-sample Kolmogorov-Smirnov test (distance above 0.25, p below
        0.001), their mean row by its distance from the sample's (above 0.6 of the sample's spread). Queries are
        compared with the known ones.

        Args:
            query_modality, row_modality: of the pair.
            scores: (N,) of each item the highest over the queries.
            rows: (N, D) unit rows of the items.
            query_rows: (C, D) unit rows of the queries.

        Returns:
            Sentences; none if nothing differs.
        """
        pair = self.pair(query_modality, row_modality)
        concerns = [score_concern(pair, scores)]
        if rows is not None:
            concerns.append(row_concern(pair, rows, scores))
        if query_rows is not None:
            concerns.append(query_concern(pair, query_rows))
        return tuple(sentence for sentence in concerns if sentence is not None)

    def warn(
        self,
        query_modality: str | Modality,
        row_modality: str | Modality,
        scores: Tensor,
        *,
        rows: Tensor | None = None,
        query_rows: Tensor | None = None,
        stacklevel: int = 2,
    ) -> None:
        """A :class:`DifferentData` warning if there are :meth:`concerns`.

        Args:
            query_modality, row_modality, scores, rows, query_rows: as for :meth:`concerns`.
            stacklevel: as for :func:`warnings.warn`, from the caller's place.

        Raises:
            InputError, UnknownModality: as :meth:`pair`.
        """
        concerns = self.concerns(query_modality, row_modality, scores, rows=rows, query_rows=query_rows)
        if concerns:
            pair = f"{Modality.parse(query_modality).value} -> {Modality.parse(row_modality).value}"
            warnings.warn(
                f"cut-off {pair}: {'; '.join(concerns)}. The promised rate may not hold: make cut-offs from data like "
                f"these",
                DifferentData,
                stacklevel=stacklevel + 1,
            )

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write a JSON file; all of it or nothing.

        Args:
            path: the file to write; its directory has to exist.
            overwrite: whether to replace a file that is there.

        Returns:
            The path.

        Raises:
            CheckpointError: the file exists, or there is no such directory to write it to.
        """
        file = Path(path).expanduser()
        if file.exists() and not overwrite:
            raise CheckpointError(f"{file} exists; give another path, or overwrite=True to replace it")
        if not file.parent.is_dir():
            raise CheckpointError(
                f"there is no directory {str(file.parent)!r} for {file.name}; make it first"
            )
        content = {
            "format": FORMAT,
            "format_version": VERSION,
            "space": asdict(self.space),
            "fpr": self.fpr,
            "bound": self.bound,
            "confidence": self.confidence,
            "score": self.score,
            "pairs": [pair.to_dict() for pair in self.pairs],
        }
        write_whole(file, (json.dumps(content, indent=1) + "\n").encode())
        return file

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Cutoffs:
        """The cut-offs of a file that :meth:`save` wrote.

        Raises:
            WeightsNotFound: there is no such file.
            CheckpointError: it is damaged or holds something else.
        """
        file = Path(path).expanduser()
        if not file.is_file():
            raise WeightsNotFound(f"there are no cut-offs at {str(file)!r}: `bindplug cutoffs` makes some")
        content = read_json(file)
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise CheckpointError(f"{file} does not hold cut-offs (no format {FORMAT!r})")
        if content.get("format_version") != VERSION:
            version = content.get("format_version")
            raise CheckpointError(
                f"{file} has format version {version!r}; this bindplug reads version {VERSION}"
            )
        with damage_named(file):
            return cls._of(content)

    @classmethod
    def _of(cls, content: dict[str, Any]) -> Cutoffs:
        space = EmbeddingSpace.from_dict(content["space"])
        fpr, bound, confidence = content["fpr"], content["bound"], content["confidence"]
        score = content["score"]
        try:
            check_promise(fpr, bound, confidence)
        except InputError as error:
            raise ValueError(str(error)) from None
        if not isinstance(score, str) or not isinstance(content["pairs"], list) or not content["pairs"]:
            raise ValueError("score is no text, or there are no pairs")
        pairs = tuple(PairCutoff.from_dict(pair, space.width) for pair in content["pairs"])
        names = [(pair.query_modality, pair.row_modality) for pair in pairs]
        unknown = {name for pair in names for name in pair} - {modality.value for modality in Modality}
        if unknown:
            raise ValueError(f"there is no modality {sorted(map(str, unknown))[0]!r}")
        if len(set(names)) != len(names):
            raise ValueError("a pair of modalities occurs twice")
        least = least_sample_size(fpr, bound, confidence)
        if any(pair.sample_size < least for pair in pairs):
            raise ValueError(f"a sample of fewer than {least} cannot promise a rate of {fpr}")
        for pair in pairs:
            most = most_above(pair.sample_size, fpr, bound, confidence)
            if most is None or pair.above > most:
                raise ValueError(
                    f"{pair.above} of {pair.sample_size} above the threshold promise no rate of {fpr}"
                )
            expected = rate_interval(most, pair.sample_size, pair.above)
            rates = (pair.rate_low, pair.rate_high)
            if any(abs(rate - other) > 1e-6 for rate, other in zip(rates, expected, strict=True)):
                raise ValueError("rate_low and rate_high are not those of the sample's size")
        return cls(space, float(fpr), bound, float(confidence), pairs, score)

    def __str__(self) -> str:
        promise = f"at most {self.fpr:.4g} of absent items above"
        sure = f" with {self.confidence:.0%} confidence" if self.bound == "binomial" else " on average"
        return "\n".join(
            [f"{promise},{sure} ({self.score} in {self.space})", *(f"  {pair}" for pair in self.pairs)]
        )


def as_cutoffs(value: Cutoffs | str | os.PathLike[str]) -> Cutoffs:
    """Cut-offs, or those of a file.

    Raises:
        InputError: ``value`` is neither.
        WeightsNotFound, CheckpointError: as :meth:`Cutoffs.load`.
    """
    if isinstance(value, Cutoffs):
        return value
    if isinstance(value, (str, os.PathLike)):
        return Cutoffs.load(value)
    raise InputError("cut-offs", found=f"a {type(value).__name__}", expected="Cutoffs, or the path of a file")


def modalities_of(names: Sequence[str]) -> list[str]:
    """Each of the names once, in order."""
    return list(dict.fromkeys(names))
