"""The seven kinds of data, and which tower of ImageBind embeds each."""

from __future__ import annotations

from enum import Enum

from bindplug.errors import UnknownModality

__all__ = [
    "TOWERS",
    "Modality",
    "towers_of",
]

TOWERS = ("vision", "text", "audio", "depth", "thermal", "imu")
"""ImageBind's six towers, by their names in the official checkpoint."""


class Modality(str, Enum):
    """A kind of data. Members compare equal to their plain names: ``Modality.AUDIO == "audio"``."""

    IMAGE = "image"
    VIDEO = "video"
    TEXT = "text"
    AUDIO = "audio"
    DEPTH = "depth"
    THERMAL = "thermal"
    IMU = "imu"

    @property
    def tower(self) -> str:
        """The tower that embeds this modality; images and videos share ``"vision"``."""
        return "vision" if self in (Modality.IMAGE, Modality.VIDEO) else self.value

    @classmethod
    def parse(cls, name: str | Modality) -> Modality:
        """The modality of that name.

        Raises:
            UnknownModality: the name is none of the seven.
        """
        try:
            return cls(name)
        except ValueError:
            raise UnknownModality(name, [m.value for m in cls]) from None

    def __str__(self) -> str:
        return self.value


def towers_of(modalities: set[str] | frozenset[str] | list[str] | tuple[str, ...] | None) -> tuple[str, ...]:
    """Names of the towers that embed ``modalities``, in the checkpoint's order; all six for ``None``.

    ``"vision"`` is accepted beside ``"image"`` and ``"video"``.

    Raises:
        UnknownModality: a name is none of the modalities.
    """
    if modalities is None:
        return TOWERS
    if isinstance(modalities, str):
        modalities = {modalities}
    towers = {"vision" if name == "vision" else Modality.parse(name).tower for name in modalities}
    return tuple(tower for tower in TOWERS if tower in towers)
