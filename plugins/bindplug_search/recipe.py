"""How a file becomes rows: the options of its reader, and windows. Kept with each row as one line of JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from bindplug.errors import InputError
from bindplug.modality import Modality
from bindplug.query import Leaf, Query

RECORDED = (Modality.AUDIO.value, Modality.VIDEO.value, Modality.IMU.value)
"""Kinds that windows are cut from."""


@dataclass(frozen=True)
class Recipe:
    """How files of one kind become rows.

    Args:
        options: keyword options of the kind's reader.
        seconds, hop: length and step of windows; None for one row a file.
    """

    options: Mapping[str, Any] = field(default_factory=dict)
    seconds: float | None = None
    hop: float | None = None

    @cached_property
    def text(self) -> str:
        """The recipe as JSON; equal for equal recipes.

        Raises:
            InputError: an option is no JSON value, so that an update could not read the file again.
        """
        values: dict[str, Any] = {"options": dict(self.options)}
        if self.seconds is not None:
            values["windows"] = [self.seconds, self.seconds if self.hop is None else self.hop]
        try:
            return json.dumps(values, sort_keys=True)
        except TypeError as error:
            raise InputError(
                "reader options of an index",
                found=str(error),
                expected="texts, numbers, truth values and lists",
            ) from None

    @classmethod
    def parse(cls, text: str) -> Recipe:
        """The recipe that :attr:`text` was of.

        Raises:
            InputError: it is none.
        """
        try:
            values = json.loads(text)
            seconds, hop = values.get("windows") or (None, None)
            return cls(values["options"], seconds, hop)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise InputError(
                "an index", found=f"the reading options {text[:80]!r}", expected="JSON, as bindplug writes it"
            ) from None

    def queries(self, kind: str, path: str) -> list[Query]:
        """The queries of a file: one, or one a window.

        Raises:
            InputError: the length of a recording cannot be read.
        """
        source: Any = path
        whole = Query([(1.0, Leaf(Modality.parse(kind), source, self.options))])
        if self.seconds is None or kind not in RECORDED:
            return [whole]
        return list(whole.windows(seconds=self.seconds, hop=self.hop)) or [whole]
