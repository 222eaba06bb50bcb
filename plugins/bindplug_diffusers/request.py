"""Read the arguments of a call: which query is for which slot, and which keywords are not the pipeline's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bindplug.errors import InputError
from bindplug.query import Query
from bindplug_diffusers.entrances import Entrance
from bindplug_diffusers.pipeline_info import accepts
from bindplug_diffusers.strength import check_norm

OPTIONS = ("query_strength", "negative", "seed", "recenter", "prototypes", "norm")
"""Keywords of a call with a query that are not passed to the pipeline."""

_EXPECTED = "a query or a list of queries, as audio('rain.wav') or [text('a dog'), audio('bark.wav')]"


@dataclass(frozen=True)
class Request:
    """What a call with a query asks for.

    Args:
        slots: for some slots, their queries, or a tensor in the pipeline's own form.
        count: number of queries.
        negative: queries that guidance leads away from; empty for none.
        strength: number, or one for each query; None for the pipeline's.
        seeds: of the first picture, one, or one for each query; None for random ones or the caller's generator.
        recenter, prototypes, norm: None for the pipeline's.
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
    def query_slots(self) -> list[int]:
        """Numbers of the slots that queries are for."""
        return [slot for slot, entry in self.slots.items() if not isinstance(entry, Tensor)]

    @property
    def query_lists(self) -> list[Sequence[Query]]:
        """The queries of these slots."""
        return [entry for entry in self.slots.values() if not isinstance(entry, Tensor)]

    def generators(self, count: int, copies: int) -> list[torch.Generator]:
        """One for each picture. They are on the CPU, so that a picture is the same in every batch and on every device.

        Raises:
            InputError: another number of seeds than of queries.
        """
        seeds = list(self.seeds or ())
        if len(seeds) not in (1, count):
            raise InputError(
                "seed", found=f"{len(seeds)} seeds", expected=f"one, or {count}: one for each query"
            )
        starts = seeds * (count if len(seeds) == 1 else 1)
        return [torch.Generator().manual_seed(seed + k) for seed in starts for k in range(copies)]


def is_query(value: Any) -> bool:
    """Whether the first argument of a call is a query, a list with queries in it, or a mapping of slots."""
    if isinstance(value, (list, tuple)):
        return any(isinstance(item, Query) for item in value)
    return isinstance(value, (Query, Mapping))


def read_request(
    pipe: Any, entrance: Entrance, query: Any, kwargs: Mapping[str, Any]
) -> tuple[dict[str, Any], Request]:
    """Split the keywords of a call into the pipeline's own arguments and a request.

    Raises:
        InputError: a value that is no query, lists of different lengths, or options that exclude each other.
    """
    arguments = dict(kwargs)
    options = {name: arguments.pop(name) for name in OPTIONS if name in arguments}
    if "strength" in arguments and not accepts(pipe, "strength"):
        options.setdefault("query_strength", arguments.pop("strength"))
    slots = _slots(entrance, query)
    negative = _as_list("negative", options.get("negative"))
    if negative and not entrance.has_negative:
        raise InputError(
            "negative",
            found=f"the entrance {entrance.name}, whose unconditional half is made inside the pipeline",
            expected="an entrance that takes a negative query",
            remedy="Subtract it from the query: query - 0.5 * negative",
        )
    seeds = _seeds(options.get("seed"), arguments)
    count = _count([entry for entry in (*slots.values(), negative) if not isinstance(entry, Tensor)])
    return arguments, Request(
        slots,
        count,
        negative,
        options.get("query_strength"),
        seeds,
        options.get("recenter"),
        options.get("prototypes"),
        check_norm(options.get("norm")),
    )


def _slots(entrance: Entrance, query: Any) -> dict[int, Sequence[Query] | Tensor]:
    if not isinstance(query, Mapping):
        queries = _as_list("pipe()", query)
        return dict.fromkeys(range(len(entrance.slots)), queries)
    if not query or not all(isinstance(slot, int) for slot in query):
        expected = "IP-Adapters' numbers and their queries, as {0: query, 1: other}"
        raise InputError("pipe()", found=f"a mapping with keys {list(query)}", expected=expected)
    return {
        slot: entry if isinstance(entry, Tensor) else _as_list(f"pipe(): IP-Adapter {slot}", entry)
        for slot, entry in query.items()
    }


def _as_list(where: str, value: Any) -> list[Query]:
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
        detail = " and ".join(str(count) for count in sorted(counts))
        raise InputError(
            "pipe()", found=f"{detail} queries", expected="lists of one length, or single queries"
        )
    return counts.pop() if counts else 1


def _seeds(seed: Any, arguments: Mapping[str, Any]) -> list[int] | None:
    if seed is None:
        return None
    if arguments.get("generator") is not None:
        raise InputError("pipe()", found="seed and generator", expected="one of them")
    seeds = list(seed) if isinstance(seed, (list, tuple)) else [seed]
    if not seeds or any(isinstance(s, bool) or not isinstance(s, int) or s < 0 for s in seeds):
        raise InputError("seed", found=repr(seed), expected="whole numbers of at least 0")
    return seeds
