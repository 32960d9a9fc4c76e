"""An agent of a few words that uses chaperone_client; it knows its sidecar by the environment
alone. Prints one JSON object.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from chaperone_client import Refused, Task, Unreachable, current_task, open_task

CUSTOMERS = "http://crm.internal/v1/customers"
EXPORT = "http://crm.internal/v1/export/customers"
NOTES = "http://crm.internal/v1/notes"
WEB = "https://api.saas.example/v1/models"
NOTE = json.dumps({"customer": "1001", "text": "called"})


def start() -> Task:
    return open_task(
        "answer-ticket", owner="agent", targets=["crm", "web", "vault"], actions=["read", "write"]
    )


def outcome(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except Refused as refused:
        return [refused.code, refused.status, refused.rule, refused.decision is not None]


def use() -> Any:
    with start() as task:
        session, client = task.requests_session(), task.httpx_client()
        ways: dict[str, Callable[[str], int]] = {
            "request": lambda url: task.request("GET", url).status,
            "requests": lambda url: session.get(url).status_code,
            "httpx": lambda url: client.get(url).status_code,
        }
        urls = [
            CUSTOMERS,
            f"{CUSTOMERS}/9",
            EXPORT,
            WEB,
            "https://api.saas.example/v1/keys",
            "https://elsewhere.example/",
        ]
        said = {name: [outcome(lambda: ask(url)) for url in urls] for name, ask in ways.items()}
        large = "x" * 20_000_000
        early = [
            outcome(lambda: task.request("POST", NOTES, body=large)),
            outcome(lambda: session.post(NOTES, data=large)),
            outcome(lambda: client.post(NOTES, content=large)),
        ]
        first = task.request("GET", CUSTOMERS).json()[0]["name"]
    late = [outcome(lambda: ask(CUSTOMERS)) for ask in ways.values()]
    return {
        "grant": [task.grant.destinations, task.grant.actions, task.grant.step_up],
        "refused": [[one.part, one.value] for one in task.refused],
        "said": said,
        "first": first,
        "early": [one[0] for one in early],
        "late": late,
        "ended": task.ended.is_set(),
    }


def refused_write(task: Task, note: str = NOTE) -> Refused:
    try:
        task.request("POST", NOTES, body=note)
    except Refused as refused:
        return refused
    raise AssertionError("it was not refused")


def step_up() -> Any:
    with start() as task:
        write = lambda: task.request("POST", NOTES, body=NOTE).status  # noqa: E731
        refused = refused_write(task)
        said = [outcome(write), task.step_up(refused, wait=0).state]
        began = time.monotonic()
        said += [task.step_up(refused, wait=0.3).state, time.monotonic() - began >= 0.3]
        print("asking", flush=True)
        answered = task.step_up(refused, reason="the customer asked")
        said += [answered.state, answered.answered_by, outcome(write)]
        again = refused_write(task)
        denied = task.step_up(again.decision or "")
        said += [outcome(write), denied.state, denied.answer, outcome(lambda: task.step_up(again))]
        return said


def derive() -> Any:
    with start() as task:
        child = task.derive(targets=["crm"], actions=["read", "admin"])
        said = [child.grant.actions, child.grant.step_up, child.request("GET", CUSTOMERS).status]
        said += [outcome(lambda: child.request("POST", NOTES, body=NOTE))]
        end = task.extend("12m")
        said += [end.timestamp() - time.time() > 600]
    said += [child.ended.wait(10), outcome(lambda: child.request("GET", CUSTOMERS))]
    return said


def inherited() -> Any:
    with current_task() as task:
        return [task.id, task.request("GET", CUSTOMERS).status]


def parent() -> Any:
    with start() as task:
        run = [sys.executable, __file__, "inherited"]
        said = json.loads(
            subprocess.run(run, env=task.environment(), check=True, stdout=subprocess.PIPE).stdout
        )
        return [said[0] == task.id, said[1], task.request("GET", CUSTOMERS).status]


def nowhere() -> Any:
    try:
        start()
    except Unreachable as failure:
        return str(failure)


def leave() -> Any:
    return start().id


def hang() -> Any:
    print(start().id, flush=True)
    time.sleep(600)


COMMANDS = [use, step_up, derive, inherited, parent, nowhere, leave, hang]
print(json.dumps({command.__name__: command for command in COMMANDS}[sys.argv[1]]()))
