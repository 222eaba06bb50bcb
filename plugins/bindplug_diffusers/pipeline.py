"""A diffusers pipeline whose call takes queries."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from bindplug.adapters import Upgraded
from bindplug.encoder import Encoder
from bindplug.errors import InputError
from bindplug.space import EmbeddingSpace
from bindplug_diffusers.batching import make_batch
from bindplug_diffusers.conditioning import Conditioner, check_widths
from bindplug_diffusers.entrances import Entrance, find_entrance
from bindplug_diffusers.pipeline_info import accepts, copy_for_one_call
from bindplug_diffusers.prototypes import Prototypes, open_prototypes
from bindplug_diffusers.query_embedder import QueryEmbedder
from bindplug_diffusers.request import Request, is_query, read_request
from bindplug_diffusers.strength import check_norm, strengths_of

CONSTRUCTORS = ("from_pipe", "from_pretrained", "from_single_file", "from_config")
"""Class methods that make new pipelines, which are then plain ones."""


class PipelineWithQueries(Upgraded):
    """A pipeline whose first argument may be a query.

    It is an instance of the original's class too, so everything that diffusers does with a pipeline works:
    ``save_pretrained``, ``components``, ``AutoPipelineForImage2Image.from_pipe(upgraded)``. What is set on it, as
    ``upgraded.scheduler = ...``, counts in all of these and in calls, and is not set on the original. What is not set
    is read from the original. Components are shared as between pipelines made by ``from_pipe``: moving or casting them
    with ``to`` acts on both.

    Calls with a query run on a third pipeline of the same components, so that they leave nothing behind.

    :func:`with_queries` makes the instances.

    Attributes:
        original: the pipeline that was upgraded.
        model: the encoder of queries.
        embedder: how queries become rows; has the bridge, recentering and prototypes.
        space: the space of the pipeline's embeddings, if it was given.
        strength: length of the rows, as a factor.
        norm: length of a row at strength 1; None for the pipeline's own.
    """

    OWN: ClassVar[tuple[str, ...]] = ("original", "model", "embedder", "space", "strength", "norm")
    """Attributes that are no settings of the pipeline."""

    original_class: ClassVar[Any]
    embedder: QueryEmbedder
    space: EmbeddingSpace | None
    strength: float
    norm: float | None

    @property
    def entrance(self) -> Entrance:
        """Where queries enter, according to the present components."""
        return find_entrance(self._copy())

    def __call__(self, query: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Run the pipeline for a query. Without one, it is the original's call with these arguments.

        Args:
            query: a query; a list of N, for N pictures; or, for several IP-Adapters, a mapping from an adapter's
                number to its query (or list), or to a tensor in the pipeline's own form.
            args: only without a query.
            kwargs: those of :meth:`conditioning`.

        Returns:
            The pipeline's output. Pictures of one query are consecutive, in the order of the queries.

        Raises:
            InputError: counts that do not agree, arguments that exclude each other, NaN embeddings.
            BindplugError: as :meth:`bindplug.Encoder.embed`.
        """
        if not is_query(query):
            positional = args if query is None and not args else (query, *args)
            return self._copy()(*positional, **kwargs)
        if args:
            expected, remedy = "every other argument by its name", "pipe(query, prompt=...)"
            raise InputError("pipe()", found=f"{len(args)} unnamed", expected=expected, remedy=remedy)
        pipe = self._copy()
        if accepts(pipe, "prompt") and kwargs.get("prompt") is None and kwargs.get("prompt_embeds") is None:
            kwargs["prompt"] = ""
        arguments, components, methods = self._prepare(pipe, query, kwargs)
        # past diffusers' __setattr__, which would look for the component's library
        pipe.__dict__.update(components | methods)
        return pipe(**arguments)

    def conditioning(self, query: Any, **kwargs: Any) -> dict[str, Any]:
        """Plain arguments for the pipeline's own call: ``original(**upgraded.conditioning(query, prompt="..."))``.

        Args:
            query: as in a call.
            kwargs: arguments of the pipeline's call, which are returned with the count of the queries; and

                - ``query_strength``: number or list, one for each query, in place of the pipeline's; ``strength``
                  means the same if the pipeline itself has no argument of that name (img2img has one);
                - ``negative``: query or queries that guidance leads away from, if the entrance takes one;
                - ``seed``: whole number or list, one for each query: picture k of a query starts from seed + k;
                - ``recenter``, ``prototypes``, ``norm``: in place of the pipeline's; ``prototypes=False`` for none.

        Returns:
            Keyword arguments. For pipelines that take no embedding but an ``image_encoder``: that component, for
            the pipeline's constructor or ``from_pipe``.

        Raises:
            InputError, BindplugError: as a call.
        """
        if not is_query(query):
            detail = f"a {type(query).__name__}"
            raise InputError("conditioning()", found=detail, expected="a query, or a list of queries")
        pipe = self._copy()
        arguments, components, methods = self._prepare(pipe, query, kwargs)
        if methods:
            raise InputError(
                "conditioning()",
                found=f"several queries for {find_entrance(pipe).name}, which diffusers mixes in every picture",
                expected="one query at a time",
                remedy="pipe([...]) itself keeps them apart",
            )
        has_embeddings = arguments.keys() & set(find_entrance(pipe).replaces)
        return arguments if has_embeddings else arguments | components

    def save_pretrained(self, save_directory: str | Path, *args: Any, **kwargs: Any) -> Any:
        """diffusers' own; its prototypes are saved too, so that it paints the same when upgraded again."""
        result = super().save_pretrained(save_directory, *args, **kwargs)  # type: ignore[misc]
        if self.embedder.prototypes is not None:
            self.embedder.prototypes.save(Path(save_directory) / Prototypes.FILE)
        return result

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.OWN:
            self.__dict__[name] = value
            return
        # diffusers records a component in the config only if the instance has the attribute already
        if not name.startswith("_"):
            self.__dict__.setdefault(name, None)
        super().__setattr__(name, value)

    def __repr__(self) -> str:
        return f"PipelineWithQueries of {self.original_class.__repr__(self)}"

    def __reduce__(self) -> tuple[Any, ...]:
        """The class is made again from the original's, as it has no name to be imported by."""
        return _restore, (self.original_class, dict(vars(self)))

    @property
    def _settings(self) -> dict[str, Any]:
        """What was set on this object, as ``pipe.scheduler = ...``."""
        return {name: value for name, value in vars(self).items() if name not in self.OWN}

    def _copy(self) -> Any:
        """A pipeline of the original's class with the settings of this object."""
        settings = self._settings
        if "_all_hooks" in settings:  # offloading was enabled here and not on the original
            settings["maybe_free_model_hooks"] = self.maybe_free_model_hooks
        return copy_for_one_call(self.original, settings)

    def _prepare(
        self, pipe: Any, query: Any, kwargs: Mapping[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        """The arguments of a call, and components and methods that replace the pipeline's own in it."""
        entrance = find_entrance(pipe)
        arguments, request = read_request(pipe, entrance, query, kwargs)
        entrance.check_arguments(arguments)
        embedder = self._embedder_for(request)
        check_widths(entrance, embedder, request.query_slots)
        is_guided = entrance.is_guided(arguments)
        if request.negative and not is_guided:
            remedy = "Turn guidance on (guidance_scale above 1), or subtract it from the query"
            raise InputError(
                "negative", found="no guidance", expected="guidance to lead away from it", remedy=remedy
            )
        batch = make_batch(pipe, arguments, request.count, spread=request.seeds is not None)
        conditioner = Conditioner(entrance, embedder, self.strength, self.norm)
        conditions = conditioner.conditions(request, batch, is_guided=is_guided)
        arguments = batch.arguments
        if request.seeds is not None:
            arguments["generator"] = request.generators(batch.prompts, batch.copies)
        arguments |= entrance.arguments(conditions)
        return arguments, entrance.components(conditions), entrance.methods(conditions)

    def _embedder_for(self, request: Request) -> QueryEmbedder:
        """The embedder, with the recentering and prototypes of a request."""
        if request.recenter is None and request.prototypes is None:
            return self.embedder
        own = self.embedder
        prototypes = own.prototypes if request.prototypes is None else request.prototypes
        recenter = own.recenter if request.recenter is None else request.recenter
        return QueryEmbedder(own.model, own.bridge, recenter, open_prototypes(prototypes, own.model))


def with_queries(
    original: Any,
    embedder: QueryEmbedder,
    *,
    space: EmbeddingSpace | None = None,
    strength: float = 1.0,
    norm: float | None = None,
) -> PipelineWithQueries:
    """A pipeline of the original's class that takes queries; the arguments are those of :func:`upgrade`.

    Raises:
        InputError: a strength or norm out of its range.
    """
    model: Encoder = embedder.model
    attributes = {
        "original": original,
        "model": model,
        "embedder": embedder,
        "space": space,
        "strength": strengths_of(strength, 1)[0],
        "norm": check_norm(norm),
    }
    return _restore(type(original), attributes)


def _restore(original_class: Any, attributes: Mapping[str, Any]) -> PipelineWithQueries:
    pipe: PipelineWithQueries = object.__new__(_class_with_queries(original_class))
    pipe.__dict__.update(attributes)
    return pipe


@cache
def _class_with_queries(original_class: Any) -> type[PipelineWithQueries]:
    """A subclass of both. It keeps the original's name, under which diffusers saves and looks up pipelines."""

    def constructor(name: str) -> Any:
        return staticmethod(getattr(original_class, name))

    namespace = {
        "original_class": original_class,
        "__init__": original_class.__init__,
        "__module__": original_class.__module__,
        "__qualname__": original_class.__qualname__,
        "__doc__": PipelineWithQueries.__doc__,
    }
    namespace |= {name: constructor(name) for name in CONSTRUCTORS if hasattr(original_class, name)}
    return type(original_class.__name__, (PipelineWithQueries, original_class), namespace)
