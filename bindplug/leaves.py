"""The leaves of queries: a source with its modality, and a vector with its space."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import numpy as np

from bindplug.modality import Modality
from bindplug.space import EmbeddingSpace


@dataclass(frozen=True, eq=False)
class Leaf:
    """One source of one modality, as its reader will see it.

    Leaves are equal when they name the same thing: equal text, path or bytes, or the very same object, with
    equal options.

    Args:
        modality: what the source is.
        source: text for ``text``; otherwise a path, bytes, file object, PIL image, array or tensor.
        options: keyword options of the modality's reader.
    """

    modality: Modality
    source: object
    options: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "modality", Modality.parse(self.modality))
        object.__setattr__(self, "options", MappingProxyType(dict(self.options)))

    @property
    def span(self) -> tuple[float, float] | None:
        """Start and end in seconds of a window of a recording (see :meth:`Query.windows`); None of a whole one."""
        start, end = self.options.get("start"), self.options.get("end")
        if not isinstance(start, (int, float)) or not isinstance(end, (int, float)):
            return None
        return float(start), float(end)

    @property
    def key(self) -> tuple[object, ...]:
        """Hashable identity of the leaf; objects that have no value to compare count by identity."""
        options = tuple((name, _identity(value)) for name, value in sorted(self.options.items()))
        return (self.modality.value, _identity(self.source), options)

    def __eq__(self, other: object) -> bool:
        return self.key == other.key if isinstance(other, Leaf) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.key)

    def __reduce__(self) -> tuple[object, ...]:
        return (Leaf, (self.modality, self.source, dict(self.options)))

    def __repr__(self) -> str:
        options = "".join(f", {name}={short_repr(value)}" for name, value in self.options.items())
        return f"{self.modality.value}({short_repr(self.source)}{options})"


@dataclass(frozen=True, eq=False)
class VectorLeaf:
    """A vector computed earlier, with the space it lives in.

    Args:
        vector: (D,) float32, finite, not zero; its length carries no meaning.
        space: where it lives.
        modality: what it was computed from, if known; similarity scales and bridges depend on it.
    """

    vector: np.ndarray
    space: EmbeddingSpace
    modality: Modality | None = None

    @property
    def key(self) -> tuple[object, ...]:
        """Hashable identity: the vector's numbers and its space."""
        return ("embedding", self.vector.tobytes(), self.space, self.modality)

    def __eq__(self, other: object) -> bool:
        return self.key == other.key if isinstance(other, VectorLeaf) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.key)

    def __repr__(self) -> str:
        made_of = f", modality={self.modality.value!r}" if self.modality else ""
        return f"embedding(<{len(self.vector)} numbers>, {self.space.name!r}{made_of})"


AnyLeaf = Leaf | VectorLeaf


def _identity(value: object) -> tuple[object, ...]:
    """What makes two sources or options the same: their value where they have one, else the object."""
    if isinstance(value, (str, Path)):
        return ("str", str(value))
    if value is None or isinstance(value, (bytes, bool, int, float)):
        return (type(value).__name__, value)
    if isinstance(value, (tuple, list)):
        return (type(value).__name__, *(_identity(item) for item in value))
    return ("object", id(value))


def short_repr(value: object) -> str:
    """A source or an option in at most 80 characters: arrays and images by their shape, bytes by their count."""
    if isinstance(value, Path):
        return repr(str(value))
    if isinstance(value, (bytes, bytearray)):
        return f"<{len(value)} bytes>"
    shape = getattr(value, "shape", None)
    if shape is not None:
        return f"<{type(value).__name__} {tuple(shape)}>"
    size = getattr(value, "size", None)
    if isinstance(size, tuple):
        return f"<{type(value).__name__} {size[0]}x{size[1]}>"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
