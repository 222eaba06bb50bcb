"""``bindplug.upgrade(pipeline, model)``: a pipeline that also takes queries."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from bindplug.bridges import AnyBridge, as_bridge
from bindplug.cards import is_instance_by_name
from bindplug.encoder import Encoder
from bindplug.errors import InputError, SpaceMismatch, UnsupportedTarget
from bindplug.fingerprint import same_numbers
from bindplug.space import EmbeddingSpace
from bindplug_diffusers.conditioning import check_widths
from bindplug_diffusers.entrances import find_entrance
from bindplug_diffusers.pipeline import PipelineWithQueries, with_queries
from bindplug_diffusers.prototypes import Prototypes, open_prototypes, shipped_prototypes
from bindplug_diffusers.query_embedder import QueryEmbedder
from bindplug_diffusers.requirement import require_diffusers

VISION_PROJECTION = "modality_heads.vision.2.weight"
"""ImageBind's official name of what a CLIP of transformers calls ``visual_projection.weight``."""


def upgrade(
    original: Any,
    model: Encoder | None = None,
    *,
    bridge: AnyBridge | str | os.PathLike[str] | None = None,
    space: EmbeddingSpace | None = None,
    strength: float = 1.0,
    norm: float | None = None,
    recenter: bool | None = None,
    prototypes: Prototypes | str | Path | Literal[False] | None = None,
) -> PipelineWithQueries:
    """A pipeline that also takes queries. The pipeline itself is not changed.

    Args:
        original: a diffusers pipeline with an entrance for pooled CLIP image embeddings.
        model: embeds the queries.
        bridge: for a pipeline of another CLIP's space, a map to it: a bridge, its path, or the name of a registered
            one.
        space: the space of the pipeline's embeddings, if you know it. Otherwise the width is compared, and the last
            layer of the pipeline's own image encoder if that is loaded.
        strength: length of the embedding, relative to the pipeline's training. 0 is an embedding of zeros.
        norm: length of an embedding at strength 1; None for the pipeline's own.
        recenter: whether to move queries from where the rows of their modality lie to where images' do. None moves
            them if the model has the centers.
        prototypes: images that queries of other modalities are blended with: an object, a file, or a folder of images.
            False for none. None takes those in the pipeline's directory (``prototypes.safetensors``) if they are of
            the model's space.

    Raises:
        UnsupportedTarget: no pipeline, one that takes queries already, or one that no pooled image embedding can enter;
            the message says why.
        SpaceMismatch: the pipeline's embeddings are of another space than the model's (or the bridge's target).
        InputError: no model, or an option out of its range.
        CheckpointError: a file of prototypes is damaged.
        MissingDependency: diffusers is absent or too old.
    """
    require_diffusers()
    kind = f"{type(original).__module__}.{type(original).__qualname__}"
    if isinstance(original, PipelineWithQueries):
        raise UnsupportedTarget(
            f"this {kind} takes queries already: pipe(audio(...)); to upgrade it in another way, upgrade pipe.original"
        )
    if not is_instance_by_name(original, "diffusers.DiffusionPipeline"):
        raise UnsupportedTarget(f"a {kind} is no diffusers pipeline")
    if not isinstance(model, Encoder):
        detail = "no model" if model is None else f"a {type(model).__name__}"
        remedy = "upgrade(pipe, bindplug.load(...))"
        raise InputError("upgrade()", found=detail, expected="the model that embeds queries", remedy=remedy)
    images = shipped_prototypes(original, model) if prototypes is None else open_prototypes(prototypes, model)
    if bridge is not None:
        bridge = as_bridge(
            bridge, source=model.embedding_space, target=space, doing=f"this {type(original).__name__}"
        )
    embedder = QueryEmbedder(model, bridge, recenter, images)
    upgraded = with_queries(original, embedder, space=space, strength=strength, norm=norm)
    _check_space(upgraded, space)
    return upgraded


def _check_space(upgraded: PipelineWithQueries, space: EmbeddingSpace | None) -> None:
    """Refuse at once what the first call would refuse, and an image encoder with other weights than the model's."""
    pipe, embedder = upgraded.original, upgraded.embedder
    entrance = find_entrance(pipe)
    usable = [i for i, slot in enumerate(entrance.slots) if not slot.refusal]
    check_widths(entrance, embedder, usable[:1] if len(usable) > 1 else usable)
    doing = f"this {type(pipe).__name__}"
    if space is not None:
        space.ensure(embedder.space, doing=doing)
    elif embedder.bridge is None:
        difference = projection_difference(pipe, embedder.model)
        if difference:
            raise SpaceMismatch(
                f"{doing} needs vectors of its own CLIP's space, and that is not {embedder.space}: {difference}. Map "
                f"them with a bridge (upgrade(..., bridge=...)), or vouch for the space: upgrade(..., space=...)"
            )


def projection_difference(pipe: Any, model: Any) -> str:
    """What tells the pipeline's own CLIP apart from the model's image tower; empty if nothing does or is known.

    The last layer of both defines the space. Weights that were rounded to half precision count as equal.
    """
    layer = getattr(getattr(pipe, "image_encoder", None), "visual_projection", None)
    theirs = getattr(layer, "weight", None)
    state = getattr(model, "official_state_dict", None)
    ours = state().get(VISION_PROJECTION) if callable(state) else None
    if not isinstance(theirs, Tensor) or not isinstance(ours, Tensor) or theirs.is_meta or ours.is_meta:
        return ""
    if theirs.shape != ours.shape:
        return f"its image_encoder projects {theirs.shape[1]} numbers to {theirs.shape[0]}, the model's {ours.shape[1]}"
    first, second = (weight.detach().float().cpu().flatten().numpy() for weight in (theirs, ours))
    return "" if same_numbers(first, second) else "its image_encoder projects with other weights"
