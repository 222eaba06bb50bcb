"""Tools for assistants, as the official client of MCP uses them, over HTTP and over stdio."""

from __future__ import annotations

import asyncio
import sys

import numpy as np
import pytest
from mcp import Client, StdioServerParameters

import bindplug
from bindplug.indexes import IndexMatch, IndexRow
from bindplug.testing import FakeEncoder
from bindplug_serve import Service, create_mcp_server
from tests.command_process import COMMAND, ENVIRONMENT
from tests.serve.running import encoded


def ask(server, *calls):
    """Names of the tools, and the results of calls."""

    async def run():
        async with Client(server, read_timeout_seconds=60) as client:
            tools = [tool.name for tool in (await client.list_tools()).tools]
            return tools, [await client.call_tool(name, arguments) for name, arguments in calls]

    return asyncio.run(run())


@pytest.mark.parametrize("transport", ["http", "stdio"])
def test_tools_over(transport, request, model, files):
    sound = {"audio": encoded(files["audio"])}
    calls = [
        ("embed", {"input": sound}),
        ("classify", {"input": "a dog", "labels": ["a dog", "a train"], "top_k": 1}),
        ("embed", {"input": {"image": "/etc/hostname"}}),
        ("classify", {"input": "a dog", "labels": ["a dog"]}),
    ]
    if transport == "http":
        server = f"{request.getfixturevalue('url')}/mcp"
    else:
        server = StdioServerParameters(
            command=sys.executable, args=[*COMMAND[1:], "serve", "--mcp", "--quiet"], env=ENVIRONMENT
        )
    tools, (embedded, classified, path, labels) = ask(server, *calls)
    assert tools == ["embed", "classify"]
    (expected,) = model.embed([bindplug.audio(files["audio"])])
    np.testing.assert_allclose(embedded.structured_content["embedding"], expected, atol=2e-6)
    assert classified.structured_content["top"][0]["label"] == "a dog"
    for refused in (path, labels):
        assert refused.is_error
    assert "expected" in path.content[0].text
    assert "at least two class names" in labels.content[0].text


def test_search_is_a_tool_where_there_is_an_index():
    asked = []

    class Shelf:
        def search(self, query, k, **options):
            asked.append((k, options.get("kind")))
            return [IndexMatch(IndexRow("sounds/bark.wav", "audio", (1.0, 3.0)), 0.5)]

    service = Service(FakeEncoder, name="fake", open_index=lambda model: Shelf())

    async def run():
        loading = asyncio.create_task(service.engine.start())
        async with Client(create_mcp_server(service)) as client:
            assert [tool.name for tool in (await client.list_tools()).tools] == [
                "embed",
                "classify",
                "search",
            ]
            result = await client.call_tool("search", {"query": "a dog", "k": 1, "kinds": ["audio"]})
        await loading
        await service.engine.close()
        return result

    matches = asyncio.run(run()).structured_content["matches"]
    assert [match["path"] for match in matches] == ["sounds/bark.wav"]
    assert asked[-1] == (1, ["audio"])


def test_a_model_that_cannot_be_loaded_is_told_to_the_assistant():
    def load():
        raise bindplug.errors.WeightsNotFound("no weights here")

    service = Service(load, name="fake")

    async def run():
        with pytest.raises(bindplug.errors.WeightsNotFound):
            await service.engine.start()
        async with Client(create_mcp_server(service)) as client:
            result = await client.call_tool("embed", {"input": "a dog"})
        await service.engine.close()
        return result

    result = asyncio.run(run())
    assert result.is_error
    assert "no weights here" in result.content[0].text
