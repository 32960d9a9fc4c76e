"""A client made with the official Python SDK: `client.py URL MODE`. Prints what client.mjs prints.
"""

import asyncio
import json
import sys

from mcp import Client, MCPError
from mcp_types import CreateMessageResult, TextContent

url, mode = sys.argv[1:3]
seen = {"version": None, "tools": [], "logged": [], "answers": {}}


async def logged(params) -> None:
    seen["logged"].append(params.data)


async def sampled(_context, _params) -> CreateMessageResult:
    return CreateMessageResult(
        model="m", role="assistant", content=TextContent(type="text", text="this one")
    )


async def call(client, label, tool, args) -> None:
    try:
        result = await client.call_tool(tool, args)
        text = result.content[0].text
        seen["answers"][label] = {"failed": text} if result.is_error else text
    except MCPError as failure:
        seen["answers"][label] = {"code": failure.code, "message": failure.message}


async def main() -> None:
    options = {"logging_callback": logged, "log_level": "info", "sampling_callback": sampled}
    async with Client(url, mode=mode, **options) as client:
        seen["version"] = client.protocol_version
        seen["tools"] = [tool.name for tool in (await client.list_tools()).tools]
        await call(client, "read", "get_ticket", {"id": "T-1"})
        await call(client, "small", "refund", {"id": "T-1", "amount": 40})
        await call(client, "large", "refund", {"id": "T-1", "amount": 4000})
        await call(client, "other", "delete_ticket", {"id": "T-1"})
        await call(client, "count", "count", {"to": 3})
        await call(client, "ask", "ask", {})


asyncio.run(main())
print(json.dumps(seen))
