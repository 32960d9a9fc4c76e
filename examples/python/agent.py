"""A plain loop: plan, act, look, until there is nothing left to do.

The planner is a few rules, so that the example needs no model; a model that proposes the next step
has the same place and gets no more power by it, since what a step may do is decided at the sidecar.

    python examples/python/agent.py

with CHAPERONE_AGENT_API in the environment. It prints one JSON object a step.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from chaperone_client import Refused, Task, open_task

CRM = "http://crm.internal"


@dataclass(frozen=True)
class Step:
    tool: str
    customer: str | None = None

    @property
    def name(self) -> str:
        return self.tool if self.customer is None else f"{self.tool} {self.customer}"


@dataclass
class Memory:
    """What the agent has learnt; ``over`` are steps that are over, done or given up."""

    customers: list[dict[str, str]] = field(default_factory=list)
    over: dict[str, str] = field(default_factory=dict)


def plan(memory: Memory) -> Step | None:
    """The next step towards a note for every customer of the gold plan; None when there is none
    left.
    """
    notes = [Step("add-note", one["id"]) for one in memory.customers if one["plan"] == "gold"]
    steps = [Step("list-customers"), Step("export-customers"), *notes]
    return next((step for step in steps if step.name not in memory.over), None)


def act(task: Task, step: Step, memory: Memory) -> str:
    if step.tool == "list-customers":
        memory.customers = task.request("GET", f"{CRM}/v1/customers").json()
        return f"{len(memory.customers)} customers"
    if step.tool == "export-customers":
        return str(task.request("GET", f"{CRM}/v1/export/customers").status)
    note = json.dumps({"customer": step.customer, "text": "call back this week"})
    return str(task.request("POST", f"{CRM}/v1/notes", body=note).status)


def when_refused(task: Task, step: Step, refused: Refused) -> str | None:
    """What becomes of a step that was refused: None when it may be tried again, else why it is
    given up.
    """
    say(step=step.name, refused=refused.code, why=str(refused))
    if refused.code != "step-up-required":
        return refused.code
    answer = task.step_up(refused, reason=step.name)
    say(step=step.name, asked=answer.state, by=answer.answered_by)
    return None if answer.state == "approved" else answer.state


def say(**members: Any) -> None:
    print(json.dumps(members), flush=True)


def main() -> None:
    with open_task(
        "call-back",
        owner="example-agent",
        targets=["crm"],
        actions=["read", "write"],
        lifetime="5m",
    ) as task:
        grant = asdict(task.grant)
        say(task=task.id, grant={**grant, "stepUp": grant["step_up"]})
        memory = Memory()
        while (step := plan(memory)) is not None:
            try:
                memory.over[step.name] = act(task, step, memory)
                say(step=step.name, result=memory.over[step.name])
            except Refused as refused:
                end = when_refused(task, step, refused)
                if end is not None:
                    memory.over[step.name] = end
        say(done=memory.over)


if __name__ == "__main__":
    main()
