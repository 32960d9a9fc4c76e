"""The same agent as a graph of LangGraph: plan -> act -> (ask ->) plan, with the task around it.

The nodes are plain functions, so that the example needs neither a model nor a key. Put a model
where ``plan`` is; the tools stay as they are, and what they may do is decided at the sidecar.

    pip install langgraph ./clients/python
    python examples/langgraph/agent.py

with CHAPERONE_AGENT_API in the environment. It prints one JSON object a step.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, TypedDict

from chaperone_client import Refused, Task, open_task
from langgraph.graph import END, START, StateGraph

CRM = "http://crm.internal"


class State(TypedDict, total=False):
    customers: list[dict[str, str]]
    # Steps that are over, done or given up.
    over: dict[str, str]
    # Tool and argument of the step that is next; None when there is none left.
    step: list[str] | None
    # The code with which the step was refused, and what names the refused call.
    refused: str | None
    decision: str | None


def say(**members: Any) -> None:
    print(json.dumps(members), flush=True)


def tools_of(task: Task) -> dict[str, Callable[..., Any]]:
    """Every tool goes out through the task."""

    def list_customers() -> Any:
        return task.request("GET", f"{CRM}/v1/customers").json()

    def export_customers() -> int:
        return task.request("GET", f"{CRM}/v1/export/customers").status

    def add_note(customer: str) -> int:
        note = json.dumps({"customer": customer, "text": "call back this week"})
        return task.request("POST", f"{CRM}/v1/notes", body=note).status

    return {
        "list-customers": list_customers,
        "export-customers": export_customers,
        "add-note": add_note,
    }


def graph_of(task: Task) -> Any:
    tools = tools_of(task)

    def plan(state: State) -> State:
        notes = [["add-note", one["id"]] for one in state["customers"] if one["plan"] == "gold"]
        steps = [["list-customers"], ["export-customers"], *notes]
        return {"step": next((step for step in steps if " ".join(step) not in state["over"]), None)}

    def act(state: State) -> State:
        tool, *args = state["step"] or []
        name = " ".join([tool, *args])
        try:
            result = tools[tool](*args)
        except Refused as refused:
            say(step=name, refused=refused.code, why=str(refused))
            over = {} if refused.code == "step-up-required" else {name: refused.code}
            return {
                "refused": refused.code,
                "decision": refused.decision,
                "over": {**state["over"], **over},
            }
        said = f"{len(result)} customers" if isinstance(result, list) else str(result)
        say(step=name, result=said)
        learnt: State = {"refused": None, "over": {**state["over"], name: said}}
        return {**learnt, "customers": result} if isinstance(result, list) else learnt

    def ask(state: State) -> State:
        name = " ".join(state["step"] or [])
        answer = task.step_up(state["decision"] or "", reason=name)
        say(step=name, asked=answer.state, by=answer.answered_by)
        return {} if answer.state == "approved" else {"over": {**state["over"], name: answer.state}}

    graph = StateGraph(State)
    graph.add_node("plan", plan)
    graph.add_node("act", act)
    graph.add_node("ask", ask)
    graph.add_edge(START, "plan")
    graph.add_conditional_edges(
        "plan", lambda state: END if state["step"] is None else "act", ["act", END]
    )
    graph.add_conditional_edges(
        "act",
        lambda state: "ask" if state["refused"] == "step-up-required" else "plan",
        ["ask", "plan"],
    )
    graph.add_edge("ask", "plan")
    return graph.compile()


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
        end = graph_of(task).invoke({"customers": [], "over": {}}, {"recursion_limit": 100})
        say(done=end["over"])


if __name__ == "__main__":
    main()
