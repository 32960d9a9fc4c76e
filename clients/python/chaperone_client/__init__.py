"""Tasks of an AI agent at its Chaperone sidecar.

    with open_task("answer-ticket", owner="support-agent", targets=["crm"], actions=["read"]) as t:
        t.request("GET", "http://crm.internal/v1/customers").json()
"""

from ._errors import Refused, Unreachable
from ._task import Grant, RefusedPart, StepUp, Task, current_task, open_task
from ._through import Response

__all__ = [
    "Grant",
    "Refused",
    "RefusedPart",
    "Response",
    "StepUp",
    "Task",
    "Unreachable",
    "current_task",
    "open_task",
]
