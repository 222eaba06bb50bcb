"""The engine's own options, as ``-E NAME=VALUE`` states them."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import Any

from bindplug.errors import InputError


@dataclass(frozen=True)
class Settings:
    """The engine's own options.

    Attributes:
        actors, cpus, gpus: see :func:`bindplug_search.engine.cluster.plan_resources`.
        column: of the tables that are read; None where files are.
        id_column: names for the bytes in ``column``.
    """

    actors: int | None = None
    cpus: float | None = None
    gpus: float | None = None
    column: str | None = None
    id_column: str | None = None

    @classmethod
    def of(cls, options: dict[str, Any]) -> Settings:
        """The settings that ``-E NAME=VALUE`` state.

        Raises:
            InputError: a value of another kind.
        """
        actors, cpus, gpus = (options.get(name) for name in ("actors", "cpus", "gpus"))
        if actors is not None and (isinstance(actors, bool) or not isinstance(actors, int) or actors < 1):
            raise _bad_option("actors", actors, "a whole number of at least 1")
        for name, value in (("cpus", cpus), ("gpus", gpus)):
            if value is not None and (isinstance(value, bool) or not isinstance(value, Real) or value < 0):
                raise _bad_option(name, value, "a number of at least 0, as 0.5")
        column, id_column = (
            None if options.get(name) is None else str(options[name]) for name in ("column", "id")
        )
        if id_column is not None and column is None:
            raise _bad_option("id", id_column, "-E column=NAME beside it")
        return cls(actors, cpus, gpus, column, id_column)


def _bad_option(name: str, value: object, expected: str) -> InputError:
    return InputError(f"-E {name}", found=repr(value), expected=expected)
