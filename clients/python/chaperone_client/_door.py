"""The agent API over its Unix socket: JSON, one request a connection, and one connection that is
held for as long as a task lasts.
"""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from typing import Any

from ._errors import Unreachable, api_error

SECONDS = 30.0


class _Door(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("agent", timeout=SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Held:
    """A connection that is held: what the sidecar said first, and what it says after."""

    def __init__(self, connection: _Door, response: http.client.HTTPResponse) -> None:
        self._connection = connection
        self._response = response
        self._socket = connection.sock
        self.first: Any = _json(response.readline())

    def events(self) -> Iterator[Any]:
        """Ends with the connection."""
        try:
            while line := self._response.readline():
                yield _json(line)
        except (OSError, ValueError, http.client.HTTPException, AttributeError):
            # Cut by either side: the task has ended, which is all there is to say.
            return

    def close(self) -> None:
        try:
            # Wakes who reads from it; closing alone does not.
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._connection.close()


def ask(
    path: str, method: str, target: str, body: Any = None, authorization: str | None = None
) -> Any:
    connection, response = _send(path, method, target, body, authorization)
    try:
        return _json(_whole(response))
    finally:
        connection.close()


def hold(path: str, target: str, body: Any, authorization: str | None = None) -> Held:
    connection, response = _send(path, "POST", target, body, authorization)
    try:
        if response.status >= 400:
            raise api_error(response.status, response.read())
        held = Held(connection, response)
        # What comes from now on comes when something happens.
        connection.sock.settimeout(None)
        return held
    except BaseException:
        connection.close()
        raise


def _send(
    path: str, method: str, target: str, body: Any, authorization: str | None
) -> tuple[_Door, http.client.HTTPResponse]:
    connection = _Door(path)
    headers = {} if authorization is None else {"authorization": authorization}
    sent = None
    if body is not None:
        headers["content-type"] = "application/json"
        sent = json.dumps(body).encode()
    try:
        connection.request(method, target, sent, headers)
        return connection, connection.getresponse()
    except (OSError, http.client.HTTPException) as cause:
        connection.close()
        raise Unreachable(
            f"{path} does not answer: {cause}; is the sidecar running, "
            "and may this user reach its agentApi socket?"
        ) from cause


def _whole(response: http.client.HTTPResponse) -> bytes:
    body = response.read()
    if response.status >= 400:
        raise api_error(response.status, body)
    return body


def _json(text: bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError as cause:
        raise Unreachable("the answer is not JSON; is this the socket of a sidecar?") from cause
