"""HTTP through the proxy URL of one task: absolute-form for http://, a CONNECT tunnel and TLS of
our own for https://.

Every call has a connection of its own. The libraries' own clients are in _sessions.py.
"""

from __future__ import annotations

import base64
import http.client
import json
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from ._errors import Refused, Unreachable, refusal_of

LONGEST_REFUSAL = 65_536


@dataclass(frozen=True)
class Response:
    """An answer of the upstream, read whole. Redirects are answers like any other. Names of headers
    are in lower case.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes

    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        return json.loads(self.body)


class Through:
    def __init__(self, proxy_url: str) -> None:
        parts = urlsplit(proxy_url)
        self._at = (parts.hostname or "", parts.port or 80)
        said = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
        self._fields = {"proxy-authorization": "Basic " + base64.b64encode(said.encode()).decode()}

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | str | None = None,
        timeout: float | None = 60.0,
    ) -> Response:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or parts.hostname is None:
            raise ValueError(f"{url} is not a URL of http:// or https://")
        sent = body.encode() if isinstance(body, str) else body
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        given = {
            "host": _authority(parts.netloc),
            **{name.lower(): value for name, value in (headers or {}).items()},
        }
        if parts.scheme == "https":
            raw = self.tunnel(parts.hostname, parts.port or 443, timeout)
            secured = ssl.create_default_context().wrap_socket(raw, server_hostname=parts.hostname)
            return _exchange(secured, method, path, given, sent)
        target = f"http://{_authority(parts.netloc)}{path}"
        return _exchange(self._connect(timeout), method, target, {**given, **self._fields}, sent)

    def tunnel(self, host: str, port: int, timeout: float | None = 60.0) -> socket.socket:
        """Raises Refused with what the sidecar said, which the tunnels of the libraries do not
        tell.
        """
        authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        fields = {"host": authority, **self._fields}
        lines = [
            f"CONNECT {authority} HTTP/1.1",
            *(f"{name}: {value}" for name, value in fields.items()),
            "",
            "",
        ]
        raw = self._connect(timeout)
        try:
            raw.sendall("\r\n".join(lines).encode())
            response = http.client.HTTPResponse(raw, method="CONNECT")
            response.begin()
            if response.status == 200:
                # Nothing was read beyond the head: in TLS the client speaks first.
                response.close()
                return raw
            body = response.read(LONGEST_REFUSAL)
            said = {name.lower(): value for name, value in response.getheaders()}
            raise refusal_of(response.status, said, body) or ConnectionError(
                f"the tunnel got {response.status}"
            )
        except BaseException:
            raw.close()
            raise

    def _connect(self, timeout: float | None) -> socket.socket:
        try:
            return socket.create_connection(self._at, timeout)
        except ConnectionRefusedError as cause:
            raise Unreachable(
                f"the sidecar's proxy {self._at[0]}:{self._at[1]} does not answer"
            ) from cause


def _exchange(
    raw: socket.socket, method: str, target: str, headers: Mapping[str, str], body: bytes | None
) -> Response:
    connection = http.client.HTTPConnection("unused")
    connection.sock = raw
    try:
        try:
            connection.request(method, target, body, {**headers, "connection": "close"})
        except (BrokenPipeError, ConnectionResetError):
            # Refused before it was all sent: the answer is there, and says why.
            pass
        answer = connection.getresponse()
        read = answer.read()
        said = {name.lower(): value for name, value in answer.getheaders()}
        refused = refusal_of(answer.status, said, read)
        if refused is not None:
            raise refused
        return Response(answer.status, said, read)
    finally:
        connection.close()


def _authority(netloc: str) -> str:
    return netloc.rsplit("@", 1)[-1]


__all__ = ["Refused", "Response", "Through"]
