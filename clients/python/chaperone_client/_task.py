"""A task as an object that ends with its block.

It is held by one connection of this process, so that it ends with the process whatever happens to
it. A child made by fork alone shares that connection, and keeps the task for as long as it lives;
what subprocess starts does not.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from ._door import Held, ask, hold
from ._errors import Refused, Unreachable
from ._sessions import httpx_client, requests_session
from ._through import Response, Through

if TYPE_CHECKING:
    import httpx
    import requests

# How often a step-up is looked at where no event says that something happened; seconds.
_LOOK_EVERY = 0.5


@dataclass(frozen=True)
class Grant:
    """What a task may do: the intent, cut by policy.

    ``step_up`` are actions that wait for an approval."""

    destinations: tuple[str, ...]
    actions: tuple[str, ...]
    step_up: tuple[str, ...]
    data_classes: tuple[str, ...]
    max_calls: int


@dataclass(frozen=True)
class RefusedPart:
    """A part of the intent that policy did not give."""

    part: str
    value: str
    reason: str


@dataclass(frozen=True)
class StepUp:
    id: str
    state: Literal["pending", "approved", "denied", "lapsed"]
    action: str
    answered_by: str | None
    # Why it was denied.
    answer: str | None


def open_task(
    purpose: str,
    *,
    targets: Sequence[str],
    actions: Sequence[str],
    owner: str | None = None,
    on_behalf_of: str | None = None,
    data_classes: Sequence[str] | None = None,
    lifetime: str | None = None,
    max_calls: int | None = None,
    isolated: bool = False,
    hold: bool = True,
    socket: str | None = None,
) -> Task:
    """Opens a task. ``owner`` or ``on_behalf_of`` is needed; ``lifetime`` is such as ``10m``.

    ``hold=False`` lets the task outlive this process. ``socket`` is the path of the agent API, or
    of the agent's folder, by default ``$CHAPERONE_AGENT_API``. Raises Refused when nothing of the
    intent is granted, and Unreachable.
    """
    intent = _intent(
        purpose=purpose,
        owner=owner,
        onBehalfOf=on_behalf_of,
        targets=list(targets),
        actions=list(actions),
        dataClasses=_listed(data_classes),
        lifetime=lifetime,
        maxCalls=max_calls,
        isolated=isolated or None,
    )
    return _opened(_socket(socket), "/v1/tasks", {**intent, "hold": hold}, None)


def current_task(*, socket: str | None = None) -> Task:
    """The task that this process was started in by ``chaperone task run``, which also ends it.

    Here it is used and let go of, and not extended, derived from or completed.
    """
    task, credentials = (
        os.environ.get("CHAPERONE_TASK"),
        os.environ.get("CHAPERONE_TASK_CREDENTIALS"),
    )
    if task is None or credentials is None:
        raise Unreachable("this process is in no task: it was not started by `chaperone task run`")
    path = _socket(socket)
    view = ask(path, "GET", f"/v1/tasks/{task}", authorization=credentials)
    more = {"credentials": credentials, "proxyUrl": os.environ.get("HTTP_PROXY")}
    return Task(path, {**view, **more}, held=None, owned=False)


class Task:
    """Not made by callers: see open_task."""

    def __init__(
        self, socket: str, view: Mapping[str, Any], *, held: Held | None, owned: bool
    ) -> None:
        self._socket = socket
        self._view = view
        self._held = held
        self._owned = owned
        # Uses the task, sees it and asks for step-ups.
        self._credentials: str = _member(view, "credentials")
        # Extends it, derives from it and completes it.
        self._authorization: str = view.get("authorization", self._credentials)
        self._happened = threading.Condition()
        self.id: str = _member(view, "id")
        self.grant = _grant_of(_member(view, "grant"))
        self.refused = tuple(
            RefusedPart(one["part"], one["value"], one["reason"]) for one in view.get("refused", ())
        )
        # Holds the task's secret. None when the sidecar has no forward proxy.
        self.proxy_url: str | None = view.get("proxyUrl")
        # Unix sockets of the task, by destination, for programs that know nothing of proxies.
        self.sockets: Mapping[str, str] = view.get("sockets", {})
        # Set when the task has ended; that somebody else ended it is known of a task that is held.
        self.ended = threading.Event()
        if held is not None:
            threading.Thread(
                target=self._follow, args=(held,), name=f"task {self.id}", daemon=True
            ).start()

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | str | None = None,
        timeout: float | None = 60.0,
    ) -> Response:
        """One call as this task. Raises Refused where the sidecar answers for the upstream."""
        return Through(self._proxy()).request(
            method, url, headers=headers, body=body, timeout=timeout
        )

    def requests_session(self) -> requests.Session:
        """A session of requests for this task, which raises Refused.

        Proxies of the environment are left aside."""
        return requests_session(self._proxy())

    def httpx_client(self, **options: Any) -> httpx.Client:
        """A client of httpx for this task, which raises Refused. ``options``: its own."""
        return httpx_client(self._proxy(), options)

    def step_up(
        self, refused: Refused | str, *, reason: str | None = None, wait: float | None = None
    ) -> StepUp:
        """Asks for an approval of a call that was refused with ``step-up-required``, and waits for
        the answer.

        ``refused``: the refusal, or its ``decision``; once it is approved make the very same call
        again. ``reason`` is for whoever decides, who sees it apart from the call. ``wait``:
        seconds, after which it may still be pending; 0 asks and does not wait; None waits until it
        lapses. Raises Refused when it may not be asked for, or when the task ends meanwhile.
        """
        decision = refused if isinstance(refused, str) else refused.decision
        if decision is None:
            raise ValueError("this refusal names no decision: it is of no call")
        path = f"/v1/tasks/{self.id}/step-ups"
        question = _intent(decision=decision, reason=reason)
        step_up = _step_up_of(self._ask("POST", path, question))
        until = None if wait is None else time.monotonic() + wait
        while step_up.state == "pending":
            left = _LOOK_EVERY if until is None else min(until - time.monotonic(), _LOOK_EVERY)
            if left <= 0:
                break
            with self._happened:
                self._happened.wait(left)
            step_up = _step_up_of(self._ask("GET", f"{path}/{step_up.id}"))
        return step_up

    def derive(
        self,
        *,
        targets: Sequence[str],
        actions: Sequence[str],
        data_classes: Sequence[str] | None = None,
        lifetime: str | None = None,
        max_calls: int | None = None,
        hold: bool = True,
    ) -> Task:
        """A task for a sub-agent: within this one, of its purpose and owner, ended with it."""
        intent = _intent(
            purpose=self._view.get("purpose"),
            owner=self._view.get("owner"),
            onBehalfOf=self._view.get("onBehalfOf"),
            targets=list(targets),
            actions=list(actions),
            dataClasses=_listed(data_classes),
            lifetime=lifetime,
            maxCalls=max_calls,
        )
        return _opened(
            self._socket,
            f"/v1/tasks/{self.id}/tasks",
            {**intent, "hold": hold},
            self._authorization,
        )

    def extend(self, lifetime: str, derived: Task | None = None) -> datetime:
        """Moves its end, counted from now, within the ceiling of its purpose; returns the new end.

        ``derived``: the end of a task that was derived from it, which cannot move it itself.
        """
        task = self if derived is None else derived
        view = self._ask("POST", f"/v1/tasks/{task.id}/extend", {"lifetime": lifetime})
        return datetime.fromisoformat(_member(view, "expiresAt").replace("Z", "+00:00"))

    def environment(self) -> dict[str, str]:
        """What a child process needs to use this task. It holds a secret, and not the one that
        would extend the task, derive from it or complete it."""
        variables = {
            "CHAPERONE_AGENT_API": self._socket,
            "CHAPERONE_TASK": self.id,
            "CHAPERONE_TASK_CREDENTIALS": self._credentials,
        }
        if self.proxy_url is None:
            return variables
        pairs = {name: self.proxy_url for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")}
        pairs["NO_PROXY"] = "localhost,127.0.0.1,::1"
        lower = {name.lower(): value for name, value in pairs.items()}
        return {**variables, **pairs, **lower, "NODE_USE_ENV_PROXY": "1"}

    def complete(self) -> None:
        """Ends the task: what is under way for it is cut. A task that has ended stays so.

        Here it is used no more in any case. Raises Unreachable when it is not known that it ended.
        """
        try:
            self._completed()
        finally:
            self.ended.set()
            self._let_go()

    def _completed(self) -> None:
        for pause in (0.1, 0.5, 1.0, None):
            try:
                self._ask("POST", f"/v1/tasks/{self.id}/complete")
                return
            except Refused as refused:
                if refused.code == "task-unknown":
                    return
                raise
            except Unreachable as failure:
                # No task outlives its sidecar.
                if isinstance(failure.__cause__, (FileNotFoundError, ConnectionRefusedError)):
                    return
                if pause is None:
                    raise Unreachable(
                        f"it is not known that task {self.id} has ended; "
                        f"its time ends it, or the operator: {failure}"
                    ) from failure
                time.sleep(pause)

    def __enter__(self) -> Task:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        failure: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._owned:
            self.complete()

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        return ask(self._socket, method, path, body, self._authorization)

    def _proxy(self) -> str:
        if self.proxy_url is None:
            raise Unreachable("the sidecar has no forward proxy: set spec.forward.address")
        return self.proxy_url

    def _let_go(self) -> None:
        if self._held is not None:
            self._held.close()

    def _follow(self, held: Held) -> None:
        for _ in held.events():
            self._wake()
        self.ended.set()
        self._wake()

    def _wake(self) -> None:
        with self._happened:
            self._happened.notify_all()


def _opened(socket: str, target: str, intent: dict[str, Any], authorization: str | None) -> Task:
    if not intent["hold"]:
        return Task(
            socket, ask(socket, "POST", target, intent, authorization), held=None, owned=True
        )
    held = hold(socket, target, intent, authorization)
    return Task(socket, held.first, held=held, owned=True)


def _socket(path: str | None) -> str:
    found = os.environ.get("CHAPERONE_AGENT_API") if path is None else path
    if not found:
        raise Unreachable(
            "no socket of an agent API is named: set CHAPERONE_AGENT_API, or give `socket`"
        )
    return os.path.join(found, "api.sock") if os.path.isdir(found) else found


def _intent(**members: Any) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


def _listed(words: Sequence[str] | None) -> list[str] | None:
    return None if words is None else list(words)


def _grant_of(grant: Mapping[str, Any]) -> Grant:
    return Grant(
        destinations=tuple(_member(grant, "destinations")),
        actions=tuple(_member(grant, "actions")),
        step_up=tuple(_member(grant, "stepUp")),
        data_classes=tuple(_member(grant, "dataClasses")),
        max_calls=_member(grant, "maxCalls"),
    )


def _step_up_of(view: Mapping[str, Any]) -> StepUp:
    return StepUp(
        id=_member(view, "id"),
        state=_member(view, "state"),
        action=_member(view, "action"),
        answered_by=view.get("answeredBy"),
        answer=view.get("answer"),
    )


def _member(view: Mapping[str, Any], name: str) -> Any:
    if name not in view:
        raise Unreachable(f"the answer has no {name}; is the sidecar of another version?")
    return view[name]
