"""An MCP server made with the official Python SDK. Prints its port, then each tool that it ran, a
JSON value a line.
"""

import json
import socket
import sys
from typing import Annotated

from mcp.server.mcpserver import Context, MCPServer, Resolve, Sample
from mcp_types import CreateMessageResult, SamplingMessage, TextContent

server = MCPServer("tickets")


def say(value) -> None:
    print(json.dumps(value), flush=True)


@server.tool(structured_output=False)
async def get_ticket(id: str) -> str:
    say({"ran": "get_ticket", "args": {"id": id}})
    return f"ticket {id}"


@server.tool(structured_output=False)
async def refund(id: str, amount: float) -> str:
    say({"ran": "refund", "args": {"id": id, "amount": amount}})
    return f"refunded {amount:g}"


@server.tool(structured_output=False)
async def delete_ticket(id: str) -> str:
    say({"ran": "delete_ticket", "args": {"id": id}})
    return "deleted"


@server.tool(structured_output=False)
async def count(to: int, ctx: Context) -> str:
    say({"ran": "count", "args": {"to": to}})
    for i in range(1, to + 1):
        await ctx.info(i)
    return f"counted to {to}"


async def which() -> Sample:
    return Sample(
        [SamplingMessage(role="user", content=TextContent(type="text", text="which?"))],
        max_tokens=10,
    )


@server.tool(structured_output=False)
async def ask(answer: Annotated[CreateMessageResult, Resolve(which)]) -> str:
    say({"ran": "ask", "args": {}})
    return f"sampled {answer.content.text}"


with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
say({"port": port})
from mcp.server.transport_security import TransportSecuritySettings  # noqa: E402

server.run(
    "streamable-http",
    host="127.0.0.1",
    port=port,
    transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
)
sys.exit(0)
