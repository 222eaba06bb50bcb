"""A server for embeddings, search, classification and detection, over HTTP and MCP.

from bindplug_serve import Limits, Service, create_app

service = Service(lambda: bindplug.load("imagebind_tiny"), name="imagebind_tiny")
app = create_app(service)             # an ASGI application; `bindplug serve` runs it with uvicorn
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bindplug.lazy import lazy_names, require

if TYPE_CHECKING:
    from bindplug_serve.app import create_app
    from bindplug_serve.guards import LOOPBACK_NAMES, HostGuard
    from bindplug_serve.items import READER_OPTIONS, leaf_of
    from bindplug_serve.limits import Limits
    from bindplug_serve.service import Service
    from bindplug_serve.sizes import check_size
    from bindplug_serve.sockets import listen
    from bindplug_serve.tools import create_mcp_server

__all__ = [
    "LOOPBACK_NAMES",
    "READER_OPTIONS",
    "HostGuard",
    "Limits",
    "Service",
    "check_size",
    "create_app",
    "create_mcp_server",
    "leaf_of",
    "listen",
]

_MODULES = {
    "HostGuard": "guards",
    "LOOPBACK_NAMES": "guards",
    "Limits": "limits",
    "READER_OPTIONS": "items",
    "Service": "service",
    "check_size": "sizes",
    "create_app": "app",
    "create_mcp_server": "tools",
    "leaf_of": "items",
    "listen": "sockets",
}


def _require_packages(module: str) -> None:
    for package in {"app": ("fastapi", "prometheus_client"), "tools": ("mcp",)}.get(module, ()):
        require(package, owner=__name__, extra="serve")


__getattr__, __dir__ = lazy_names(__name__, _MODULES, __all__, before=_require_packages)
