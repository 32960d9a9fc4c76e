"""Both ends of a WebSocket by the package `websockets`: `serve` prints its port and answers in
capitals;
`ask URL` says a word and a long message and prints what came back, or how it was refused. JSON, one
line."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import InvalidProxyStatus, InvalidStatus

LONG = "long " * 100_000


async def answer(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message.upper() if isinstance(message, str) else message)


async def serving() -> None:
    async with serve(answer, "127.0.0.1", 0) as server:
        print(json.dumps({"port": next(iter(server.sockets)).getsockname()[1]}), flush=True)
        await server.serve_forever()


async def ask(url: str) -> Any:
    try:
        async with connect(url) as connection:
            await connection.send("hello")
            first = await connection.recv()
            await connection.send(LONG)
            whole = await connection.recv() == LONG.upper()
            await connection.close()
            return {"first": first, "long": whole, "code": connection.protocol.close_code}
    except InvalidStatus as refused:
        body = refused.response.body or b""
        return {"inside": refused.response.status_code, "body": bytes(body).decode()}
    except InvalidProxyStatus as refused:
        return {"connect": refused.response.status_code, "reason": refused.response.reason_phrase}


if sys.argv[1] == "serve":
    asyncio.run(serving())
else:
    print(json.dumps(asyncio.run(ask(sys.argv[2]))))
