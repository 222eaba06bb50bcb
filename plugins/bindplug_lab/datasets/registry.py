"""The readers of data sets by name, imported when one is used."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from typing import Any

from bindplug.errors import InputError

__all__ = ["READERS", "Reader"]


@dataclass(frozen=True)
class Reader:
    """A function that reads a data set into items.

    Attributes:
        target: ``"module:function"``. The function takes a :class:`~bindplug_lab.datasets.folder.DataFolder`, and the
            task's options as keyword arguments.
        needs_data: whether it reads files of a person; a procedural data set does without.
    """

    target: str
    needs_data: bool = True

    def load(self) -> Callable[..., Any]:
        """The function itself."""
        module, _, name = self.target.partition(":")
        function: Callable[..., Any] = getattr(import_module(module), name)
        return function

    @property
    def options(self) -> Mapping[str, inspect.Parameter]:
        """The keyword options that it takes."""
        parameters = inspect.signature(self.load()).parameters
        return {
            name: parameter
            for name, parameter in parameters.items()
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY
        }

    def check(self, options: Mapping[str, object], name: str, source: str) -> None:
        """Refuse options that the reader does not take.

        Args:
            options: by name.
            name: the reader's name, for errors.
            source: where the options stand, for errors.

        Raises:
            InputError: there is no such option.
        """
        allowed = self.options
        for option in options:
            if option not in allowed:
                close = get_close_matches(option, allowed, 1)
                raise InputError(
                    source,
                    found=f"an option {option!r} that the reader {name!r} does not have",
                    expected=f"some of {', '.join(sorted(allowed)) or 'none'}",
                    remedy=f"Did you mean {close[0]!r}?" if close else "",
                )

    def check_complete(self, options: Mapping[str, object], name: str, source: str) -> None:
        """Refuse options that lack one without a default.

        Raises:
            InputError: one is missing, or see :meth:`check`.
        """
        self.check(options, name, source)
        for option, parameter in self.options.items():
            if parameter.default is inspect.Parameter.empty and option not in options:
                expected = f"{option}, which the reader {name!r} needs"
                raise InputError(source, found=f"no option {option!r}", expected=expected)


READERS: dict[str, Reader] = {
    "audiocaps": Reader("bindplug_lab.datasets.audiocaps:read_audiocaps"),
    "audioset": Reader("bindplug_lab.datasets.audioset:read_audioset"),
    "clotho": Reader("bindplug_lab.datasets.clotho:read_clotho"),
    "ego4d": Reader("bindplug_lab.datasets.ego4d:read_ego4d"),
    "esc50": Reader("bindplug_lab.datasets.esc50:read_esc50"),
    "folder": Reader("bindplug_lab.datasets.own_folder:read_folder"),
    "imagenet": Reader("bindplug_lab.datasets.imagenet:read_imagenet"),
    "kinetics": Reader("bindplug_lab.datasets.kinetics:read_kinetics"),
    "llvip": Reader("bindplug_lab.datasets.llvip:read_llvip"),
    "msrvtt": Reader("bindplug_lab.datasets.msrvtt:read_msrvtt"),
    "nyud": Reader("bindplug_lab.datasets.nyud:read_nyud"),
    "pairs": Reader("bindplug_lab.datasets.own_table:read_pairs"),
    "places365": Reader("bindplug_lab.datasets.places365:read_places365"),
    "senses": Reader("bindplug_lab.senses.reader:read_senses", needs_data=False),
    "sun_rgbd": Reader("bindplug_lab.datasets.sun_rgbd:read_sun_rgbd"),
    "table": Reader("bindplug_lab.datasets.own_table:read_table"),
    "vggsound": Reader("bindplug_lab.datasets.vggsound:read_vggsound"),
}
"""Readers by the name that a task's TOML has under ``data.reader``."""
