"""What a call asks for: which query for which entrance slot, and what of the keywords is meant for us."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bindplug.errors import InputError
from bindplug.query import Query
from bindplug_diffusers.entrances import Entrance
from bindplug_diffusers.inspection import accepts
from bindplug_diffusers.strength import check_norm

OPTIONS = ("query_strength", "negative", "seed", "recenter", "prototypes", "norm")
"""Keywords of a call with a query that the pipeline does not see."""

_EXPECTED = "a query or a list of queries, as audio('rain.wav') or [text('a dog'), audio('bark.wav')]"


@dataclass(frozen=True)
class Request:
    """A call, read.

    Args:
        slots: for each slot asked for, its queries, or a tensor in the pipeline's own form.
        count: of queries, to which prompts are brought.
        negative: queries that guidance leads away from; empty for none.
        strength: number, or one for each query; None for the wrapper's.
        seeds: of the first picture, one, or one for each query; None for chance or the caller's generator.
        recenter, prototypes, norm: None for the wrapper's.
    """

    slots: Mapping[int, Sequence[Query] | Tensor]
    count: int
    negative: Sequence[Query] = ()
    strength: Any = None
    seeds: Sequence[int] | None = None
    recenter: bool | None = None
    prototypes: Any = None
    norm: float | None = None

    @property
    def asked(self) -> list[int]:
        """Slots that queries are for."""
        return [slot for slot, what in self.slots.items() if not isinstance(what, Tensor)]

    @property
    def changes_directions(self) -> bool:
        """Whether the call has its own way from query to direction."""
        return self.recenter is not None or self.prototypes is not None

    def generators(self, count: int, copies: int) -> list[torch.Generator]:
        """One for each picture, on the CPU, so that a picture is the same in every batch and on every device.

        Raises:
            InputError: another number of seeds than of queries.
        """
        seeds = list(self.seeds or ())
        if len(seeds) not in (1, count):
            raise InputError("seed", found=f"{len(seeds)} seeds", expected=f"one, or {count}: one a query")
        each = seeds * (count if len(seeds) == 1 else 1)
        return [torch.Generator().manual_seed(seed + k) for seed in each for k in range(copies)]


def is_query(value: Any) -> bool:
    """Whether the first argument of a call is for us: a query, a list with queries in it, or a mapping of slots."""
    if isinstance(value, (list, tuple)):
        return any(isinstance(item, Query) for item in value)
    return isinstance(value, (Query, Mapping))


def read_request(
    pipe: Any, entrance: Entrance, query: Any, kwargs: Mapping[str, Any]
) -> tuple[dict[str, Any], Request]:
    """The pipeline's own arguments, and what is asked for.

    Raises:
        InputError: something that is no query, lists of different lengths, or options that exclude each other.
    """
    given = dict(kwargs)
    ours = {name: given.pop(name) for name in OPTIONS if name in given}
    if "strength" in given and not accepts(pipe, "strength"):
        ours.setdefault("query_strength", given.pop("strength"))
    slots = _slots(entrance, query)
    negative = _listed("negative", ours.get("negative"))
    if negative and not entrance.has_negative:
        raise InputError(
            "negative",
            found=f"the entrance {entrance.name}, whose unconditional half is made inside the pipeline",
            expected="an entrance that takes it",
            remedy="Subtract it from the query: query - 0.5 * negative",
        )
    seeds = _seeds(ours.get("seed"), given)
    count = _count([what for what in (*slots.values(), negative) if not isinstance(what, Tensor)])
    return given, Request(
        slots,
        count,
        negative,
        ours.get("query_strength"),
        seeds,
        ours.get("recenter"),
        ours.get("prototypes"),
        check_norm(ours.get("norm")),
    )


def _slots(entrance: Entrance, query: Any) -> dict[int, Sequence[Query] | Tensor]:
    if not isinstance(query, Mapping):
        queries = _listed("pipe()", query)
        return dict.fromkeys(range(len(entrance.slots)), queries)
    if not query or not all(isinstance(slot, int) for slot in query):
        expected = "IP-Adapters' numbers and their queries, as {0: query, 1: other}"
        raise InputError("pipe()", found=f"a mapping with keys {list(query)}", expected=expected)
    return {
        slot: what if isinstance(what, Tensor) else _listed(f"pipe(): IP-Adapter {slot}", what)
        for slot, what in query.items()
    }


def _listed(where: str, value: Any) -> list[Query]:
    if value is None:
        return []
    queries = (
        [value] if isinstance(value, Query) else list(value) if isinstance(value, (list, tuple)) else None
    )
    if queries is None:
        raise InputError(where, found=f"a {type(value).__name__}", expected=_EXPECTED)
    for index, item in enumerate(queries):
        if not isinstance(item, Query):
            raise InputError(f"{where}: item {index}", found=f"a {type(item).__name__}", expected=_EXPECTED)
    return queries


def _count(lists: Sequence[Sequence[Query]]) -> int:
    counts = {len(queries) for queries in lists if len(queries) > 1}
    if len(counts) > 1:
        found = " and ".join(str(count) for count in sorted(counts))
        raise InputError(
            "pipe()", found=f"{found} queries", expected="lists of one length, or single queries"
        )
    return counts.pop() if counts else 1


def _seeds(seed: Any, given: Mapping[str, Any]) -> list[int] | None:
    if seed is None:
        return None
    if given.get("generator") is not None:
        raise InputError("pipe()", found="seed and generator", expected="one of them")
    seeds = list(seed) if isinstance(seed, (list, tuple)) else [seed]
    if not seeds or any(isinstance(s, bool) or not isinstance(s, int) or s < 0 for s in seeds):
        raise InputError("seed", found=repr(seed), expected="whole numbers of at least 0")
    return seeds
