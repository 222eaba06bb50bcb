"""From what other libraries hand over (texts, paths, pictures, arrays, queries) to rows."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from os import PathLike
from typing import TYPE_CHECKING

import numpy as np

from bindplug.cards import is_instance_by_name
from bindplug.errors import InputError
from bindplug.modality import Modality
from bindplug.query import Leaf, Query

if TYPE_CHECKING:
    from bindplug.encoder import Encoder

DEFAULT_MODEL = "imagebind_tiny"


def to_query(value: object, modality: str | Modality | None = None) -> Query:
    """The query that a value stands for.

    Args:
        value: a :class:`bindplug.Query`, as it is; a mapping from modalities to sources, such as
            ``{"image": "crane.jpg", "audio": "waves.wav"}``, the sum of its items; a PIL picture; or a source of
            ``modality``: a sentence, a path, bytes, a file object, an array or a tensor.
        modality: of the source. None takes a string for a sentence and a picture for an image, and nothing else, as
            the modality of a file is never guessed from its name.

    Raises:
        InputError: it is not clear what the value is.
        UnknownModality: a name is none of the modalities.
    """
    if isinstance(value, Query):
        return value
    if hasattr(value, "as_py"):  # Arrow's scalars
        value = value.as_py()
    if modality is None and isinstance(value, Mapping) and value:
        terms = [(1.0, Leaf(Modality.parse(name), source)) for name, source in value.items()]
        return Query(terms)
    if modality is None:
        if isinstance(value, str):
            modality = Modality.TEXT
        elif is_instance_by_name(value, "PIL.Image"):
            modality = Modality.IMAGE
    several = isinstance(value, (list, tuple, set)) and any(
        isinstance(v, (str, bytes, PathLike)) for v in value
    )
    if modality is None or value is None or several:
        problem = "nothing" if value is None else f"a {type(value).__name__}"
        raise InputError(
            "a query",
            found=problem,
            expected="a sentence, a PIL picture, or what says its modality",
            remedy='Say what it is: audio("bark.wav") of bindplug, {"audio": "bark.wav"}, or modality="audio"',
        )
    kind = Modality.parse(modality)
    if kind is Modality.TEXT and not isinstance(value, str):
        raise InputError("a text", found=f"a {type(value).__name__}", expected="a string")
    return Query([(1.0, Leaf(kind, value))])


class QueryEmbedder:
    """A model that is loaded when it is first needed, and embeds whatever :func:`to_query` takes.

    Args:
        model: a name or path that :func:`bindplug.load` takes, or a loaded encoder.
        device: where a model that is loaded runs.
        modalities: load these towers only; all for None.
        batch_size: items in one pass.
    """

    def __init__(
        self,
        model: str | Encoder = DEFAULT_MODEL,
        *,
        device: str = "cpu",
        modalities: Iterable[str] | None = None,
        batch_size: int = 32,
    ) -> None:
        self.name = model if isinstance(model, str) else ""
        self.device, self.batch_size = device, batch_size
        self.modalities = None if modalities is None else set(modalities)
        self._model = None if isinstance(model, str) else model
        self._lock = threading.Lock()  # stores embed from several threads

    @property
    def model(self) -> Encoder:
        """The encoder."""
        with self._lock:
            if self._model is None:
                from bindplug.models import load

                self._model = load(self.name, modalities=self.modalities, device=self.device)
        return self._model

    @property
    def width(self) -> int:
        """Numbers of a row."""
        return self.model.embedding_space.width

    def rows(self, values: Iterable[object], modality: str | Modality | None = None) -> np.ndarray:
        """(N, D) float32 unit rows of N values; see :func:`to_query`.

        Raises:
            InputError: ``values`` is a single string, a value is no query, or a source cannot be read.
            ModalityNotLoaded: the model does not embed a modality.
        """
        if isinstance(values, (str, bytes, Mapping)):  # whose items would pass for values
            raise InputError(
                "values to embed",
                found=f"a single {type(values).__name__}",
                expected="a list of values",
                remedy="Put it in a list: [value]",
            )
        queries = [to_query(value, modality) for value in values]
        if not queries:
            return np.zeros((0, self.width), dtype=np.float32)
        rows: np.ndarray = self.model.embed(queries, batch_size=self.batch_size, progress=False).cpu().numpy()
        return rows

    def lists(self, values: Iterable[object], modality: str | Modality | None = None) -> list[list[float]]:
        """As :meth:`rows`, as lists of numbers."""
        numbers: list[list[float]] = self.rows(values, modality).tolist()
        return numbers

    def row(self, value: object, modality: str | Modality | None = None) -> list[float]:
        """The row of one value, as a list of numbers."""
        return self.lists([value], modality)[0]


def named(embedder: QueryEmbedder, library: str) -> str:
    """The model's name, for configurations that a library stores.

    Raises:
        InputError: the embedder was given a loaded model, which has none.
    """
    if not embedder.name:
        raise InputError(
            f"{library}: its configuration",
            found="a loaded model",
            expected="a model's name or path, by which it can be loaded again",
        )
    return embedder.name
