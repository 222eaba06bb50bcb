"""Tools for assistants over MCP, the Model Context Protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import Field

import bindplug
from bindplug.errors import BindplugError
from bindplug_serve.failures import Refusal, refusal_of
from bindplug_serve.items import AnyItem, SenseName
from bindplug_serve.routes import describe_matches

if TYPE_CHECKING:
    from bindplug_serve.service import Service

INSTRUCTIONS = """
Compares pictures, video, text, sound, depth maps, thermal pictures and motion logs in one embedding space.
An input is a sentence; an object such as {"audio": "data:audio/wav;base64,..."} for data of another sense; or a
weighted sum {"terms": [{"weight": 1, "image": "..."}, {"weight": -0.5, "text": "..."}]}.
Paths and addresses are not opened.
"""
InputArgument = Annotated[
    AnyItem, Field(description='A sentence, an object such as {"image": BASE64}, or a sum {"terms": [...]}.')
]


def create_mcp_server(service: Service) -> MCPServer[Any]:
    """An MCP server with the tools ``embed``, ``classify`` and, where there is an index, ``search``.

    ``run_stdio_async()`` serves it on stdin and stdout. Tools wait for the model, which
    ``service.engine.start()`` loads.

    Args:
        service: what the tools use.
    """
    server: MCPServer[Any] = MCPServer(
        "bindplug", version=bindplug.__version__, instructions=INSTRUCTIONS, log_level="WARNING"
    )

    @server.tool(description="The embedding (unit row) of an input.")
    async def embed(input: InputArgument) -> dict[str, Any]:
        try:
            await service.engine.wait()
            embedded = await service.embed([input])
        except (Refusal, BindplugError) as error:
            raise ToolError(str(refusal_of(error))) from error
        (row,) = embedded.rows
        assert row is not None
        space = service.engine.model.embedding_space.name
        return {"embedding": row.tolist(), "model": service.name, "space": space} | embedded.remarks()

    @server.tool(
        description="How likely an input belongs to each of the given classes. No training; at least two labels."
    )
    async def classify(
        input: InputArgument,
        labels: Annotated[list[str], Field(description="Class names, each once.")],
        top_k: Annotated[int, Field(ge=1, le=1000)] = 5,
    ) -> dict[str, Any]:
        try:
            await service.engine.wait()
            embedded, (ranked,) = await service.classify([input], labels, top_k=top_k)
        except (Refusal, BindplugError) as error:
            raise ToolError(str(refusal_of(error))) from error
        return {"top": [vars(candidate) for candidate in ranked or ()]} | embedded.remarks()

    if service.searches:

        @server.tool(description="The files of the index that are closest to an input, best first.")
        async def search(
            query: InputArgument,
            k: Annotated[int, Field(ge=1, le=1000)] = 10,
            kinds: Annotated[
                list[SenseName] | None, Field(description="Search among files of these senses only.")
            ] = None,
        ) -> dict[str, Any]:
            try:
                await service.engine.wait()
                embedded, matches = await service.search(query, k=k, kinds=kinds or ())
            except (Refusal, BindplugError) as error:
                raise ToolError(str(refusal_of(error))) from error
            return {"matches": describe_matches(matches)} | embedded.remarks()

    return server
