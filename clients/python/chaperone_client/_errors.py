"""What goes wrong between an agent and its sidecar: it said no, or it is not there."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any


class Refused(Exception):
    """The sidecar answered in place of the upstream, in the words of its record.

    message: the reason and what to do.
    code: stable, such as ``denied``, ``step-up-required``, ``task-unknown``, ``upstream-refused``.
    status: of HTTP; of a tunnel, that of its CONNECT.
    decision: names the exchange in the records of the sidecar.
    retry_after: seconds after which it may be different.
    """

    def __init__(
        self, status: int, error: Mapping[str, Any], retry_after: float | None = None
    ) -> None:
        self.status = status
        self.code: str = error["error"]
        self.message: str = error["message"]
        self.rule: str | None = error.get("rule")
        self.at: str | None = error.get("at")
        self.decision: str | None = error.get("decision")
        self.retry_after = retry_after
        super().__init__(self.message)


class Unreachable(ConnectionError):
    """Nothing that is a sidecar answers there."""


def refusal_of(status: int, headers: Mapping[str, str], body: bytes) -> Refused | None:
    """The refusal that an answer through the proxy is; None when it came from the upstream.

    Every answer has the decision in a header, which no upstream ever sees: only the sidecar can say
    it again in the body. A 407 is a proxy's own by its meaning (RFC 9110 section 15.5.8). Names of
    headers in lower case.
    """
    error = _error_in(body) or _error_in_line(body)
    decision = headers.get("chaperone-decision")
    if decision is None or error is None or error.get("decision") != decision:
        if status != 407:
            return None
        said = {
            "error": "task-unknown",
            "message": "the sidecar asks for the credentials of a live task",
        }
        return Refused(status, said)
    wait = headers.get("retry-after", "")
    return Refused(status, error, float(wait) if wait.isdigit() else None)


def api_error(status: int, body: bytes) -> Exception:
    """An error of the agent API."""
    error = _error_in(body)
    if error is None:
        return Unreachable(f"an answer with status {status} is not that of a sidecar")
    return Refused(status, error)


def _error_in(body: bytes) -> dict[str, Any] | None:
    try:
        error = json.loads(body)
        known = isinstance(error["error"], str) and isinstance(error["message"], str)
    except (ValueError, LookupError, TypeError):
        return None
    return error if known else None


_LINE = re.compile(r"(.*) \[chaperone: ([a-z-]+)(?:, rule (.+))?, decision ([\w-]+)\]\n?")


def _error_in_line(body: bytes) -> dict[str, Any] | None:
    """What clients are told that do not ask for JSON."""
    found = _LINE.fullmatch(body.decode(errors="replace"))
    return (
        None
        if found is None
        else dict(zip(("message", "error", "rule", "decision"), found.groups()))
    )
