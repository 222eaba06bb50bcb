"""The contract that every encoder keeps, ours, a plugin's, or one that :func:`bindplug.combine` makes."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, TypeVar

import pytest
import torch
from torch import Tensor

from bindplug.encoder import Encoder
from bindplug.errors import (
    InputError,
    InputNote,
    ModalityNotLoaded,
    NoTrainedScale,
    SpaceMismatch,
    UnknownWords,
)
from bindplug.modality import Modality
from bindplug.query import Leaf, Query, embedding
from bindplug.space import EmbeddingSpace

T = TypeVar("T")


class EncoderContract:
    """The suite an encoder passes. Subclass it as ``Test…`` and supply the first two methods.

    The encoder is made once for a class and must not be changed by its use.
    """

    tolerance: ClassVar[float] = 1e-5
    """Most that a number of a row may differ by with the batch it was computed in."""

    reads_files: ClassVar[bool] = True
    """Whether it opens paths; :class:`bindplug.testing.FakeEncoder` makes numbers of their names."""

    def make_encoder(self) -> Encoder:
        """The encoder, in float32 on the CPU."""
        raise NotImplementedError("an EncoderContract must define make_encoder()")

    def make_queries(self) -> Mapping[str, Sequence[Query]]:
        """For each of its modalities two or more queries, each of one source, of different content."""
        raise NotImplementedError("an EncoderContract must define make_queries()")

    @pytest.fixture
    def encoder(self) -> Encoder:
        """The encoder of this class, made for its first test."""
        return self._cached("_encoder", self.make_encoder)

    @pytest.fixture
    def queries(self) -> Mapping[str, Sequence[Query]]:
        """The queries of this class, made for its first test."""
        return self._cached("_queries", self.make_queries)

    @classmethod
    def _cached(cls, name: str, make: Callable[[], T]) -> T:
        if name not in vars(cls):
            setattr(cls, name, make())
        value: T = vars(cls)[name]
        return value

    def test_it_has_what_an_encoder_has(
        self, encoder: Encoder, queries: Mapping[str, Sequence[Query]]
    ) -> None:
        """A reader for each modality, known names, a space, a device and a dtype."""
        assert set(queries) == set(encoder.modalities), "make_queries() must cover the modalities"
        assert set(encoder.preprocess) >= set(encoder.modalities)
        assert list(encoder.modalities) == [m.value for m in Modality if m.value in encoder.modalities]
        assert isinstance(encoder.embedding_space, EmbeddingSpace)
        assert isinstance(encoder.device, torch.device)
        assert encoder.dtype.is_floating_point

    def test_rows_are_of_unit_length(self, encoder: Encoder, queries: Mapping[str, Sequence[Query]]) -> None:
        """(N, D) float32 rows of the space's width; different content gives different rows."""
        for modality, several in queries.items():
            rows = embed(encoder, several)
            assert rows.shape == (len(several), encoder.embedding_space.width), modality
            assert rows.dtype == torch.float32
            assert rows.device == encoder.device
            torch.testing.assert_close(rows.norm(dim=1), torch.ones(len(several)), atol=1e-4, rtol=0)
            assert not torch.allclose(rows[0], rows[1], atol=1e-6), f"{modality}: two sources have one row"

    def test_rows_do_not_depend_on_the_batch(
        self, encoder: Encoder, queries: Mapping[str, Sequence[Query]]
    ) -> None:
        """One by one, in batches of one, backwards and all modalities at once: the same rows."""
        several = [query for part in queries.values() for query in part]
        rows = embed(encoder, several)
        alone = torch.cat([embed(encoder, [query]) for query in several])
        backwards = embed(encoder, several[::-1]).flip(0)
        small = embed(encoder, several, batch_size=1)
        for other in (alone, backwards, small):
            torch.testing.assert_close(other, rows, atol=self.tolerance, rtol=0)

    def test_encode_takes_what_preprocess_makes(
        self, encoder: Encoder, queries: Mapping[str, Sequence[Query]]
    ) -> None:
        """``encode(modality, preprocess[modality].batch(sources).stack())`` is what ``embed`` does."""
        for modality, several in queries.items():
            leaf = several[0].terms[0][1]
            assert isinstance(leaf, Leaf)
            with without_notes(), torch.inference_mode():
                batch = encoder.preprocess[modality].batch([leaf.source], options=[dict(leaf.options)])
                row = encoder.encode(modality, batch.stack(), normalize=True)
            difference = (row.float() - embed(encoder, several[:1])).abs().max().item()
            assert difference <= self.tolerance, f"{modality}: embed() differs from encode() by {difference}"

    def test_queries_are_summed(self, encoder: Encoder, queries: Mapping[str, Sequence[Query]]) -> None:
        """A sum of sources, of several modalities too, is the normalized sum of their rows."""
        terms = [several[0] for several in queries.values()]
        total = terms[0] if len(terms) == 1 else sum(terms[1:], 0.5 * terms[0])
        rows = embed(encoder, terms)
        expected = rows.sum(0) - (0.5 * rows[0] if len(terms) > 1 else 0)
        torch.testing.assert_close(
            embed(encoder, [total])[0], torch.nn.functional.normalize(expected, dim=0), atol=1e-4, rtol=0
        )

    def test_probabilities_sum_to_one(self, encoder: Encoder, queries: Mapping[str, Sequence[Query]]) -> None:
        """``similarity`` of each modality against text has rows that sum to 1."""
        if "text" not in encoder.modalities:
            pytest.skip("it embeds no text")
        for several in queries.values():
            with without_notes():
                probabilities = encoder.similarity(list(several), list(queries["text"]))
            torch.testing.assert_close(probabilities.sum(1), torch.ones(len(several)), atol=1e-5, rtol=0)

    def test_a_modality_it_has_not_is_refused(self, encoder: Encoder) -> None:
        """Before anything is read."""
        absent = [modality for modality in Modality if modality.value not in encoder.modalities]
        for modality in absent:
            with pytest.raises(ModalityNotLoaded, match=modality.value):
                encoder.embed([Query([(1.0, Leaf(modality, "nothing"))])])

    def test_bad_sources_are_named(self, encoder: Encoder, queries: Mapping[str, Sequence[Query]]) -> None:
        """A source that cannot be read raises an ``InputError``, or is skipped and reported on request."""
        if not self.reads_files:
            pytest.skip("it reads no files")
        for modality, several in queries.items():
            bad = Query([(1.0, Leaf(Modality.parse(modality), 3 if modality == "text" else "absent.file"))])
            with pytest.raises(InputError, match="3" if modality == "text" else "absent"):
                encoder.embed([bad])
            with without_notes():
                report = encoder.embed_with_report([several[0], bad], on_error="skip")
            assert report.kept == [0]
            assert [skip.index for skip in report.skipped] == [1]

    def test_vectors_know_where_they_live(
        self, encoder: Encoder, queries: Mapping[str, Sequence[Query]]
    ) -> None:
        """Rows of its space are queries again; vectors of another space are refused."""
        modality, several = next(iter(queries.items()))
        row = embed(encoder, several[:1])
        again = encoder.embed([embedding(row[0], encoder.embedding_space, modality=modality)])
        torch.testing.assert_close(again, row, atol=1e-5, rtol=0)
        other = EmbeddingSpace("another:space", encoder.embedding_space.width)
        with pytest.raises(SpaceMismatch, match="another:space"):
            encoder.embed([embedding(row[0], other)])

    def test_it_survives_pickling(self, encoder: Encoder, queries: Mapping[str, Sequence[Query]]) -> None:
        """A copy sent to another process has the same space and makes the same rows."""
        copy = pickle.loads(pickle.dumps(encoder))
        assert copy.embedding_space == encoder.embedding_space
        assert copy.modalities == encoder.modalities
        for several in queries.values():
            torch.testing.assert_close(
                embed(copy, several), embed(encoder, several), atol=self.tolerance, rtol=0
            )

    def test_a_smaller_dtype_keeps_the_rows(
        self, encoder: Encoder, queries: Mapping[str, Sequence[Query]]
    ) -> None:
        """In bfloat16 rows are still float32 of unit length and point where they did."""
        if not isinstance(encoder, torch.nn.Module):
            pytest.skip("it holds no weights of its own")
        smaller: Any = pickle.loads(pickle.dumps(encoder)).to(torch.bfloat16)
        for modality, several in queries.items():
            rows = embed(smaller, several)
            assert rows.dtype == torch.float32
            cosines = (rows * embed(encoder, several)).sum(1)
            assert cosines.min() > 0.95, f"{modality}: {cosines.tolist()}"


def embed(encoder: Encoder, queries: Sequence[Query], **options: Any) -> Tensor:
    """Rows without what readers remark."""
    with without_notes():
        return encoder.embed(list(queries), **options)


@contextmanager
def without_notes() -> Iterator[None]:
    """Withhold remarks on sources in the block."""
    with warnings.catch_warnings():
        for kind in (InputNote, UnknownWords, NoTrainedScale):
            warnings.simplefilter("ignore", kind)
        yield
