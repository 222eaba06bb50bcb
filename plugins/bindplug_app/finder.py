"""What the page does, apart from how it looks: search an index, look for a thing in a picture, paint it."""

from __future__ import annotations

import io
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bindplug.errors import InputError, NoDirection, SpaceMismatch
from bindplug.modality import Modality
from bindplug.query import CANCELLED, AnyLeaf, Leaf, Query, VectorLeaf, embedding
from bindplug_serve import Limits, check_size

if TYPE_CHECKING:
    from PIL.Image import Image

    from bindplug.encoder import Encoder
    from bindplug.indexes import IndexInfo, IndexMatch
    from bindplug_search import Index

logger = logging.getLogger("bindplug.app")
MOST_WORDS = 12
"""Unknown words that a remark names."""

BOX_COLOR = "#e69f00"
"""Source: the orange of Okabe and Ito, Color Universal Design (2008)."""

SMALLEST_SIDE = 640
"""Pictures of fewer pixels a side are enlarged before boxes are drawn, so that their labels are legible."""


@dataclass(frozen=True)
class Term:
    """A source of a query and its weight; a negative one leads away from it."""

    leaf: Leaf
    weight: float = 1.0


@dataclass
class EmbeddedTerms:
    """A query whose sources are embedded, and what there is to say about them.

    Attributes:
        query: the weighted sum of the sources' rows.
        remarks: of readers, on words that the model does not know.
    """

    query: Query
    remarks: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class DetectedBox:
    """A place in a picture.

    Attributes:
        score: in [0, 1].
        box: left, top, right, bottom, in pixels.
    """

    score: float
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class DetectionAnswer:
    """What a detector says of a picture.

    Attributes:
        picture: with the boxes drawn into it.
        boxes: best first.
        size: width and height of the picture in pixels.
        remarks: on the sources.
    """

    picture: Image
    boxes: list[DetectedBox]
    size: tuple[int, int]
    remarks: list[str]


class Finder:
    """A model and what it is used with.

    Safe to call from several threads: what one call computes reaches no other.

    Args:
        index: opened with ``model``.
        model: embeds queries; its modalities are those that the page offers.
        detector: name of a detector or path to Detic's weights; None for none. It is loaded on first use.
        pipeline: a diffusers pipeline: a registered name, a directory or an id of the hub; None for none. It is
            loaded on first use.
        bridge: from the model's space to the detector's, by name or path; a registered one by default.
        limits: on what an upload holds once it is read.

    Raises:
        SpaceMismatch: the model lives in another space than the index.
    """

    def __init__(
        self,
        index: Index,
        model: Encoder,
        *,
        detector: str | None = None,
        pipeline: str | None = None,
        bridge: str | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.index, self.model, self.limits = index, model, limits or Limits()
        self.detector_name, self.pipeline_name = detector, pipeline
        self._index_lock = threading.Lock()
        self._detector = _Tool(lambda: _load_detector(detector or "", model, bridge))
        self._painter = _Tool(lambda: _load_painter(pipeline or "", model))
        _check_space(index, model)

    @property
    def kinds(self) -> tuple[str, ...]:
        """Modalities that a query can be of."""
        return tuple(modality.value for modality in Modality if modality.value in self.model.modalities)

    def info(self) -> IndexInfo:
        """What the index holds now."""
        with self._locked_index():
            return self.index.info()

    def embed(self, terms: Sequence[Term]) -> EmbeddedTerms:
        """Read and embed sources.

        Raises:
            InputError: a source cannot be read, or holds more than is read.
            NoDirection: the terms cancel.
        """
        if not terms:
            raise InputError("the search", found="nothing to look for", expected="words, or a file")
        for term in terms:
            check_size(term.leaf, self.limits)
            if isinstance(term.leaf.source, io.BytesIO):
                term.leaf.source.seek(0)  # it may have been read before
        embedded = self.model.embed_with_report(
            [Query([(1.0, term.leaf)]) for term in terms], on_error="raise", progress=False, workers=0
        )
        rows = embedded.rows.cpu().numpy()
        vector_terms: list[tuple[float, AnyLeaf]] = [
            (term.weight, VectorLeaf(row, self.model.embedding_space, term.leaf.modality))
            for term, row in zip(terms, rows, strict=True)
        ]
        query = Query(vector_terms)
        if not query.terms:
            raise NoDirection(CANCELLED)
        remarks = [str(note) for note in embedded.notes]
        if embedded.unknown_words:
            words = ", ".join(f"“{word}”" for word in embedded.unknown_words[:MOST_WORDS])
            more = len(embedded.unknown_words) - MOST_WORDS
            also = f" and {more} more" if more > 0 else ""
            remarks.append(f"The model never met these words, and leaves them out: {words}{also}.")
        return EmbeddedTerms(query, remarks)

    def search(
        self, terms: Sequence[Term], *, kinds: Sequence[str] = (), k: int = 12
    ) -> tuple[list[IndexMatch], list[str]]:
        """The matches nearest to a sum of sources, best first, and the remarks on the sources.

        Args:
            terms: what to find.
            kinds: to look among; all for none.
            k: most matches.

        Raises:
            InputError: as :meth:`embed`, or the index cannot be read.
            NoDirection: the terms cancel.
        """
        embedded = self.embed(terms)
        with self._locked_index():
            matches = self.index.search(embedded.query, k, kind=list(kinds) or None)
        return matches, embedded.remarks

    def reader_options(self, matches: Sequence[IndexMatch]) -> list[dict[str, Any]]:
        """The options that the files of matches were read with when they came into the index.

        Raises:
            InputError: the index cannot be read.
        """
        with self._locked_index():
            return self.index.reader_options([match.row for match in matches])

    @contextmanager
    def _locked_index(self) -> Iterator[None]:
        """The index for one thread; what it raises names places of this machine, which is for the terminal alone."""
        try:
            with self._index_lock:
                yield
        except InputError as error:
            logger.error("the index cannot be read: %s", error)
            raise InputError(
                "the index",
                found="a table that cannot be read",
                expected="what it was when the page was started",
                remedy="The terminal that the page was started in says what happened.",
            ) from error

    def detect(
        self, terms: Sequence[Term], picture: Leaf, *, threshold: float | None = None
    ) -> DetectionAnswer:
        """Where in a picture the sum of sources is.

        Args:
            terms: what to find.
            picture: an image.
            threshold: scores have to be above it; the detector's own by default.

        Raises:
            InputError: as :meth:`embed`, also for the picture.
            SpaceMismatch: no bridge leads to the detector's space.
            MissingDependency: what the detector needs is not installed.
        """
        embedded = self.embed(terms)
        check_size(picture, self.limits)
        pixels, notes = _read_picture(self.model, picture)
        with self._detector as detector:
            detections = detector(pixels, [embedded.query], threshold=threshold, with_masks=False)
        columns = (detections.scores.tolist(), detections.boxes.tolist())
        boxes = [
            DetectedBox(score, (left, top, right, bottom))
            for score, (left, top, right, bottom) in zip(*columns, strict=True)
        ]
        scale = max(1, min(16, SMALLEST_SIDE // max(pixels.size)))
        detections.labels = [str(place) for place in range(1, len(boxes) + 1)]
        picture_with_boxes = detections.draw(scale=scale, colors=dict.fromkeys(detections.labels, BOX_COLOR))
        return DetectionAnswer(picture_with_boxes, boxes, pixels.size, embedded.remarks + notes)

    def paint(self, terms: Sequence[Term], *, seed: int) -> tuple[Image, list[str]]:
        """A picture of the sum of sources, and the remarks on them.

        Args:
            terms: what to paint.
            seed: makes the same picture again.

        Raises:
            InputError: as :meth:`embed`.
            SpaceMismatch: the pipeline takes embeddings of another space.
            MissingDependency: what the pipeline needs is not installed.
        """
        embedded = self.embed(terms)
        with self._painter as painter:
            output = painter(embedded.query, num_images_per_prompt=1, seed=seed)
        return output.images[0], embedded.remarks


class _Tool:
    """Something that is loaded on first use, and used by one thread at a time."""

    def __init__(self, load: Callable[[], Any]) -> None:
        self._load, self._lock = load, threading.Lock()
        self._tool: Any = None

    def __enter__(self) -> Any:
        self._lock.acquire()
        try:
            if self._tool is None:
                self._tool = self._load()
        except BaseException:
            self._lock.release()
            raise
        return self._tool

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def _check_space(index: Index, model: Encoder) -> None:
    """Raise if queries of the model cannot be compared with the index's rows."""
    space = model.embedding_space
    try:
        index.vector_of(embedding([1.0] * space.width, space))
    except SpaceMismatch as error:
        text = str(error).rstrip(".")
        raise SpaceMismatch(f"{text}. Or open the index with its own model: leave --model out.") from None


def _read_picture(model: Encoder, leaf: Leaf) -> tuple[Image, list[str]]:
    from bindplug.inputs import collected_notes

    with collected_notes() as notes:
        picture: Image = model.preprocess["image"].read(leaf.source, **leaf.options)
    return picture, [str(note) for note in notes]


def _load_detector(name: str, model: Encoder, bridge: str | None) -> Any:
    from bindplug import upgrade
    from bindplug_detic import Detic

    return upgrade(Detic.from_pretrained(name, device=str(model.device)), model, bridge=bridge)


def _load_painter(name: str, model: Encoder) -> Any:
    from bindplug_diffusers import load_pipeline, quiet_logging, upgrade

    with quiet_logging(True):
        pipe, space = load_pipeline(name, str(model.device), None)
        pipe.set_progress_bar_config(disable=True)
        return upgrade(pipe, model, space=space)
