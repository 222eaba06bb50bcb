"""``bindplug serve``: a model over HTTP and MCP."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bindplug.cli.building import (
    FAILED,
    OK,
    ModelChoice,
    model_options,
    output_options,
    print_json,
    say,
    split_names,
)
from bindplug.errors import InputError
from bindplug_serve.guards import LOOPBACK_NAMES
from bindplug_serve.limits import MIB, Limits
from bindplug_serve.sockets import listen

if TYPE_CHECKING:
    import socket

    from bindplug.encoder import Encoder
    from bindplug_serve.service import Service

KEY_VARIABLE = "BINDPLUG_API_KEY"
DEFAULTS = Limits()


@click.command()
@click.option(
    "--index",
    type=click.Path(),
    metavar="PATH",
    help="An index of `bindplug index` for /search and the tool.",
)
@click.option(
    "--index-bridge",
    metavar="NAME|DIR",
    help="A bridge from the model's space to the index's, by name or path.",
)
@click.option(
    "--detector", metavar="NAME", help="A detector for /detect: its name, or path to Detic's weights."
)
@click.option(
    "--bridge", metavar="NAME|DIR", help="A bridge from the model's space to the detector's, by name or path."
)
@click.option(
    "--modalities",
    "--modality",
    "modalities",
    multiple=True,
    metavar="A,B,...",
    help="Load the towers of these only, joined by commas; all by default. Repeatable.",
)
@click.option("--name", "served_name", help="What clients call the model; its own name by default.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 takes a free one."
)
@click.option(
    "--api-key",
    envvar=KEY_VARIABLE,
    metavar="KEY",
    help=f"Ask for this key as `Authorization: Bearer KEY`. Better set {KEY_VARIABLE}: others can see arguments.",
)
@click.option(
    "--allow-host", "hosts", multiple=True, metavar="NAME", help="Host name to answer to, beside loopback's."
)
@click.option(
    "--allow-origin",
    "origins",
    multiple=True,
    metavar="ORIGIN",
    help="Web pages that may ask (CORS). Repeatable.",
)
@click.option(
    "--mcp",
    type=click.Choice(["stdio", "http"]),
    is_flag=False,
    flag_value="stdio",
    help="Tools for assistants: on stdin and stdout in place of HTTP, or with `http` at /mcp beside the rest.",
)
@click.option(
    "--max-wait-ms",
    type=click.FloatRange(min=0),
    default=DEFAULTS.batch_wait_s * 1000,
    show_default=True,
    help="How long an item waits for others to share a batch with.",
)
@click.option(
    "--max-queue",
    type=click.IntRange(min=1),
    default=DEFAULTS.queue,
    show_default=True,
    help="Items that may wait.",
)
@click.option(
    "--max-items",
    type=click.IntRange(min=1),
    default=DEFAULTS.items,
    show_default=True,
    help="Items in one request.",
)
@click.option(
    "--max-body-mib",
    type=click.FloatRange(min=0, min_open=True),
    default=DEFAULTS.body_bytes / MIB,
    show_default=True,
    help="Size of one request.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=DEFAULTS.request_s,
    show_default=True,
    help="Seconds to answer a request.",
)
@click.option(
    "--shutdown-timeout",
    type=click.IntRange(min=1),
    default=int(DEFAULTS.shutdown_s),
    show_default=True,
    help="Seconds to finish requests once the server is told to end.",
)
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    default=DEFAULTS.threads,
    show_default=True,
    help="Batches of a kind worked on at once.",
)
@model_options
@output_options
def serve(
    index: str | None,
    index_bridge: str | None,
    detector: str | None,
    bridge: str | None,
    modalities: tuple[str, ...],
    served_name: str | None,
    host: str,
    port: int,
    api_key: str | None,
    hosts: tuple[str, ...],
    origins: tuple[str, ...],
    mcp: str | None,
    max_wait_ms: float,
    max_queue: int,
    max_items: int,
    max_body_mib: float,
    timeout: float,
    shutdown_timeout: int,
    threads: int,
    choice: ModelChoice,
    as_json: bool,
    quiet: bool,
) -> int:
    """Serve a model over HTTP: OpenAI's embeddings, Weaviate's multi2vec-bind, search, classes, detections.

    Prints the address, and answers once the model is loaded. Sources come as data in requests; no path and no address
    in a request is opened. Without a key everyone who reaches the port may ask.

    \b
    bindplug serve --model imagebind_huge --port 8000
    bindplug serve --mcp
    """
    body_bytes = int(max_body_mib * MIB)
    limits = Limits(
        batch=choice.batch_size,
        batch_wait_s=max_wait_ms / 1000,
        queue=max_queue,
        items=min(max_items, max_queue),
        body_bytes=body_bytes,
        bodies_bytes=max(DEFAULTS.bodies_bytes, 2 * body_bytes),
        unpacked_bytes=max(DEFAULTS.unpacked_bytes, 2 * body_bytes),
        request_s=timeout,
        shutdown_s=shutdown_timeout,
        threads=threads,
    )
    if api_key is not None and not api_key.strip():
        raise click.UsageError(f"--api-key (or {KEY_VARIABLE}) is empty; leave it out for no key")
    service = _service(index, index_bridge, detector, bridge, modalities, served_name, choice, limits)
    from bindplug_serve.observe import set_up_logs

    if mcp == "stdio":
        server = _stdio_server(service)
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a thread that waits for stdin cannot be told to end
        set_up_logs(logging.WARNING if quiet else logging.INFO)
        code = asyncio.run(server())
        _leave_threads(service)
        return code
    code = _serve_http(
        service,
        host=host,
        port=port,
        api_key=api_key,
        hosts=hosts,
        origins=origins,
        mcp=mcp == "http",
        announce=lambda address: _announce(address, choice.name, as_json),
        quiet=quiet,
    )
    _leave_threads(service)
    return code


def _service(
    index: str | None,
    index_bridge: str | None,
    detector: str | None,
    bridge: str | None,
    modalities: tuple[str, ...],
    served_name: str | None,
    choice: ModelChoice,
    limits: Limits,
) -> Service:
    """The service, after what can be checked before a model is loaded has been."""
    from bindplug import Modality
    from bindplug.indexes import find_index_card
    from bindplug_serve.detection import Detector
    from bindplug_serve.service import Service

    names = {Modality.parse(name).value for name in split_names(modalities)} or None
    if index is not None:
        if not Path(index).exists():
            remedy = f"Make one: bindplug index add {index} FOLDER --image '*.jpg'"
            raise InputError(index, found="no such file or directory", expected="an index", remedy=remedy)
        find_index_card(index)
    _ = choice.torch_device
    return Service(
        lambda: _pack_if_possible(choice.load(names)),
        name=served_name or (Path(choice.name).stem if Path(choice.name).exists() else choice.name),
        limits=limits,
        open_index=None if index is None else _index_opener(index, index_bridge),
        open_detector=None if detector is None else lambda model: Detector(detector, model, bridge),
    )


def _pack_if_possible(model: Encoder) -> Encoder:
    """The model with its weights laid out for the processor, where there is such a layout; its rows stay the same."""
    from bindplug import pack

    with suppress(InputError):  # another kind of model, on a GPU, or of a dtype without packed products
        return pack(model)
    return model


def _index_opener(path: str, bridge: str | None) -> Callable[[Any], Any]:
    from bindplug_search import open_index

    return lambda model: open_index(path, model=model, bridge=bridge)


def _announce(address: str, model: str, as_json: bool) -> None:
    if as_json:
        print_json({"url": address, "model": model})
    else:
        click.echo(f"{address}  (schema at {address}/openapi.json)")
    sys.stdout.flush()


def _stdio_server(service: Service) -> Callable[[], Coroutine[Any, Any, int]]:
    from bindplug_serve.tools import create_mcp_server

    server = create_mcp_server(service)

    async def run() -> int:
        loading = asyncio.create_task(service.engine.start())
        loading.add_done_callback(_tell_failure)
        await server.run_stdio_async()  # tools tell the assistant if the model cannot be loaded
        loading.cancel()
        await asyncio.gather(loading, return_exceptions=True)
        await service.engine.close()
        return OK if loading.cancelled() or loading.exception() is None else FAILED

    return run


def _leave_threads(service: Service) -> None:
    """End the process now where a thread is at work that nobody waits for: it cannot be told to end."""
    if service.engine.abandoned:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(OK)


def _tell_failure(loading: asyncio.Task[None]) -> None:
    if not loading.cancelled() and (error := loading.exception()):
        say(f"error: {error}")


def _serve_http(
    service: Service,
    *,
    host: str,
    port: int,
    api_key: str | None,
    hosts: tuple[str, ...],
    origins: tuple[str, ...],
    mcp: bool,
    announce: Callable[[str], None],
    quiet: bool,
) -> int:
    import uvicorn

    from bindplug_serve.app import create_app
    from bindplug_serve.connections import protocol_with_timeout
    from bindplug_serve.observe import set_up_logs

    listener = listen(host, port)
    address = _address(listener)
    loopback = listener.getsockname()[0] in LOOPBACK_NAMES
    if not loopback and api_key is None:
        say(f"warning: everyone who reaches {address} may ask; set {KEY_VARIABLE} to ask for a key")
    errors: list[BaseException] = []

    def fail(error: BaseException) -> None:
        errors.append(error)
        server.should_exit = True

    app = create_app(
        service,
        api_key=api_key,
        allow_hosts={*LOOPBACK_NAMES, *hosts} if loopback or hosts else (),
        allow_origins=origins,
        mcp=mcp,
        on_failure=fail,
    )
    set_up_logs(logging.WARNING if quiet else logging.INFO)
    config = uvicorn.Config(
        app,
        http=protocol_with_timeout(service.limits.headers_s),
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=service.limits.connections,
        timeout_graceful_shutdown=int(service.limits.shutdown_s),
    )
    server = uvicorn.Server(config)
    for number in (signal.SIGINT, signal.SIGTERM):  # before uvicorn watches for them, and after it
        signal.signal(number, lambda *_: setattr(server, "should_exit", True))
    announce(address)
    server.run(sockets=[listener])
    if errors:
        raise errors[0]
    return OK


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
