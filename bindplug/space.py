"""Embedding spaces: which vectors may be compared with which."""

from __future__ import annotations

from dataclasses import dataclass, field

from bindplug.errors import SpaceMismatch
from bindplug.fingerprint import same_fingerprints

__all__ = [
    "IMAGEBIND_SPACE",
    "EmbeddingSpace",
]


@dataclass(frozen=True)
class EmbeddingSpace:
    """The space a vector lives in.

    Two CLIPs of equal width do not share a space, so a width alone never makes vectors comparable.

    Args:
        name: ``"library:architecture:weights"``, e.g. ``"open_clip:ViT-H-14:laion2b_s32b_b79k"``.
        width: length of a vector.
        fingerprint: of the weights that define the space, where they could be read: the text of a
            :class:`bindplug.fingerprint.Fingerprint`, which starts with a digest, or any text that is equal for
            equal weights.
    """

    name: str
    width: int
    fingerprint: str | None = field(default=None, repr=False)

    @classmethod
    def from_dict(cls, values: object) -> EmbeddingSpace:
        """The space of ``dataclasses.asdict(space)``, as manifests store it.

        Raises:
            ValueError: fields are missing, unknown or of another type.
        """
        if not isinstance(values, dict) or not {"name", "width"} <= values.keys() <= set(
            cls.__dataclass_fields__
        ):
            raise ValueError(f"an embedding space has name, width and fingerprint, not {str(values)[:80]}")
        name, width, fingerprint = values["name"], values["width"], values.get("fingerprint")
        whole = isinstance(width, int) and not isinstance(width, bool) and width > 0
        if not isinstance(name, str) or not whole or not isinstance(fingerprint, (str, type(None))):
            raise ValueError(f"an embedding space cannot have {str(values)[:80]}")
        return cls(name, width, fingerprint)

    def matches(self, other: EmbeddingSpace) -> bool:
        """Whether vectors of both may be compared: same name and width, and no contradicting fingerprint."""
        if (self.name, self.width) != (other.name, other.width):
            return False
        if self.fingerprint is None or other.fingerprint is None:
            return True
        return same_fingerprints(self.fingerprint, other.fingerprint)

    def ensure(self, other: EmbeddingSpace, doing: str = "comparing them") -> None:
        """Return if vectors of ``other`` may be used where this space is expected.

        Args:
            other: the space the vectors live in.
            doing: what is being attempted, for the message.

        Raises:
            SpaceMismatch: they may not; the message names both spaces and the bridge that would help.
        """
        if not self.matches(other):
            raise SpaceMismatch(
                f"{doing} needs vectors of {self}, but found vectors of {other}. Embed both sides with one "
                f"model, or map them first with a bridge from {other.name!r} to {self.name!r} "
                f"(upgrade(..., bridge=...) takes one)"
            )

    def __str__(self) -> str:
        mark = f", weights {self.fingerprint[:8]}" if self.fingerprint else ""
        return f"the space {self.name!r} ({self.width}-d{mark})"


IMAGEBIND_SPACE = EmbeddingSpace("open_clip:ViT-H-14:laion2b_s32b_b79k", 1024)
"""ImageBind's space, that of OpenCLIP's ViT-H/14, whose towers it keeps frozen. Source: arXiv 2305.05665."""
