"""``bindplug.upgrade(pipeline, model)``: a pipeline that takes queries beside everything it took."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from bindplug.cards import is_instance_by_name
from bindplug.encoder import Encoder
from bindplug.errors import InputError, SpaceMismatch, UnsupportedTarget
from bindplug.space import EmbeddingSpace
from bindplug_diffusers import require_diffusers
from bindplug_diffusers.directions import Directions
from bindplug_diffusers.entrances import find_entrance
from bindplug_diffusers.inspection import other_projection
from bindplug_diffusers.pipeline import PipelineWithQueries, ensure_widths
from bindplug_diffusers.prototypes import Prototypes, opened_prototypes, shipped_prototypes


def upgrade(
    original: Any,
    model: Encoder | None = None,
    *,
    bridge: Any = None,
    space: EmbeddingSpace | None = None,
    strength: float = 1.0,
    norm: float | None = None,
    recenter: bool | None = None,
    prototypes: Prototypes | str | Path | Literal[False] | None = None,
) -> PipelineWithQueries:
    """A pipeline that also takes queries; the pipeline itself is left as it is.

    Args:
        original: a diffusers pipeline with an entrance for pooled CLIP image embeddings.
        model: embeds the queries.
        bridge: for a pipeline of another CLIP's space, a map to it, or the path of one.
        space: the space of the pipeline's embeddings, where you know it; else what the pipeline tells is compared:
            the width, and the last layer of its own image encoder if that is loaded.
        strength: length of the embedding, 1 being what the pipeline was trained with. 0 is an embedding of zeros.
        norm: length of an embedding at strength 1; None for the pipeline's own.
        recenter: move queries from where their modality's rows lie to where images' do; None where the model ships
            the centers for it.
        prototypes: images to lead queries of other modalities to, a file of them, or a folder with images; False for
            none, None for those that the pipeline's directory ships for the model's space, if it does
            (``prototypes.safetensors``).

    Raises:
        UnsupportedTarget: no pipeline, or one that no pooled image embedding can enter; the message says why.
        SpaceMismatch: the pipeline's embeddings are of another space than the model's (or the bridge's target).
        InputError: no model, or an option out of its range.
        CheckpointError: a file of prototypes is damaged.
        MissingDependency: diffusers is absent or too old.
    """
    require_diffusers()
    if not is_instance_by_name(original, "diffusers.DiffusionPipeline"):
        kind = f"{type(original).__module__}.{type(original).__qualname__}"
        raise UnsupportedTarget(f"a {kind} is no diffusers pipeline")
    if not isinstance(model, Encoder):
        found = "no model" if model is None else f"a {type(model).__name__}"
        remedy = "upgrade(pipe, bindplug.load(...))"
        raise InputError("upgrade()", found=found, expected="the model that embeds queries", remedy=remedy)
    chosen = (
        shipped_prototypes(original, model) if prototypes is None else opened_prototypes(prototypes, model)
    )
    directions = Directions(model, _opened_bridge(bridge), recenter, chosen)
    if directions.bridge is not None:
        directions.bridge.source.ensure(
            model.embedding_space, doing=f"the bridge to {directions.space.name!r}"
        )
    upgraded = PipelineWithQueries(original, directions, space=space, strength=strength, norm=norm)
    _ensure_space(upgraded, space)
    return upgraded


def _ensure_space(upgraded: PipelineWithQueries, space: EmbeddingSpace | None) -> None:
    """Refuse, at once, what the first call would refuse, and what only weights tell."""
    pipe, directions = upgraded.original, upgraded.directions
    entrance = find_entrance(pipe)
    served = [i for i, slot in enumerate(entrance.slots) if not slot.refusal]
    ensure_widths(pipe, entrance, directions, served[:1] if len(served) > 1 else served)
    doing = f"this {type(pipe).__name__}"
    if space is not None:
        space.ensure(directions.space, doing=doing)
    elif directions.bridge is None:
        apart = other_projection(pipe, directions.model)
        if apart:
            raise SpaceMismatch(
                f"{doing} needs vectors of its own CLIP's space, and that is not {directions.space}: {apart}. Map them "
                f"with a bridge (upgrade(..., bridge=...)), or vouch for the space: upgrade(..., space=...)"
            )


def _opened_bridge(bridge: Any) -> Any:
    if isinstance(bridge, (str, Path)):
        from bindplug.bridges import load_bridge

        bridge = load_bridge(bridge)
    if bridge is not None and not (
        callable(bridge) and hasattr(bridge, "source") and hasattr(bridge, "target")
    ):
        expected = "a bindplug.bridges.Bridge, or its path"
        raise InputError("upgrade()", found=f"bridge={type(bridge).__name__}", expected=expected)
    return bridge
