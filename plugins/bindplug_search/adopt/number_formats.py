"""How numbers of rows are stored, and back: floats, 8-bit integers, signs and packed bits.

Every format can do two things: decode stored numbers into float rows, and put float rows of an encoder through the
same loss, so that an encoder's rows and a file's are compared after equal damage.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from bindplug_search.adopt.row_file import RowFile
from bindplug_search.adopt.survey import Survey, unit_rows


@dataclass(frozen=True)
class NumberFormat:
    """How rows are stored.

    Args:
        name: ``"float"``, ``"float16"``, ``"int8"``, ``"uint8"``, ``"signs"`` or ``"bits"``.
        offset: subtracted from whole numbers.
        scale: length, as stored, of a row of unit length.
        bit_order: of packed bits, ``"big"`` or ``"little"``.
    """

    name: str
    offset: float = 0.0
    scale: float = 1.0
    bit_order: str = "big"

    def width_of(self, stored: int) -> int:
        """Numbers of a decoded row."""
        return stored * 8 if self.name == "bits" else stored

    def decode(self, stored: np.ndarray) -> np.ndarray:
        """(n, width) stored numbers to (n, D) float32; signs and bits become -1 and 1."""
        if self.name == "bits":
            packed = (stored.astype(np.int16) + int(self.offset)).astype(np.uint8)
            bits = np.unpackbits(packed, axis=1, bitorder=self.bit_order)  # type: ignore[call-overload]
            return bits.astype(np.float32) * 2.0 - 1.0
        values = stored.astype(np.float32)
        return (
            np.where(values > self.offset, 1.0, -1.0).astype(np.float32)
            if self.name == "signs"
            else values - self.offset
        )

    def through(self, rows: np.ndarray, file: RowFile | None = None) -> np.ndarray:
        """Unit float rows (n, D) as this format would give them back."""
        rows = unit_rows(rows)
        if self.name in ("signs", "bits"):
            return np.where(rows > 0, 1.0, -1.0).astype(np.float32)
        if self.name in ("int8", "uint8"):
            return np.clip(np.rint(rows * self.scale), -128, 127).astype(np.float32)
        if self.name == "float16":
            return rows.astype(np.float16).astype(np.float32)
        same_width = file is not None and file.width == rows.shape[1]
        decoded = file.through_codec(rows * self.scale) if file is not None and same_width else None
        return rows if decoded is None else decoded

    def __str__(self) -> str:
        return {"signs": "one sign a dimension", "bits": f"packed bits ({self.bit_order}-endian)"}.get(
            self.name, self.name
        )

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> NumberFormat:
        """What :meth:`to_dict` gave.

        Raises:
            TypeError, ValueError: it did not.
        """
        number_format = cls(**values)
        texts = isinstance(number_format.name, str) and number_format.bit_order in ("big", "little")
        if not texts or number_format.name not in ("float", "float16", "int8", "uint8", "signs", "bits"):
            raise ValueError(f"no number format: {values}")
        return cls(
            number_format.name,
            float(number_format.offset),
            float(number_format.scale),
            number_format.bit_order,
        )


def formats_of(file: RowFile, survey: Survey) -> list[NumberFormat]:
    """The formats that the numbers of a file may be in; which one it is, a comparison with an encoder tells."""
    kind, values = file.dtype, survey.distinct_values
    if kind == np.bool_ or values == (0.0, 1.0):
        return [NumberFormat("signs", offset=0.5)]
    if values == (-1.0, 1.0):
        return [NumberFormat("signs")]
    if kind == np.int8:
        whole = NumberFormat("int8", scale=survey.length)
        packed = [
            NumberFormat("bits", offset=128),
            NumberFormat("bits"),
            NumberFormat("bits", bit_order="little"),
        ]
        return [whole, *packed]
    if kind == np.uint8:
        middles = [
            NumberFormat("uint8", offset=middle, scale=survey.length_around_middle)
            for middle in (127.5, 128.0)
        ]
        return [*middles, NumberFormat("bits"), NumberFormat("bits", bit_order="little")]
    if survey.whole_numbers:
        return [NumberFormat("int8", scale=survey.length)]
    return [NumberFormat("float16" if survey.half_precision else "float", scale=survey.length)]
