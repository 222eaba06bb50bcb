"""A pipeline whose call takes queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from bindplug.adapters import Upgraded
from bindplug.errors import InputError, SpaceMismatch, UnsupportedTarget
from bindplug.query import Query
from bindplug.space import EmbeddingSpace
from bindplug_diffusers.batching import brought_to_one_count, pictures_per_prompt
from bindplug_diffusers.directions import Directions
from bindplug_diffusers.entrances import Conditions, Entrance, Slot, find_entrance
from bindplug_diffusers.inspection import accepts, is_guided, twin_of
from bindplug_diffusers.prototypes import opened_prototypes
from bindplug_diffusers.request import Request, is_query, read_request
from bindplug_diffusers.strength import check_norm, strengths_of

_KNOWN_WIDTHS = {
    768: "ViT-L/14, as open_clip:ViT-L-14:openai",
    1024: "ViT-H/14, as open_clip:ViT-H-14:laion2b_s32b_b79k",
    1280: "ViT-bigG/14, as open_clip:ViT-bigG-14:laion2b_s39b_b160k",
}


class PipelineWithQueries(Upgraded):
    """A pipeline whose first argument may be a query.

    Everything else is the pipeline's. What is set on the wrapper, as another scheduler, holds for calls of the
    wrapper and not for the original. Calls with a query run on a second pipeline of the same components, so that
    what they leave behind is not left on the original.

    Args:
        original: the pipeline.
        directions: how queries become directions.
        space, strength, norm: as :func:`upgrade`.
    """

    _OWN = ("original", "model", "directions", "space", "strength", "norm")

    def __init__(
        self,
        original: Any,
        directions: Directions,
        *,
        space: EmbeddingSpace | None = None,
        strength: float = 1.0,
        norm: float | None = None,
    ) -> None:
        super().__init__(original, directions.model)
        self.directions, self.space = directions, space
        self.strength = strengths_of(strength, 1)[0]
        self.norm = check_norm(norm)

    @property
    def entrance(self) -> Entrance:
        """Where queries enter, read from the pipeline's components as they are now."""
        return find_entrance(self._running())

    def __call__(self, query: Any = None, *args: Any, **kwargs: Any) -> Any:
        """What the pipeline makes of a query; without one, the pipeline's own call with these arguments.

        Args:
            query: a query; a list of N, for N pictures; or, for several IP-Adapters, a mapping from an adapter's
                number to its query (or list), or to a tensor in the pipeline's own form.
            args: only without a query.
            kwargs: those of :meth:`conditioning`.

        Returns:
            The pipeline's output: pictures of one query together, in the order of the queries.

        Raises:
            InputError: counts that do not agree, arguments that exclude each other, NaN embeddings.
            BindplugError: as :meth:`bindplug.Encoder.embed`.
        """
        if not is_query(query):
            given = args if query is None and not args else (query, *args)
            return (self._running() if self._settings else self.original)(*given, **kwargs)
        if args:
            expected, remedy = "every other argument by its name", "pipe(query, prompt=...)"
            raise InputError("pipe()", found=f"{len(args)} unnamed", expected=expected, remedy=remedy)
        running = self._running()
        if (
            accepts(running, "prompt")
            and kwargs.get("prompt") is None
            and kwargs.get("prompt_embeds") is None
        ):
            kwargs["prompt"] = ""
        arguments, components = self._conditioned(running, query, kwargs)
        for name, component in components.items():
            running.__dict__[name] = component  # past __setattr__, which would look for its library
        return running(**arguments)

    def conditioning(self, query: Any, **kwargs: Any) -> dict[str, Any]:
        """Plain arguments for the pipeline's own call: ``original(**upgraded.conditioning(query, prompt="..."))``.

        Args:
            query: as in a call.
            kwargs: arguments of the pipeline's call, which come back, brought to the count of the queries; and

                - ``query_strength``: number or list, one a query, in place of the wrapper's; ``strength`` means
                  the same where the pipeline itself has no argument of that name (img2img has one);
                - ``negative``: query or queries that guidance leads away from, where the entrance takes one;
                - ``seed``: whole number or list, one a query: picture k of a query starts from seed + k;
                - ``recenter``, ``prototypes``, ``norm``: in place of the wrapper's; ``prototypes=False`` for none.

        Returns:
            Keyword arguments. For pipelines that take no embedding but an ``image_encoder``: that component, for
            the pipeline's constructor or ``from_pipe``.

        Raises:
            InputError, BindplugError: as a call.
        """
        if not is_query(query):
            found = f"a {type(query).__name__}"
            raise InputError("conditioning()", found=found, expected="a query, or a list of queries")
        arguments, components = self._conditioned(self._running(), query, kwargs)
        if "prepare_ip_adapter_image_embeds" in components:
            raise InputError(
                "conditioning()",
                found="several queries for IP-Adapters, of which diffusers mixes all into every picture",
                expected="one query at a time",
                remedy="pipe([...]) itself keeps them apart",
            )
        embeds = arguments.keys() & set(self.entrance.replaces)
        return arguments if embeds else arguments | components

    def to(self, *args: Any, **kwargs: Any) -> PipelineWithQueries:
        """Move or cast the pipeline, as its own ``to`` does, which changes it; the model stays where it is."""
        self.original.to(*args, **kwargs)
        return self

    def _running(self) -> Any:
        """The pipeline to call: with what was set on the wrapper."""
        twin = twin_of(self.original)
        for name, value in self._settings.items():
            setattr(twin, name, value)
        return twin

    @property
    def _settings(self) -> dict[str, Any]:
        """What was set on the wrapper, as ``pipe.scheduler = ...``."""
        return {name: value for name, value in vars(self).items() if name not in self._OWN}

    def _conditioned(
        self, pipe: Any, query: Any, kwargs: Mapping[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Arguments of the call, and components to call it with."""
        entrance = find_entrance(pipe)
        given, request = read_request(pipe, entrance, query, kwargs)
        entrance.check_arguments(given)
        directions = self._directions(request)
        ensure_widths(pipe, entrance, directions, request.asked)
        guided = is_guided(pipe, given)
        if request.negative and not guided:
            remedy = "Give a guidance_scale above 1, or subtract it from the query"
            raise InputError(
                "negative", found="no guidance", expected="guidance to lead away from it", remedy=remedy
            )
        copies = pictures_per_prompt(pipe, given)
        spread = copies > 1 and request.seeds is not None
        arguments, count, spread_to = brought_to_one_count(pipe, given, request.count, spread=spread)
        conditions = self._conditions(entrance, directions, request, guided, (count, spread_to, copies))
        if request.seeds is not None:
            arguments["generator"] = request.generators(count, copies)
        return arguments | entrance.arguments(conditions), entrance.components(conditions)

    def _directions(self, request: Request) -> Directions:
        if not request.changes_directions:
            return self.directions
        now = self.directions
        chosen = now.prototypes if request.prototypes is None else request.prototypes
        recenter = now.recenter if request.recenter is None else request.recenter
        return Directions(now.model, now.bridge, recenter, opened_prototypes(chosen, now.model))

    def _conditions(
        self,
        entrance: Entrance,
        directions: Directions,
        request: Request,
        guided: bool,
        counts: tuple[int, int, int],
    ) -> Conditions:
        count, copies, pictures = counts
        strength = self.strength if request.strength is None else request.strength
        made: dict[int, Tensor | None] = {}
        slots: list[Tensor] = []
        negatives: list[Tensor] = []
        for number, slot in enumerate(entrance.slots):
            asked, zeros = request.slots.get(number, []), torch.zeros(count * copies, slot.width)
            if isinstance(asked, Tensor):
                slots.append(asked)
                negatives.append(zeros)
                continue
            if slot.refusal:
                raise _refused(entrance.pipe, number, slot)
            if id(asked) not in made:  # one query for several adapters is embedded once
                made[id(asked)] = self._rows(directions, asked, strength, count, copies)
            rows = made[id(asked)]
            slots.append(zeros if rows is None else rows)
            if id(request.negative) not in made:
                made[id(request.negative)] = self._rows(
                    directions, request.negative, self.strength, count, copies
                )
            against = made[id(request.negative)] if asked else None
            negatives.append(zeros if against is None else against)
        own = frozenset(number for number, what in request.slots.items() if isinstance(what, Tensor))
        norm = request.norm or self.norm or entrance.norm
        return Conditions(slots, negatives, norm, guided, request.count > 1, count * pictures, own)

    def _rows(
        self, directions: Directions, queries: Sequence[Query], strength: Any, count: int, copies: int
    ) -> Tensor | None:
        """(count * copies, D) unit rows times their strengths; None for no queries."""
        if not queries:
            return None
        strengths = strengths_of(strength, len(queries))
        rows = torch.zeros(len(queries), directions.space.width)
        felt = [i for i, (q, s) in enumerate(zip(queries, strengths, strict=True)) if q.terms and s > 0]
        if felt:
            rows[felt] = directions.of([queries[i] for i in felt]).to("cpu", torch.float32)
        rows = rows * torch.tensor(strengths)[:, None]
        return rows.expand(count, -1).repeat_interleave(copies, dim=0)


def ensure_widths(pipe: Any, entrance: Entrance, directions: Directions, slots: Sequence[int]) -> None:
    """Refuse slots that cannot take a row of the directions' space."""
    for slot in slots:
        if slot not in range(len(entrance.slots)):
            expected = f"one of {list(range(len(entrance.slots)))}"
            raise InputError("pipe()", found=f"a query for IP-Adapter {slot}", expected=expected)
        wanted = entrance.slots[slot]
        if wanted.refusal:
            raise _refused(pipe, slot, wanted)
        if wanted.width != directions.space.width:
            likely = f" ({_KNOWN_WIDTHS[wanted.width]}, for example)" if wanted.width in _KNOWN_WIDTHS else ""
            raise SpaceMismatch(
                f"this {type(pipe).__name__} takes embeddings of {wanted.width} numbers{likely}, and queries are "
                f"embedded in {directions.space}. Map them with a bridge to the pipeline's CLIP: "
                f"bindplug bridge fit ... -o my-bridge, then upgrade(pipe, model, bridge='my-bridge')"
            )


def _refused(pipe: Any, number: int, slot: Slot) -> UnsupportedTarget:
    return UnsupportedTarget(
        f"IP-Adapter {number} of this {type(pipe).__name__} is {slot.refusal}, and a query is one pooled embedding. "
        f"Name the adapters that a query is for, and give the others tensors in the pipeline's own form: "
        f"pipe({{0: query, 1: tensor}})"
    )
