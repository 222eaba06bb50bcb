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
    from bindplug_serve.limits import Limits
    from bindplug_serve.service import Service
    from bindplug_serve.tools import create_mcp_server

__all__ = ["Limits", "Service", "create_app", "create_mcp_server"]

_MODULES = {
    "Limits": "limits",
    "Service": "service",
    "create_app": "app",
    "create_mcp_server": "tools",
}


def _require_packages(module: str) -> None:
    for package in {"app": ("fastapi", "prometheus_client"), "tools": ("mcp",)}.get(module, ()):
        require(package, owner=__name__, extra="serve")


__getattr__, __dir__ = lazy_names(__name__, _MODULES, __all__, before=_require_packages)
