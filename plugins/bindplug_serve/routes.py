"""The HTTP routes, each a thin form around :class:`~bindplug_serve.service.Service`."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from fastapi import APIRouter, Response
from prometheus_client.exposition import CONTENT_TYPE_LATEST

import bindplug
from bindplug.indexes import Condition
from bindplug_serve.failures import Refusal, encode_json, shutting_down
from bindplug_serve.items import Item
from bindplug_serve.schemas import (
    ClassifyRequest,
    ClassifyResponse,
    DetectRequest,
    DetectResponse,
    EmbeddingsRequest,
    EmbeddingsResponse,
    ErrorResponse,
    Meta,
    ModelList,
    ModelObject,
    PlainErrorResponse,
    SearchRequest,
    SearchResponse,
    VectorizeRequest,
    VectorizeResponse,
)

if TYPE_CHECKING:
    from bindplug.indexes import IndexMatch
    from bindplug_serve.service import Service

Responses = dict[int | str, dict[str, Any]]
"""What FastAPI's schema says of the answers of a route, by status."""
STATUSES = {
    400: "The request is malformed or an item cannot be read.",
    401: "No valid key.",
    403: "The request comes from a web page of another origin.",
    408: "The body arrived too slowly.",
    413: "Too large a body, or too many items.",
    421: "Another host was asked for.",
    429: "The queue is full.",
    500: "The server failed.",
    501: "The server was started without what this needs.",
    503: "The model is being loaded, or the server is ending.",
    504: "The answer took too long.",
}
SENSES_OF_LISTS = {
    "texts": ("text", "textVectors"),
    "images": ("image", "imageVectors"),
    "audio": ("audio", "audioVectors"),
    "video": ("video", "videoVectors"),
    "imu": ("imu", "imuVectors"),
    "thermal": ("thermal", "thermalVectors"),
    "depth": ("depth", "depthVectors"),
}
"""Lists of a request to multi2vec-bind: their sense, and the name of the vectors in the response."""


def make_router(service: Service) -> APIRouter:
    """All routes of a service."""
    errors: Responses = {
        status: {"description": text, "model": ErrorResponse} for status, text in STATUSES.items()
    }
    string_errors: Responses = {
        status: {"description": text, "model": PlainErrorResponse} for status, text in STATUSES.items()
    }
    router = APIRouter()
    _add_openai_routes(router, service, errors)
    _add_bind_routes(router, service, string_errors)
    _add_task_routes(router, service, errors)

    @router.get("/metrics", tags=["operation"], response_class=Response, responses=errors)
    async def metrics() -> Response:
        """Metrics in Prometheus' text format."""
        return Response(service.metrics.text(), headers={"content-type": CONTENT_TYPE_LATEST})

    return router


def _answer(content: Any) -> Response:
    return Response(encode_json(content), media_type="application/json")


def _check_model(service: Service, name: str | None) -> None:
    if name is not None and name != service.name:
        message = f"the model {name!r} is not served here; expected {service.name!r}"
        raise Refusal(404, message, "model_not_found", param="model")


def _add_openai_routes(router: APIRouter, service: Service, errors: Responses) -> None:
    unknown_model: Responses = {404: {"description": "Another model is served.", "model": ErrorResponse}}

    @router.post(
        "/v1/embeddings",
        tags=["embeddings"],
        response_model=EmbeddingsResponse,
        responses={**errors, **unknown_model},
    )
    async def embeddings(request: EmbeddingsRequest) -> Response:
        """Rows of unit length for sentences, sources of every sense and sums, in OpenAI's form."""
        _check_model(service, request.model)
        _check_dimensions(request.dimensions, service)
        embedded = await service.embed(request.items(), on_error=request.on_error)
        write = _base64 if request.encoding_format == "base64" else _numbers
        data = [
            {"object": "embedding", "index": index, "embedding": write(row)}
            for index, row in enumerate(embedded.rows)
            if row is not None
        ]
        usage = {"prompt_tokens": embedded.tokens, "total_tokens": embedded.tokens}
        return _answer(
            {"object": "list", "data": data, "model": service.name, "usage": usage} | embedded.remarks()
        )

    @router.get("/v1/models", tags=["embeddings"], responses=errors)
    async def models() -> ModelList:
        """The served model."""
        return ModelList(data=[ModelObject(id=service.name)])

    @router.get("/v1/models/{model:path}", tags=["embeddings"], responses={**errors, **unknown_model})
    async def model(model: str) -> ModelObject:
        """The served model, by its name."""
        _check_model(service, model)
        return ModelObject(id=service.name)


def _check_dimensions(dimensions: int | None, service: Service) -> None:
    if dimensions is None:
        return
    width = service.engine.model.embedding_space.width
    if dimensions != width:
        message = (
            f"dimensions={dimensions}; rows of this model have {width} numbers and mean nothing when cut"
        )
        raise Refusal(400, message, "invalid_input", param="dimensions")


def _numbers(row: np.ndarray) -> list[float]:
    numbers: list[float] = row.tolist()
    return numbers


def _base64(row: np.ndarray) -> str:
    return base64.b64encode(row.astype("<f4").tobytes()).decode("ascii")


def _add_bind_routes(router: APIRouter, service: Service, errors: Responses) -> None:
    @router.get(
        "/.well-known/live",
        tags=["multi2vec-bind"],
        status_code=204,
        response_class=Response,
        responses={s: errors[s] for s in (403, 421)},
    )
    async def live() -> Response:
        """Whether the server runs."""
        return Response(status_code=204)

    @router.get(
        "/.well-known/ready",
        tags=["multi2vec-bind"],
        status_code=204,
        response_class=Response,
        responses={s: errors[s] for s in (403, 421, 503)},
    )
    async def ready() -> Response:
        """Whether the model is loaded."""
        service.engine.check_loaded()
        if not service.engine.ready:
            raise shutting_down()
        return Response(status_code=204)

    @router.get("/meta", tags=["multi2vec-bind"], responses=errors)
    async def meta() -> Meta:
        """What is served."""
        model = service.engine.model
        return Meta(
            model=service.name,
            version=bindplug.__version__,
            modalities=list(model.modalities),
            width=model.embedding_space.width,
            space=model.embedding_space.name,
            index=service.searches,
            detector=service.detects,
        )

    @router.post("/vectorize", tags=["multi2vec-bind"], response_model=VectorizeResponse, responses=errors)
    async def vectorize(request: VectorizeRequest) -> Response:
        """Rows of unit length for lists of texts and of files in base64, as Weaviate's multi2vec-bind asks."""
        lists = {name: getattr(request, name) or [] for name in SENSES_OF_LISTS}
        items = [
            item if name == "texts" else Item.model_validate({SENSES_OF_LISTS[name][0]: item})
            for name, values in lists.items()
            for item in values
        ]
        vectors: dict[str, Any] = {vectors: [] for _, vectors in SENSES_OF_LISTS.values()}
        if not items:
            return _answer(vectors)
        places = [f"{name}[{place}]" for name, values in lists.items() for place in range(len(values))]
        embedded = await service.embed(items, on_error=request.on_error, names=places)
        rows = iter(embedded.rows)
        for name, values in lists.items():
            vectors[SENSES_OF_LISTS[name][1]] = [
                None if row is None else _numbers(row) for row in itertools.islice(rows, len(values))
            ]
        if embedded.failures:
            vectors["errors"] = [f"{places[item.index]}: {item.message}" for item in embedded.failures]
        return _answer(vectors)


def _add_task_routes(router: APIRouter, service: Service, errors: Responses) -> None:
    @router.post("/classify", tags=["tasks"], response_model=ClassifyResponse, responses=errors)
    async def classify(request: ClassifyRequest) -> Response:
        """The best of the given classes for each item, without training."""
        items = request.input if isinstance(request.input, list) else [request.input]
        embedded, ranked = await service.classify(
            items, request.labels, templates=request.templates, top_k=request.top_k, on_error=request.on_error
        )
        data = [
            {"index": index, "top": [vars(candidate) for candidate in top]}
            for index, top in enumerate(ranked)
            if top is not None
        ]
        return _answer({"data": data, "model": service.name} | embedded.remarks())

    @router.post("/search", tags=["tasks"], response_model=SearchResponse, responses=errors)
    async def search(request: SearchRequest) -> Response:
        """The rows of the index that are closest to a sentence, a source or a sum."""
        where = [Condition(item.key, item.operator, item.value) for item in request.where]
        embedded, matches = await service.search(
            request.query, k=request.k, kinds=request.kinds, where=where, all_windows=request.all_windows
        )
        return _answer({"data": describe_matches(matches), "model": service.name} | embedded.remarks())

    @router.post("/detect", tags=["tasks"], response_model=DetectResponse, responses=errors)
    async def detect(request: DetectRequest) -> Response:
        """Where in a picture the things are that sentences, sounds or other sources point at."""
        (height, width), detections = await service.detect(
            Item(image=request.image), request.prompts, threshold=request.threshold
        )
        data = [vars(detection) for detection in detections]
        return _answer({"width": width, "height": height, "data": data, "model": service.name})


def describe_matches(matches: Sequence[IndexMatch]) -> list[dict[str, Any]]:
    """Matches of an index as JSON values."""
    return [
        {
            "path": match.path,
            "kind": match.kind,
            "span": match.span,
            "score": float(match.score),
            "metadata": dict(match.metadata),
        }
        for match in matches
    ]
