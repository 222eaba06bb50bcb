"""The ASGI application: routes, guards around them, and the model's life."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

import bindplug
from bindplug.errors import BindplugError
from bindplug_serve.bodies import BodyLimits
from bindplug_serve.failures import Refusal, refusal_of
from bindplug_serve.guards import HostGuard, KeyGuard
from bindplug_serve.items import TAG
from bindplug_serve.observe import Observer
from bindplug_serve.routes import make_router

if TYPE_CHECKING:
    from bindplug_serve.service import Service

logger = logging.getLogger("bindplug.serve")
MOST_PROBLEMS = 5
"""Problems of a malformed request that its answer tells of."""
DESCRIPTION = """
Embeddings of pictures, video, text, sound, depth maps, thermal pictures and motion logs in one space.
Sources come as data in the request; the server opens no path and no address that a request names.
"""


def create_app(
    service: Service,
    *,
    api_key: str | None = None,
    allow_hosts: Iterable[str] = (),
    allow_origins: Iterable[str] = (),
    mcp: bool = False,
    on_failure: Callable[[BaseException], None] | None = None,
) -> FastAPI:
    """An ASGI application that serves a model.

    The model is loaded when the application starts; until then requests are answered with 503.

    Args:
        service: what is served.
        api_key: key that requests have to bring as ``Authorization: Bearer KEY``; None for no key.
        allow_hosts: host names that requests may be addressed to; any where there are none.
        allow_origins: origins of web pages that may ask (CORS).
        mcp: whether to serve tools for assistants at ``/mcp``.
        on_failure: told the error if the model cannot be loaded.

    Raises:
        ValueError: ``api_key`` is empty.
    """
    if api_key is not None and not api_key.strip():
        raise ValueError("api_key is empty; expected a key, or None for no key")
    origins = list(allow_origins)
    mcp_server = _mcp_server(service) if mcp else None
    app = FastAPI(
        title="bindplug",
        description=DESCRIPTION,
        version=bindplug.__version__,
        lifespan=_lifespan(service, mcp_server, on_failure),
        strict_content_type=False,  # Weaviate's clients send no Content-Type; HostGuard refuses other origins
        separate_input_output_schemas=False,
        docs_url=None,  # its pages fetch scripts from another server
        redoc_url=None,
    )
    app.include_router(make_router(service))
    if mcp_server is not None:
        app.router.routes.extend(_mcp_routes(mcp_server, service))
    _add_error_handlers(app)
    _hide_default_validation(app)
    app.add_middleware(BodyLimits, limits=service.limits)
    app.add_middleware(KeyGuard, key=api_key)
    if origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=origins, allow_methods=["GET", "POST"], allow_headers=["*"]
        )
    app.add_middleware(HostGuard, hosts=list(allow_hosts), origins=origins)
    paths = {str(getattr(route, "path", "")) for route in app.routes}
    app.add_middleware(Observer, metrics=service.metrics, routes=paths | set(app.openapi()["paths"]))
    return app


def _mcp_server(service: Service) -> Any:
    from bindplug_serve.tools import create_mcp_server

    return create_mcp_server(service)


def _mcp_routes(mcp_server: Any, service: Service) -> list[Any]:
    from mcp.server.transport_security import TransportSecuritySettings

    app = mcp_server.streamable_http_app(
        streamable_http_path="/mcp",
        json_response=True,
        stateless_http=True,
        max_request_body_size=service.limits.body_bytes,
        # HostGuard has looked at Host and Origin.
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
    )
    return list(app.routes)


def _lifespan(
    service: Service, mcp_server: Any, on_failure: Callable[[BaseException], None] | None
) -> Callable[[FastAPI], Any]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async def load() -> None:
            try:
                await service.engine.start()
            except BaseException as error:
                if on_failure is not None and not isinstance(error, asyncio.CancelledError):
                    on_failure(error)
                raise
            logger.info("ready", extra={"model": service.name})

        async with AsyncExitStack() as stack:
            if mcp_server is not None:
                await stack.enter_async_context(mcp_server.session_manager.run())
            loading = asyncio.get_running_loop().create_task(load())
            yield
            await _cancel(loading)
            await service.engine.close()

    return lifespan


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _add_error_handlers(app: FastAPI) -> None:
    def answer(request: Request, refusal: Refusal) -> Response:
        body = refusal.body(request.url.path)
        return Response(body, refusal.status, headers=refusal.headers(), media_type="application/json")

    async def answer_refused(request: Request, error: Exception) -> Response:
        return answer(request, refusal_of(error))

    async def answer_malformed(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        kind = request.headers.get("content-type", "application/json").lower()
        if "json" not in kind:
            message = (
                "the Content-Type says that the body is no JSON; expected `Content-Type: application/json`"
            )
            return answer(request, Refusal(400, message, "content_type"))
        return answer(request, _refusal_of_problems(error))

    async def answer_http_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        codes = {404: "not_found", 405: "method_not_allowed"}
        text = str(error.detail)
        if error.status_code == 400:  # nested too deeply, not UTF-8, or a number of thousands of digits
            text = "the body cannot be read as JSON"
        refusal = Refusal(error.status_code, text, codes.get(error.status_code, "bad_request"))
        response = answer(request, refusal)
        response.headers.update(error.headers or {})
        return response

    app.add_exception_handler(Refusal, answer_refused)
    app.add_exception_handler(BindplugError, answer_refused)
    app.add_exception_handler(RequestValidationError, answer_malformed)
    app.add_exception_handler(HTTPException, answer_http_error)


def _refusal_of_problems(error: RequestValidationError) -> Refusal:
    """What is wrong with a malformed request, without repeating what it holds."""
    problems: list[str] = []
    places: list[str] = []
    for problem in error.errors()[:MOST_PROBLEMS]:
        place = _place(problem.get("loc", ()))
        text = str(problem.get("msg", "")).removeprefix("Value error, ")
        if problem.get("type") == "json_invalid":
            place, text = "", "the body is not JSON"
        places.append(place)
        problems.append(f"{place}: {text}" if place else text)
    more = len(error.errors()) - MOST_PROBLEMS
    message = "; ".join(problems) + (f"; and {more} more problems" if more > 0 else "")
    return Refusal(400, message, "invalid_request", param=places[0] if places else None)


def _place(parts: Iterable[Any]) -> str:
    """``("body", "input", 3, "item", "audio")`` -> ``input[3].item.audio``."""
    place = ""
    for part in list(parts)[1:]:
        if str(part).startswith(TAG):
            continue
        place += f"[{part}]" if isinstance(part, int) else f".{str(part)[:40]}" if place else str(part)[:40]
    return place


def _hide_default_validation(app: FastAPI) -> None:
    """The schema names 400 for malformed requests, which is what is sent, and not FastAPI's own 422."""
    schema = app.openapi()
    for path in schema["paths"].values():
        for operation in path.values():
            operation["responses"].pop("422", None)
    for name in ("HTTPValidationError", "ValidationError"):
        schema["components"]["schemas"].pop(name, None)
