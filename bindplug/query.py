"""Queries: what a person wants to find, and the arithmetic on it.

    query = image("crane.jpg") + 0.8 * audio("waves.wav") - text("beach")

A query is a weighted sum of leaves and is lazy: nothing is read until an encoder embeds it, which
unit-normalizes every leaf, sums them by weight and normalizes the sum. Hence a query has a direction and no
length.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np

from bindplug.errors import InputError, NoDirection, OptionError
from bindplug.leaves import AnyLeaf, Leaf, VectorLeaf, short_repr
from bindplug.modality import Modality
from bindplug.space import EmbeddingSpace

__all__ = [
    "CANCELLED",
    "AnyLeaf",
    "Leaf",
    "Query",
    "VectorLeaf",
    "audio",
    "depth",
    "embedding",
    "image",
    "imu",
    "interpolate",
    "text",
    "thermal",
    "video",
]

CANCELLED = "the terms of this query cancel, so it points nowhere; change a weight or drop the opposed terms"


class Query:
    """A linear combination of leaves.

    Made by :func:`text`, :func:`image`, ..., :func:`embedding`, and by ``+``, ``-``, ``*`` and ``/`` on
    queries. Equal leaves are merged, so ``q + q == 2 * q``. Equality disregards the order of terms.

    Args:
        terms: pairs of weight and leaf.

    Raises:
        ValueError: a weight is not finite.
    """

    __slots__ = ("_terms",)
    __array_ufunc__ = None  # so that numpy_number * query asks this class instead of broadcasting

    def __init__(self, terms: Iterable[tuple[float, AnyLeaf]]) -> None:
        weights: dict[AnyLeaf, float] = {}
        for weight, leaf in terms:
            weights[leaf] = weights.get(leaf, 0.0) + _finite(weight)
        self._terms = tuple((weight, leaf) for leaf, weight in weights.items() if weight != 0.0)

    @property
    def terms(self) -> tuple[tuple[float, AnyLeaf], ...]:
        """Pairs of weight (never 0) and leaf (each once), in the order written."""
        return self._terms

    @property
    def modality(self) -> Modality | None:
        """Modality of the term with the greatest absolute weight, the first such one on a tie."""
        return max(self._terms, key=lambda term: abs(term[0]))[1].modality if self._terms else None

    def windows(self, *, seconds: float, hop: float | None = None) -> Iterator[Query]:
        """Queries for windows of a recording: a sound, a video or a motion log.

        ``for window in audio("long.wav").windows(seconds=2, hop=1)`` gives a query a window, each of which reads
        no more of the file than it needs. ``window.terms[0][1].span`` is its (start, end) in seconds. Windows
        start every ``hop`` seconds; the last one is moved back to end where the recording does, and a recording
        shorter than a window is one window. A ``start`` or ``end`` among the query's options limits the windows.

        Args:
            seconds: length of a window.
            hop: from the start of one window to that of the next; ``seconds`` by default.

        Returns:
            An iterator; the length of the recording is read when the first window is taken.

        Raises:
            InputError: the query is not one recording, or its length cannot be read.
            OptionError: ``seconds`` or ``hop`` is not a positive number.
        """
        hop = seconds if hop is None else hop
        for name, value in (("seconds", seconds), ("hop", hop)):
            if not (_is_number(value) and math.isfinite(value) and value > 0):
                raise OptionError(f"{name}={value!r}; expected a positive number of seconds")
        leaves = [leaf for _, leaf in self._terms]
        if len(leaves) != 1 or not isinstance(leaves[0], Leaf) or leaves[0].modality not in _RECORDED:
            problem, expected = f"the query {self!r}", "one sound, video or motion log, as audio(...)"
            raise InputError("windows()", found=problem, expected=expected)
        return _windows_of(self._terms[0][0], leaves[0], float(seconds), float(hop))

    def __add__(self, other: object) -> Query:
        _require_query(other, "+")
        assert isinstance(other, Query)
        total = Query((*self._terms, *other._terms))
        if not total._terms and (self._terms or other._terms):
            raise NoDirection(f"{self!r} + {other!r}: {CANCELLED}")
        return total

    def __radd__(self, other: object) -> Query:
        if isinstance(other, Real) and other == 0:  # sum([...]) starts from 0
            return self
        _require_query(other, "+")
        return NotImplemented

    def __sub__(self, other: object) -> Query:
        _require_query(other, "-")
        assert isinstance(other, Query)
        return self + -other

    def __rsub__(self, other: object) -> Query:
        _require_query(other, "-")
        return NotImplemented

    def __mul__(self, factor: Any) -> Query:
        number = _number(factor)
        return Query((weight * number, leaf) for weight, leaf in self._terms)

    __rmul__ = __mul__

    def __truediv__(self, divisor: Any) -> Query:
        return self * (1.0 / _number(divisor))

    def __neg__(self) -> Query:
        return self * -1.0

    def __pos__(self) -> Query:
        return self

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Query):
            return NotImplemented
        return {leaf: weight for weight, leaf in self._terms} == {
            leaf: weight for weight, leaf in other._terms
        }

    def __hash__(self) -> int:
        return hash(frozenset(self._terms))

    def __reduce__(self) -> tuple[object, ...]:
        return (Query, (self._terms,))

    def __repr__(self) -> str:
        if not self._terms:
            return "<query without direction>"
        return "".join(_term_repr(i, weight, leaf) for i, (weight, leaf) in enumerate(self._terms))

    def __iter__(self) -> Any:
        raise TypeError(
            "a Query is one thing, not a list; for its parts read .terms, for a batch write [query]"
        )


_RECORDED = (Modality.AUDIO, Modality.VIDEO, Modality.IMU)


def _windows_of(weight: float, leaf: Leaf, seconds: float, hop: float) -> Iterator[Query]:
    from bindplug.inputs import make_preprocess  # imports torch, which queries do without
    from bindplug.inputs.clips import span_within, window_count, window_span
    from bindplug.inputs.source import describe_source

    options: dict[str, Any] = dict(leaf.options)
    reader = make_preprocess([leaf.modality])[leaf.modality.value]
    duration_s = reader.duration(leaf.source, **options)
    first, last = span_within(
        options.pop("start", None), options.pop("end", None), duration_s, describe_source(leaf.source)
    )
    for index in range(window_count(last - first, seconds, hop)):
        start, end = window_span(index, last - first, seconds, hop)
        yield Query(
            [
                (
                    weight,
                    Leaf(leaf.modality, leaf.source, {**options, "start": first + start, "end": first + end}),
                )
            ]
        )


def text(sentence: str, **options: object) -> Query:
    """A query for what a sentence says; as every query it can be added, subtracted and weighted.

    Raises:
        InputError: ``sentence`` is not one string.
    """
    if not isinstance(sentence, str):
        raise InputError(
            f"text({short_repr(sentence)})",
            found=f"a {type(sentence).__name__}",
            expected="one string",
            remedy="For several, write [text(s) for s in sentences]",
        )
    return _query(Modality.TEXT, sentence, options)


def image(source: object, **options: object) -> Query:
    """A query for what a picture shows: path, bytes, file object, PIL image, array or tensor."""
    return _query(Modality.IMAGE, source, options)


def video(source: object, **options: object) -> Query:
    """A query for what a video shows: path, bytes, file object, or frames as an array."""
    return _query(Modality.VIDEO, source, options)


def audio(source: object, **options: object) -> Query:
    """A query for what a recording sounds like: path, bytes, file object, or samples with their rate."""
    return _query(Modality.AUDIO, source, options)


def depth(source: object, **options: object) -> Query:
    """A query for the shape a depth map shows: path, bytes, file object, image or array."""
    return _query(Modality.DEPTH, source, options)


def thermal(source: object, **options: object) -> Query:
    """A query for what a thermal picture shows: path, bytes, file object, image or array."""
    return _query(Modality.THERMAL, source, options)


def imu(source: object, **options: object) -> Query:
    """A query for a motion measured by accelerometer and gyroscope: path, bytes, file object or array."""
    return _query(Modality.IMU, source, options)


def embedding(vector: Any, space: EmbeddingSpace, *, modality: str | Modality | None = None) -> Query:
    """A query for a vector computed earlier.

    Args:
        vector: (D,) array, tensor or list of finite numbers, not all 0; of any length.
        space: the space it lives in, e.g. ``model.embedding_space``.
        modality: what it was computed from. Similarity then uses that modality's scale.

    Raises:
        InputError: the vector's shape is not ``(space.width,)``, or its numbers give no direction.
    """
    values = vector.detach().cpu().float().numpy() if hasattr(vector, "detach") else vector
    try:
        array = np.array(values, dtype=np.float32)
    except (TypeError, ValueError):
        kind = type(vector).__name__
        raise InputError("embedding()", found=f"a {kind}", expected="a vector of numbers") from None
    if array.shape != (space.width,):
        raise InputError(
            "embedding()", found=f"shape {array.shape}", expected=f"({space.width},) for {space}"
        )
    if not np.isfinite(array).all() or not array.any():
        problem = "zeros only" if np.isfinite(array).all() else "NaN or infinity"
        raise InputError("embedding()", found=problem, expected="finite numbers, not all 0")
    array.setflags(write=False)
    return Query([(1.0, VectorLeaf(array, space, None if modality is None else Modality.parse(modality)))])


def interpolate(start: Query, end: Query, n: int) -> list[Query]:
    """``n`` queries that lead evenly from ``start`` to ``end``, both included.

    Each end first gets weights whose absolute values sum to 1, so that ``2 * q`` leads where ``q`` does.

    Raises:
        InputError: ``n`` is less than 2.
        NoDirection: the way passes through a query whose terms cancel.
    """
    if not isinstance(n, int) or n < 2:
        raise InputError("interpolate()", found=f"n={n!r}", expected="a whole number of at least 2")
    first, last = _evened(start), _evened(end)
    return [(1.0 - step / (n - 1)) * first + (step / (n - 1)) * last for step in range(n)]


def _evened(query: Query) -> Query:
    _require_query(query, "interpolate()")
    total = sum(abs(weight) for weight, _ in query.terms)
    if total == 0.0:
        raise NoDirection(f"interpolate(): {CANCELLED}")
    return query / total


def _query(modality: Modality, source: object, options: Mapping[str, object]) -> Query:
    if isinstance(source, Query):
        raise TypeError(
            f"{modality.value}() takes a source, and {source!r} is a query already: use it as it is"
        )
    several = isinstance(source, (list, tuple, set)) and any(
        isinstance(item, (str, bytes, Path)) for item in source
    )
    if source is None or several:
        raise InputError(
            f"{modality.value}({short_repr(source)})",
            found="nothing" if source is None else f"a {type(source).__name__} of sources",
            expected="one source",
            remedy=f"For several, write [{modality.value}(s) for s in sources]" if several else "",
        )
    return Query([(1.0, Leaf(modality, source, options))])


def _require_query(value: object, operation: str) -> None:
    if not isinstance(value, Query):
        hint = f'; say text({value!r}) or audio("..."), ...' if isinstance(value, str) else ""
        raise TypeError(
            f"{operation} joins queries, and {short_repr(value)} is a {type(value).__name__}{hint}"
        )


def _number(value: Any) -> float:
    if isinstance(value, (Query, str, bytes, bool)) or not hasattr(type(value), "__float__"):
        raise TypeError(
            f"a query is weighted by a number, and {short_repr(value)} is a {type(value).__name__}"
        )
    return float(value)


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _finite(weight: float) -> float:
    if not math.isfinite(weight):
        raise InputError("Query", found=f"a weight of {weight}", expected="finite weights")
    return float(weight)


def _term_repr(index: int, weight: float, leaf: AnyLeaf) -> str:
    sign = "-" if weight < 0 else "+"
    factor = "" if abs(weight) == 1.0 else f"{abs(weight):g} * "
    joint = ("-" if weight < 0 else "") if index == 0 else f" {sign} "
    return f"{joint}{factor}{leaf!r}"
