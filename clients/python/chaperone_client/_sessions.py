"""Clients of requests and httpx that go through the proxy of one task, and raise Refused. Both
libraries are the caller's to install.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ._errors import Refused, refusal_of
from ._through import Through

if TYPE_CHECKING:
    import httpx
    import requests


def requests_session(proxy_url: str) -> requests.Session:
    import requests

    class Session(requests.Session):
        def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
            try:
                answer = super().send(request, **kwargs)
            except requests.exceptions.ProxyError as failure:
                raise _why(proxy_url, request.url or "", failure) from failure
            # Of an error alone: reading would end a stream.
            if answer.status_code >= 400:
                headers = {name.lower(): value for name, value in answer.headers.items()}
                refused = refusal_of(answer.status_code, headers, answer.content)
                if refused is not None:
                    raise refused
            return answer

    session = Session()
    # The environment may name a proxy without a task, and would win.
    session.trust_env = False
    session.proxies = {"http": proxy_url, "https": proxy_url}
    session.verify = (
        os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
    )
    return session


def httpx_client(proxy_url: str, options: dict[str, Any]) -> httpx.Client:
    import httpx

    class Client(httpx.Client):
        def send(self, request: httpx.Request, **kwargs: Any) -> httpx.Response:
            try:
                answer = super().send(request, **kwargs)
            except httpx.ProxyError as failure:
                raise _why(proxy_url, str(request.url), failure) from failure
            if answer.status_code >= 400:
                headers = {name.lower(): value for name, value in answer.headers.items()}
                refused = refusal_of(answer.status_code, headers, answer.read())
                if refused is not None:
                    raise refused
            return answer

    return Client(proxy=proxy_url, **options)


def _why(proxy_url: str, url: str, failure: Exception) -> Exception:
    """Both libraries throw away why a tunnel was refused, so it is asked for again; the records
    then have it twice.
    """
    parts = urlsplit(url)
    if parts.scheme != "https" or parts.hostname is None:
        return failure
    try:
        Through(proxy_url).tunnel(parts.hostname, parts.port or 443).close()
    except Refused as refused:
        return refused
    except OSError:
        return failure
    return failure
